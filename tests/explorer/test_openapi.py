"""The interface is the one described, and nothing that is sent breaks the server."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance
from starlette.routing import Route

from dawnchorus.explorer.openapi import OPERATIONS, document
from dawnchorus.explorer.server import create_app
from dawnchorus.sharing.tables import export_tables

from .conftest import EXPERIMENT, Season, make_season

TOKEN = "correct-horse"  # noqa: S105


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory):
    """A server over a season of its own: what is labelled by chance is nobody else's."""
    from dataclasses import replace

    season: Season = make_season(tmp_path_factory.mktemp("fuzzed"))
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


@pytest.fixture
def interface(application):
    schema = schemathesis.openapi.from_dict(document())
    schema.app = application
    return schema


fuzz = schemathesis.pytest.from_fixture("interface")


@fuzz.parametrize()
@settings(
    max_examples=6, deadline=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_what_is_sent_at_random_is_answered_or_refused(case) -> None:
    case.call_and_validate(
        base_url="http://127.0.0.1",
        params={**case.query, "token": TOKEN} if case.query else {"token": TOKEN},
        checks=[not_a_server_error, status_code_conformance],
    )
