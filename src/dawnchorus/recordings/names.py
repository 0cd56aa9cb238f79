"""When a recording began, as its file name says it.

In: a file name (no folder). Out: a :class:`Stamp` with the clock reading and, where the convention
fixes it, the offset of that clock from UTC; or a :class:`NameFault` with a code of the ``OE`` series.
Nothing is guessed: a name that follows no known convention is a fault, even if it holds digits.

Conventions, in the order in which they are tried:

===============  =============================================================  =================
convention       example                                                        clock
===============  =============================================================  =================
pattern          the user's regular expression ``audio.pattern``                local, or offset
audiomoth        ``20210502_040000.WAV``, ``..T.WAV``, ``242A26046036_...WAV``  UTC, unless the header differs
audiomoth-hex    ``5AEC2C40.WAV`` (firmware before 1.2: Unix time)              UTC
frontier-labs    ``20210524T053000+1000_REC [-27.38 152.87].wav``               offset in the name
frontier-labs    ``20220817_060000_REC.wav`` (older firmware)                   local
song-meter       ``S4A03895_20190522_010000.wav``, ``SM3_0+1_20150504$123000``  local
===============  =============================================================  =================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

Convention = Literal["pattern", "audiomoth", "audiomoth-hex", "frontier-labs", "song-meter"]

HEX_FROM, HEX_TO = datetime(2015, 1, 1), datetime(2040, 1, 1)
"""Span in which eight hexadecimal digits are taken for an AudioMoth's Unix time."""
FIRST_YEAR, LAST_YEAR = 1970, 2200
"""No recorder's clock tells another year, and no zone's offset leads out of the calendar from here."""
BEYOND_REASON = "the year is beyond reason"
LARGEST_OFFSET = timedelta(hours=14)
"""Local clocks run from 12 hours behind UTC to 14 ahead."""


@dataclass(frozen=True)
class Stamp:
    """A clock reading in a file name.

    Attributes
    ----------
    clock : datetime
        The reading, naive.
    offset : timedelta or None
        Of the clock from UTC (local minus UTC); None: the clock ran on local time.
    convention : str
        Which convention the name follows.
    place : tuple of (latitude, longitude) or None
        Where a name carries it (Frontier Labs).
    codes : tuple of str
        What is odd about the name, though it was read (``FL004``, ``FL008``, ``OA003``).
    channel : str or None
        The channel of a recorder that writes one file per channel (``0``, ``1``) or says that it
        wrote both (``0+1``).
    """

    clock: datetime
    offset: timedelta | None
    convention: Convention
    place: tuple[float, float] | None = None
    codes: tuple[str, ...] = ()
    channel: str | None = None


@dataclass(frozen=True)
class NameFault:
    """Why a name gives no time: a code of the ``OE`` series, and particulars."""

    code: str
    particulars: str


_DATE, _TIME = r"(?P<date>\d{8})", r"(?P<time>\d{6})"
_FRACTION = r"(?:[_.](?P<fraction>\d{3}|\d{6}))?"
_OFFSET = r"(?P<offset>Z|[+-]\d{4}|[+-]\d\d:\d\d|[+-]\d\d(?=[_ ]|$))"
_DEGREES = r"\d+(?:\.\d+)?"
_PLACE = (
    rf"(?P<brackets>\[)(?P<latitude>[+-]?{_DEGREES})(?:[ ,]+|(?=[+-]))"
    rf"(?P<longitude>[+-]?{_DEGREES})\]"
)


def _convention(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.ASCII)


_AUDIOMOTH = _convention(rf"(?:[0-9A-Fa-f]{{16}}_)?{_DATE}_{_TIME}{_FRACTION}T?")
_AUDIOMOTH_HEX = _convention(r"[0-9A-F]{8}")
# In the date of FL008 spaces stand for leading zeros.
_FRONTIER_LABS = _convention(
    r"(?P<date>\d{4}[\d ]\d[\d ]\d)[T_](?P<time>[\d ]\d[\d ]\d[\d ]\d)"
    rf"{_OFFSET}?(?:_[A-Za-z].*?)?[_ ]*(?:{_PLACE})?"
)
# Newer firmware writes start, end and place.
_FRONTIER_LABS_SPAN = _convention(
    rf"S{_DATE}T{_TIME}(?:\.(?P<fraction>\d{{1,6}}))?{_OFFSET}_E\d{{8}}T\d{{6}}[^_]*"
    rf"(?:_(?P<latitude>[+-]{_DEGREES})(?P<longitude>[+-]{_DEGREES}))?(?:_.*)?"
)
_SONG_METER = _convention(rf".+?(?:_(?P<channel>0\+1|[01]))?[_$]{_DATE}[_$]{_TIME}{_FRACTION}")
_ANY_DATE = _convention(r"(?<!\d)(?:19|20)\d{6}(?!\d)|(?<!\d)(?:19|20)\d\d[-.]\d\d[-.]\d\d(?!\d)")


def parse(name: str, pattern: str | None = None) -> Stamp | NameFault:
    """Read the time of a file name.

    Parameters
    ----------
    name : str
        File name with its suffix, without folders. Brackets, spaces and any case of the suffix work.
    pattern : str, optional
        The user's regular expression (``audio.pattern``), searched in the whole name and tried before
        all conventions. Groups ``year month day hour minute`` and, if they are there, ``second`` and
        ``offset``.

    Returns
    -------
    Stamp or NameFault
        The fault is ``OE001`` (no date), ``OE002`` (a date, but not by any known convention) or
        ``OE003`` (no such date or time).
    """
    if pattern is not None:
        found = _compiled(pattern).search(name)
        if found is not None:
            return _from_pattern(found)
    return _from_convention(name.rpartition(".")[0] or name)


def _from_convention(stem: str) -> Stamp | NameFault:
    if (found := _AUDIOMOTH.fullmatch(stem)) is not None:
        return _stamp(found.groupdict(), "audiomoth", timedelta(0))
    if (clock := _unix_time(stem)) is not None:
        return Stamp(clock, timedelta(0), "audiomoth-hex", codes=("OA003",))
    found = _FRONTIER_LABS.fullmatch(stem) or _FRONTIER_LABS_SPAN.fullmatch(stem)
    if found is not None:
        return _from_frontier_labs(found.groupdict())
    if (found := _SONG_METER.fullmatch(stem)) is not None:
        return _stamp(found.groupdict(), "song-meter", None)
    if _ANY_DATE.search(stem) is not None:
        return NameFault("OE002", "a date, but no known convention; describe it in audio.pattern")
    return NameFault(
        "OE001", "neither name nor header say when; a name may be read by audio.pattern"
    )


def _unix_time(stem: str) -> datetime | None:
    if _AUDIOMOTH_HEX.fullmatch(stem) is None:
        return None
    clock = datetime.fromtimestamp(int(stem, 16), UTC).replace(tzinfo=None)
    return clock if HEX_FROM <= clock < HEX_TO else None


@lru_cache(maxsize=16)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _from_pattern(found: re.Match[str]) -> Stamp | NameFault:
    groups = found.groupdict()
    try:
        year, month, day, hour, minute, second = (
            int(groups.get(key) or 0)
            for key in ("year", "month", "day", "hour", "minute", "second")
        )
        clock = datetime(year, month, day, hour, minute, second)
    except (ValueError, OverflowError) as error:
        return NameFault("OE003", f"{found[0]!r}: {error}")
    if not FIRST_YEAR <= clock.year <= LAST_YEAR:
        return NameFault("OE003", f"{found[0]!r}: {BEYOND_REASON}")
    text = groups.get("offset")
    offset = None if text is None else parse_offset(text)
    if text is not None and offset is None:
        return NameFault("OE003", f"{text!r} is no offset from UTC")
    return Stamp(clock, offset, "pattern")


def _from_frontier_labs(groups: Mapping[str, str | None]) -> Stamp | NameFault:
    date, time = groups["date"] or "", groups["time"] or ""
    codes: tuple[str, ...] = ()
    if " " in date or " " in time:
        codes = ("FL008",)
        date, time = date.replace(" ", "0"), time.replace(" ", "0")
    offset = None
    if groups.get("offset"):
        offset = parse_offset(groups["offset"] or "")
        if offset is None:
            return NameFault("OE003", f"{groups['offset']!r} is no offset from UTC")
    place = None
    if groups.get("latitude") and groups.get("longitude"):
        latitude = float(groups["latitude"] or "")
        longitude = float(groups["longitude"] or "")
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            place = (latitude, longitude)
    if groups.get("brackets"):
        codes = ("FL004", *codes)
    told = {"date": date, "time": time, "fraction": groups.get("fraction")}
    return _stamp(told, "frontier-labs", offset, place, codes)


def _stamp(
    groups: Mapping[str, str | None],
    convention: Convention,
    offset: timedelta | None,
    place: tuple[float, float] | None = None,
    codes: tuple[str, ...] = (),
) -> Stamp | NameFault:
    date, time = groups["date"] or "", groups["time"] or ""
    microsecond = int((groups.get("fraction") or "0").ljust(6, "0"))
    try:
        clock = datetime(
            int(date[:4]),
            int(date[4:6]),
            int(date[6:]),
            int(time[:2]),
            int(time[2:4]),
            int(time[4:]),
            microsecond,
        )
    except ValueError as error:
        return NameFault("OE003", f"{date} {time}: {error}")
    if not FIRST_YEAR <= clock.year <= LAST_YEAR:
        return NameFault("OE003", f"{date} {time}: {BEYOND_REASON}")
    return Stamp(clock, offset, convention, place, codes, groups.get("channel"))


def parse_offset(text: str) -> timedelta | None:
    """Read ``Z``, ``+1000``, ``-05:00`` or ``+10``; None if there is no such offset from UTC."""
    if text in ("Z", "z"):
        return timedelta(0)
    found = re.fullmatch(r"([+-])(\d{1,2}?)(?::?(\d\d))?", text)
    if found is None:
        return None
    offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
    if offset > LARGEST_OFFSET or int(found[3] or 0) >= 60:
        return None
    return -offset if found[1] == "-" else offset
