"""The figure that KEDA is served, by a real gRPC server; what a connector hands on; and a figure that nobody heeds."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from api_boards import FakePlanner, board, lines
from builders import INTERVAL_S
from click.testing import CliRunner
from cluster_programs import free_port
from hypothesis import given
from hypothesis import strategies as st
from keda_keys import make_pair
from kubernetes_pretended import Pretended, Server, deployment

from planner.board import Line
from planner.cli.external_scaler import address_of
from planner.cli.run import command as run
from planner.clock import VirtualClock
from planner.connectors.kubernetes.connector import KubernetesConnector, Pool
from planner.connectors.kubernetes.events.notes import events_of
from planner.connectors.kubernetes.objects.targets import target_of
from planner.connectors.types import Applied, Plan, Status
from planner.controls import Controls, Pause
from planner.errors import UserError
from planner.external_scaler import Address, Answers, Identity, serve, tell_unheeded
from planner.external_scaler.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from planner.external_scaler.unheeded import PATIENCE_S, unheeded
from planner.scaling.types import Role, Sample

REPOSITORY = Path(__file__).parents[2]
NOW_S = 62.0
DECIDED = lines("chat")[-1].decision.pools[Role.DECODE].replicas
assert DECIDED is not None
CHAT = {"service": "chat", "pool": "decode"}
SPEC = GetMetricSpecResponse(
    metricSpecs=[MetricSpec(metricName="sla-planner-replicas", targetSize=1, targetSizeFloat=1.0)]
)
PAUSE = Pause("ann", "a change of hardware", 50.0)


@dataclass
class Asked:
    """KEDA, and the planner it asks."""

    planner: FakePlanner
    clock: VirtualClock
    channel: grpc.aio.Channel
    answers: Answers
    address: Address
    leads: list[bool]

    async def metrics(self, metadata: Mapping[str, str] = CHAT, wait: bool = True) -> GetMetricsResponse:
        asked = GetMetricsRequest(scaledObjectRef=_of(metadata), metricName="s-replicas")
        call = self._one("GetMetrics", GetMetricsResponse)
        answer: GetMetricsResponse = await call(asked, wait_for_ready=wait)
        return answer

    async def once(self, name: str, answer: Any, metadata: Mapping[str, str] = CHAT) -> Any:
        return await self._one(name, answer)(_of(metadata), wait_for_ready=True)

    def stream(self, name: str, answer: Any, metadata: Mapping[str, str] = CHAT) -> Any:
        call = self.channel.unary_stream(_path(name), _bytes, answer.FromString)
        return call(_of(metadata), wait_for_ready=True)

    async def failure(self, asking: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asking
        return caught.value.code(), caught.value.details() or ""

    def _one(self, name: str, answer: Any) -> Any:
        return self.channel.unary_unary(_path(name), _bytes, answer.FromString)


def _path(name: str) -> str:
    return f"/externalscaler.ExternalScaler/{name}"


def _bytes(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _of(metadata: Mapping[str, str]) -> ScaledObjectRef:
    return ScaledObjectRef(name="engine", namespace="llm", scalerMetadata=dict(metadata))


@asynccontextmanager
async def asked(
    made: list[Line] | None = None,
    identity: Identity | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    **shown: Any,
) -> AsyncIterator[Asked]:
    """A server beside a planner that shows this board, and a channel to it."""
    known = lines("chat") if made is None else made
    planner, clock, leads = FakePlanner(known, board(known, **shown)), VirtualClock(NOW_S), [True]
    address = Address("localhost", free_port(), identity)
    answers = Answers(planner.board, planner.subscribe, {"chat"}, clock)
    serving = asyncio.create_task(serve(address, answers, lambda: leads[0], clock))
    where = str(address)
    channel = grpc.aio.insecure_channel(where) if credentials is None else grpc.aio.secure_channel(where, credentials)
    async with channel:
        yield Asked(planner, clock, channel, answers, address, leads)
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


def play(script: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(20):
            return await script()

    return asyncio.run(limited())


# --- what is served ---------------------------------------------------------------------------------------------------


def test_the_figure_is_what_was_decided_for_the_pool() -> None:
    async def script() -> list[Any]:
        async with asked() as keda:
            return [
                await keda.metrics(),
                await keda.once("IsActive", IsActiveResponse),
                await keda.once("GetMetricSpec", GetMetricSpecResponse),
            ]

    assert play(script) == [
        GetMetricsResponse(
            metricValues=[MetricValue(metricName="s-replicas", metricValue=DECIDED, metricValueFloat=DECIDED)]
        ),
        IsActiveResponse(result=True),
        SPEC,
    ]


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"service": "chatt", "pool": "decode"}, "service: 'chatt' is unknown; the services are chat, code"),
        ({"pool": "decode"}, "service: '' is unknown; the services are chat, code"),
        ({"service": "chat", "pool": "x"}, "pool: chat has no pool 'x'; it has prefill and decode"),
        (
            {"service": "code", "pool": "decode"},
            "service: the planner itself scales 'code'; set its kubernetes.actuator to external",
        ),
    ],
    ids=["a service there is not", "no service", "a pool there is not", "a service that the planner scales"],
)
@pytest.mark.parametrize("name", ["IsActive", "GetMetricSpec"])
def test_a_wrong_trigger_is_told_what_there_is(name: str, metadata: Mapping[str, str], said: str) -> None:
    async def script() -> Any:
        async with asked(lines("chat", "code")) as keda:
            return await keda.failure(keda.once(name, IsActiveResponse, metadata))

    assert play(script) == (grpc.StatusCode.INVALID_ARGUMENT, said)


def unknown_counts() -> list[Line]:
    seen = lines("chat")[-1].decision
    gone = {role: replace(pool, current=None, replicas=None) for role, pool in seen.pools.items()}
    return [Line(2, replace(seen, pools=gone), None)]


@pytest.mark.parametrize(
    ("made", "shown", "said"),
    [
        (None, {"controls": Controls(dry_run=PAUSE)}, "chat is in a dry run, by ann: a change of hardware; resume it"),
        (
            None,
            {"controls": Controls(paused={"chat": PAUSE})},
            "chat is paused, by ann: a change of hardware; resume it",
        ),
        (None, {"interval_s": 0.5}, "chat: the last decision is 2 s old, more than 2 s; see why"),
        (unknown_counts(), {}, "chat: the decode pool is left as it is: "),
    ],
    ids=["in a dry run", "paused", "when the loop stands still", "for a pool that is left alone"],
)
def test_there_is_no_figure(made: list[Line] | None, shown: dict[str, Any], said: str) -> None:
    async def script() -> Any:
        async with asked(made, **shown) as keda:
            kept = await keda.once("GetMetricSpec", GetMetricSpecResponse)
            return kept, await keda.failure(keda.metrics()), await keda.failure(keda.once("IsActive", IsActiveResponse))

    spec, metrics, active = play(script)

    assert spec == SPEC
    assert metrics == active
    assert metrics[0] == grpc.StatusCode.UNAVAILABLE
    assert metrics[1].startswith(said)


def test_before_the_first_decision_there_is_no_figure() -> None:
    async def script() -> Any:
        async with asked() as keda:
            shown = keda.planner.shown
            services = {name: replace(service, last=None) for name, service in shown.services.items()}
            keda.planner.shown = replace(shown, services=services)
            return await keda.failure(keda.metrics())

    assert play(script) == (grpc.StatusCode.UNAVAILABLE, "chat: no decision yet; wait for the first")


def test_activity_is_told_once_it_is_known_and_the_stream_ends_with_the_planner() -> None:
    async def script() -> list[IsActiveResponse]:
        async with asked(controls=Controls(dry_run=PAUSE)) as keda:
            stream = keda.stream("StreamIsActive", IsActiveResponse)
            told: list[IsActiveResponse] = []
            reading = asyncio.create_task(_all(stream, told))
            while not keda.planner.readers:
                await asyncio.sleep(0)
            for _ in range(2):
                keda.planner.publish(replace(keda.planner.shown, controls=Controls()))
            keda.planner.end()
            await reading
            return told

    assert play(script) == [IsActiveResponse(result=True)]


def test_the_spec_is_told_at_once_and_the_stream_stays_open() -> None:
    async def script() -> list[GetMetricSpecResponse]:
        async with asked() as keda:
            told: list[GetMetricSpecResponse] = []
            reading = asyncio.create_task(_all(keda.stream("StreamMetricSpec", GetMetricSpecResponse), told))
            while not keda.planner.readers:
                await asyncio.sleep(0)
            keda.planner.publish(keda.planner.shown)
            open_still = not reading.done()
            keda.planner.end()
            await reading
            assert open_still
            return told

    assert play(script) == [SPEC]


async def _all(stream: Any, told: list[Any]) -> None:
    async for each in stream:
        told.append(each)  # noqa: PERF401


# --- where it is served -----------------------------------------------------------------------------------------------


def test_a_standby_refuses_connections_until_it_leads() -> None:
    async def script() -> list[Any]:
        async with asked() as keda:
            keda.leads[0] = False
            standing_by, _ = await keda.failure(keda.metrics(wait=False))
            keda.leads[0] = True
            await keda.clock.advance(1.0)
            leading = (await keda.metrics()).metricValues[0].metricValue
            keda.leads[0] = False
            await keda.clock.advance(1.0)
            await keda.channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
            after, _ = await keda.failure(keda.metrics(wait=False))
            return [standing_by, leading, after]

    assert play(script) == [grpc.StatusCode.UNAVAILABLE, DECIDED, grpc.StatusCode.UNAVAILABLE]


def test_a_port_that_is_taken_is_named() -> None:
    async def script() -> None:
        async with asked() as keda:
            await keda.metrics()
            await serve(keda.address, keda.answers, lambda: True, keda.clock)

    with pytest.raises(UserError, match=r"--external-scaler: localhost:\d+ cannot be listened on, .* choose another"):
        play(script)


def trusting(folder: Path) -> grpc.ChannelCredentials:
    """A client that shows the folder's certificate, and believes whoever shows it."""
    pair = [(folder / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt")]
    return grpc.ssl_channel_credentials(*pair)


def keys(folder: Path) -> Identity:
    folder.mkdir(exist_ok=True)
    pair = make_pair(folder)
    return Identity(pair.certificate, pair.key, folder / "ca.crt")


def test_with_certificates_only_a_known_client_is_answered_and_new_ones_are_taken_up(tmp_path: Path) -> None:
    identity = keys(tmp_path / "shown")
    first = trusting(tmp_path / "shown")

    async def script() -> list[Any]:
        async with asked(identity=identity, credentials=first) as keda:
            known = (await keda.metrics()).metricValues[0].metricValue
            keys(tmp_path / "shown")
            second = trusting(tmp_path / "shown")
            anybody = grpc.ssl_channel_credentials((tmp_path / "shown/ca.crt").read_bytes())
            answers: list[Any] = [known]
            for credentials in (second, anybody, first):
                # Without an option of its own it would share the first channel's connection.
                options = [("grpc.use_local_subchannel_pool", 1)]
                async with grpc.aio.secure_channel(str(keda.address), credentials, options) as channel:
                    other = replace(keda, channel=channel)
                    try:
                        answers.append((await other.metrics(wait=False)).metricValues[0].metricValue)
                    except grpc.aio.AioRpcError as error:
                        answers.append(error.code())
            return answers

    refused = grpc.StatusCode.UNAVAILABLE
    assert play(script) == [DECIDED, DECIDED, refused, refused]


CERT, KEY, CA = Path("cert"), Path("key"), Path("ca")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("9090", None, None, None), r"--external-scaler: '9090' must be HOST:PORT, such as 0.0.0.0:9090"),
        (("a:99999", None, None, None), r"--external-scaler: 'a:99999' must be HOST:PORT"),
        (("a:1", CERT, None, None), r"--external-scaler-cert, -key: go together, and -ca with both; give what is"),
        (("a:1", None, None, CA), r"--external-scaler-cert, -key: go together, and -ca with both; give what is"),
        (("a:1", CERT, KEY, None), r"--external-scaler-cert, -key, -ca: key cannot be read \(No such file.*; name"),
        ((None, CERT, KEY, None), r"--external-scaler-cert, -key, -ca: are for --external-scaler HOST:PORT; give"),
    ],
    ids=["no host", "a port there is not", "no key", "clients without a certificate", "no such file", "no address"],
)
def test_options_that_make_no_sense_are_refused(
    words: tuple[str | None, Path | None, Path | None, Path | None], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        address_of(*words, ("chat",))


def test_a_server_that_would_serve_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"--external-scaler: 'a:1' would serve no figure; set kubernetes.actuator"):
        address_of("a:1", None, None, None, ())


CONFIG = """\
budget: {gpus: 8}
profile: h200-llama-3.1-8b-fp8-tp1
mode: aggregated
sla: {isl: 3000, osl: 150, ttft: 200, itl: 20}
"""


def test_a_rehearsal_serves_no_figure(tmp_path: Path) -> None:
    config = tmp_path / "planner.yaml"
    config.write_text(CONFIG)
    words = ["-c", str(config), "--rehearse", "demo", "--external-scaler", "localhost:0"]

    with pytest.raises(UserError, match=r"--external-scaler: goes with objects of a cluster alone; leave it out"):
        CliRunner().invoke(run, words, catch_exceptions=False, standalone_mode=False)


def test_an_address_may_be_one_of_ipv6() -> None:
    made = address_of("[::1]:9090", None, None, None, ("chat",))

    assert (made, str(made)) == (Address("::1", 9090), "[::1]:9090")


def test_the_generated_messages_are_those_of_the_description(tmp_path: Path) -> None:
    made = subprocess.run([sys.executable, REPOSITORY / "scripts/generate_external_scaler.py", tmp_path], check=False)

    assert made.returncode == 0
    for each in ("externalscaler_pb2.py", "externalscaler_pb2.pyi"):
        kept = REPOSITORY / "planner/external_scaler" / each
        assert (tmp_path / each).read_text() == kept.read_text(), "run scripts/generate_external_scaler.py"


# --- what a connector hands on ----------------------------------------------------------------------------------------


def handing_on(pretended: Pretended) -> KubernetesConnector:
    pools = {Role.DECODE: Pool(target_of("Deployment/decode", "llm"), 1)}
    return KubernetesConnector(
        Server(pretended), pretended, {"chat": pools}, {}, VirtualClock(NOW_S), pretended.fence
    )  # fmt: skip


@pytest.mark.parametrize("replicas", [0, 5])
def test_a_plan_is_handed_on_and_who_sets_the_replicas_instead_is_no_conflict(replicas: int) -> None:
    writer = {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    pretended = Pretended(deployment("decode", replicas, managedFields=[writer]))
    scaler = {"scaleTargetRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "decode"}}
    pretended.others = [{"kind": "HorizontalPodAutoscaler", "metadata": {"name": "hpa"}, "spec": scaler}]
    made = handing_on(pretended)

    async def script() -> Any:
        read = await made.read("chat")
        return read[Role.DECODE].wanted, await made.apply(Plan("chat", {Role.DECODE: 7}, "1"))

    wanted, applied = play(script)

    assert wanted == Sample(replicas, NOW_S)
    assert applied == Applied("handed-on", "decode to 7, for whoever asks for the figure")
    assert (pretended.patches, made.conflicts("chat"), made.go_on("chat")) == ([], {}, False)


def test_what_is_handed_on_is_no_event() -> None:
    decision = lines("chat")[-1].decision

    assert decision.changes
    assert events_of(decision, Applied("handed-on", "decode to 7"), None) == ()


# --- whether it is heeded ---------------------------------------------------------------------------------------------


def line(at_s: float, current: int | None, asked_for: int | None, status: Status | None = "handed-on") -> Line:
    seen = lines("chat")[-1].decision
    pools = {Role.DECODE: replace(seen.pools[Role.DECODE], current=current, replicas=asked_for)}
    applied = None if status is None else Applied(status, "")
    return Line(0, replace(seen, at_s=at_s, pools=pools), applied)


def history(*steps: tuple[int | None, int | None], status: Status | None = "handed-on") -> list[Line]:
    """A decision each interval, newest first; steps are given oldest first."""
    return [line(number * INTERVAL_S, *step, status) for number, step in enumerate(steps)][::-1]


LONG = int(PATIENCE_S / INTERVAL_S) + 1


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (
            (20, 21),
            "chat: the decode target has stood at 20 for 300 s and more, 21 are asked for; that is within the HPA's "
            "tolerance of 10%, so set its behavior.scaleUp.tolerance to 0",
        ),
        (
            (20, 18),
            "chat: the decode target has stood at 20 for 300 s and more, 18 are asked for; that is within the HPA's "
            "tolerance of 10%, so set its behavior.scaleDown.tolerance to 0",
        ),
        (
            (3, 9),
            "chat: the decode target has stood at 3 for 300 s and more, 9 are asked for; see whether an HPA or a "
            "ScaledObject asks for this pool, and its bounds, behavior and conditions",
        ),
    ],
    ids=["a step up within the tolerance", "a step down within the tolerance", "a step beyond it"],
)
def test_a_target_that_stands_still_is_told_with_the_likely_cause(step: tuple[int, int], said: str) -> None:
    made = history(*[step] * LONG)

    assert unheeded(made, made[0].decision.at_s) == (said,)


@pytest.mark.parametrize(
    "made",
    [
        [],
        history(*[(20, 21)] * (LONG - 1)),
        history(*[(20, 21)] * LONG, (21, 21)),
        history(*[(20 + number, 22 + number) for number in range(LONG)]),
        history(*[(20, 21)] * 3, (20, 20), *[(20, 21)] * (LONG - 2)),
        history(*[(20, 21)] * LONG, status="dry-run"),
        history(*[(20, None)] * LONG),
        history(*[(None, 21)] * LONG),
    ],
    ids=[
        "nothing yet", "not for long", "in the end it moved", "it follows, a step behind", "it was so in between",
        "nothing was served", "no order", "nobody counts",
    ],
)  # fmt: skip
def test_no_trouble_is_told_of_a_target_that(made: list[Line]) -> None:
    assert unheeded(made, made[0].decision.at_s if made else NOW_S) == ()


def test_a_plan_on_its_way_ends_no_trouble() -> None:
    made = history(*[(20, 21)] * LONG)
    newest = line(LONG * INTERVAL_S, 20, 21, None)

    assert unheeded([newest, *made], newest.decision.at_s) == unheeded(made, made[0].decision.at_s)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=2 * LONG))
def test_trouble_is_told_only_of_one_count_that_was_never_asked_for(steps: list[tuple[int, int]]) -> None:
    made = history(*steps)
    now_s = made[0].decision.at_s if made else 0.0
    recent = [
        step for step, each in zip(reversed(steps), made, strict=True) if each.decision.at_s >= now_s - PATIENCE_S
    ]
    stands_still = len(recent) == LONG and len({now for now, _ in recent}) == 1
    ignored = all(now != asked_for for now, asked_for in recent)

    assert bool(unheeded(made, now_s)) == (stands_still and ignored)


def test_the_trouble_is_told_once_and_taken_back() -> None:
    told: list[str | None] = []

    class Loop:
        def trouble(self, kind: str, text: str) -> None:
            assert kind == "unheeded"
            told.append(text)

        def well(self, kind: str) -> None:
            assert kind == "unheeded"
            told.append(None)

    async def script() -> None:
        stuck = history(*[(20, 21)] * LONG)
        planner = FakePlanner(stuck[::-1], board(lines("chat"), now_s=stuck[0].decision.at_s))
        telling = asyncio.create_task(tell_unheeded(Loop(), planner, ("chat",)))
        await asyncio.sleep(0)
        for _ in range(2):
            planner.publish(planner.shown)
            await asyncio.sleep(0)
        planner.made.append(line(stuck[0].decision.at_s + INTERVAL_S, 21, 21))
        planner.publish(planner.shown)
        planner.end()
        await telling

    play(script)

    assert told == [*unheeded(history(*[(20, 21)] * LONG), PATIENCE_S), None]
