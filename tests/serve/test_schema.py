"""schemathesis asks the service all that openapi.json allows, and much that it does not."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings

OPERATIONS = [
    "GET /healthz",
    "GET /metrics",
    "GET /v1/caches",
    "GET /v1/caches/{id}",
    "GET /v1/caches/{id}/labels",
    "GET /v1/caches/{id}/arrays/{name}",
    "GET /v1/caches/{id}/samples",
    "GET /v1/caches/{id}/samples/{i}",
    "GET /v1/caches/{id}/samples/{i}/facts",
    "GET /v1/caches/{id}/batch",
    "POST /v1/caches/{id}/batch",
    "GET /v1/caches/{id}/file",
    "GET /v1/caches/{id}/digest",
    "GET /v1/builds",
    "GET /v1/builds/{id}",
    "DELETE /v1/builds/{id}",
    "GET /v1/builds/{id}/events",
]


@pytest.fixture(scope="module")
def schema(service: str, frames_id: str) -> Any:
    """Return the service's schema, which knows one cache's id: nobody guesses one."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is in the extra dev")
    document = requests.get(f"{service}/openapi.json", timeout=30).json()
    for name, path in document["paths"].items():
        for operation in path.values() if "/v1/caches" in name else ():
            for parameter in operation["parameters"]:
                if parameter["name"] == "id" and parameter["in"] == "path":
                    parameter["schema"] = {"enum": [frames_id]}
    return schemathesis.openapi.from_dict(document)


def test_every_operation_is_driven(schema: Any) -> None:
    found = {f"{operation.ok().method.upper()} {operation.ok().path}" for operation in schema.get_all_operations()}
    # What is left out would build what it asks for; test_builds asks it.
    assert found - set(OPERATIONS) == {"POST /v1/builds"}
    assert set(OPERATIONS) <= found


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_answers_are_as_described(schema: Any, service: str, name: str, mode: str) -> None:
    from schemathesis import GenerationMode

    method, path = name.split()
    operation = schema[path][method]
    if mode == "negative" and not (operation.path_parameters or operation.query or operation.body):
        return

    @settings(
        max_examples=15, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck), derandomize=True,
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
    def run(case: Any) -> None:
        case.call_and_validate(base_url=service)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run()
