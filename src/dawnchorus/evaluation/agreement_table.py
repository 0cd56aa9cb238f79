"""Agreement of every clustering of every space with every kind of label.

In: the bench. Out: its tables ``agreement``, ``species``, ``clusters`` and ``confusion``, filled; the
silhouette of clusters and of labels stands in ``agreement``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dawnchorus.evaluation import spaces as space_of
from dawnchorus.evaluation.agreement import (
    agreement,
    best_clusters,
    cluster_contents,
    confusion,
    multilabel_purity,
)
from dawnchorus.evaluation.bench import NOTHING, Bench
from dawnchorus.evaluation.bootstrap import NONE
from dawnchorus.evaluation.labels import BIRDNET, Labels, probed_confidence
from dawnchorus.evaluation.silhouette import distances, part_of, silhouette
from dawnchorus.evaluation.spaces import EXPERIMENT, Space
from dawnchorus.evaluation.tables import Row, figure, number
from dawnchorus.progress import counting

NOWHERE = -1
"""Cluster of a window that is in none."""


def fill_agreement(bench: Bench) -> None:
    """Fill the tables agreement, species, clusters and confusion."""
    clustering = bench.settings.clustering
    variants = 2 * len(bench.labels)
    total = len(bench.spaces) + sum(space.kind == EXPERIMENT for space in bench.spaces)
    with counting("agreement", total * variants, "comparisons") as advance:
        for space in bench.spaces:
            clusterings = {}
            fitted, note = space_of.clustered(
                space, clustering.k, seed=clustering.seed, restarts=clustering.restarts
            )
            clusterings["fitted"] = space.held, fitted, note
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
                clusterings["assigned"] = held, cluster[held], note
            for name, (held, clusters, note) in clusterings.items():
                everywhere = np.full(len(held), NOWHERE, dtype=np.int64)
                everywhere[held] = clusters
                clusterings[name] = held, everywhere, note
                _agree(bench, space, name, held, everywhere, note, advance)
            _silhouettes(bench, space, {name: one[1] for name, one in clusterings.items()})


def _agree(
    bench: Bench,
    space: Space,
    clustering: str,
    held: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    note: str,
    advance: Callable[[float], None],
) -> None:
    """Compare one clustering with all labels; ``clusters`` counts where ``held`` is True."""
    evaluation = bench.settings.evaluation
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
                bench, labels, kept, known, clusters, head, unlabelled, remark
            )
            advance(1)
        present, mine = labels.present[known], clusters[known]
        mixed = present[np.random.default_rng(evaluation.seed).permutation(present.shape[0])]
        by_chance = {best.species: best.f1 for best in best_clusters(mixed, labels.species, mine)}
        bench.tables["species"] += [
            head | vars(best) | {"shuffled": by_chance[best.species]}
            for best in best_clusters(present, labels.species, mine)
        ]
        bench.tables["clusters"] += [
            head | vars(content) | {"shuffled": chance.detection_rate}
            for content, chance in zip(
                cluster_contents(present, labels.species, mine),
                cluster_contents(mixed, labels.species, mine),
                strict=True,
            )
        ]
        probed = labels.confidence in (None, probed_confidence(evaluation.confidences))
        if probed:
            bench.tables["confusion"] += [
                head | {"cluster": cluster, "species": species, "windows": windows}
                for cluster, species, windows in confusion(present, labels.species, mine, NOTHING)
            ]
        if not known.any() or not labels.species:
            reason = {**head, "note": _why_empty(labels, known)}
            bench.tables["species"].append(reason)
            if not known.any():
                bench.tables["clusters"].append(reason)
                if probed:
                    bench.tables["confusion"].append(reason)


def _silhouettes(bench: Bench, space: Space, clusterings: dict[str, NDArray[np.int64]]) -> None:
    """Add how far apart a space's clusters and its labels lie, on a seeded part of its windows."""
    evaluation = bench.settings.evaluation
    chosen = part_of(len(space.vectors), evaluation.seed)
    apart = distances(space_of.directions(space)[chosen])
    where = np.flatnonzero(space.held)[chosen]
    classes: list[tuple[Row, NDArray[Any], NDArray[np.bool_], str]] = [
        ({"clustering": name}, clusters, clusters != NOWHERE, "")
        for name, clusters in clusterings.items()
    ]
    for labels in bench.labels:
        known = space.held & labels.known
        head = {
            "clustering": "labels",
            "labels": labels.source,
            "confidence": labels.confidence,
            "unlabelled": "left out",
            "coverage": _coverage(labels, known),
        }
        labelled = known & labels.labelled
        empty = "" if labelled.any() else _why_empty(labels, known)
        classes.append((head, labels.top, labelled, empty))
    for head, values, known, empty in classes:
        kept = known[where]
        mine = where[kept]
        found = silhouette(
            apart[np.ix_(kept, kept)],
            values[mine],
            bench.group[mine],
            resamples=evaluation.bootstrap,
            seed=evaluation.seed,
        )
        of_part = f"of {len(where)} of {len(space.vectors)} windows"
        bench.tables["agreement"].append(
            {
                "space": space.name,
                "kind": space.kind,
                "dimension": space.dimension,
                **head,
                **figure("silhouette", found.value, found.interval),
                "shuffled": number(found.shuffled),
                "windows": found.windows,
                "classes": len(set(values[mine].tolist())),
                "groups": len(set(bench.group[mine].tolist())),
                "note": "; ".join(
                    filter(
                        None,
                        [
                            empty or found.reason,
                            of_part if len(where) < len(space.vectors) else "",
                            space.note,
                        ],
                    )
                ),
            }
        )


def _coverage(labels: Labels, known: NDArray[np.bool_]) -> float | None:
    """Return the share of the windows somebody listened to that have a label."""
    return float((known & labels.labelled).sum() / known.sum()) if known.any() else None


def _why_empty(labels: Labels, known: NDArray[np.bool_]) -> str:
    if labels.source == BIRDNET:
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
        "coverage": _coverage(labels, known),
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
