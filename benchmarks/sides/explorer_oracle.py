"""An annotator who knows the truth of what he hears: how fast are labels, and how good.

In: windows of which it is known what they hold (:class:`Heard`), served by the explorer. Out: windows labelled per
hour, purity and coverage. The oracle works through the clusters, the largest first, over HTTP as the page does: he
listens to some random members (told to the server), names the cluster if enough of them are one class, and leaves
it alone if not. What a person takes is added to what the machine took: :data:`LISTEN_S` for a window heard,
:data:`NAME_S` for a name or a decision against one.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LISTEN_S, NAME_S = 4.0, 8.0
HEARD = 12
AGREE = 0.9
"""Share of the windows heard that must be of one class."""


@dataclass(frozen=True)
class Heard:
    """What there is to be heard.

    Attributes
    ----------
    classes : list of str
    holds : bool array (n, classes)
        Whether a window holds a class; a window may hold several.
    cluster : int64 array (n,)
        Of each window; -1 where it has none.
    """

    classes: list[str]
    holds: NDArray[np.bool_]
    cluster: NDArray[np.int64]


@dataclass(frozen=True)
class Work:
    windows: int
    labelled: int
    hours: float
    machine_s: float
    per_hour: float
    purity: float
    coverage: float
    clusters_named: int
    clusters_left: int


def mixed(cluster: NDArray[np.uint16], classes: int, seed: int) -> Heard:
    """Give every window a class: a cluster has a main class and a share of others, between 0 and 40 %."""
    rng = np.random.default_rng(seed)
    number = cluster.astype(np.int64)
    number[number == 65_535] = -1
    known = int(number.max()) + 1
    main, share = rng.integers(classes, size=known), rng.uniform(0, 0.4, known) ** 1.5
    other = rng.random(len(number)) < share[number]
    truth = np.where(other, rng.integers(classes, size=len(number)), main[number])
    holds = np.zeros((len(number), classes), dtype=bool)
    holds[np.arange(len(number)), truth] = number >= 0
    return Heard([f"class {k}" for k in range(classes)], holds, number)


def annotate(
    what: str,
    sounds: Heard,
    server: AbstractContextManager[tuple[str, int]],
    show: Callable[[str], None],
) -> Work:
    """Let the oracle work through all clusters of what a server serves; ``what`` is for the line shown."""
    rng = np.random.default_rng(2)
    person = machine = 0.0
    named = left = 0
    with server as (address, _):
        base, _, token = address.partition("?token=")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def post(path: str, body: dict[str, Any]) -> None:
            request = urllib.request.Request(  # noqa: S310 - http, from our own server
                f"{base}api/{path}?token={token}",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            opener.open(request).read()

        sizes = np.bincount(sounds.cluster[sounds.cluster >= 0])
        for number in np.argsort(-sizes).tolist():
            members = np.flatnonzero(sounds.cluster == number)
            if not len(members):
                continue
            heard = rng.choice(members, min(HEARD, len(members)), replace=False)
            counts = sounds.holds[heard].sum(axis=0)
            said = int(counts.argmax())
            begin = time.perf_counter()
            post("heard", {"rows": heard.tolist()})
            if counts[said] >= AGREE * len(heard):
                region = {"kind": "cluster", "cluster": number}
                post("labels", {"region": region, "label": sounds.classes[said]})
                named += 1
            else:
                left += 1
            machine += time.perf_counter() - begin
            person += LISTEN_S * len(heard) + NAME_S
        labels = json.loads(opener.open(f"{base}api/labels?token={token}").read())
        codes = np.frombuffer(opener.open(f"{base}api/labels/codes?token={token}").read(), "<u2")
    given = np.flatnonzero(codes)
    column = np.array([-1, *(sounds.classes.index(name) for name in labels["names"])])
    right = sounds.holds[given, column[codes[given]]]
    windows, hours = len(codes), (person + machine) / 3600
    work = Work(
        windows=windows,
        labelled=len(given),
        hours=hours,
        machine_s=machine,
        per_hour=len(given) / hours,
        purity=float(right.mean()) if len(given) else float("nan"),
        coverage=len(given) / windows,
        clusters_named=named,
        clusters_left=left,
    )
    show(
        f"{what}: {windows:,} windows, an oracle: {work.labelled:,} labelled in {hours * 60:.1f} min (machine "
        f"{machine:.1f} s), {work.per_hour:,.0f} an hour, purity {work.purity:.3f}, coverage {work.coverage:.2f}; "
        f"{named} clusters named, {left} left alone; labels: {', '.join(labels['names']) or 'none'}"
    )
    return work
