"""What can be looked at over HTTP: status, overview, series, decisions, probes, and how errors look."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from api_boards import POINT, TICKS, Api, blind, board, fake_planner, lines
from builders import TARGETS

from planner.api import schemas
from planner.api.facts import Encoded, Facts, facts_of
from planner.api.health import health
from planner.api.schemas_decision import Decision
from planner.board import Board, Line, ServiceBoard
from planner.connectors.types import Applied
from planner.controls import Controls, Hold, Pause
from planner.scaling.cap import Budget
from planner.scaling.decision import Decision as Decided
from planner.scaling.reading import Missing, Reading, Stale
from planner.scaling.reasons import Code, because
from planner.scaling.types import Role

PAUSE = Pause(by="ada", why="load test", since_s=50.0)
HOLD = Hold(replicas={Role.DECODE: 6}, until_s=900.0, by="ada", why="launch", since_s=50.0)


# --- status -----------------------------------------------------------------------------------------------------


def test_status_tells_everything_about_every_service_and_holds_to_its_schema() -> None:
    api = Api(
        fake_planner(budget=Budget(128, 8, 9, 9), controls=Controls(paused={"chat": PAUSE}, holds={"code": HOLD}))
    )

    answer = api.get("/status")

    status = schemas.Status.model_validate_json(answer.content, strict=False)
    assert list(status.services) == ["chat", "code"]
    assert status.budget == schemas.Budget(gpus=128, held=8, wanted=9, granted=9, exceeded=False)
    chat, code = status.services.values()
    assert (chat.pause, chat.hold) == (schemas.Pause(by="ada", why="load test", since_s=50.0), None)
    assert code.hold == schemas.Hold(replicas={Role.DECODE: 6}, until_s=900.0, by="ada", why="launch", since_s=50.0)
    assert chat.targets.ttft_ms == TARGETS.ttft_ms
    assert chat.bounds[Role.DECODE] == schemas.PoolBounds(min_replicas=1, max_replicas=None, gpus_per_replica=1)
    assert chat.good_share == POINT.good_share


def test_a_decision_is_shown_with_each_step_of_its_arithmetic() -> None:
    planner = fake_planner("chat")

    shown = Decision.model_validate_json(Api(planner).get(f"/decisions/{TICKS - 1}/chat").content)

    decision = planner.made[-1].decision
    assert decision.sizing is not None
    assert shown.sizing is not None
    assert decision.forecast is not None
    assert shown.forecast is not None
    for role, pool in decision.sizing.pools.items():
        steps = [(step.symbol, step.value, step.unit, step.meaning) for step in shown.sizing.pools[role].steps]
        assert steps == [(step.symbol, step.value, step.unit, step.meaning) for step in pool.steps]
    assert [(reason.code, reason.text) for reason in shown.reasons] == [
        (reason.code, reason.text) for reason in decision.reasons
    ]
    assert [dict(reason.values) for reason in shown.reasons] == [dict(reason.values) for reason in decision.reasons]
    assert [(each.level, each.value) for each in shown.forecast.quantiles] == list(decision.forecast.quantiles)
    assert shown.applied is not None
    assert shown.applied.status == "applied"
    for role, chosen in decision.pools.items():
        way = shown.pools[role]
        assert (way.current, way.wanted, way.granted, way.replicas) == (
            chosen.current, chosen.wanted, chosen.granted, chosen.replicas
        )  # fmt: skip


def test_status_of_named_services_holds_these_alone_each_once() -> None:
    assert list(Api(fake_planner()).get("/status?service=code&service=code").json()["services"]) == ["code"]


def test_what_is_missing_is_null_with_its_cause() -> None:
    made = lines("chat", samples={"chat": blind("the token expired")})
    planner = fake_planner("chat")
    planner.shown = board(made)

    seen = Api(planner).get("/status").json()["services"]["chat"]["decision"]

    assert seen["observation"]["rate_per_s"] == {
        "status": "missing", "value": None, "at_s": None, "cause": "the token expired"
    }  # fmt: skip
    assert seen["sizing"] is None


def test_a_number_that_json_cannot_say_is_null() -> None:
    planner = fake_planner("chat")
    line = planner.made[-1]
    endless = replace(line.decision, reasons=(because(Code.KEEP, role="decode", current=math.inf),))
    planner.shown = board([replace(line, decision=endless)])

    reason = Api(planner).get("/status").json()["services"]["chat"]["decision"]["reasons"][0]

    assert reason["values"] == {"role": "decode", "current": None}


def test_before_the_first_tick_there_is_no_decision_and_no_number() -> None:
    planner = fake_planner("chat")
    planner.made = []
    planner.shown = replace(planner.shown, ticks=0, services={"chat": ServiceBoard(None, (), ())})
    api = Api(planner)

    service = api.get("/status").json()["services"]["chat"]
    row = api.get("/overview").json()["services"][0]

    assert (service["decision"], service["good_share"]) == (None, None)
    assert service["health"] == {"state": "blind", "sentence": "no decision yet"}
    assert row["rate_per_s"] == {"status": "missing", "value": None}
    assert row["pools"]["decode"] == {"wanted": None, "ready": None, "starting": None, "pending": None}
    assert (row["gpus"], row["changed"]) == (None, None)


def test_trouble_of_the_planner_and_of_a_service_is_shown() -> None:
    planner = fake_planner("chat", trouble=("the tick at 60 s failed",))
    chat = planner.shown.services["chat"]
    planner.shown = replace(planner.shown, services={"chat": replace(chat, trouble=("Prometheus is silent",))})

    status = Api(planner).get("/status").json()

    assert status["trouble"] == ["the tick at 60 s failed"]
    assert status["services"]["chat"]["trouble"] == ["Prometheus is silent"]
    assert status["services"]["chat"]["health"] == {"state": "trouble", "sentence": "Prometheus is silent"}


# --- health -----------------------------------------------------------------------------------------------------


def facts(line: Line | None, **fields: Any) -> Facts:
    shown = fake_planner("chat").shown
    return replace(facts_of(shown, "chat"), line=line, **fields)


def with_reason(code: Code, **values: float | int | str) -> Line:
    line = lines("chat")[-1]
    return replace(line, decision=replace(line.decision, reasons=(because(code, **values),)))


def seeing(rate_per_s: Reading[float]) -> Line:
    line = lines("chat")[-1]
    seen = replace(line.decision.observation, rate_per_s=rate_per_s)
    return replace(line, decision=replace(line.decision, observation=seen, reasons=()))


@pytest.mark.parametrize(
    ("shown", "state", "sentence"),
    [
        pytest.param(lambda: facts(None), "blind", "no decision yet", id="before the first tick"),
        pytest.param(lambda: facts(None, trouble=("silent",)), "trouble", "silent", id="source in trouble"),
        pytest.param(
            lambda: facts(replace(lines("chat")[-1], applied=Applied("refused", "an HPA is there"))),
            "trouble", "refused: an HPA is there", id="plan refused",
        ),
        pytest.param(
            lambda: facts(with_reason(Code.UNATTAINABLE, role="prefill", cause="TTFT 2 s")),
            "trouble", "prefill: no replica count meets the agreement (TTFT 2 s); sized for the best reachable",
            id="agreement out of reach",
        ),
        pytest.param(
            lambda: facts(lines("chat")[-1], point=replace(POINT, good_share=0.5)),
            "trouble", "50% of the requests are in time, the objective is 95%", id="too few in time",
        ),
        pytest.param(
            lambda: facts(lines("chat")[-1], point=replace(POINT, good_share=None, ttft_s=2.5)),
            "trouble", "TTFT is 2,500 ms on average, the target is 200 ms", id="TTFT broken",
        ),
        pytest.param(
            lambda: facts(lines("chat")[-1], point=replace(POINT, good_share=None, itl_s=0.03)),
            "trouble", "ITL is 30 ms on average, the target is 20 ms", id="ITL broken",
        ),
        pytest.param(
            lambda: facts(with_reason(Code.NO_DEMAND, cause="gone")), "blind", "held: the load is unknown (gone)",
            id="no load",
        ),
        pytest.param(
            lambda: facts(seeing(Missing("no series"))), "blind", "the rate is missing: no series", id="no rate"
        ),
        pytest.param(
            lambda: facts(seeing(Stale(9.0, 60.0, "2 of 4 Ready replicas report"))),
            "blind", "the rate is stale: 2 of 4 Ready replicas report", id="a part of the rate",
        ),
        pytest.param(
            lambda: facts(lines("chat")[-1], dry_run=PAUSE), "holding", "dry run by ada: load test", id="dry run"
        ),
        pytest.param(lambda: facts(lines("chat")[-1], pause=PAUSE), "holding", "paused by ada: load test", id="paused"),
        pytest.param(
            lambda: facts(lines("chat")[-1], hold=HOLD), "holding", "held (decode at 6) by ada: launch", id="held"
        ),
        pytest.param(
            lambda: facts(with_reason(Code.ROLLOUT, role="decode", current=4, wanted=3)),
            "holding", "decode: not lowered from 4 to 3 during a rollout", id="rollout",
        ),
    ],
)  # fmt: skip
def test_the_gravest_state_is_the_service_s_health(shown: Any, state: str, sentence: str) -> None:
    assert health(shown()) == schemas.Health.model_validate({"state": state, "sentence": sentence})


def test_a_service_that_is_well_says_where_each_pool_goes() -> None:
    line = lines("chat", ticks=1)[-1]

    found = health(facts(line))

    assert found.state == "ok"
    assert found.sentence == "; ".join(pool.reasons[-1].text for pool in line.decision.pools.values())


# --- overview and series ----------------------------------------------------------------------------------------


def in_words(decision: Decided) -> str:
    moves = [f"{role} {pool.current} -> {pool.replicas}" for role, pool in decision.pools.items() if pool.changes]
    assert moves
    return f"{', '.join(moves)}; {decision.reasons[0].text}"


def test_the_overview_shows_each_service_in_short() -> None:
    planner = fake_planner("chat")
    changed = next(line for line in reversed(planner.made) if line.decision.changes)

    overview = schemas.Overview.model_validate_json(Api(planner).get("/overview").content)

    [row] = overview.services
    counts = schemas.Counts(wanted=2, ready=2, starting=0, pending=0)
    assert row == schemas.OverviewRow(
        name="chat",
        health=row.health,
        sentence=row.sentence,
        rate_per_s=schemas.Figure(status="valid", value=90.0),
        ttft_ms=schemas.Figure(status="valid", value=65.0),
        ttft_target_ms=200,
        itl_ms=schemas.Figure(status="valid", value=8.0),
        itl_target_ms=20,
        good_share=0.97,
        objective=0.95,
        gpus=4,
        pools={Role.PREFILL: counts, Role.DECODE: counts},
        changed=schemas.LastChange(tick=changed.tick, at_s=changed.decision.at_s, text=in_words(changed.decision)),
        paused=False,
        held=False,
    )


def test_the_last_change_is_remembered_when_the_planner_s_memory_has_lost_it() -> None:
    planner = fake_planner("chat")
    api = Api(planner)

    async def twice() -> list[Any]:
        async with api.client() as client:
            first = (await client.get("/overview")).json()["services"][0]["changed"]
            planner.made = []
            planner.publish(board(lines("chat", ticks=1)))
            return [first, (await client.get("/overview")).json()["services"][0]["changed"]]

    first, second = asyncio.run(twice())

    assert first is not None
    assert second == first


def test_a_series_has_columns_of_equal_length_with_gaps_as_null() -> None:
    series = schemas.Series.model_validate_json(Api(fake_planner("chat")).get("/series/chat").content)

    assert series.at_s == [30.0, 60.0]
    assert series.rate_per_s == [None, 10.0]
    assert series.forecast == schemas.ForecastColumns(
        at_s=[210.0, 210.0], point=[11.0, 11.0], low=[9.0, 9.0], high=[13.0, 13.0]
    )
    assert series.pools[Role.DECODE] == schemas.CountColumns(
        wanted=[3, 3], ready=[2, 2], starting=[1, 1], pending=[0, 0]
    )


# --- decisions --------------------------------------------------------------------------------------------------


def test_pages_of_decisions_make_up_all_of_them_newest_first() -> None:
    planner = fake_planner()
    api = Api(planner)
    found: list[tuple[int, str]] = []
    path: str | None = "/decisions?limit=4"
    while path is not None:
        page = schemas.Decisions.model_validate_json(api.get(path).content)
        found += [(item.tick, item.service) for item in page.items]
        path = None if page.next is None else f"/decisions?limit=4&before={page.next}"

    assert found == [(line.tick, line.decision.service) for line in reversed(planner.made)]


def test_decisions_may_be_those_of_a_service_and_those_that_changed_something() -> None:
    planner = fake_planner()

    page = schemas.Decisions.model_validate_json(Api(planner).get("/decisions?service=chat&changes=true").content)

    expected = [line for line in reversed(planner.made) if line.decision.service == "chat" and line.decision.changes]
    assert expected
    assert [(item.tick, item.service) for item in page.items] == [(line.tick, "chat") for line in expected]


def test_a_decision_is_found_behind_many_newer_ones() -> None:
    made = lines("chat", ticks=1)
    planner = fake_planner("chat")
    planner.made = [replace(made[0], tick=tick) for tick in range(500)]

    assert Api(planner).get("/decisions/3/chat").json()["tick"] == 3


# --- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/status?service=x", 404, "service: 'x' is unknown; the services are chat, code"),
        ("/series/x", 404, "service: 'x' is unknown; the services are chat, code"),
        ("/decisions?service=x", 404, "service: 'x' is unknown; the services are chat, code"),
        ("/decisions/9/chat", 404, "tick: 9 of chat is not in memory; run planner explain on the journal"),
        ("/decisions?limit=201", 422, "limit: '201' is refused: Input should be less than or equal to 200"),
        ("/decisions?limit=0", 422, "limit: '0' is refused: Input should be greater than or equal to 1"),
        ("/nothing", 404, "GET /nothing: Not Found; the routes are in /openapi.json"),
        ("/control/pause", 405, "GET /control/pause: Method Not Allowed; the routes are in /openapi.json"),
        ("/docs", 404, "GET /docs: Not Found; the routes are in /openapi.json"),
    ],
)
def test_every_error_is_one_line_in_the_same_place(path: str, status: int, error: str) -> None:
    answer = Api(fake_planner()).get(path)

    assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_a_fault_of_the_planner_s_own_names_its_kind_and_no_more() -> None:
    planner = fake_planner()
    planner.board = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]

    answer = Api(planner).get("/status")

    assert answer.status_code == 500
    assert answer.json() == {"error": "the planner failed (ZeroDivisionError); its log says how"}


# --- probes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now_s", "status"), [(63.0, 200), (149.9, 200), (150.0, 503), (1e6, 503)], ids=["new", "late", "too late", "dead"]
)
def test_the_planner_is_alive_until_its_last_sign_is_three_intervals_old(now_s: float, status: int) -> None:
    planner = fake_planner("chat", next_tick_s=90.0)
    planner.clock_s = now_s

    assert Api(planner).get("/healthz").status_code == status


def test_a_loop_that_stands_still_is_reported_with_its_age() -> None:
    planner = fake_planner("chat", next_tick_s=90.0)
    planner.clock_s = 200.0

    assert Api(planner).get("/healthz").json() == {"error": "loop: no tick for 140 s, one is due every 30 s"}


def test_the_planner_is_ready_even_while_the_loop_stands_still() -> None:
    planner = fake_planner("chat")
    planner.clock_s = 1e6

    assert Api(planner).get("/readyz").json() == {"status": "ok"}


# --- bytes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("identity", None)],
)
def test_answers_are_compressed_for_those_who_take_it(accepted: str, encoding: str | None) -> None:
    plain = Api(fake_planner()).get("/status", headers={"Accept-Encoding": "identity"})

    answer = Api(fake_planner()).get("/status", headers={"Accept-Encoding": accepted})

    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.json() == plain.json()


def encoded_names(boards: list[Board]) -> list[str]:
    made: list[str] = []

    def encode(facts: Facts) -> bytes:
        made.append(facts.name)
        return b"{}"

    async def ask() -> None:
        encoded = Encoded(encode)
        for shown in boards:
            await asyncio.gather(encoded.of(shown, shown.services), encoded.of(shown, shown.services))

    asyncio.run(ask())
    return made


def test_a_service_is_encoded_once_for_each_state_of_it() -> None:
    first = fake_planner().shown
    drawn_anew = replace(first, now_s=63.0, services={name: replace(each) for name, each in first.services.items()})
    paused = replace(drawn_anew, controls=Controls(paused={"code": PAUSE}))
    alone = replace(paused, services={"chat": paused.services["chat"]})

    assert encoded_names([first, drawn_anew]) == ["chat", "code"]
    assert encoded_names([first, drawn_anew, paused]) == ["chat", "code", "code"]
    assert encoded_names([paused, alone, paused]) == ["chat", "code", "code"]


# --- the page ---------------------------------------------------------------------------------------------------


def test_the_charts_library_is_sent_compressed_and_only_once() -> None:
    api = Api(fake_planner())

    first = api.get("/page/plotly.js", headers={"Accept-Encoding": "gzip"})
    again = api.get("/page/plotly.js", headers={"If-None-Match": first.headers["etag"]})
    plain = api.get("/page/plotly.js", headers={"Accept-Encoding": "identity"})

    assert (first.headers["content-encoding"], first.headers["cache-control"]) == ("gzip", "no-cache")
    assert (again.status_code, again.content) == (304, b"")
    assert plain.content == first.content
    assert b"plotly.js" in plain.content[:100]


def test_every_answer_carries_the_headers_that_keep_browsers_safe() -> None:
    for path in ("/status", "/nothing", "/metrics", "/page/plotly.js"):
        headers: Mapping[str, str] = Api(fake_planner()).get(path).headers

        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe-eval" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
