"""Every map against an exporter that speaks as its engine or router does: what it tells is what was done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from prometheus_dialects import Dialect, dynamo_frontend, llm_d_router, sglang, share_within, tgi, trtllm, vllm
from prometheus_site import Replica, site

from planner.clock import WallClock
from planner.scaling.types import Absent, Role, Sample, Sampled, ServiceSamples
from planner.sources.prometheus.batch import Asked
from planner.sources.prometheus.client import PrometheusClient
from planner.sources.prometheus.client_settings import PrometheusSettings
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.readings import Selector
from planner.sources.prometheus.source import PrometheusSource

A = Role.AGGREGATED
WINDOW_S = 5.0
NO_EDGE = "500 ms is no edge of the histogram, or nothing came in the window"
OF_ITSELF = "tells of itself, not of replicas; scrape the engines too"


@dataclass(frozen=True)
class Case:
    """Replicas of one namespace, all with the same work unless they say otherwise."""

    replicas: tuple[Dialect, ...]
    absent: Mapping[str, str] = field(default_factory=dict)
    """What is not told, and the sentence."""
    target_ttft_s: float = 0.5
    reporting: float = 2.0


DONE = Replica({}, rate_per_s=20.0, isl=1500.0, osl=80.0, ttft_s=0.2, itl_s=0.02, waiting=2.0, running=6.0)
"""What each replica does."""

CASES = {
    "vllm 0.9": Case((vllm("0.9"),) * 2),
    "vllm 0.11": Case((vllm("0.11"),) * 2),
    "vllm 0.15": Case((vllm("0.15"),) * 2),
    "vllm with data-parallel ranks": Case((vllm("0.15", ranks=2),) * 2),
    "sglang": Case((sglang(),) * 2, target_ttft_s=0.4),
    "sglang off its edges": Case((sglang(tp=1),) * 2, {"good_share": NO_EDGE}),
    "trtllm": Case(
        (trtllm(),) * 2,
        {
            "isl_cv2": "trtllm: TensorRT-LLM counts prompt tokens, and keeps no histogram of them; "
            "a router in front of it may"
        },
    ),
    "trtllm 1.1": Case(
        (trtllm(""),) * 2,
        {
            "isl_cv2": "trtllm: TensorRT-LLM counts prompt tokens, and keeps no histogram of them; "
            "a router in front of it may"
        },
    ),
    "tgi": Case(
        (tgi,) * 2,
        {
            "ttft_s": "tgi: TGI does not observe the time to first token; a router in front of it may",
            "good_share": "tgi: TGI does not observe the time to first token; a router in front of it may",
        },
    ),
    "dynamo frontend": Case(
        (dynamo_frontend(),) * 2,
        {
            "queue_s": "dynamo-frontend: the frontend does not observe the time in queue; the engines behind it may",
            "reporting": f"dynamo-frontend: {OF_ITSELF}",
        },
        target_ttft_s=0.47,
    ),
    "llm-d router": Case(
        (llm_d_router(),),
        {
            "queue_s": "llm-d-router: llm_d_epp_flow_control_request_queue_duration_seconds_sum and "
            "llm_d_epp_flow_control_request_queue_duration_seconds_count not found",
            "reporting": f"llm-d-router: {OF_ITSELF}",
        },
        target_ttft_s=0.4,
    ),
}


def replica(namespace: str, number: int, speaks: Dialect, **labels: str) -> Replica:
    pod = {"namespace": namespace, "pod": f"pod-{number}", **labels}
    return Replica(
        pod, DONE.rate_per_s, DONE.isl, DONE.osl, DONE.ttft_s, DONE.itl_s, DONE.waiting, DONE.running, speaks=speaks
    )


BEHIND_A_FRONTEND, BEHIND_A_PICKER, BOTH = "behind a frontend", "behind a picker", "vllm beside sglang"
UPGRADE = "vllm 0.9 beside 0.15"
ENGINES = [
    *(replica(name, n, speaks) for name, case in CASES.items() for n, speaks in enumerate(case.replicas)),
    # Engines report half of what the router sees, and the frontend serves another model too.
    replica(BEHIND_A_FRONTEND, 0, vllm()),
    replica("frontends", 0, dynamo_frontend("llama")),
    replica("frontends", 1, dynamo_frontend("llama")),
    replica("frontends", 2, dynamo_frontend("other")),
    replica(BEHIND_A_PICKER, 0, sglang()),
    replica("gateway", 0, llm_d_router(), service="picker"),
    replica("gateway", 1, llm_d_router(), service="picker-of-others"),
    replica(BOTH, 0, vllm()),
    replica(BOTH, 1, sglang()),
    replica(UPGRADE, 0, vllm("0.15")),
    replica(UPGRADE, 1, vllm("0.11")),
    replace(replica(UPGRADE, 2, vllm("0.9")), itl_s=4 * DONE.itl_s),
]
SERVICES = {
    **{name: Asked(Selector({"namespace": name}, {}), {A: 1}, case.target_ttft_s) for name, case in CASES.items()},
    BEHIND_A_FRONTEND: Asked(
        Selector({"namespace": BEHIND_A_FRONTEND}, {}, {"namespace": "frontends", "model": "llama"}), {A: 1}, 0.47
    ),
    BEHIND_A_PICKER: Asked(Selector({"namespace": BEHIND_A_PICKER}, {}, {"service": "picker"}), {A: 1}, 0.4),
    BOTH: Asked(Selector({"namespace": BOTH}, {}), {A: 1}, 0.5),
    UPGRADE: Asked(Selector({"namespace": UPGRADE}, {}), {A: 1}, 0.5),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, prometheus_program: str) -> Mapping[str, ServiceSamples]:
    """What one round tells of all of them."""

    async def collected(url: str) -> Mapping[str, ServiceSamples]:
        client = PrometheusClient(PrometheusSettings(url))
        source = PrometheusSource(client, SERVICES, load_maps(), WallClock(), window_s=WINDOW_S, deadline_s=30.0)
        samples = await asyncio.gather(*map(source.collect, SERVICES))
        await source.close()
        return dict(zip(SERVICES, samples, strict=True))

    with site(tmp_path_factory.mktemp("engines"), *ENGINES, program=prometheus_program) as here:
        here.start()
        return asyncio.run(collected(here.url))


def near(value: float) -> object:
    return pytest.approx(value, rel=0.1)


def numbers(samples: ServiceSamples) -> Mapping[str, float | str]:
    """Each quantity's value, or the cause of its absence."""
    pool = samples.pools[A]
    read: Mapping[str, Sampled] = {
        "rate_per_s": samples.rate_per_s, "isl_tokens": samples.isl_tokens, "osl_tokens": samples.osl_tokens,
        "isl_cv2": samples.isl_cv2, "ttft_s": samples.ttft_s, "queue_s": samples.queue_s, "itl_s": samples.itl_s,
        "good_share": samples.good_share, "waiting": pool.waiting, "running": pool.running,
        "reporting": pool.reporting,
    }  # fmt: skip
    return {name: one.value if isinstance(one, Sample) else one.cause for name, one in read.items()}


def expected(replicas: int, target_ttft_s: float = 0.5) -> dict[str, object]:
    """What so many replicas have done."""
    return {
        "rate_per_s": near(replicas * DONE.rate_per_s), "isl_tokens": near(DONE.isl), "osl_tokens": near(DONE.osl),
        "isl_cv2": near(DONE.isl_cv2), "ttft_s": near(DONE.ttft_s), "queue_s": near(DONE.queue_s),
        "itl_s": near(DONE.itl_s), "good_share": near(share_within(target_ttft_s)),
        "waiting": replicas * DONE.waiting, "running": replicas * DONE.running, "reporting": float(replicas),
    }  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_an_engine_or_router_tells_is_what_it_did_and_the_rest_is_absent_with_its_sentence(
    told: Mapping[str, ServiceSamples], name: str
) -> None:
    case = CASES[name]

    assert numbers(told[name]) == {**expected(len(case.replicas), case.target_ttft_s), **case.absent}
    assert told[name].remarks == ()


@pytest.mark.parametrize(
    ("service", "routers", "target_ttft_s"), [(BEHIND_A_FRONTEND, 2, 0.47), (BEHIND_A_PICKER, 1, 0.4)]
)
def test_a_router_with_labels_of_its_own_tells_what_users_see_and_the_engines_the_rest(
    told: Mapping[str, ServiceSamples], service: str, routers: int, target_ttft_s: float
) -> None:
    assert numbers(told[service]) == {
        **expected(1, target_ttft_s),
        "rate_per_s": near(routers * DONE.rate_per_s),
    }
    assert told[service].remarks == ()


def test_in_an_upgrade_across_a_renaming_every_pod_counts_once(told: Mapping[str, ServiceSamples]) -> None:
    assert numbers(told[UPGRADE]) == {**expected(3), "itl_s": near(2 * DONE.itl_s)}


def test_two_engines_under_one_selector_are_told_and_neither_is_taken_for_the_fleet(
    told: Mapping[str, ServiceSamples],
) -> None:
    [remark] = told[BOTH].remarks

    assert remark.startswith("sglang (sglang:) and vllm (vllm:) report under one selector")
    assert told[BOTH].pools[A].reporting == Absent(remark)
