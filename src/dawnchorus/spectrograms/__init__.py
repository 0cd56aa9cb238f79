"""Recordings become windows of mel decibels: one store per recorder-day.

``mel`` says what a band, a decibel and a code are; ``spectrograph`` computes them fast (``kernels``
and ``activity`` are its compiled inner loops); ``writer`` and ``store`` are the two sides of the Zarr
group; ``day`` is the step itself. ``indices`` (with ``index_kernels``) computes acoustic indices per
minute from the same transforms, ``false_colour`` draws a day of them.
"""
