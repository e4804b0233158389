"""The API against its own description: requests made up from it get answers it allows, and never a fault."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from api_boards import TOKEN, Api, FakeLaunchers, fake_planner, token_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from planner.api import Security

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def make_api(folder: Path) -> Api:
    """An API whose limits never bind: a minute passes between any two looks at its clock."""
    clock = count(0, 60)
    security = Security(token_file(folder), hosts=("testserver",), monotonic_s=lambda: next(clock))
    return Api(fake_planner(), security, FakeLaunchers())


@dataclass(frozen=True, slots=True)
class Mode:
    """What is sent, where, and what answers show that it got there."""

    generation: GenerationMode
    bodies_only: bool
    reached: set[int]


MODES = {
    "what it asks for": Mode(GenerationMode.POSITIVE, False, {200, 204, 404, 409}),
    # Most texts are fit for a query, so there is little to get wrong without a body.
    "what it does not ask for": Mode(GenerationMode.NEGATIVE, True, {422}),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_every_answer_is_one_that_the_description_allows(tmp_path: Path, mode: Mode) -> None:
    described = schemathesis.openapi.from_asgi("/openapi.json", make_api(tmp_path).app)
    answers: Counter[int] = Counter()
    # The stream of news has no end; its own tests ask for it.
    for found in described.exclude(path="/events").get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if mode.bodies_only and not operation.body:
            continue

        @settings(max_examples=10, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode.generation), known=st.booleans())
        def ask(case: schemathesis.Case[Any], known: bool) -> None:
            for fields in (case.path_parameters, case.body):
                if known and isinstance(fields, dict) and "service" in fields:
                    fields["service"] = "chat"
            answer = case.call_and_validate(checks=CHECKS, headers={"Authorization": f"Bearer {TOKEN}"})
            answers[answer.status_code] += 1

        ask()

    assert mode.reached <= set(answers)


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_route_says_what_it_does_and_what_answers_it_may_give(tmp_path: Path) -> None:
    found = operations(make_api(tmp_path).get("/openapi.json").json())

    assert len(found) == 17
    for name, operation in found:
        assert operation["description"].endswith("."), name
        assert {"421", "422"} < set(operation["responses"]), name
        for status, answer in operation["responses"].items():
            if status not in ("200", "204"):
                assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/Error"), (name, status)


def test_what_needs_the_token_says_so(tmp_path: Path) -> None:
    found = operations(make_api(tmp_path).get("/openapi.json").json())

    guarded = {name for name, operation in found if operation.get("security") == [{"HTTPBearer": []}]}

    assert guarded == {name for name, _ in found if "/control/" in name or "/launcher/" in name}


def test_the_description_has_examples_of_all_that_is_sent(tmp_path: Path) -> None:
    document = make_api(tmp_path).get("/openapi.json").json()
    sent = {
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for _, operation in operations(document)
        if "requestBody" in operation
    }

    assert sent == {"Acknowledgement", "DryRunOrder", "HoldOrder", "ReadyReport", "ServiceOrder"}
    for name in sent:
        assert document["components"]["schemas"][name]["examples"], name
