"""Files that other programs of the field read: one module per format, each only a writer (and a reader, where
the project itself reads the format). What is written is gathered in :mod:`dawnchorus.sharing`."""
