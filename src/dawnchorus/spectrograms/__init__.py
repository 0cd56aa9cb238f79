"""Recordings become windows of decibels: one store per recorder-day, and acoustic indices if asked.

``mel`` says what a band, a decibel and a code are; ``spectrograph`` computes them fast (``fourier``,
``kernels`` and ``activity`` are its compiled inner loops, ``lanes`` what they are written in);
``writer`` and ``store`` are the two sides of the Zarr group; ``indices`` describes a minute in numbers
(``index_kernels`` are its loops) and ``false_colour`` a day in colours; ``account`` says what became of
every sample; ``day`` is the step itself.
"""
