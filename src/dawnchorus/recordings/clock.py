"""From a clock reading to an instant, a local date and a deployment.

In: the :class:`~dawnchorus.recordings.names.Stamp` of a name, what the header says about the clock, and
the deployments. Out: a :class:`Start`.

Name, header and deployment may disagree, mostly by an hour (summer time, a firmware's fault, a clock set
in another zone). The order in which they are believed is fixed; what was not believed is reported.

*The reading* of the clock: the name's. A header that differs by more than two seconds is reported
(``OA004`` for AudioMoths, whose firmware 1.2.2 wrote such headers, ``DC012`` for others). A name without any
date takes the header's reading (AudioMoth comment, GUANO, wamd), or has none: never a guess.

*Its offset* from UTC (the nearest wins):

1. the offset in the file name (Frontier Labs, ``audio.pattern``);
2. the header's: ``(UTC+2)`` in AudioMoth's comment, the offset in GUANO's or wamd's time if its reading is
   that of the name; an AudioMoth that says nothing runs on UTC;
3. the ``timezone`` of the deployment; 4. ``audio.timezone``.

An offset of 1 or 2 that is not what the zone of 3 or 4 has at that instant is reported, once per recorder
and difference (``DC013``).

The *local date* is that of the name for names that tell local time (Song Meter), whatever the header; for
the others it follows the clock if it ran on an offset other than UTC, else the zone of the deployment or
the season: a recorder that was set to UTC has no local time of its own. In the hour that autumn
repeats, the first pass is meant (``fold=0``); a time that spring skips is read with the offset before the
change. A recorder that does not change its clock with the zone needs a zone that does not either in
``deployments.csv`` (``Etc/GMT+6``), unless its header tells the offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from dawnchorus.recordings.deployments import Deployment, Deployments
from dawnchorus.recordings.metadata import Metadata
from dawnchorus.recordings.names import NameFault, Stamp

HEADER = "header"
"""Convention of a recording whose name says nothing and whose header does."""
SAME = timedelta(seconds=2)
"""AudioMoths write name and comment within a second of each other."""


@dataclass(frozen=True)
class HeaderClock:
    """What a header says about when its recording began."""

    clock: datetime
    """The reading, naive."""
    offset: timedelta | None
    """Of the clock from UTC; None: local time."""


@dataclass(frozen=True)
class Start:
    """When and where a recording began."""

    utc: datetime
    offset: timedelta
    """Local time minus UTC."""
    convention: str
    deployment: Deployment | None
    place: tuple[float, float] | None
    """Latitude and longitude of the deployment, else those in the name."""
    timezone: str | None
    """IANA name by which the local date was found; None: the clock's own offset was."""
    codes: tuple[str, ...] = ()
    """Faults that did not matter (``FL004``, ``FL008``, ``OA003``, ``OA004``, ``DC012``)."""
    zone_offset: timedelta | None = None
    """What the deployment's or the season's zone has then, where that is not the offset of the clock."""

    @property
    def date(self) -> str:
        """Local date, ``YYYY-MM-DD``: the recorder-day."""
        return (self.utc + self.offset).date().isoformat()


def header_clock(metadata: Metadata) -> HeaderClock | None:
    """Return what the header says about the clock; None if it says nothing."""
    return None if metadata.clock is None else HeaderClock(metadata.clock, metadata.offset)


def needs_header(stamp: Stamp | NameFault) -> bool:
    """Tell whether the name alone cannot give the local date."""
    return isinstance(stamp, NameFault) or stamp.convention == "audiomoth"


def start_of(
    recorder: str, stamp: Stamp | NameFault, header: HeaderClock | None, deployments: Deployments
) -> Start | NameFault:
    """Say when a recording began.

    Parameters
    ----------
    recorder : str
        The recorder's id.
    stamp : Stamp or NameFault
        What the name says.
    header : HeaderClock or None
        What the header says; needed only where :func:`needs_header`.
    deployments : Deployments
        Of the season.

    Returns
    -------
    Start or NameFault
        The fault of the name, if the header does not help either.
    """
    codes: list[str] = []
    place: tuple[float, float] | None = None
    is_local = False
    if isinstance(stamp, NameFault):
        if header is None:
            return stamp
        clock, offset, convention = header.clock, header.offset, HEADER
    else:
        clock, offset, convention = stamp.clock, stamp.offset, str(stamp.convention)
        place = stamp.place
        codes.extend(stamp.codes)
        if header is not None:
            is_audiomoth = stamp.convention == "audiomoth"
            is_believed = _agree(stamp, header)
            if not is_believed:
                codes.append("OA004" if is_audiomoth else "DC012")
            # (The offset in an AudioMoth's header is right even where its reading is not.)
            if header.offset is not None and (is_audiomoth or (offset is None and is_believed)):
                is_local = offset is None
                offset = header.offset
    zone = None
    if offset is None:
        deployment, utc = deployments.at_local(recorder, clock)
    else:
        utc = (clock - offset).replace(tzinfo=UTC)
        deployment = deployments.at(recorder, utc)
    of_zone = deployments.timezone if deployment is None else deployment.timezone
    zone_offset = None
    if is_local or offset:
        # A season whose zone nobody told cannot contradict.
        there = _offset(utc, of_zone) if of_zone != "UTC" else offset
        zone_offset = there if there != offset else None
    else:
        zone, offset = of_zone, _offset(utc, of_zone)
    if deployment is not None and deployment.place is not None:
        place = deployment.place
    return Start(
        utc, offset or timedelta(0), convention, deployment, place, zone, tuple(codes), zone_offset
    )


def _agree(stamp: Stamp, header: HeaderClock) -> bool:
    """Tell whether name and header mean the same time, told with milliseconds or not."""
    if abs(header.clock - stamp.clock) <= SAME:
        return True
    # One told in UTC and the other in local time, both with their offset. (That an AudioMoth's name is UTC
    # is only assumed: its name and its header run on the same clock.)
    if stamp.convention == "audiomoth" or stamp.offset is None or header.offset is None:
        return False
    return abs((header.clock - header.offset) - (stamp.clock - stamp.offset)) <= SAME


def _offset(utc: datetime, zone: str) -> timedelta:
    return utc.astimezone(_zone(zone)).utcoffset() or timedelta(0)


_zone = lru_cache(maxsize=64)(ZoneInfo)
