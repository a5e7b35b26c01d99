"""The service keeps what its OpenAPI document says, whatever is asked: statuses, shapes, methods, what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from fake_engine import FakeEngine
from hypothesis import HealthCheck, settings, strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from served import wav
from starlette.testclient import TestClient

from toolkit.serving.app import create_app
from toolkit.serving.security import hash_of
from toolkit.serving.service_errors import UnavailableError
from toolkit.serving.settings import Settings


class UnreadyEngine(FakeEngine):
    """Has begun, and whose model is gone."""

    async def start(self) -> None:
        """Nothing becomes ready."""

    def check_room(self) -> None:
        raise UnavailableError("the model does not run at the moment", retry_after=5)


APP = create_app(FakeEngine(), Settings(models={"tiny": "nowhere"}))
SHUT = create_app(UnreadyEngine(), Settings(models={"tiny": "nowhere"}, api_key_hashes=(hash_of("secret"),)))
schemathesis.openapi.format("binary", strategies.just(wav(0.001)))
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)
shut_schema = schemathesis.openapi.from_asgi("/openapi.json", SHUT)
few = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def running() -> Iterator[None]:
    """The apps are started for all of them; in the end no file lies in their folders."""
    with TestClient(APP), TestClient(SHUT):
        folders = [app.state.folder for app in (APP, SHUT)]
        yield
        assert [list(folder.iterdir()) for folder in folders] == [[], []]


@schema.parametrize()
@few
def test_the_service_does_as_it_is_described(case: schemathesis.Case):
    # The fields of OpenAI's form hang on each other (granularities on verbose_json), and `include[]=` is no item.
    theirs = [negative_data_rejection, positive_data_acceptance] if case.path.startswith("/v1/") else []
    case.call_and_validate(excluded_checks=theirs)


@shut_schema.parametrize()
@few
def test_so_it_does_with_keys_and_without_a_model(case: schemathesis.Case):
    theirs = [negative_data_rejection, positive_data_acceptance, not_a_server_error]  # nothing is accepted: 503
    case.call_and_validate(headers={"Authorization": "Bearer secret"}, excluded_checks=theirs)
