"""From a clock reading to an instant, a local date and a deployment.

In: the :class:`~dawnchorus.recordings.names.Stamp` of a name, what the header says about the clock, and
the deployments. Out: a :class:`Start`.

The order in which the offset of the clock is looked for (the nearest wins):

1. the offset in the file name (Frontier Labs, ``audio.pattern``);
2. the header's, for AudioMoth names only: ``(UTC+2)`` in the comment, else GUANO's ``Timestamp``; an
   AudioMoth that says nothing runs on UTC;
3. the ``timezone`` of the deployment; 4. ``audio.timezone``.

A name without any date takes the header's time (AudioMoth comment, GUANO), or has none: never a guess.

The *local date* follows the clock if it ran on an offset other than UTC, else the zone of the
deployment or the season: a recorder that was set to UTC has no local time of its own. In the hour
that autumn repeats, the first pass is meant (``fold=0``); a time that spring skips is read with the
offset before the change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dawnchorus.recordings.deployments import Deployment, Deployments
from dawnchorus.recordings.headers import Riff, audiomoth_comment
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
    code: str | None = None
    """A fault that did not matter (``FL008``, ``OA004``)."""

    @property
    def date(self) -> str:
        """Local date, ``YYYY-MM-DD``: the recorder-day."""
        return (self.utc + self.offset).date().isoformat()


def header_clock(riff: Riff | None) -> HeaderClock | None:
    """Read the start from an AudioMoth comment or a GUANO ``Timestamp``; None if neither is there."""
    if riff is None:
        return None
    comment = audiomoth_comment(riff)
    if comment is not None:
        return HeaderClock(comment.start.replace(tzinfo=None), comment.start.utcoffset())
    try:
        moment = datetime.fromisoformat(riff.guano.get("Timestamp", ""))
    except ValueError:
        return None
    return HeaderClock(moment.replace(tzinfo=None), moment.utcoffset())


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
    code: str | None = None
    place: tuple[float, float] | None = None
    if isinstance(stamp, NameFault):
        if header is None:
            return stamp
        clock, offset, convention = header.clock, header.offset, HEADER
    else:
        clock, offset, convention = stamp.clock, stamp.offset, str(stamp.convention)
        code, place = stamp.code, stamp.place
        if header is not None and stamp.convention == "audiomoth":
            offset = header.offset if header.offset is not None else offset
            # Told with milliseconds or not, it is the same time.
            if abs(header.clock - clock) > SAME:
                code = "OA004"
    zone = None
    if offset is None:
        deployment, utc = deployments.at_local(recorder, clock)
    else:
        utc = (clock - offset).replace(tzinfo=UTC)
        deployment = deployments.at(recorder, utc)
    if not offset:
        zone = deployments.timezone if deployment is None else deployment.timezone
        offset = _offset(utc, zone)
    if deployment is not None and deployment.place is not None:
        place = deployment.place
    return Start(utc, offset, convention, deployment, place, zone, code)


def _offset(utc: datetime, zone: str) -> timedelta:
    return utc.astimezone(ZoneInfo(zone)).utcoffset() or timedelta(0)
