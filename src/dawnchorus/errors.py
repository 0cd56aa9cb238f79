"""The one error that a person is meant to read.

In: what is wrong, where, and what to do. Out: one line on standard error and exit status 1
(see :func:`dawnchorus.cli.main`); a traceback only with ``--debug``.
"""


class DawnChorusError(Exception):
    """Bad input, said in one line.

    Parameters
    ----------
    what : str
        What is wrong.
    where : str or os.PathLike, optional
        The file, key or option it concerns.
    do : str, optional
        What the person can do about it.
    """

    def __init__(self, what: str, where: object | None = None, do: str | None = None) -> None:
        self.what, self.where, self.do = what, where, do
        line = f"{where}: {what}" if where is not None else what
        if do:
            line = f"{line}; {do}"
        super().__init__(" ".join(line.split()))
