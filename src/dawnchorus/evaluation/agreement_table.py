"""Agreement of every clustering of every space with every kind of label.

In: the bench. Out: its tables ``agreement``, ``species`` and ``clusters``, filled.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dawnchorus.evaluation import spaces as space_of
from dawnchorus.evaluation.agreement import (
    agreement,
    best_clusters,
    cluster_contents,
    multilabel_purity,
)
from dawnchorus.evaluation.bench import NOTHING, Bench
from dawnchorus.evaluation.bootstrap import NONE
from dawnchorus.evaluation.labels import Labels
from dawnchorus.evaluation.spaces import EXPERIMENT, Space
from dawnchorus.evaluation.tables import Row, figure, number
from dawnchorus.progress import counting


def fill_agreement(bench: Bench) -> None:
    """Fill the tables agreement, species and clusters."""
    clustering = bench.settings.clustering
    variants = 2 * len(bench.labels)
    total = len(bench.spaces) + sum(space.kind == EXPERIMENT for space in bench.spaces)
    with counting("agreement", total * variants, "comparisons") as advance:
        for space in bench.spaces:
            fitted, note = space_of.clustered(
                space, clustering.k, seed=clustering.seed, restarts=clustering.restarts
            )
            _agree(bench, space, "fitted", space.held, fitted, note, advance)
            if space.kind == EXPERIMENT:
                cluster = space_of.assigned(bench.results, space.name, bench.windows)
                held = cluster >= 0
                without = int((cluster == space_of.NOT_ASSIGNED).sum())
                noise = int((~held).sum()) - without
                note = "; ".join(
                    f"{count} windows {told}"
                    for count, told in (
                        (without, "are not assigned"),
                        (noise, "are noise and left out"),
                    )
                    if count
                )
                _agree(bench, space, "assigned", held, cluster[held], note, advance)


def _agree(
    bench: Bench,
    space: Space,
    clustering: str,
    held: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    note: str,
    advance: Callable[[float], None],
) -> None:
    """Compare one clustering with all labels; ``clusters`` has a row per True of ``held``."""
    everywhere = np.full(len(held), -1, dtype=np.int64)
    everywhere[held] = clusters
    for labels in bench.labels:
        head = {
            "space": space.name,
            "kind": space.kind,
            "dimension": space.dimension,
            "clustering": clustering,
            "labels": labels.source,
            "confidence": labels.confidence,
        }
        known = held & labels.known
        for unlabelled in ("left out", "class"):
            kept = known & labels.labelled if unlabelled == "left out" else known
            remark = note or space.note
            if not kept.any():
                remark = "; ".join(filter(None, [remark, _why_empty(labels, known)]))
            bench.tables["agreement"] += _scored(
                bench, labels, kept, known, everywhere, head, unlabelled, remark
            )
            advance(1)
        present, mine = labels.present[known], everywhere[known]
        bench.tables["species"] += [
            head | vars(best) for best in best_clusters(present, labels.species, mine)
        ]
        bench.tables["clusters"] += [
            head | vars(content) for content in cluster_contents(present, labels.species, mine)
        ]
        if not known.any() or not labels.species:
            reason = {**head, "note": _why_empty(labels, known)}
            bench.tables["species"].append(reason)
            if not known.any():
                bench.tables["clusters"].append(reason)


def _why_empty(labels: Labels, known: NDArray[np.bool_]) -> str:
    if labels.source == "birdnet":
        if not known.any():
            return "BirdNET has not heard these windows"
        return f"no detection at {labels.confidence} or above"
    if not known.any():
        return "no annotated recording among the windows"
    return "no annotated box in these windows"


def _scored(
    bench: Bench,
    labels: Labels,
    kept: NDArray[np.bool_],
    known: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    head: Row,
    unlabelled: str,
    note: str,
) -> list[Row]:
    evaluation = bench.settings.evaluation
    top = labels.top[kept].copy()
    empty = np.array([name is None for name in top], dtype=bool)
    top[empty] = NOTHING
    group = bench.group[kept]
    _, member = np.unique(group.astype(str), return_inverse=True)
    common = {
        **head,
        "unlabelled": unlabelled,
        "windows": int(kept.sum()),
        "coverage": number(
            float((known & labels.labelled).sum() / known.sum()) if known.any() else None
        ),
        "classes": len(set(top.tolist())),
        "clusters": len(np.unique(clusters[kept])),
        "groups": len(set(group.tolist())),
        "note": note,
    }
    found = agreement(
        top,
        clusters[kept],
        member.astype(np.int64),
        resamples=evaluation.bootstrap,
        seed=evaluation.seed,
    )
    rows = [
        common | figure(one.name, one.value, one.interval) | {"shuffled": number(one.shuffled)}
        for one in found
    ]
    present = labels.present[kept]
    if unlabelled == "class":
        present = sparse.hstack([present, sparse.csr_matrix(empty[:, None].astype(float))]).tocsr()
    shuffled = np.random.default_rng(evaluation.seed).permutation(present.shape[0])
    rows.append(
        common
        | figure("multilabel_purity", multilabel_purity(present, clusters[kept]), NONE)
        | {"shuffled": number(multilabel_purity(present[shuffled], clusters[kept]))}
    )
    return rows
