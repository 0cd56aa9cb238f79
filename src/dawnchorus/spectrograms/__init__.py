"""Recordings become windows of mel decibels: one store per recorder-day.

``mel`` says what a band, a decibel and a code are; ``spectrograph`` computes them fast (``fourier``,
``kernels`` and ``activity`` are its compiled inner loops, ``lanes`` what they are written in);
``writer`` and ``store`` are the two sides of the Zarr group; ``day`` is the step itself.
"""
