"""The service keeps what its OpenAPI document says, whatever is asked: statuses, shapes, methods, what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from fake_engine import FakeEngine
from hypothesis import HealthCheck, settings, strategies
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from served import wav
from starlette.testclient import TestClient

from toolkit.serving.app import create_app
from toolkit.serving.settings import Settings

APP = create_app(FakeEngine(), Settings(models={"tiny": "nowhere"}))
schemathesis.openapi.format("binary", strategies.just(wav(0.001)))
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)


@pytest.fixture(scope="module", autouse=True)
def running() -> Iterator[None]:
    """The app is started for all of them; in the end no file lies in its folder."""
    with TestClient(APP):
        folder = APP.state.folder
        yield
        assert list(folder.iterdir()) == []


@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_service_does_as_it_is_described(case: schemathesis.Case):
    # The fields of OpenAI's form hang on each other (granularities on verbose_json), and `include[]=` is no item.
    theirs = [negative_data_rejection, positive_data_acceptance] if case.path.startswith("/v1/") else []
    case.call_and_validate(excluded_checks=theirs)
