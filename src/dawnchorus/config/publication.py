"""Who gives the data away, and on which terms: what an export for others says of its makers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dawnchorus.config.section import Section

LicenceId = Annotated[str, Field(pattern=r"^[-a-zA-Z0-9._]+$")]
"""Identifier of SPDX or Open Definition, for example ``CC0-1.0`` or ``CC-BY-4.0``."""


class Contributor(Section):
    """A person or organization, as Camtrap DP names them."""

    title: Annotated[str, Field(min_length=1)]
    """Name of the person or organization."""
    email: str | None = None
    path: str | None = None
    """Address of a page, for example an ORCID."""
    organization: str | None = None
    role: (
        Literal["contact", "principalInvestigator", "rightsHolder", "publisher", "contributor"]
        | None
    ) = None


class Publication(Section):
    """What Camtrap DP says of the season (`dawnchorus export --format camtrap-dp`)."""

    title: Annotated[str, Field(min_length=1)] = "Soundscape recordings"
    """Title of the data package."""
    contributors: tuple[Contributor, ...] = ()
    """Who made it: each with ``title`` (the name) and, if known, ``email``, ``path``, ``organization``,
    ``role``."""
    sampling_design: Literal[
        "simpleRandom",
        "systematicRandom",
        "clusteredRandom",
        "experimental",
        "targeted",
        "opportunistic",
    ] = "opportunistic"
    """How the sites were chosen."""
    data_licence: LicenceId = "notspecified"
    """SPDX name of the licence of labels and boxes; BirdNET's detections are CC-BY-NC-SA-4.0 whatever stands
    here."""
    media_licence: LicenceId = "notspecified"
    """SPDX name of the licence of the recordings."""
