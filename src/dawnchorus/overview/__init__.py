"""What a person asks before, during and after a run: what will happen, how far it is, what it adopts.

Nothing is written here. :mod:`~dawnchorus.overview.dry_run` ends ``snakemake -n`` with a summary,
:mod:`~dawnchorus.overview.status` tells how far the season is, :mod:`~dawnchorus.overview.graph` draws it,
and :mod:`~dawnchorus.overview.freeze` says what a new training set would change.
"""
