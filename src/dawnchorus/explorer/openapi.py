"""The application's interface, described for programs: OpenAPI 3.1.

In: the table of operations below, and the bodies' own models. Out: the document at ``/api/openapi.json``. A test
holds the table against the application's routes, and a fuzzer works from the document.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

from dawnchorus import __version__
from dawnchorus.explorer.requests import Body
from dawnchorus.explorer.routes_annotators import HeardRequest
from dawnchorus.explorer.routes_classifier import ApplyRequest, TrainRequest
from dawnchorus.explorer.routes_labels import LabelRequest, OfRequest
from dawnchorus.explorer.routes_points import CountsRequest, GalleryRequest, MembersRequest

JSON, BYTES = "application/json", "application/octet-stream"
ROW = {"row": {"type": "integer", "minimum": 0}}
TEXT = {"type": "string"}


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes
    ----------
    answers : str
        Media type of a good answer.
    body : type of Body or None
    query, path_values : dict
        JSON schemas by name; those of the query may be left out.
    refusals : tuple of int
        Statuses beside 403, which the guard gives, and the good one.
    """

    method: str
    path: str
    summary: str
    answers: str = JSON
    body: type[Body] | None = None
    query: dict[str, Any] | None = None
    path_values: dict[str, Any] | None = None
    good: int = 200
    refusals: tuple[int, ...] = (404,)


_BODY = (404, 413, 415, 422)
_WRITES = (404, 409, 413, 415, 422, 507)
OPERATIONS = (
    Operation("get", "/", "the page", "text/html"),
    Operation("get", "/static/{name}", "a file of the page", "*/*", path_values={"name": TEXT}),
    Operation("get", "/api/openapi.json", "this document"),
    Operation("get", "/api/space", "experiment, names of the codes, axes, columns, levels"),
    Operation("get", "/api/news", "what the workflow has made since this server read the map"),
    Operation("get", "/api/points/{level}", "columns of a level of detail, little-endian", BYTES,
              query={"cells": {"type": "string", "pattern": r"^\d{1,4}(,\d{1,4})*$"}},
              path_values={"level": {"type": "integer", "minimum": 0}}, refusals=(404, 422)),
    Operation("post", "/api/members", "how many windows lie in a region, and some of them",
              body=MembersRequest, refusals=_BODY),
    Operation("post", "/api/counts", "windows counted by a column", body=CountsRequest, refusals=_BODY),
    Operation("post", "/api/gallery", "central, random and border windows of a region",
              body=GalleryRequest, refusals=_BODY),
    Operation("get", "/api/labels", "what stands, and the rule where labels overlap"),
    Operation("post", "/api/labels", "name a region or single windows; null takes names away",
              body=LabelRequest, good=201, refusals=_WRITES),
    Operation("get", "/api/labels/codes", "uint16 per window: 0, or 1 + index into names", BYTES),
    Operation("get", "/api/labels/marks", "uint8 per window: 1 inherited + 2 heard + 4 named by itself", BYTES),
    Operation("get", "/api/labels/overlaps", "which label gave way to which"),
    Operation("post", "/api/undo", "take a label back", body=OfRequest, refusals=_WRITES),
    Operation("post", "/api/redo", "let it stand again", body=OfRequest, refusals=_WRITES),
    Operation("post", "/api/heard", "somebody has listened to windows", body=HeardRequest, good=201,
              refusals=_WRITES),
    Operation("get", "/api/names", "names that fit what was typed", query={"typed": TEXT}),
    Operation("get", "/api/meter", "windows labelled per hour, and how many were heard"),
    Operation("get", "/api/agreement", "Cohen's kappa of two annotators",
              query={"first": TEXT, "second": TEXT}),
    Operation("get", "/api/classifier", "the classifier and its precision and recall by label"),
    Operation("post", "/api/classifier", "train it on the labels so far", body=TrainRequest, good=201,
              refusals=_WRITES),
    Operation("post", "/api/classifier/apply", "say of every window what it is", body=ApplyRequest,
              good=201, refusals=_WRITES),
    Operation("get", "/api/classifier/next", "windows to hear next", query={"label": TEXT}),
    Operation("get", "/api/export/{format}", "the labels as a ZIP archive", "application/zip",
              path_values={"format": TEXT}),
    Operation("get", "/api/windows/{row}", "which window this is", path_values=ROW),
    Operation("get", "/api/windows/{row}/attention", "what the heads look at", path_values=ROW),
    Operation("get", "/api/windows/{row}/spectrogram.png", "the stored decibels", "image/png",
              query={"context": {"type": "number", "minimum": 0, "maximum": 99}},
              path_values=ROW, refusals=(404, 422)),
    Operation("get", "/api/windows/{row}/audio.wav", "the recording's samples", "audio/wav",
              query={"context": {"type": "number", "minimum": 0, "maximum": 99}},
              path_values=ROW, refusals=(404, 422)),
)  # fmt: skip


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_query = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in (operation.query or {}).items()
    ]
    return in_query + [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in (operation.path_values or {}).items()
    ]


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    bodies = list(dict.fromkeys(one.body for one in OPERATIONS if one.body is not None))
    template = "#/components/schemas/{model}"
    _, schemas = models_json_schema(
        [(body, "validation") for body in bodies], ref_template=template
    )
    refusal = {
        "description": "refused, and why",
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                }
            }
        },
    }
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        said: dict[str, Any] = {
            "summary": one.summary,
            "parameters": _parameters(one),
            "responses": {
                str(one.good): {"description": one.summary, "content": {one.answers: {}}},
                **{str(status): refusal for status in sorted({403, *one.refusals})},
            },
        }
        if one.body is not None:
            schema = {"$ref": template.format(model=one.body.__name__)}
            said["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
        paths.setdefault(one.path, {})[one.method] = said
    return {
        "openapi": "3.1.0",
        "info": {"title": "Dawn Chorus explorer", "version": __version__},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "apiKey", "in": "query", "name": "token"}},
        },
    }
