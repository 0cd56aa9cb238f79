"""What the comparison says in words: each figure in one line, and the summary at the top of the page.

In: a :class:`~dawnchorus.evaluation.comparison.Comparison`. Out: sentences, escaped for HTML, with the names of spaces in bold.
A sentence is only said if the figures it needs are there; what cannot be said is said so, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from dawnchorus.evaluation.comparison import (
    AGREEMENT,
    BEST,
    BIRDNET,
    HIGHEST,
    LEVEL,
    NUISANCE,
    TRUTH,
    Compared,
    Comparison,
    Figure,
    Measure,
)
from dawnchorus.evaluation.spaces import EXPERIMENT, SUPERVISED

HEADS = {
    "linear": "linear probe",
    "attentive": "attentive probe",
    "neighbours": "nearest neighbours",
    AGREEMENT: "clusters (AMI)",
}
MEANINGS = {
    "linear": "Balanced accuracy of a linear classifier on the vectors: the share of windows that it names right, averaged "
    "over the species, so that a common bird counts no more than a rare one. 1 is all right. More is better.",
    "attentive": "The same of a classifier that may also choose which parts of the spectrogram it looks at. It needs a "
    "network's own patches. More is better.",
    "neighbours": "The same when the most similar other windows vote: do windows of one species lie side by side? More is "
    "better.",
    AGREEMENT: "Adjusted mutual information: how far k-means clusters and labels are the same division of the windows. 0 is "
    "what shuffled labels give, 1 is full agreement. More is better.",
    "recorder": "How well a linear classifier tells which recorder a window comes from (balanced accuracy). A space should "
    "know birds, not microphones: high here and low there is a warning. No winner is named: a space that knows nothing would "
    "win.",
    "month": "The same for the month.",
    "week": "The same for the week of the year.",
    "hour": "The same for the local hour. Birds sing by the hour, so some of this is wanted.",
    "gpu_hours": "Hours of training times the number of GPUs; 0 if it was trained without one.",
    "windows_per_second": "How many windows per second were turned into vectors, starting up and reading included.",
}
ATTENTION = {
    "intersection_over_union": "The area that attention and annotation share, of the area that either covers.",
    "pointing_game": "In how many windows the middle of the densest attention lies in an annotated box.",
    "energy_in_boxes": "How much of the attention lies in annotated boxes.",
    "song_energy": "How much of the sound that the attention keeps is annotated song.",
    "songs_found": "How many annotated songs a box around the attention finds.",
    "song_overlap": "How well the best box around the attention fits an annotated song.",
    "average_precision": "How far down the list of boxes, the densest first, songs are found: 1 if all songs come before "
    "everything else.",
}
GROUPS = {
    "recording": "recordings",
    "source": "sources (what clips were cut from)",
    "fold": "folds",
    "recorder_day": "recorder-days (one recorder, one date)",
    "recorder": "recorders",
}
QUALITY = ("linear", "neighbours", AGREEMENT)
"""What the summary speaks of: the first of these that was measured."""


def digits(value: float | None) -> str:
    """Return a figure with two decimals, as everywhere on the page."""
    return "–" if value is None else f"{value:.2f}"


def bounded(figure: Figure) -> str:
    """Return a figure with its interval."""
    if figure.low is None or figure.high is None:
        return digits(figure.value)
    return f"{digits(figure.value)} ({digits(figure.low)} to {digits(figure.high)})"


def rate(value: float | None) -> str:
    """Return a rate or a number of hours with about three digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.3g}"


def bold(name: str) -> Markup:
    """Return a name in bold."""
    return Markup("<b>{}</b>").format(name)


def listed(names: Sequence[str]) -> Markup:
    """Return names as ``a, b and c``."""
    marked = [bold(name) for name in names]
    if len(marked) < 2:
        return Markup("").join(marked)
    return Markup("{} and {}").format(Markup(", ").join(marked[:-1]), marked[-1])


def labels_of(comparison: Comparison, about: str) -> str:
    """Say whose labels a figure goes by."""
    if about == TRUTH:
        return comparison.truth or "annotations"
    confidence = comparison.confidence
    return "BirdNET" if confidence is None else f"BirdNET from confidence {confidence:g} on"


def headline(comparison: Comparison, about: str) -> Measure | None:
    """Return the figure of quality that the summary speaks of; None if none was measured by these labels."""
    measures = (Measure(about, how) for how in QUALITY)
    return next((measure for measure in measures if comparison.measured(measure)), None)


def top_of(comparison: Comparison, measure: Measure) -> Compared:
    """Return the space with the highest figure among those that learned without labels."""
    free = [space for space in comparison.spaces if space.kind != SUPERVISED] or comparison.spaces
    return max(free, key=lambda space: _value(space, measure))


def _value(space: Compared, measure: Measure) -> float:
    value = space.figures[measure].value
    return float("-inf") if value is None else value


def summary(comparison: Comparison) -> list[Markup]:
    """Return the sentences at the top of the page."""
    measure = headline(comparison, TRUTH) or headline(comparison, BIRDNET)
    if measure is None:
        why = comparison.why_not(Measure(BIRDNET, "linear"))
        told = Markup("Nothing can be said of birds here: no window has a label ({}).").format(why)
        return [told, *_left_out(comparison)]
    top = top_of(comparison, measure)
    return [
        _best(comparison, measure, top),
        *_baselines(comparison, measure),
        *_by_birdnet(comparison, measure, top),
        *_leaky(measure, top),
        *_recorder(comparison, top),
        *_cost(comparison, measure, top),
        *_left_out(comparison),
    ]


def _best(comparison: Comparison, measure: Measure, top: Compared) -> Markup:
    """Say which space is highest, and whether the intervals let it be called best."""
    one = top.figures[measure]
    highest = Markup("{} is highest: {}").format(bold(top.name), _told(comparison, measure, one))
    if one.standing == BEST:
        return Markup(
            "<b>{} is best at species</b>: {} Its whole interval lies above that of every other space that learned without "
            "labels."
        ).format(top.name, _told(comparison, measure, one))
    if one.standing == HIGHEST:
        level = [
            space.name for space in comparison.spaces if space.figures[measure].standing == LEVEL
        ]
        others = listed(level) if level else Markup("spaces that have none")
        return Markup(
            "No single space is best at species. {} The intervals cannot tell it from {}."
        ).format(highest, others)
    if one.low is None:
        return Markup(
            "{} There are too few groups for an interval: do not take it for a ranking."
        ).format(highest)
    if one.chance is not None and one.low <= one.chance:
        return Markup(
            "No space that learned without labels tells species better than guessing, as far as the intervals go. {}"
        ).format(highest)
    return Markup("Only one space could be measured. {}").format(highest)


def _told(comparison: Comparison, measure: Measure, one: Figure) -> str:
    """Say what a figure means, with its interval, chance and labels."""
    value = one.value or 0.0
    if measure.how == AGREEMENT:
        means = f"its clusters agree with the labels at AMI {digits(value)}"
    else:
        means = (
            f"a {HEADS[measure.how]} on it names {100 * value:.0f} of 100 windows right, averaged over the species"
            if measure.how == "linear"
            else f"by {HEADS[measure.how]}, {100 * value:.0f} of 100 windows are named right, averaged over the species"
        )
    sure = "" if one.low is None else f"95 % interval {digits(one.low)} to {digits(one.high)}; "
    guess = "" if one.chance is None else f"guessing {digits(one.chance)}; "
    return f"{means} ({sure}{guess}labels: {labels_of(comparison, measure.about)})."


def _baselines(comparison: Comparison, measure: Measure) -> list[Markup]:
    with_value = [space for space in comparison.spaces if space.figures[measure].value is not None]
    experiments = [space for space in with_value if space.kind == EXPERIMENT]
    baselines = [space for space in with_value if space.kind not in (EXPERIMENT, SUPERVISED)]
    told = []
    if experiments and baselines:
        plain = max(baselines, key=lambda space: _value(space, measure))
        reach = plain.figures[measure].high
        above = [
            space
            for space in experiments
            if reach is not None and (space.figures[measure].low or 0.0) > reach
        ]
        verdict = (
            Markup(
                "no experiment lies above it by its interval, so for species the training has not paid yet"
            )
            if not above
            else Markup("{} of {} experiments lie above it by their intervals").format(
                len(above), len(experiments)
            )
        )
        told.append(
            Markup("The best baseline, {}, has {}: {}.").format(
                bold(plain.name), bounded(plain.figures[measure]), verdict
            )
        )
    for space in with_value:
        if space.kind == SUPERVISED:
            told.append(
                Markup("For scale: {}, which learned from labelled birds, has {}.").format(
                    bold(space.name), bounded(space.figures[measure])
                )
            )
    return told


def _by_birdnet(comparison: Comparison, measure: Measure, top: Compared) -> list[Markup]:
    if measure.about != TRUTH:
        return []
    other = Measure(BIRDNET, measure.how)
    if not comparison.measured(other):
        why = comparison.why_not(other)
        return [Markup("By BirdNET's labels the same could not be measured ({}).").format(why)]
    theirs = top_of(comparison, other)
    same = "too" if theirs.name == top.name else "instead"
    return [
        Markup("By the labels of {}, {} is highest {}: {}.").format(
            labels_of(comparison, BIRDNET), bold(theirs.name), same, bounded(theirs.figures[other])
        )
    ]


def _leaky(measure: Measure, top: Compared) -> list[Markup]:
    leaky = top.figures.get(Measure(measure.about, measure.how, "leaky"))
    honest = top.figures[measure].value
    if leaky is None or leaky.value is None or honest is None:
        return []
    if leaky.value - honest < 0.01:
        return [
            Markup(
                "With a leaky split, the figure of {} would read {}: here it makes no difference."
            ).format(bold(top.name), digits(leaky.value))
        ]
    return [
        Markup(
            "With a leaky split, where windows next to the tested ones are learned from, the figure of {} would read {} "
            "instead of {}: the difference is no knowledge of birds."
        ).format(bold(top.name), digits(leaky.value), digits(honest))
    ]


def _recorder(comparison: Comparison, top: Compared) -> list[Markup]:
    measure = Measure("recorder", "linear")
    one = top.figures[measure]
    if one.value is None:
        return []
    guess = comparison.chance.get(measure)
    beside = "" if guess is None else f", where guessing gives {digits(guess)}"
    return [
        Markup("Nuisance: {} also tells which recorder a window is from, with {}{}.").format(
            bold(top.name), bounded(one), beside
        )
    ]


def _cost(comparison: Comparison, measure: Measure, top: Compared) -> list[Markup]:
    told = []
    level = [space for space in comparison.spaces if space.figures[measure].standing == LEVEL]
    for space in [top, *level]:
        hours, device = space.cost.get("training_hours"), space.cost.get("device")
        if hours is None:
            continue
        gpu = space.cost.get("gpu_hours")
        on = f" on {device}" if device else ""
        all_hours = f" ({rate(gpu)} GPU hours)" if gpu else ""
        speed = space.cost.get("windows_per_second")
        fast = f" and embeds {rate(speed)} windows per second" if speed else ""
        told.append(
            Markup("{} was trained for {} hours{}{}{}").format(
                bold(space.name), rate(hours), on, all_hours, fast
            )
        )
    if told:
        return [Markup("Cost: {}.").format(Markup("; ").join(told))]
    if top.kind == EXPERIMENT:
        note = top.cost.get("note") or "not measured"
        return [Markup("What {} cost is not known: {}.").format(bold(top.name), note)]
    return []


def _left_out(comparison: Comparison) -> list[Markup]:
    gone = [space for space in comparison.spaces if space.note]
    if not gone:
        return []
    told = (Markup("{} ({})").format(bold(space.name), space.note) for space in gone)
    return [Markup("Not compared: {}.").format(Markup(", ").join(told))]


def nuisances(comparison: Comparison) -> list[str]:
    """Return what of recorder, month, week and hour was measured."""
    return [about for about in NUISANCE if comparison.measured(Measure(about, "linear"))]
