"""An annotator who knows the truth of what he hears: how fast are labels, and how good.

In: generated points whose clusters hold sounds of known classes, served by the explorer. Out: windows labelled per
hour, purity and coverage. The oracle works through the clusters, the largest first, over HTTP as the page does: he
listens to some random members (told to the server), names the cluster if enough of them are one class, and leaves
it alone if not. What a person takes is added to what the machine took: :data:`LISTEN_S` for a window heard,
:data:`NAME_S` for a name or a decision against one.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sides.explorer_server import served
from sides.output_space import generated

LISTEN_S, NAME_S = 4.0, 8.0
HEARD = 12
AGREE = 0.9
"""Share of the windows heard that must be of one class."""


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


def truth_of(cluster: NDArray[np.integer], classes: int, seed: int) -> NDArray[np.int64]:
    """Give every window a class: a cluster has a main class and a share of others, between 0 and 40 %."""
    rng = np.random.default_rng(seed)
    known = int(cluster.max()) + 1
    main, share = rng.integers(classes, size=known), rng.uniform(0, 0.4, known) ** 1.5
    other = rng.random(len(cluster)) < share[cluster]
    return np.where(other, rng.integers(classes, size=len(cluster)), main[cluster])


def annotate(windows: int, folder: Path, show: Callable[[str], None], classes: int = 20) -> Work:
    space = generated(windows).space
    cluster = space.cluster.astype(np.int64)
    assigned = cluster < 65_535
    truth = np.full(windows, -1)
    truth[assigned] = truth_of(cluster[assigned], classes, seed=1)
    rng = np.random.default_rng(2)
    sizes = np.bincount(cluster[assigned])
    person = machine = 0.0
    named = left = 0
    with served(windows, folder) as (address, _):
        base, _, token = address.partition("?token=")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def post(path: str, body: dict[str, Any]) -> None:
            request = urllib.request.Request(  # noqa: S310 - http, from our own server
                f"{base}api/{path}?token={token}",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            opener.open(request).read()

        for number in np.argsort(-sizes).tolist():
            members = np.flatnonzero(cluster == number)
            if not len(members):
                continue
            heard = rng.choice(members, min(HEARD, len(members)), replace=False)
            (said, count), *_ = Counter(truth[heard].tolist()).most_common(1)
            begin = time.perf_counter()
            post("heard", {"rows": heard.tolist()})
            if count >= AGREE * len(heard):
                region = {"kind": "cluster", "cluster": number}
                post("labels", {"region": region, "label": f"class {said}"})
                named += 1
            else:
                left += 1
            machine += time.perf_counter() - begin
            person += LISTEN_S * len(heard) + NAME_S
        labels = json.loads(opener.open(f"{base}api/labels?token={token}").read())
        codes = np.frombuffer(opener.open(f"{base}api/labels/codes?token={token}").read(), "<u2")
    names = np.array([-2, *(int(name.split()[1]) for name in labels["names"])])[codes]
    given = codes > 0
    hours = (person + machine) / 3600
    work = Work(
        windows,
        int(given.sum()),
        hours,
        machine,
        float(given.sum() / hours),
        float((names[given] == truth[given]).mean()) if given.any() else 0.0,
        float(given.mean()),
        named,
        left,
    )
    show(
        f"{windows:,} windows, an oracle: {work.labelled:,} labelled in {hours * 60:.1f} min (machine "
        f"{machine:.1f} s), {work.per_hour:,.0f} an hour, purity {work.purity:.3f}, coverage {work.coverage:.2f}; "
        f"{named} clusters named, {left} left"
    )
    return work
