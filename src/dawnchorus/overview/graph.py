"""The workflow as one picture at the size of a season: ``dawnchorus graph``.

In: what there is (:mod:`dawnchorus.overview.census`). Out: Graphviz dot with a node per step and recorder,
and in each how many recorder-days are done, where Snakemake's own ``--dag`` has a node per recorder-day
and step (3,641 for the reference season).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from dawnchorus.overview.census import BEGUN, DONE, FAILED, WAITING, Census, Key, title
from dawnchorus.overview.steps import counted
from dawnchorus.results import SET_ASIDE

COLOURS = {DONE: "#c7e9c0", WAITING: "#f0f0f0", BEGUN: "#fee391", FAILED: "#fcae91"}
"""Of a node: failed if anything failed, begun if something is done or begun, and not all."""


def dot(census: Census) -> str:
    """Draw the season's workflow.

    Parameters
    ----------
    census : Census

    Returns
    -------
    str
        Graphviz dot; ``dot -Tsvg`` draws it.
    """
    lines = [
        "digraph season {",
        "  rankdir=LR;",
        '  node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=10];',
        *_nodes(census),
        *(f"  {quoted(a)} -> {quoted(b)};" for a, b in sorted(set(_edges(census)))),
        "}",
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a dot string: backslashes and quotation marks are escaped."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _name(key: Key, recorder: str | None = None) -> str:
    return "/".join([key[0], *([key[1]] if key[1] else []), *([recorder] if recorder else [])])


def _nodes(census: Census) -> Iterator[str]:
    for key, state in census.single.items():
        yield _node(_name(key), [title(key), state], COLOURS[state])
    recorders = sorted({day.recorder for day in census.days})
    for number, recorder in enumerate(recorders):
        yield f"  subgraph cluster_{number} {{"
        yield f"    label={quoted(recorder)};"
        for key, counts in census.per_recorder.items():
            states = counts[recorder]
            label = [title(key), _told(states)]
            yield f"  {_node(_name(key, recorder), label, COLOURS[_colour(states)])}"
        yield "  }"


def _node(name: str, label: Iterable[str], colour: str) -> str:
    # A line break in a label is a backslash and an n in the file.
    shown = "\\n".join(quoted(line)[1:-1] for line in label)
    return f'  {quoted(name)} [label="{shown}", fillcolor="{colour}"];'


def _told(states: Counter[str]) -> str:
    """``97 of 101 recorder-days done, 2 pending, 2 set aside``."""
    total = states.total()
    told = [f"{states[DONE]:,} of {counted(total, 'recorder-day')} done"]
    pending = states[WAITING] + states[BEGUN]
    for number, word in (
        (pending, "pending"),
        (states[SET_ASIDE], SET_ASIDE),
        (states[FAILED], FAILED),
    ):
        if number:
            told.append(f"{number:,} {word}")
    return ", ".join(told)


def _colour(states: Counter[str]) -> str:
    if states[FAILED]:
        return FAILED
    if not states[WAITING] and not states[BEGUN]:
        return DONE
    return WAITING if states[WAITING] == states.total() else BEGUN


def _edges(census: Census) -> Iterator[tuple[str, str]]:
    """What reads what: from the steps of recorder-days to the single ones and back."""
    recorders = sorted({day.recorder for day in census.days})
    for source, target in READS:
        for above in _keys(census, source):
            for below in _keys(census, target):
                if above[1] and below[1] and above[1] != below[1]:
                    continue
                yield from _pairs(census, above, below, recorders)


def _keys(census: Census, rule: str) -> list[Key]:
    return [key for key in (*census.single, *census.per_recorder) if key[0] == rule]


def _pairs(
    census: Census, above: Key, below: Key, recorders: Iterable[str]
) -> Iterator[tuple[str, str]]:
    of_days = above in census.per_recorder, below in census.per_recorder
    if of_days == (False, False):
        yield _name(above), _name(below)
        return
    for recorder in recorders:
        yield (
            _name(above, recorder if of_days[0] else None),
            _name(below, recorder if of_days[1] else None),
        )


READS = (
    ("scan", "spectrograms_day"),
    ("scan", "birdnet_day"),
    ("spectrograms_day", "indices_day"),
    ("spectrograms_day", "sample"),
    ("spectrograms_day", "embed_day"),
    ("sample", "train_experiment"),
    ("train_experiment", "embed_day"),
    ("embed_day", "cluster"),
    ("cluster", "assign_day"),
    ("embed_day", "assign_day"),
    ("embed_day", "sweep"),
    ("assign_day", "statistics"),
    ("embed_day", "map_fit"),
    ("map_fit", "map"),
    ("embed_day", "map"),
    ("cluster", "attend"),
    ("assign_day", "evaluate"),
    ("birdnet_day", "evaluate"),
    ("attend", "evaluate"),
    ("assign_day", "outliers"),
    ("birdnet_day", "outliers"),
    ("map", "experiment_figures"),
    ("attend", "experiment_figures"),
    ("statistics", "experiment_figures"),
    ("assign_day", "experiment_figures"),
    ("birdnet_day", "experiment_figures"),
    ("evaluate", "comparison_figures"),
    ("comparison_figures", "snakemake_report"),
    ("experiment_figures", "snakemake_report"),
    ("outliers", "snakemake_report"),
    ("indices_day", "snakemake_report"),
)
"""Which step's results another one reads: the edges that say something, as the rules have them."""
