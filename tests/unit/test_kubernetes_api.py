"""The client of the Kubernetes API against a server that fails in every way it can."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.config import incluster_config
from kubernetes_server import (
    LONG_S,
    Asked,
    FakeApiServer,
    Reply,
    bookmark,
    deployment,
    event,
    fake_api_server,
    hangs,
    hangs_up,
    kubeconfig,
    listing,
    play,
    refuses,
    says,
    text,
    watch,
)

from planner import __version__
from planner.connectors.kubernetes.api.access import Access, AccessError
from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.api.errors import ApiError, one_line, refused
from planner.connectors.kubernetes.api.listing import Listing

SHORT_S = 0.2
"""A deadline that a test waits for."""

ALL = "/apis/apps/v1/namespaces/llm/deployments"
ONE = f"{ALL}/decode"
DECODE = deployment("decode", 7, status={"aField": {"nobody": "models"}})
EXPIRED = refuses(410, "Expired", "the resource version is too old")
UNAUTHORIZED = refuses(401, "Unauthorized", "Unauthorized")
OVERLOADED = refuses(429, "TooManyRequests", "wait", Retry_After="0")


def ask(folder: Path, *replies: Reply, deadline_s: float = LONG_S) -> tuple[Any, int]:
    """What a GET gives or raises, and how often the server was asked."""

    async def script(server: FakeApiServer, api: Api) -> tuple[Any, int]:
        server.script("GET", ONE, *replies)
        try:
            answer: Any = await api.get(ONE)
        except ApiError as error:
            answer = error
        return answer, len(server.asked)

    answer: tuple[Any, int] = play(folder, script, deadline_s=deadline_s)
    return answer


def facts(error: Any) -> tuple[int | None, str, float | None, str]:
    """All that an ApiError says."""
    assert isinstance(error, ApiError)
    return error.status, error.reason, error.retry_after_s, str(error)


# --- what is asked, what is answered --------------------------------------------------------------------------------


def test_answers_the_whole_object_with_fields_that_no_model_knows(tmp_path: Path) -> None:
    assert ask(tmp_path, says(DECODE)) == (DECODE, 1)


@pytest.mark.parametrize(
    ("call", "verb", "params", "content_type", "body"),
    [
        pytest.param(
            lambda api: api.get(ONE, resourceVersion="0"),
            "GET",
            {"resourceVersion": "0"},
            "application/json",
            "",
            id="get",
        ),
        pytest.param(
            lambda api: api.patch(ONE, {"spec": {"replicas": 3}}),
            "PATCH",
            {"fieldManager": "sla-planner"},
            "application/merge-patch+json",
            '{"spec": {"replicas": 3}}',
            id="patch",
        ),
        pytest.param(
            lambda api: api.create(ONE, {"kind": "Event"}),
            "POST",
            {"fieldManager": "sla-planner"},
            "application/json",
            '{"kind": "Event"}',
            id="create",
        ),
        pytest.param(
            lambda api: api.replace(ONE, {"kind": "Lease"}, field_manager="another"),
            "PUT",
            {"fieldManager": "another"},
            "application/json",
            '{"kind": "Lease"}',
            id="replace",
        ),
        pytest.param(lambda api: api.delete(ONE), "DELETE", {}, "application/json", "", id="delete"),
    ],
)
def test_asks_as_the_api_server_wants_it(
    tmp_path: Path,
    call: Callable[[Api], Awaitable[Any]],
    verb: str,
    params: dict[str, str],
    content_type: str,
    body: str,
) -> None:
    async def script(server: FakeApiServer, api: Api) -> Asked:
        server.script(verb, ONE, says(DECODE))
        assert await call(api) == DECODE
        (asked,) = server.asked
        return asked

    asked = play(tmp_path, script)

    assert (asked.verb, asked.path, asked.params, asked.body) == (verb, ONE, params, body)
    wanted = ("accept", "authorization", "content-type", "user-agent")
    assert {name: asked.headers[name] for name in wanted} == {
        "accept": "application/json",
        "authorization": "Bearer t0",
        "content-type": content_type,
        "user-agent": f"sla-planner/{__version__}",
    }


def test_lists_page_by_page_and_says_what_each_item_is(tmp_path: Path) -> None:
    a, b = deployment("a", 3), deployment("b", 4)

    async def script(server: FakeApiServer, api: Api) -> Any:
        server.script("GET", ALL, says(listing(9, a, more="next")), says(listing(9, b)))
        listed = await api.items(ALL, label_selector="app in (x,y),tier=a+b", field_selector="metadata.name=a")
        return listed, [asked.params for asked in server.asked]

    listed, params = play(tmp_path, script)

    first = {"limit": "500", "labelSelector": "app in (x,y),tier=a+b", "fieldSelector": "metadata.name=a"}
    assert listed == Listing((a, b), "9")
    assert params == [first, {**first, "continue": "next"}]


def test_an_empty_list_has_a_moment_too(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> Any:
        server.script("GET", ALL, says({"kind": "PodList", "metadata": {"resourceVersion": "5"}, "items": None}))
        return await api.items(ALL)

    assert play(tmp_path, script) == Listing((), "5")


def test_reads_all_at_once_when_the_store_forgot_the_first_page(tmp_path: Path) -> None:
    a, b = deployment("a", 3), deployment("b", 4)

    async def script(server: FakeApiServer, api: Api) -> Any:
        server.script("GET", ALL, says(listing(9, a, more="next")), EXPIRED, says(listing(12, a, b)))
        listed = await api.items(ALL, label_selector="app=x")
        return listed, server.asked[-1].params

    assert play(tmp_path, script) == (Listing((a, b), "12"), {"labelSelector": "app=x"})


def test_a_list_that_expires_at_its_first_page_fails(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> Any:
        server.script("GET", ALL, EXPIRED)
        with pytest.raises(ApiError, match="410 Expired: the resource version is too old; list again"):
            await api.items(ALL)
        return len(server.asked)

    assert play(tmp_path, script) == 1


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param(
            refuses(403, "Forbidden", 'deployments.apps is forbidden: User "x" cannot get it'),
            (
                403,
                "Forbidden",
                None,
                f'GET {ONE}: 403 Forbidden: deployments.apps is forbidden: User "x" cannot get it; '
                "allow it by RBAC to the account the planner runs as",
            ),
            id="forbidden",
        ),
        pytest.param(
            refuses(404, "NotFound", 'deployments.apps "decode" not found'),
            (
                404,
                "NotFound",
                None,
                f'GET {ONE}: 404 NotFound: deployments.apps "decode" not found; '
                "see whether the object and its CRD are there",
            ),
            id="not found",
        ),
        pytest.param(
            refuses(409, "Conflict", "the object\nhas been modified"),
            (
                409,
                "Conflict",
                None,
                f"GET {ONE}: 409 Conflict: the object has been modified; read the object again and decide anew",
            ),
            id="conflict, on one line",
        ),
        pytest.param(
            refuses(409, "AlreadyExists", "it exists"),
            (
                409,
                "AlreadyExists",
                None,
                f"GET {ONE}: 409 AlreadyExists: it exists; change the object that is there",
            ),
            id="already exists",
        ),
        pytest.param(
            refuses(422, "Invalid", "spec.replicas: -1"),
            (422, "Invalid", None, f"GET {ONE}: 422 Invalid: spec.replicas: -1; correct what was sent"),
            id="invalid",
        ),
        pytest.param(
            refuses(500, "InternalError", "etcdserver: leader changed"),
            (
                500,
                "InternalError",
                None,
                f"GET {ONE}: 500 InternalError: etcdserver: leader changed; see the API server's log",
            ),
            id="500 is not repeated",
        ),
        pytest.param(
            text("<html>bad gateway</html>", 502),
            (
                502,
                "Bad Gateway",
                None,
                f"GET {ONE}: 502 Bad Gateway: Bad Gateway; see the API server's log",
            ),
            id="a proxy's page",
        ),
        pytest.param(
            refuses(429, "TooManyRequests", "wait"),
            (
                429,
                "TooManyRequests",
                None,
                f"GET {ONE}: 429 TooManyRequests: wait; ask less often, or give the planner a share of its own by "
                "API priority and fairness",
            ),
            id="429 without Retry-After",
        ),
        pytest.param(
            refuses(503, "ServiceUnavailable", "starting", Retry_After="3600"),
            (
                503,
                "ServiceUnavailable",
                3600.0,
                f"GET {ONE}: 503 ServiceUnavailable: starting; see the API server's log",
            ),
            id="Retry-After beyond the deadline",
        ),
        pytest.param(
            refuses(503, "ServiceUnavailable", "starting", {"retryAfterSeconds": 3600}),
            (
                503,
                "ServiceUnavailable",
                3600.0,
                f"GET {ONE}: 503 ServiceUnavailable: starting; see the API server's log",
            ),
            id="asked to wait in the details",
        ),
        pytest.param(
            text("<html>log in</html>"),
            (
                200,
                "NotJson",
                None,
                f"GET {ONE}: the answer is no JSON object; see what stands between the planner and the API server",
            ),
            id="a login page",
        ),
        pytest.param(
            says(["a"]),
            (
                200,
                "NotJson",
                None,
                f"GET {ONE}: the answer is no JSON object; see what stands between the planner and the API server",
            ),
            id="another JSON",
        ),
    ],
)
def test_a_failure_says_what_was_asked_and_the_remedy(tmp_path: Path, reply: Reply, expected: Any) -> None:
    error, asked = ask(tmp_path, reply)

    assert (facts(error), asked) == (expected, 1)


@pytest.mark.parametrize("status", [429, 503])
def test_waits_as_asked_and_asks_again_within_the_deadline(tmp_path: Path, status: int) -> None:
    wait = refuses(status, "Any", "wait", Retry_After="0")

    assert ask(tmp_path, wait, wait, says(DECODE)) == (DECODE, 3)


def test_a_server_that_always_asks_to_wait_is_not_stormed(tmp_path: Path) -> None:
    error, asked = ask(tmp_path, OVERLOADED, deadline_s=SHORT_S)

    # 0.05 + 0.1 s fit into the deadline, 0.2 s more do not.
    assert (error.status, error.reason, error.retry_after_s) == (429, "TooManyRequests", 0.0)
    assert 1 <= asked <= 3


def test_no_answer_fails_at_the_deadline(tmp_path: Path) -> None:
    error, asked = ask(tmp_path, hangs, deadline_s=SHORT_S)

    text = f"GET {ONE}: nothing came within 0.2 s; see whether the API server is overloaded"
    assert (facts(error), asked) == ((None, "Timeout", None, text), 1)


def test_half_an_answer_fails_at_the_deadline(tmp_path: Path) -> None:
    error, _ = ask(tmp_path, watch('{"half":', then="stays"), deadline_s=SHORT_S)

    assert error.reason == "Timeout"


def test_a_connection_that_breaks_in_the_answer_is_cut(tmp_path: Path) -> None:
    error, asked = ask(tmp_path, watch('{"half":', then="cut"))

    assert (error.status, error.reason, asked) == (None, "Cut", 1)
    assert str(error).startswith(f"GET {ONE}: the connection broke (")


def test_a_write_that_is_cut_is_not_repeated(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> int:
        server.script("PATCH", ONE, hangs_up)
        with pytest.raises(ApiError, match=f"PATCH {ONE}: the connection broke"):
            await api.patch(ONE, {})
        return len(server.asked)

    assert play(tmp_path, script) == 1


@pytest.fixture
def unused_port() -> int:
    """Nobody listens there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_nobody_there_is_unreachable(tmp_path: Path, unused_port: int) -> None:
    async def script() -> ApiError:
        api = Api(Access(kubeconfig(tmp_path, f"http://127.0.0.1:{unused_port}")))
        with pytest.raises(ApiError) as failed:
            await api.get(ONE)
        await api.close()
        return failed.value

    error = asyncio.run(script())

    remedy = "see whether the API server runs and is let through to"
    assert (error.status, error.reason) == (None, "Unreachable")
    assert str(error).startswith(f"GET {ONE}: Connect")
    assert str(error).endswith(remedy)


@pytest.mark.parametrize("called", ["call", "stream"])
def test_a_cancelled_call_leaves_nothing_behind(tmp_path: Path, called: str) -> None:
    async def forever(api: Api) -> None:
        if called == "call":
            await api.get(ONE)
        else:
            async with api.stream(ONE, {"watch": "true"}, silence_s=LONG_S) as events:
                async for _ in events:
                    pass

    async def script(server: FakeApiServer, api: Api) -> None:
        server.script("GET", ONE, hangs)
        server.script("WATCH", ONE, watch(bookmark(1), then="stays"))
        task = asyncio.create_task(forever(api))
        while not server.asked:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The server sees the connection go, though the client lives on.
        await server.gone.wait()
        while server.connections:
            await asyncio.sleep(0)

    play(tmp_path, script)


def test_a_closed_client_answers_no_more(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> None:
        server.script("GET", ONE, says(DECODE))
        await api.get(ONE)
        await api.close()
        with pytest.raises(ApiError, match="the Kubernetes client was closed; make a new one"):
            await api.get(ONE)

    play(tmp_path, script)


def test_closing_ends_a_call_under_way(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> None:
        server.script("GET", ONE, hangs)
        task = asyncio.create_task(api.get(ONE))
        while not server.asked:
            await asyncio.sleep(0)
        await api.close()
        with pytest.raises(ApiError):
            await task

    play(tmp_path, script)


def test_what_the_api_server_says_at_length_is_cut() -> None:
    assert one_line("a  b\n c" + "x" * 400) == "a b c" + "x" * 295 + "..."


@pytest.mark.parametrize("retry_after", ["soon", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT", "²"])
def test_a_retry_after_of_no_whole_seconds_is_none(retry_after: str) -> None:
    assert refused("GET /", 429, "Too Many Requests", retry_after, b"").retry_after_s is None


# --- streams --------------------------------------------------------------------------------------------------------


def stream(folder: Path, *replies: Reply, silence_s: float = LONG_S, deadline_s: float = LONG_S) -> tuple[Any, Any]:
    """The objects of a stream, and what ended it; None when the server did."""

    async def script(server: FakeApiServer, api: Api) -> tuple[Any, Any]:
        server.script("WATCH", ALL, *replies)
        got: list[Any] = []
        try:
            async with api.stream(ALL, {"watch": "true"}, silence_s=silence_s) as events:
                async for said in events:
                    got.append(said)  # noqa: PERF401 - what came before a failure counts
        except ApiError as error:
            return got, facts(error)[:2]
        return got, None

    answer: tuple[Any, Any] = play(folder, script, deadline_s=deadline_s)
    return answer


ADDED = event("ADDED", DECODE)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param(watch(ADDED, bookmark(9)), ([ADDED, bookmark(9)], None), id="ends in order"),
        pytest.param(watch(ADDED, then="cut"), ([ADDED], (None, "Cut")), id="is cut"),
        pytest.param(watch(ADDED, '{"type": "ADD'), ([ADDED], (200, "NotJson")), id="is cut within a line"),
        pytest.param(EXPIRED, ([], (410, "Expired")), id="does not begin"),
    ],
)
def test_a_stream_gives_what_comes_until_it_ends(tmp_path: Path, reply: Reply, expected: Any) -> None:
    assert stream(tmp_path, reply) == expected


def test_a_stream_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    assert stream(tmp_path, watch(ADDED, then="stays"), silence_s=SHORT_S) == ([ADDED], (None, "Timeout"))


def test_a_stream_that_does_not_begin_fails_at_the_deadline(tmp_path: Path) -> None:
    assert stream(tmp_path, hangs, deadline_s=SHORT_S) == ([], (None, "Timeout"))


def test_a_stream_outlives_the_deadline_of_calls(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> Any:
        go_on = asyncio.Event()

        async def slow(request: Any) -> Any:
            asyncio.get_running_loop().call_later(2 * SHORT_S, go_on.set)
            await go_on.wait()
            return await says(DECODE)(request)

        server.script("WATCH", ALL, watch(ADDED, then="stays"))
        server.script("GET", ONE, slow)
        async with api.stream(ALL, {"watch": "true"}, silence_s=LONG_S) as events:
            with pytest.raises(ApiError, match="nothing came within"):
                await api.get(ONE)
            return await anext(events)

    assert play(tmp_path, script, deadline_s=SHORT_S) == ADDED


def test_a_line_of_several_mebibytes_is_read(tmp_path: Path) -> None:
    large = event("ADDED", deployment("decode", 7, status={"text": "x" * 3 * 2**20}))

    assert stream(tmp_path, watch(large)) == ([large], None)


# --- credentials ----------------------------------------------------------------------------------------------------


def test_a_rotated_token_is_read_anew_when_the_old_one_is_refused(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> Any:
        server.script("GET", ONE, says(DECODE), UNAUTHORIZED, says(DECODE))
        await api.get(ONE)
        kubeconfig(tmp_path, server.url, {"token": "t1"})
        await api.get(ONE)
        await api.get(ONE)
        # Long before an idle connection would be closed for being so.
        for _ in range(1000):
            await asyncio.sleep(0)
        return server.tokens(), server.connections

    assert play(tmp_path, script) == (["Bearer t0", "Bearer t0", "Bearer t1", "Bearer t1"], 1)


def test_a_token_that_stays_refused_fails_after_one_more_try_and_is_not_told(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> Any:
        server.script("GET", ONE, UNAUTHORIZED)
        with pytest.raises(ApiError) as failed:
            await api.get(ONE)
        return str(failed.value), len(server.asked)

    said = f"GET {ONE}: 401 Unauthorized: Unauthorized; give a token or certificate that is still valid"
    assert play(tmp_path, script, token="secret") == (said, 2)


def test_credentials_that_cannot_be_read_anew_fail_the_call_alone(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> Any:
        server.script("GET", ONE, UNAUTHORIZED, says(DECODE))
        await api.get(ONE)
        server.script("GET", ONE, UNAUTHORIZED, says(DECODE))
        file = tmp_path / "kubeconfig"
        kept = file.read_text()
        file.unlink()
        with pytest.raises(ApiError) as failed:
            await api.get(ONE)
        file.write_text(kept)
        return facts(failed.value)[:2], await api.get(ONE)

    assert play(tmp_path, script) == ((None, "Credentials"), DECODE)


def test_a_watch_outlives_the_renewal_and_then_its_connection_goes(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> Any:
        server.script("WATCH", ALL, watch(ADDED, then="stays"))
        server.script("GET", ONE, UNAUTHORIZED, says(DECODE))
        async with api.stream(ALL, {"watch": "true"}, silence_s=LONG_S) as events:
            assert await api.get(ONE) == DECODE
            assert await anext(events) == ADDED
        await server.gone.wait()
        while server.connections > 1:
            await asyncio.sleep(0)
        return await api.get(ONE)

    assert play(tmp_path, script) == DECODE


def test_two_calls_that_are_refused_at_once_both_go_on(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> Any:
        server.script("GET", ONE, UNAUTHORIZED, UNAUTHORIZED, says(DECODE))
        answers = await asyncio.gather(api.get(ONE), api.get(ONE))
        return answers, len(server.asked)

    assert play(tmp_path, script) == ([DECODE, DECODE], 4)


def test_a_line_feed_after_a_token_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")

    async def script() -> list[str]:
        async with fake_api_server() as server:
            server.script("GET", ONE, says(DECODE))
            api = Api(Access(kubeconfig(tmp_path, server.url, {"tokenFile": str(tmp_path / "token")})))
            await api.get(ONE)
            await api.close()
            return server.tokens()

    assert asyncio.run(script()) == ["Bearer from-file"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key in one file, its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=digitalSignature,keyCertSign"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *extensions, *files], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return both


def test_a_pod_s_token_is_read_anew_when_it_is_refused(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("p0")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))
    monkeypatch.delenv("KUBECONFIG", raising=False)

    async def script() -> list[str]:
        async with fake_api_server(certificate) as server:
            host, _, port = server.url.removeprefix("https://").partition(":")
            monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
            monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
            server.script("GET", ONE, says(DECODE), UNAUTHORIZED, says(DECODE))
            api = Api(Access())
            await api.get(ONE)
            token.write_text("p1")
            assert await api.get(ONE) == DECODE
            await api.close()
            return server.tokens()

    assert asyncio.run(script()) == ["bearer p0", "bearer p0", "bearer p1"]


def test_a_certificate_of_an_unknown_authority_fails_as_tls(tmp_path: Path, certificate: Path) -> None:
    async def script() -> ApiError:
        async with fake_api_server(certificate) as server:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
            api = Api(Access(kubeconfig(tmp_path, server.url)))
            with pytest.raises(ApiError) as failed:
                await api.get(ONE)
            await api.close()
            return failed.value

    error = asyncio.run(script())

    assert (error.status, error.reason) == (None, "Tls")
    assert str(error).endswith("; give the cluster's certificate authority")


def test_a_new_authority_is_read_when_the_old_one_no_longer_vouches(tmp_path: Path, certificate: Path) -> None:
    async def script() -> Any:
        async with fake_api_server(certificate) as server:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
            server.script("GET", ONE, says(DECODE))
            api = Api(Access(kubeconfig(tmp_path, server.url)))
            with pytest.raises(ApiError, match="give the cluster's certificate authority"):
                await api.get(ONE)
            kubeconfig(tmp_path, server.url, authority=certificate)
            answer = await api.get(ONE)
            await api.close()
            return answer

    assert asyncio.run(script()) == DECODE


# --- the way to the cluster -----------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a kubeconfig, in no pod."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def host(access: Access) -> str:
    """Of the API server that is found."""
    return str(asyncio.run(access.load()).host)


def test_a_kubeconfig_is_found_by_name_by_the_environment_and_at_home(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / ".kube").mkdir()
    kubeconfig(nowhere / ".kube", "https://home").rename(nowhere / ".kube" / "config")
    (nowhere / "env").mkdir()
    (nowhere / "named").mkdir()
    named = kubeconfig(nowhere / "named", "https://named")

    assert host(Access()) == "https://home"
    monkeypatch.setenv("KUBECONFIG", f"{nowhere}/none:{kubeconfig(nowhere / 'env', 'https://env')}")
    assert host(Access()) == "https://env"
    assert host(Access(named)) == "https://named"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("a: [secret", "it is not written as kubectl writes it", id="no YAML"),
        pytest.param("", "it is not written as kubectl writes it", id="empty"),
        pytest.param(
            '{"current-context": "x", "contexts": [{"name": "x", "token": "secret"}], "clusters": [], "users": []}',
            "Invalid kube-config file. Expected key context in ",
            id="a part is missing",
        ),
    ],
)
def test_a_kubeconfig_that_is_none_is_refused_without_a_word_of_what_it_holds(
    nowhere: Path, content: str, said: str
) -> None:
    file = nowhere / "kubeconfig"
    file.write_text(content)

    with pytest.raises(AccessError) as failed:
        host(Access(file))

    assert str(failed.value).startswith(f"kubeconfig: {file}: {said}")
    assert str(failed.value).endswith("; see what kubectl config view says")
    assert "secret" not in str(failed.value)


def test_no_way_to_a_cluster_is_refused_with_the_remedy(nowhere: Path) -> None:
    with pytest.raises(AccessError) as failed:
        host(Access())

    file = nowhere / ".kube" / "config"
    assert str(failed.value) == (f"kubeconfig: there is no file {file}; name one, or run in a pod of the cluster")


def test_a_pod_without_a_token_is_refused(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(nowhere / "none"))

    with pytest.raises(AccessError) as failed:
        host(Access())

    assert str(failed.value) == ("ServiceAccount: Service token file does not exist; mount its token into the pod")


def test_what_only_decides_loads_no_client() -> None:
    names = ("api.errors", "api.listing", "api.discovery", "watches.watched", "objects.table", "objects.writers")
    imports = ", ".join(f"planner.connectors.kubernetes.{name}" for name in names)
    code = f"import {imports}, sys; print({{'kubernetes', 'aiohttp'}} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


def test_every_call_is_counted_by_what_came_back(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, api: Api) -> dict[tuple[str, str], int]:
        server.script("GET", ONE, OVERLOADED, says(DECODE), hangs)
        server.script("PATCH", ONE, refuses(409, "Conflict", "changed"))
        server.script("WATCH", ALL, watch(bookmark(8)))
        await api.get(ONE)
        for failing in (api.patch(ONE, {}), api.get(ONE)):
            with pytest.raises(ApiError):
                await failing
        async with api.stream(ALL, {"watch": "true"}, silence_s=LONG_S) as lines:
            async for _ in lines:
                break
        return dict(api.calls)

    assert play(tmp_path, script, deadline_s=SHORT_S) == {
        ("GET", "429"): 1,
        ("GET", "200"): 1,
        ("GET", "Timeout"): 1,
        ("PATCH", "409"): 1,
        ("WATCH", "200"): 1,
    }
