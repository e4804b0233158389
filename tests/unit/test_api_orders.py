"""Who may order what over HTTP: the token, its limits, people's orders and launchers' messages."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from api_boards import TOKEN, Api, FakeLaunchers, fake_planner, token_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.api import Security
from planner.api.guard import MAX_BODY
from planner.api.seams import Launchers
from planner.api.security import CHANGES_A_MINUTE, FAILURES_A_MINUTE
from planner.clock import VirtualClock
from planner.connectors.virtual import VirtualConnector
from planner.scaling.types import Role

JSON = {"Content-Type": "application/json"}
PAUSE = {"service": "chat", "why": "load test", "by": "ada"}


@dataclass
class Watch:
    """A clock that is set by hand."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Guarded:
    """An API with a token, and the clock its limits go by."""

    api: Api
    watch: Watch
    file: Path
    launchers: FakeLaunchers = field(default_factory=FakeLaunchers)


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    watch, file = Watch(), token_file(tmp_path)
    security = Security(file, (".svc", "planner.example.com"), watch)
    launchers = FakeLaunchers()
    return Guarded(Api(fake_planner(), security, launchers), watch, file, launchers)


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- people's orders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "body", "asked"),
    [
        ("pause", PAUSE, ("pause", "chat", "ada", "load test")),
        ("resume", PAUSE, ("resume", "chat", "ada", "load test")),
        ("release", PAUSE, ("release", "chat", "ada", "load test")),
        ("pause", {"service": "chat", "why": "x"}, ("pause", "chat", "api", "x")),
        ("dry-run", {"on": True, "why": "x"}, ("pause", None, "api", "x")),
        ("dry-run", {"on": False, "why": "x"}, ("resume", None, "api", "x")),
        (
            "hold",
            {**PAUSE, "replicas": {"decode": 6}, "until_s": 900},
            ("hold", "chat", {Role.DECODE: 6}, 900.0, "ada", "load test"),
        ),
    ],
    ids=["pause", "resume", "release", "by nobody named", "dry run", "end of the dry run", "hold"],
)
def test_an_order_reaches_the_planner_as_it_was_given(
    guarded: Guarded, route: str, body: dict[str, object], asked: tuple[object, ...]
) -> None:
    answer = guarded.api.post(f"/control/{route}", body)

    assert answer.status_code == 200
    assert guarded.api.planner.asked == [asked]


def test_an_order_is_answered_by_all_orders_in_force(guarded: Guarded) -> None:
    guarded.api.post("/control/pause", PAUSE)
    answer = guarded.api.post("/control/hold", {**PAUSE, "replicas": {"decode": 6}, "until_s": 900})

    assert answer.json() == {
        "dry_run": None,
        "paused": {"chat": {"by": "ada", "why": "load test", "since_s": 63.0}},
        "holds": {
            "chat": {"replicas": {"decode": 6}, "until_s": 900.0, "by": "ada", "why": "load test", "since_s": 63.0}
        },
    }


def test_an_order_that_cannot_be_followed_is_a_conflict_with_the_planner_s_own_line(guarded: Guarded) -> None:
    answer = guarded.api.post("/control/pause", {**PAUSE, "service": "x"})

    assert answer.status_code == 409
    assert answer.json() == {"error": "service: 'x' is unknown; the services are chat, code"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"service": "chat"}, "why: is missing; give it"),
        ({**PAUSE, "why": ""}, "why: '' is refused: String should have at least 1 character"),
        ({**PAUSE, "why": "a\nb"}, r"why: 'a\nb' is refused: String should match pattern"),
        ({**PAUSE, "replica": 3}, "replica: 3 is refused: Extra inputs are not permitted"),
        ([], "body: [] is refused: Input should be a valid dictionary"),
    ],
    ids=["no reason", "an empty reason", "a reason of two lines", "a misspelt field", "a list"],
)
def test_a_body_that_is_not_as_it_should_be_is_named_with_its_value(guarded: Guarded, body: object, error: str) -> None:
    answer = guarded.api.post("/control/pause", body)

    assert answer.status_code == 422
    assert answer.json()["error"].startswith(error)
    assert guarded.api.planner.asked == []


@pytest.mark.parametrize(
    ("replicas", "field"),
    [({"decode": 1.5}, "replicas.decode"), ({"decode": "6"}, "replicas.decode"), ({"encode": 1}, "replicas.encode"),
     ({"decode": -1}, "replicas.decode"), ({"decode": True}, "replicas.decode"), ({}, "replicas")],
    ids=["half a replica", "text", "an unknown role", "fewer than none", "a truth", "none"],
)  # fmt: skip
def test_replicas_that_cannot_be_are_refused_by_name(guarded: Guarded, replicas: object, field: str) -> None:
    answer = guarded.api.post("/control/hold", {**PAUSE, "replicas": replicas, "until_s": 900})

    assert answer.status_code == 422
    assert answer.json()["error"].startswith(field)


def test_text_that_is_no_unicode_is_refused(guarded: Guarded) -> None:
    body = b'{"service": "chat", "why": "\\ud800"}'

    answer = guarded.api.ask("POST", "/control/pause", content=body, headers=bearer() | JSON)

    assert answer.status_code == 422
    assert answer.json()["error"].startswith("why: ")


def test_a_body_that_does_not_say_it_is_json_is_told_how(guarded: Guarded) -> None:
    answer = guarded.api.ask("POST", "/control/pause", content=b"{}", headers=bearer())

    assert answer.status_code == 422
    assert answer.json() == {"error": "body: is not said to be JSON; send Content-Type: application/json"}


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_no_bytes_make_the_planner_fail_or_act(guarded: Guarded, body: bytes) -> None:
    answer = guarded.api.ask("POST", "/control/dry-run", content=body, headers=bearer() | JSON)

    assert answer.status_code in (400, 422)
    assert answer.json()["error"].startswith("body: ")
    assert guarded.api.planner.asked == []


# --- the token --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="none"),
        pytest.param({"headers": bearer("wrong")}, id="a wrong one"),
        pytest.param({"headers": bearer("")}, id="an empty one"),
        pytest.param({"headers": {"Authorization": f"Basic {TOKEN}"}}, id="another scheme"),
        pytest.param({"headers": {"Authorization": "Bearer \xff".encode("latin-1")}}, id="no ASCII"),
        pytest.param({"params": {"token": TOKEN, "access_token": TOKEN}}, id="in the query"),
        pytest.param({"headers": {"Cookie": f"token={TOKEN}; Authorization=Bearer {TOKEN}"}}, id="in a cookie"),
    ],
)
def test_without_the_token_in_its_header_nothing_is_ordered(guarded: Guarded, options: dict[str, Any]) -> None:
    answer = guarded.api.ask("POST", "/control/pause", json=PAUSE, **options)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {
        "error": "authorization: the token is missing or wrong; send it as: Authorization: Bearer TOKEN"
    }
    assert guarded.api.planner.asked == []


def test_a_new_token_in_the_file_counts_at_once_and_the_old_no_more(guarded: Guarded) -> None:
    assert guarded.api.post("/control/pause", PAUSE).status_code == 200
    guarded.file.write_text("another-token")
    os.utime(guarded.file, ns=(1, 1))

    assert guarded.api.post("/control/pause", PAUSE).status_code == 401
    assert guarded.api.post("/control/pause", PAUSE, "another-token").status_code == 200


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "missing"])
def test_without_a_token_to_compare_with_nobody_passes(guarded: Guarded, empty: bool) -> None:
    guarded.file.write_text("\n") if empty else guarded.file.unlink()

    answers = [guarded.api.post("/control/pause", PAUSE, token) for token in (TOKEN, "", None)]

    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert answers[0].json() == {
        "error": f"token file: {guarded.file} is missing or empty; write a token into it"
    }  # fmt: skip


def test_without_a_token_file_nothing_can_be_changed() -> None:
    answer = Api(fake_planner()).post("/control/pause", PAUSE)

    assert answer.status_code == 503
    assert answer.json() == {
        "error": "token file: none is configured, so nothing can be changed here; configure one"
    }  # fmt: skip


def test_a_token_that_everybody_may_read_is_reported(guarded: Guarded) -> None:
    assert guarded.api.get("/overview").json()["trouble"] == []
    guarded.file.chmod(0o644)

    warning = f"token file: {guarded.file} is readable by every user; chmod o-r it"
    assert guarded.api.get("/overview").json()["trouble"] == [warning]


# --- moderation -------------------------------------------------------------------------------------------------


def test_who_guesses_too_often_is_sent_away_for_the_rest_of_the_minute(guarded: Guarded) -> None:
    guesses = [guarded.api.post("/control/pause", PAUSE, f"guess {n}") for n in range(FAILURES_A_MINUTE + 1)]
    right = guarded.api.post("/control/pause", PAUSE)
    guarded.watch.now_s += 60
    later = guarded.api.post("/control/pause", PAUSE)

    assert [answer.status_code for answer in guesses] == [401] * FAILURES_A_MINUTE + [429]
    assert (right.status_code, right.headers["retry-after"]) == (429, "60")
    assert right.json() == {"error": "authorization: too many wrong tokens; wait 60 s"}
    assert later.status_code == 200


def test_a_minute_holds_so_many_changes_and_no_more(guarded: Guarded) -> None:
    answers = [guarded.api.post("/control/pause", PAUSE) for _ in range(CHANGES_A_MINUTE + 1)]
    guarded.watch.now_s += 60
    later = guarded.api.post("/control/pause", PAUSE)

    assert [answer.status_code for answer in answers] == [200] * CHANGES_A_MINUTE + [429]
    assert answers[-1].json() == {"error": "orders: more than 30 a minute; wait 60 s"}
    assert len(guarded.api.planner.asked) == CHANGES_A_MINUTE + 1
    assert later.status_code == 200


def test_orders_that_were_refused_count_for_nothing(guarded: Guarded) -> None:
    for _ in range(CHANGES_A_MINUTE):
        assert guarded.api.post("/control/pause", {**PAUSE, "service": "x"}).status_code == 409

    assert guarded.api.post("/control/pause", PAUSE).status_code == 200


# --- whom it is addressed to and where it comes from ------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("localhost:8080", 200), ("127.0.0.1:8080", 200), ("10.1.2.3", 200), ("[::1]:8080", 200),
        ("planner.ai.svc", 200), ("Planner.AI.SVC:8080", 200), ("planner.example.com", 200),
        ("planner.example.com.", 200), ("evil.example.com", 421), ("svc", 421), ("evilsvc", 421),
        ("planner.example.com.evil.org", 421), ("localhost.evil.org", 421), ("", 421), ("[::1", 421),
        ("evil.org:8080", 421), ("evil.org@localhost", 421),
    ],
)  # fmt: skip
def test_only_requests_to_one_of_the_planner_s_names_are_answered(guarded: Guarded, host: str, status: int) -> None:
    assert guarded.api.get("/readyz", headers={"Host": host}).status_code == status


def test_a_request_to_another_name_is_told_so(guarded: Guarded) -> None:
    answer = guarded.api.get("/status", headers={"Host": "evil.org"})

    assert answer.json() == {"error": "host: 'evil.org' is not a name of this planner; add it to the allowed hosts"}
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8080", 200), ("https://localhost:8080", 200), ("http://localhost", 403),
        ("http://localhost:9090", 403), ("https://evil.org", 403), ("null", 403), ("http://[", 403),
    ],
)  # fmt: skip
def test_a_browser_may_change_state_from_the_planner_s_own_page_only(
    guarded: Guarded, origin: str, status: int
) -> None:
    answer = guarded.api.post("/control/pause", PAUSE, headers={"Origin": origin})

    assert answer.status_code == status
    assert len(guarded.api.planner.asked) == (status == 200)


def test_looking_is_free_for_every_origin(guarded: Guarded) -> None:
    assert guarded.api.get("/status", headers={"Origin": "https://evil.org"}).status_code == 200


# --- how much ---------------------------------------------------------------------------------------------------


def test_a_body_that_says_it_is_too_long_is_not_read(guarded: Guarded) -> None:
    answer = guarded.api.post("/control/pause", {**PAUSE, "why": "x" * MAX_BODY})

    assert answer.status_code == 413
    assert answer.json()["error"].startswith("body: ")


def test_a_body_that_is_too_long_is_refused_while_it_comes(guarded: Guarded) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1024
            yield b" " * 1024

    answer = guarded.api.ask("POST", "/control/pause", content=endless(), headers=bearer() | JSON)

    assert answer.status_code == 413
    assert answer.json() == {"error": f"body: is more than {MAX_BODY} bytes; send less"}
    assert sent < 2 * MAX_BODY


# --- launchers --------------------------------------------------------------------------------------------------


def test_a_launcher_fetches_the_order_it_does_not_know(guarded: Guarded) -> None:
    known = guarded.api.get("/launcher/chat/order?after=7&wait_s=0.5", headers=bearer())
    order = guarded.api.get("/launcher/chat/order?after=6", headers=bearer())

    assert (known.status_code, known.content) == (204, b"")
    assert order.json() == {"id": "7", "replicas": {"prefill": 2, "decode": 4}}
    assert guarded.launchers.heard == [("orders", "chat", "7", 0.5), ("orders", "chat", "6", 0.0)]


def test_a_launcher_says_what_became_of_an_order(guarded: Guarded) -> None:
    done = guarded.api.post("/launcher/chat/orders/7", {"completed": True, "ready": {"decode": 4}})
    not_done = guarded.api.post("/launcher/chat/orders/7", {"completed": False, "reason": "no node"})

    assert (done.json(), not_done.json()) == ({"answer": "completed"}, {"answer": "refused"})
    assert guarded.launchers.heard == [
        ("acknowledge", "chat", "7", True, None, {Role.DECODE: 4}),
        ("acknowledge", "chat", "7", False, "no node", None),
    ]


def test_a_launcher_reports_what_is_ready(guarded: Guarded) -> None:
    answer = guarded.api.ask("PUT", "/launcher/chat/ready", json={"ready": {"decode": 3}}, headers=bearer())

    assert (answer.status_code, answer.content) == (204, b"")
    assert guarded.launchers.heard == [("report", "chat", {Role.DECODE: 3})]


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/launcher/chat/orders/99", 409, "order: '99' was not given; fetch the order in force"),
        ("/launcher/x/orders/7", 404, "service: 'x' is unknown; the services are chat, code"),
    ],
    ids=["an order never given", "an unknown service"],
)
def test_a_message_about_what_is_not_there_is_refused(guarded: Guarded, path: str, status: int, error: str) -> None:
    answer = guarded.api.post(path, {"completed": True})

    assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_launchers_need_the_token_too(guarded: Guarded) -> None:
    answers = [
        guarded.api.get("/launcher/chat/order"),
        guarded.api.post("/launcher/chat/orders/7", {"completed": True}, None),
        guarded.api.ask("PUT", "/launcher/chat/ready", json={"ready": {"decode": 3}}),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert guarded.launchers.heard == []


def test_messages_of_launchers_are_not_rationed_as_orders_of_people_are(guarded: Guarded) -> None:
    for _ in range(CHANGES_A_MINUTE + 1):
        assert guarded.api.post("/launcher/chat/orders/7", {"completed": True}).status_code == 200


def test_where_an_orchestrator_starts_replicas_there_are_no_launchers(tmp_path: Path) -> None:
    api = Api(fake_planner(), Security(token_file(tmp_path)), None)

    answer = api.get("/launcher/chat/order", headers=bearer())

    assert answer.status_code == 404
    assert answer.json() == {
        "error": "launcher: this planner's connector starts replicas itself; configure the virtual one"
    }


def test_the_virtual_connector_is_what_launchers_speak_to(tmp_path: Path) -> None:
    async def make() -> Launchers:
        pools = {"chat": {Role.PREFILL: 2, Role.DECODE: 2}}
        return VirtualConnector(pools, VirtualClock(), state=None, accept_within_s=60, report_max_age_s=60)

    api = Api(fake_planner(), Security(token_file(tmp_path)), asyncio.run(make()))

    answer = api.post("/launcher/chat/orders/7", {"completed": True})

    assert answer.status_code == 409
    assert answer.json()["error"].startswith("order: '7' ")
