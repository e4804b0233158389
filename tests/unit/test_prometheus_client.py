"""The Prometheus client against a server that fails in every way it can."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_server import (
    FakePrometheus,
    Reply,
    body,
    error,
    fails,
    fake_prometheus,
    hangs,
    hangs_after_headers,
    hangs_up,
    huge,
    matrix,
    says,
    success,
    trickles,
    truncated,
    vector,
)

from planner.sources.prometheus.answers import (
    Answer,
    Failure,
    LabelledSample,
    Matrix,
    Names,
    Rejected,
    Series,
    Vector,
)
from planner.sources.prometheus.answers_read import INSTANT, NAMES, RANGE, read
from planner.sources.prometheus.client import PrometheusClient
from planner.sources.prometheus.client_settings import BasicAuth, PrometheusSettings, PrometheusSettingsError
from planner.sources.prometheus.client_threads import BusyError, Threads

LONG_S = 60.0
"""A deadline that no test waits for."""
SHORT_S = 0.3
"""A deadline that a test waits for."""

UP = ({"__name__": "up", "job": "vllm"}, "1")
GOOD = says(vector(UP))
GOOD_SAMPLES = (LabelledSample({"__name__": "up", "job": "vllm"}, 1.0, 1000.0),)


@pytest.fixture
def server() -> Iterator[FakePrometheus]:
    with fake_prometheus() as server:
        yield server


def play(settings: PrometheusSettings, script: Callable[[PrometheusClient], Awaitable[Any]]) -> Any:
    """Run `script` with a client, and close that."""

    async def played() -> Any:
        client = PrometheusClient(settings)
        try:
            return await script(client)
        finally:
            await client.close()

    return asyncio.run(played())


def ask(server: FakePrometheus, *replies: Reply, deadline_s: float = LONG_S, **settings: Any) -> Answer:
    """What an instant query gives; the skew is left to the tests that are about it."""
    server.script(*replies)
    chosen = PrometheusSettings(server.url, **settings)
    answer: Answer = play(chosen, lambda client: client.query("up", deadline_s=deadline_s))
    return answer if isinstance(answer, Failure) else replace(answer, skew_s=None)


def failure(answer: Answer) -> Failure:
    assert isinstance(answer, Failure)
    return answer


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "answer"),
    [
        pytest.param(vector(UP), Vector(GOOD_SAMPLES), id="a sample"),
        pytest.param(vector(), Vector(()), id="nothing matched"),
        pytest.param(
            vector(({"pod": "a"}, "NaN"), ({"pod": "b"}, "+Inf"), ({"pod": "c"}, "-Inf"), ({"pod": "d"}, "0")),
            Vector(
                (LabelledSample({"pod": "d"}, 0.0, 1000.0),),
                (
                    Rejected({"pod": "a"}, "NaN", 1000.0),
                    Rejected({"pod": "b"}, "+Inf", 1000.0),
                    Rejected({"pod": "c"}, "-Inf", 1000.0),
                ),
            ),
            id="no number",
        ),
        pytest.param(
            vector(({"pod": "a"}, "1"), ({"pod": "a"}, "2"), ({"pod": "b"}, "3")),
            Vector(
                (LabelledSample({"pod": "b"}, 3.0, 1000.0),),
                (Rejected({"pod": "a"}, "duplicate series", 1000.0),) * 2,
            ),
            id="two say different things of one series",
        ),
        pytest.param(
            success({"resultType": "vector", "result": [{"metric": {}, "histogram": [1000.5, {"count": "3"}]}]}),
            Vector((), (Rejected({}, "native histogram", 1000.5),)),
            id="native histogram",
        ),
        pytest.param(
            success({"resultType": "scalar", "result": [1000, "3.5"]}),
            Vector((LabelledSample({}, 3.5, 1000.0),)),
            id="scalar",
        ),
        pytest.param(
            vector(UP, warnings=["partial\nresponse"], infos=["PromQL info"]),
            Vector(GOOD_SAMPLES, (), ("partial response",), ("PromQL info",)),
            id="warnings and infos",
        ),
        pytest.param(
            matrix(({"pod": "a"}, [(1, "1"), (2, "NaN"), (3, "3")]), ({"pod": "b"}, [(1, "NaN")])),
            Matrix(
                (Series({"pod": "a"}, (1.0, 3.0), (1.0, 3.0)),),
                (Rejected({"pod": "a"}, "NaN", 2.0), Rejected({"pod": "b"}, "NaN", 1.0)),
            ),
            id="a range selector",
        ),
    ],
)
def test_keeps_finite_samples_and_says_what_it_left_out(
    server: FakePrometheus, document: Mapping[str, object], answer: Answer
) -> None:
    assert ask(server, says(document)) == answer


def test_sends_what_it_asks_in_the_body_with_the_time_and_a_limit(server: FakePrometheus) -> None:
    server.script(says(matrix(({}, [(1, "1")]))))

    async def script(client: PrometheusClient) -> None:
        await client.query("up", deadline_s=LONG_S, at_s=1_700_000_000.1234)
        await client.query_range("up", 1000, 2000.5, 15, deadline_s=LONG_S)

    play(PrometheusSettings(f"{server.url}/prefix/"), script)
    instant, span = server.asked
    assert (instant.path, span.path) == ("/prefix/api/v1/query", "/prefix/api/v1/query_range")
    assert instant.form == {"query": ["up"], "time": ["1700000000.123"], "timeout": instant.form["timeout"]}
    assert 0 < float(instant.form["timeout"][0]) <= LONG_S
    assert {**span.form, "timeout": []} == {
        "query": ["up"],
        "start": ["1000.000"],
        "end": ["2000.500"],
        "step": ["15.000"],
        "timeout": [],
    }


def test_a_range_query_gives_a_matrix_and_refuses_anything_else(server: FakePrometheus) -> None:
    server.script(says(matrix(({}, [(1, "1"), (2, "2")]))), GOOD)

    async def script(client: PrometheusClient) -> tuple[Answer, Answer]:
        first = await client.query_range("up", 0, 2, 1, deadline_s=LONG_S)
        return first, await client.query_range("up", 0, 2, 1, deadline_s=LONG_S)

    good, bad = play(PrometheusSettings(server.url), script)
    assert good.series == (Series({}, (1.0, 2.0), (1.0, 2.0)),)
    assert failure(bad).text == (
        f"{server.url}/api/v1/query_range: resultType is 'vector', not matrix; check that url is a Prometheus address"
    )


def test_series_gives_the_names_that_exist(server: FakePrometheus) -> None:
    server.script(says(success([{"__name__": "up", "pod": "a"}], warnings=["some were left out"])))

    answer = play(PrometheusSettings(server.url), lambda client: client.series(["up", "{x='1'}"], 0, 9, deadline_s=60))

    assert replace(answer, skew_s=None) == Names(({"__name__": "up", "pod": "a"},), ("some were left out",))
    assert server.asked[0].form["match[]"] == ["up", "{x='1'}"]


@pytest.mark.parametrize("ahead_s", [-3600, 0, 120])
def test_tells_how_far_the_clocks_are_apart(server: FakePrometheus, ahead_s: int) -> None:
    def reply(handler: Any) -> None:
        says(vector(UP), Date=formatdate(time.time() + ahead_s, usegmt=True))(handler)

    server.script(reply)
    answer = play(PrometheusSettings(server.url), lambda client: client.query("up", deadline_s=LONG_S))
    # The header knows whole seconds; the answer may be on its way for a while.
    assert ahead_s - 30 < answer.skew_s <= ahead_s + 0.5


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Jan 2026 00:00:00 GMT"])
def test_a_server_that_does_not_tell_its_time_has_an_unknown_skew(server: FakePrometheus, date: str) -> None:
    server.script(says(vector(UP), Date=date))
    answer = play(PrometheusSettings(server.url), lambda client: client.query("up", deadline_s=LONG_S))
    assert answer == Vector(GOOD_SAMPLES, skew_s=None)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.floats() | st.sampled_from(["1", "NaN", "-inf", "x", "vector"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metric", "value", "a"]), inner),
    max_leaves=8,
)
LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2)
POINT = st.tuples(st.floats() | st.integers(0, 9), st.floats().map(str)) | ANYTHING
ENTRY = (
    st.fixed_dictionaries({"metric": LABELS}, optional={"value": POINT, "values": st.lists(POINT, max_size=3)})
    | ANYTHING
)
DATA = st.fixed_dictionaries(
    {"resultType": st.sampled_from(["vector", "matrix", "scalar", "string", None]), "result": st.lists(ENTRY) | POINT}
)
DOCUMENT = st.fixed_dictionaries({"status": st.just("success"), "data": DATA | st.lists(LABELS)}) | ANYTHING


@given(document=DOCUMENT, expected=st.sampled_from([INSTANT, RANGE, NAMES]))
def test_whatever_comes_gives_an_answer_of_finite_numbers_and_no_series_twice(
    document: object, expected: frozenset[str]
) -> None:
    answer = read(json.dumps(document).encode(), expected, "here", None)

    numbers: list[float] = []
    labels: list[frozenset[tuple[str, str]]] = []
    match answer:
        case Vector():
            numbers = [number for each in answer.samples for number in (each.value, each.at_s)]
            labels = [frozenset(each.labels.items()) for each in answer.samples]
        case Matrix():
            numbers = [number for each in answer.series for number in (*each.values, *each.at_s)]
            labels = [frozenset(each.labels.items()) for each in answer.series]
            assert all(len(each.values) == len(each.at_s) > 0 for each in answer.series)
        case Failure():
            assert answer.text.startswith("here: ")
            assert answer.text.isprintable()
    assert all(math.isfinite(number) for number in numbers)
    assert len(set(labels)) == len(labels)


# --- failures -----------------------------------------------------------------------------------------------------

QUERY = "/api/v1/query"


@pytest.mark.parametrize(
    ("reply", "cause", "text"),
    [
        pytest.param(
            body(b"<html>Log in</html>", "text/html; charset=utf-8"),
            "not-json",
            "answered text/html; charset=utf-8 in place of JSON; see whether a login page or proxy stands before "
            "Prometheus",
            id="a login page",
        ),
        pytest.param(
            body(b"{}", ""),
            "not-json",
            "answered no content type in place of JSON; see whether a login page or proxy stands before Prometheus",
            id="no content type",
        ),
        pytest.param(
            body(b"<html>"),
            "not-json",
            "the answer is not valid JSON; see what stands between here and Prometheus",
            id="HTML that calls itself JSON",
        ),
        pytest.param(
            body(b"[" * 100_000),
            "not-json",
            "the answer is not valid JSON; see what stands between here and Prometheus",
            id="nested without end",
        ),
        pytest.param(
            body(b"\xff\xfe\xfd"),
            "not-json",
            "the answer is not valid JSON; see what stands between here and Prometheus",
            id="not even text",
        ),
        pytest.param(
            fails(302, Location="https://user:pass@sso.example/login?token=secret"),
            "redirect",
            "redirected to https://sso.example/login; give the final address, or log in by a token",
            id="redirect to a login page",
        ),
        pytest.param(
            fails(302, Location="//[broken"),
            "redirect",
            "redirected to //[broken; give the final address, or log in by a token",
            id="redirect to nowhere",
        ),
        pytest.param(
            fails(302, b" " * 2**20, Location="/login", Content_Encoding="gzip"),
            "redirect",
            "redirected to /login; give the final address, or log in by a token",
            id="redirect with a body that nobody reads",
        ),
        pytest.param(
            fails(400, error("bad_data", "1:3: parse error:\n unexpected end"), "application/json"),
            "refused",
            "status 400: 1:3: parse error: unexpected end; correct the query",
            id="bad query",
        ),
        pytest.param(
            fails(422, error("execution", "many-to-many matching"), "application/json"),
            "refused",
            "status 422: many-to-many matching; correct the query",
            id="query that cannot be evaluated",
        ),
        pytest.param(fails(404, b"nope"), "status", "status 404; check the path in url", id="wrong path"),
        pytest.param(
            fails(401), "credentials", "status 401; set bearer_token_file or basic_auth to what it accepts", id="401"
        ),
        pytest.param(
            fails(403), "credentials", "status 403; set bearer_token_file or basic_auth to what it accepts", id="403"
        ),
        pytest.param(
            fails(503, error("timeout", "query timed out in expression evaluation"), "application/json"),
            "timeout",
            "query timed out in expression evaluation; give more time or ask for less",
            id="Prometheus gave up on the query",
        ),
        pytest.param(
            truncated,
            "truncated",
            "the answer ended early or damaged; see what stands in between",
            id="truncated",
        ),
        pytest.param(
            body(b"no gzip", Content_Encoding="gzip"),
            "truncated",
            "the answer ended early or damaged; see what stands in between",
            id="damaged compression",
        ),
        pytest.param(huge(33), "too-large", "more than 32 MiB; narrow the query or widen its step", id="huge"),
        pytest.param(
            body(b'{"status":"error","error":"odd"}'), "refused", "odd; correct the query", id="error with status 200"
        ),
        pytest.param(
            says(success({"resultType": "string", "result": [1, "x"]})),
            "refused",
            "the query gives a string; ask for numbers",
            id="string",
        ),
    ],
)
def test_each_fault_has_its_own_failure_and_is_not_tried_again(
    server: FakePrometheus, reply: Reply, cause: str, text: str
) -> None:
    got = failure(ask(server, reply))

    assert (got.cause, got.text.removeprefix(server.url + QUERY + ": ")) == (cause, text)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("document", "text"),
    [
        pytest.param([], "the answer is not a JSON object", id="list"),
        pytest.param({}, "the answer has no status", id="empty"),
        pytest.param(success(None), "data is not a JSON object", id="no data"),
        pytest.param(success({"resultType": "vector"}), "result is not a JSON list", id="no result"),
        pytest.param(success({"result": []}), "resultType is 'None', not matrix or scalar or vector", id="no type"),
        pytest.param(vector(({}, "many")), "a value is 'many', not a number in quotes", id="value of letters"),
        pytest.param(
            success({"resultType": "vector", "result": [{"metric": {}, "value": [1, 2]}]}),
            "a value is '2', not a number in quotes",
            id="value without quotes",
        ),
        pytest.param(
            success({"resultType": "vector", "result": [{"metric": {}, "value": [float("nan"), "2"]}]}),
            "a sample is not a pair of time and value",
            id="no time",
        ),
        pytest.param(
            success({"resultType": "vector", "result": [{"metric": {}, "value": [10**400, "2"]}]}),
            "a sample is not a pair of time and value",
            id="time beyond all bounds",
        ),
        pytest.param(
            success({"resultType": "vector", "result": [{"value": [1, "2"]}]}),
            "a label set is not a JSON object",
            id="no labels",
        ),
        pytest.param(
            success({"resultType": "vector", "result": [{"metric": {"a": 1}, "value": [1, "2"]}]}),
            "a label's value is not a text",
            id="label with a number",
        ),
        pytest.param(success({}, warnings="careful"), "warnings is not a JSON list", id="warnings of another shape"),
    ],
)
def test_json_of_another_shape_is_not_prometheus(server: FakePrometheus, document: object, text: str) -> None:
    assert ask(server, says(document)) == Failure(
        "not-prometheus", f"{server.url}{QUERY}: {text}; check that url is a Prometheus address"
    )


def test_a_server_that_is_down_is_unreachable() -> None:
    with fake_prometheus() as gone:
        url = gone.url
    answer = play(PrometheusSettings(url, retries=1), lambda client: client.query("up", deadline_s=LONG_S))
    assert answer == Failure("unreachable", f"{url}{QUERY}: Connection refused; start Prometheus there or correct url")


@pytest.mark.parametrize(
    "reply", [hangs, hangs_after_headers, trickles], ids=["silent", "silent after headers", "a byte at a time"]
)
def test_a_server_that_does_not_finish_is_given_up_at_the_deadline(server: FakePrometheus, reply: Reply) -> None:
    assert ask(server, reply, deadline_s=SHORT_S) == Failure(
        "timeout", f"{server.url}{QUERY}: no complete answer in time; give more time or ask for less"
    )


def test_asks_nothing_when_no_time_is_left(server: FakePrometheus) -> None:
    assert failure(ask(server, GOOD, deadline_s=0)).cause == "timeout"
    assert server.asked == []


def test_one_query_fails_and_the_others_do_not(server: FakePrometheus) -> None:
    server.script(GOOD)
    server.script(fails(503), query="bad")

    async def script(client: PrometheusClient) -> list[Answer]:
        return await asyncio.gather(*(client.query(each, deadline_s=LONG_S) for each in ("up", "bad", "up")))

    answers = play(PrometheusSettings(server.url, retries=0), script)
    assert [type(each) for each in answers] == [Vector, Failure, Vector]


def test_a_closed_client_answers_that_it_is_closed(server: FakePrometheus) -> None:
    async def script(client: PrometheusClient) -> Answer:
        await client.close()
        return await client.query("up", deadline_s=LONG_S)

    answer = play(PrometheusSettings(server.url), script)
    assert answer == Failure("closed", f"{server.url}{QUERY}: the client was closed; make a new one")


# --- asking again -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [fails(500), fails(502), fails(429), fails(503, Retry_After="0"), hangs_up],
    ids=["500", "502", "429", "503 with Retry-After", "hung up"],
)
def test_asks_again_where_that_may_help(server: FakePrometheus, first: Reply) -> None:
    assert ask(server, first, first, GOOD) == Vector(GOOD_SAMPLES)
    assert len(server.asked) == 3


def test_gives_up_after_the_retries_and_tells_the_last_cause(server: FakePrometheus) -> None:
    reply = fails(500, error("internal", "out of\nmemory"), "application/json")

    assert ask(server, reply, retries=1) == Failure(
        "status", f"{server.url}{QUERY}: status 500: out of memory; see Prometheus's own log"
    )
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "wait",
    ["3600", formatdate(4e9, usegmt=True)],
    ids=["seconds", "date"],
)
def test_does_not_ask_again_before_it_may_when_that_is_beyond_the_deadline(server: FakePrometheus, wait: str) -> None:
    assert failure(ask(server, fails(429, Retry_After=wait))).cause == "status"
    assert len(server.asked) == 1


def test_a_retry_after_that_nobody_understands_is_as_good_as_none(server: FakePrometheus) -> None:
    assert ask(server, fails(429, Retry_After="soon"), GOOD) == Vector(GOOD_SAMPLES)


# --- the event loop, threads, cancellation ------------------------------------------------------------------------


async def until(seen: Callable[[], bool]) -> None:
    """Give way until it is so."""
    async with asyncio.timeout(LONG_S):
        while not seen():
            await asyncio.sleep(0.001)


def test_the_event_loop_goes_on_while_a_hundred_queries_hang(server: FakePrometheus) -> None:
    server.script(hangs)

    async def script(client: PrometheusClient) -> tuple[int, int, int]:
        queries = [asyncio.create_task(client.query("up", deadline_s=LONG_S)) for _ in range(100)]
        await until(lambda: len(server.asked) == 8)
        beats = 0
        for _ in range(1000):
            await asyncio.sleep(0)
            beats += 1
        answered = sum(each.done() for each in queries)
        for each in queries:
            each.cancel()
        ends = await asyncio.gather(*queries, return_exceptions=True)
        return beats, answered, sum(isinstance(each, asyncio.CancelledError) for each in ends)

    assert play(PrometheusSettings(server.url, threads=8), script) == (1000, 0, 100)
    assert len(server.asked) == 8


def test_queries_beyond_the_threads_wait_their_turn(server: FakePrometheus) -> None:
    server.script(GOOD)

    async def script(client: PrometheusClient) -> list[Answer]:
        return await asyncio.gather(*(client.query("up", deadline_s=LONG_S) for _ in range(30)))

    answers = play(PrometheusSettings(server.url, threads=2), script)
    assert [each.samples for each in answers] == [GOOD_SAMPLES] * 30


def test_says_busy_when_no_thread_comes_free_in_time(server: FakePrometheus) -> None:
    server.script(hangs)

    async def script(client: PrometheusClient) -> Answer:
        first = asyncio.create_task(client.query("up", deadline_s=LONG_S))
        await until(lambda: len(server.asked) == 1)
        second = await client.query("up", deadline_s=SHORT_S)
        first.cancel()
        return second

    assert play(PrometheusSettings(server.url, threads=1), script) == Failure(
        "busy", f"{server.url}{QUERY}: all 1 threads wait for answers; see why Prometheus is slow"
    )


def test_a_thread_comes_back_after_its_caller_was_cancelled(server: FakePrometheus) -> None:
    server.script(hangs, GOOD)

    async def script(client: PrometheusClient) -> Answer:
        first = asyncio.create_task(client.query("up", deadline_s=LONG_S))
        await until(lambda: len(server.asked) == 1)
        first.cancel()
        server.release.set()
        return await client.query("up", deadline_s=LONG_S)

    assert play(PrometheusSettings(server.url, threads=1, retries=0), script).samples == GOOD_SAMPLES


def test_turns_a_call_away_at_once_while_every_thread_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.sources.prometheus.client_threads.HUNG_AFTER_S", 0.0)

    async def script() -> str:
        release, threads, loop = Event(), Threads(2), asyncio.get_running_loop()
        hung = [threads.run(release.wait, loop.time() + 0.05) for _ in range(2)]
        ends = await asyncio.gather(*hung, return_exceptions=True)
        assert [type(each) for each in ends] == [TimeoutError, TimeoutError]
        with pytest.raises(BusyError):
            await threads.run(lambda: "", loop.time() + LONG_S)
        # From here on they are only late: whoever comes waits for them.
        monkeypatch.undo()
        release.set()
        return await threads.run(lambda: "free again", loop.time() + LONG_S)

    assert asyncio.run(script()) == "free again"


def test_a_bug_on_a_thread_reaches_the_caller() -> None:
    async def script() -> None:
        await Threads(1).run(lambda: int("x"), asyncio.get_running_loop().time() + 60)

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(script())


def test_a_hanging_thread_does_not_keep_the_process_from_ending() -> None:
    program = """
import asyncio, threading
from planner.sources.prometheus.client_threads import Threads
async def main():
    try:
        await Threads(1).run(threading.Event().wait, asyncio.get_running_loop().time() + 0.01)
    except TimeoutError:
        print("ended")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "ended\n"


def test_importing_the_client_does_not_load_requests() -> None:
    program = "import sys, planner.sources.prometheus.client; print({'requests', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"


def test_counts_questions_failures_by_cause_and_time(server: FakePrometheus) -> None:
    server.script(GOOD, fails(404), fails(404), fails(401))

    async def script(client: PrometheusClient) -> Any:
        for _ in range(4):
            await client.query("up", deadline_s=LONG_S)
        return client.stats()

    stats = play(PrometheusSettings(server.url), script)
    assert (stats.queries, stats.failures) == (4, {"status": 2, "credentials": 1})
    assert stats.seconds > 0


# --- settings and secrets -----------------------------------------------------------------------------------------


def test_a_token_that_changed_counts_at_the_next_question(server: FakePrometheus, tmp_path: Path) -> None:
    server.script(GOOD)
    token = tmp_path / "token"

    async def script(client: PrometheusClient) -> None:
        for secret in ("first\n", "second\n"):
            token.write_text(secret)
            await client.query("up", deadline_s=LONG_S)

    play(PrometheusSettings(server.url, bearer_token_file=token), script)
    assert [each.headers["authorization"] for each in server.asked] == ["Bearer first", "Bearer second"]


def test_sends_user_and_password_and_further_headers(server: FakePrometheus, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("pässword\n")
    settings: dict[str, Any] = {"basic_auth": BasicAuth("planner", password), "headers": {"X-Scope-OrgID": "team-a"}}

    ask(server, GOOD, **settings)

    (asked,) = server.asked
    assert asked.headers["authorization"] == "Basic cGxhbm5lcjpww6Rzc3dvcmQ="
    assert asked.headers["x-scope-orgid"] == "team-a"


def test_the_environment_adds_no_proxy_and_no_password(
    server: FakePrometheus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert ask(server, GOOD) == Vector(GOOD_SAMPLES)
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(None, "cannot be read (No such file or directory); write the secret there", id="missing"),
        pytest.param(b" \n", "is empty; write the secret there", id="empty"),
        pytest.param(b"\xff\xfe", "is not text; write the secret there", id="not text"),
        pytest.param(b"s3cret\nInjected: yes", "holds more than one word; mend it", id="two lines"),
    ],
)
def test_without_its_token_it_asks_nothing_and_names_the_file(
    server: FakePrometheus, tmp_path: Path, content: bytes | None, text: str
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)

    answer = ask(server, GOOD, bearer_token_file=token)

    assert answer == Failure("credentials", f"bearer_token_file: {token} {text}")
    assert server.asked == []


def test_no_secret_shows_in_a_repr(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    settings = PrometheusSettings("http://host", tmp_path / "token", headers={"X-Api-Key": "s3cret"})
    assert "s3cret" not in repr(settings)


A, B = Path("a"), Path("b")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"url": "ftp://host"}, r"^url: 'ftp://host' is no address; write it as http://prometheus.monitoring:9090$"),
        ({"url": "http://host:port"}, "^url: 'http://host:port' is no address"),
        ({"url": "http://"}, "^url: 'http://' is no address"),
        ({"url": "http://ho st"}, "^url: 'http://ho st' is no address"),
        ({"url": "http://me:s3cret@host"}, "^url: it holds a user or password; move them to basic_auth$"),
        ({"url": "http://me:s3/cret@host"}, "^url: it holds a user or password; move them to basic_auth$"),
        ({"url": "http://host?token=s3cret"}, "^url: it goes on after the path; end it before /api/v1$"),
        (
            {"bearer_token_file": A, "basic_auth": BasicAuth("me", B)},
            "^bearer_token_file: there is basic_auth as well; keep one of them$",
        ),
        (
            {"basic_auth": BasicAuth("m:e", B)},
            "^basic_auth.user: 'm:e' cannot be sent; leave out the colon$",
        ),
        ({"cert_file": A}, "^cert_file: it is of no use alone; give key_file too$"),
        ({"key_file": A}, "^key_file: it is of no use alone; give cert_file too$"),
        ({"ca_file": A, "verify": False}, "^ca_file: a is not looked at with verify: false; leave one out$"),
        ({"headers": {"a b": "c"}}, "^headers: 'a b' is no header's name; use letters, digits and dashes$"),
        ({"headers": {"a": "s3cret\r\nb: c"}}, "^headers: the value of a is not one line of ASCII; correct it$"),
        (
            {"headers": {"Authorization": "s3cret"}},
            "^headers: Authorization is set by the client; use bearer_token_file or basic_auth to log in$",
        ),
        ({"threads": 0}, "^threads: 0 is out of range; give 1 to 64$"),
        ({"retries": -1}, "^retries: -1 is out of range; give 0 to 10$"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_work_are_refused_without_their_secrets(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(PrometheusSettingsError, match=text) as refused:
        PrometheusSettings(**{"url": "http://host", **settings})
    assert "s3" not in str(refused.value)
