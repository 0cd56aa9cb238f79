"""What recorders say of themselves inside their recordings.

In: the metadata chunks of a :class:`~dawnchorus.recordings.headers.Riff`. Out: :class:`Metadata`: the
clock, the device, the place, battery and temperature, as far as they are told. Each is taken from the
first source that has it:

1. AudioMoth's comment (``LIST`` ICMT): ``Recorded at 01:30:00 15/05/2021 (UTC+2) by AudioMoth 24F3... at
   medium gain while battery was 4.6V and temperature was 17.7C.`` in the words of all its firmwares;
2. GUANO (https://guano-md.org): ``Timestamp``, ``Serial``, ``Loc Position``, ``Temperature Int``, ...;
3. ``wamd``, Wildlife Acoustics' own (entries 1 model, 2 serial, 5 start, 6 place, 21 and 22 temperature).

Nothing is guessed: a text that does not follow its form says nothing.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from dawnchorus.recordings.headers import Riff
from dawnchorus.recordings.names import FIRST_YEAR, LAST_YEAR


class Metadata(NamedTuple):
    """What a recorder wrote into its recording; None where it said nothing."""

    clock: datetime | None = None
    """Start of the recording by the recorder's clock, naive."""
    offset: timedelta | None = None
    """Of that clock from UTC (local minus UTC); None: it did not say."""
    device: str | None = None
    """Serial number."""
    place: tuple[float, float] | None = None
    """Latitude and longitude in degrees."""
    battery_v: float | None = None
    """Volts; the bound where only a bound is told (``greater than 4.9V``)."""
    temperature_c: float | None = None
    """Degrees Celsius, outside if known, else inside the device."""
    is_low_battery: bool = False
    """The recorder says that it stopped for want of power."""


SILENT = Metadata()
"""Of a file that says nothing."""

_COMMENT = re.compile(
    r"Recorded at (\d\d):(\d\d):(\d\d)(?:\.\d+)? (\d\d)/(\d\d)/(\d{4}) "
    # Firmware 1.0 does not say that its clock runs on UTC.
    r"(?:\(UTC(?:([+-])(\d{1,2})(?::(\d\d))?)?\)|(?=by AudioMoth))"
    r"(?:.*?AudioMoth ([0-9A-Fa-f]{16}))?"
)
_BATTERY = re.compile(
    r"battery (?:state )?was (?:(?:less|greater) than |[<>] ?)?(\d{1,3}(?:\.\d+)?)\s?V"
)
_TEMPERATURE = re.compile(r"temperature was (-?\d{1,3}(?:\.\d+)?)\s?C")
_LOW = re.compile(r"(?:due to|because of) low (?:voltage|battery)|low battery", re.IGNORECASE)
_DEVICE = re.compile(r"AudioMoth ([0-9A-Fa-f]{16})")

MINUTE = timedelta(minutes=1)

_WAMD_SERIAL, _WAMD_START, _WAMD_PLACE, _WAMD_INSIDE, _WAMD_OUTSIDE = 2, 5, 6, 21, 22


def metadata_of(riff: Riff | None) -> Metadata:
    """Read what a recorder wrote into its recording.

    Parameters
    ----------
    riff : Riff or None
        None (no WAVE file): nothing is told.
    """
    if riff is None or not (riff.info or riff.guano or riff.wamd):
        return SILENT
    sources = [
        _of_audiomoth(riff),
        _of_guano(riff) if riff.guano else SILENT,
        _of_wamd(riff) if riff.wamd else SILENT,
    ]
    clocked = next((source for source in sources if source.clock is not None), SILENT)
    return Metadata(
        clock=clocked.clock,
        offset=clocked.offset,
        device=next((source.device for source in sources if source.device), None),
        place=next((source.place for source in sources if source.place), None),
        battery_v=_first([source.battery_v for source in sources]),
        temperature_c=_first([source.temperature_c for source in sources]),
        is_low_battery=any(source.is_low_battery for source in sources),
    )


def _first(values: list[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _of_audiomoth(riff: Riff) -> Metadata:
    comment = riff.info.get("ICMT", "")
    found = _COMMENT.search(comment)
    if found is None:
        return SILENT
    hour, minute, second, day, month, year = (int(found[i]) for i in range(1, 7))
    offset = timedelta(hours=int(found[8] or 0), minutes=int(found[9] or 0))
    if found[7] == "-":
        offset = -offset
    try:
        clock: datetime | None = datetime(
            year, month, day, hour, minute, second, tzinfo=timezone(offset)
        ).replace(tzinfo=None)
    except ValueError:  # the 31st of February, or an offset of days
        clock = None
    if not FIRST_YEAR <= year <= LAST_YEAR:
        clock = None
    named = found[10] or next(iter(_DEVICE.findall(riff.info.get("IART", ""))), None)
    return Metadata(
        clock=clock,
        offset=None if clock is None else offset,
        device=named.upper() if named else None,
        battery_v=_number(_BATTERY.search(comment)),
        temperature_c=_number(_TEMPERATURE.search(comment)),
        is_low_battery=_LOW.search(comment) is not None,
    )


def _number(found: re.Match[str] | None) -> float | None:
    return None if found is None else float(found[1])


def _of_guano(riff: Riff) -> Metadata:
    guano = riff.guano
    clock, offset = _moment(guano.get("Timestamp", ""))
    outside, inside = (_degrees(guano.get(f"Temperature {where}", "")) for where in ("Ext", "Int"))
    return Metadata(
        clock=clock,
        offset=offset,
        device=guano.get("Serial") or None,
        place=_place(*guano.get("Loc Position", "").split()[:2]),
        battery_v=_degrees(guano.get("OAD|Battery Voltage", "")),
        temperature_c=inside if outside is None else outside,
    )


def _of_wamd(riff: Riff) -> Metadata:
    wamd = riff.wamd
    clock, offset = _moment(wamd.get(_WAMD_START, ""))
    outside, inside = (
        _degrees(wamd.get(entry, "").rstrip("CFcf °")) for entry in (_WAMD_OUTSIDE, _WAMD_INSIDE)
    )
    return Metadata(
        clock=clock,
        offset=offset,
        device=wamd.get(_WAMD_SERIAL) or None,
        place=_wamd_place(wamd.get(_WAMD_PLACE, "")),
        temperature_c=inside if outside is None else outside,
    )


def _moment(text: str) -> tuple[datetime | None, timedelta | None]:
    """Read an ISO 8601 time; naive clock and offset, which is a number of whole minutes."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None, None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        return None, None
    offset = moment.utcoffset()
    return moment.replace(tzinfo=None), None if offset is None else round(offset / MINUTE) * MINUTE


def _degrees(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _place(*degrees: str) -> tuple[float, float] | None:
    if len(degrees) != 2:
        return None
    latitude, longitude = _degrees(degrees[0]), _degrees(degrees[1])
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return latitude, longitude


def _wamd_place(text: str) -> tuple[float, float] | None:
    """Read ``WGS84,42.4,N,71.4,W,50`` (Song Meters) or ``WGS84,42.4,-71.4`` (Echo Meters)."""
    parts = [part.strip() for part in text.split(",")][1:]
    if len(parts) >= 4 and parts[1].upper() in ("N", "S") and parts[3].upper() in ("E", "W"):
        south, west = parts[1].upper() == "S", parts[3].upper() == "W"
        return _place("-" * south + parts[0], "-" * west + parts[2])
    return _place(*parts[:2])
