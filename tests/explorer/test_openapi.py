"""The interface is the one described, and nothing that is sent breaks the server."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance
from starlette.routing import Route

from dawnchorus.explorer.openapi import OPERATIONS, document
from dawnchorus.explorer.server import create_app
from dawnchorus.results import Results
from dawnchorus.sharing.tables import export_tables

from .conftest import EXPERIMENT, Season

TOKEN = "correct-horse"  # noqa: S105


@pytest.fixture(scope="module")
def application(made: Season, tmp_path_factory: pytest.TempPathFactory):
    """A server over a season of its own: what is labelled by chance is nobody else's."""
    root = tmp_path_factory.mktemp("fuzzed") / "results"
    shutil.copytree(made.results.root, root)
    season = Season(made.root, made.settings, Results(root), made.sounds)
    explorer = replace(
        season.open(),
        export=lambda out, form: export_tables(
            season.settings, season.results, out, "labels", EXPERIMENT, [form]
        ),
    )
    return create_app(explorer, TOKEN, "dawnchorus_1")


def test_the_document_is_the_application(application) -> None:
    served = {
        (method.lower(), route.path)
        for route in application.routes
        if isinstance(route, Route)
        for method in route.methods - {"HEAD"}
    }
    assert {(one.method, one.path) for one in OPERATIONS} == served


def test_what_is_sent_at_random_is_answered_or_refused(application) -> None:
    described = schemathesis.openapi.from_dict(document())
    described.app = application

    for one in OPERATIONS:
        operation = described[one.path][one.method.upper()]

        @settings(
            max_examples=3 if one.body else 1, deadline=None, phases=[Phase.generate], database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def send(case) -> None:
            case.query = {**(case.query or {}), "token": TOKEN}
            answer = case.call(base_url="http://127.0.0.1")
            case.validate_response(answer, checks=[not_a_server_error, status_code_conformance])

        send()
