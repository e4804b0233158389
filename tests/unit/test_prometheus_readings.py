"""From answers to samples: each service its own, and nothing ever zero that was not counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from planner.scaling.types import Absent, Role, Sample, ServiceSamples
from planner.sources.prometheus.answers import Answer, Failure, LabelledSample, Rejected, Vector
from planner.sources.prometheus.detect import detect
from planner.sources.prometheus.lengths import squared_variation
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.maps import Quantity
from planner.sources.prometheus.readings import Answers, Selector, service_samples

P, D = Role.PREFILL, Role.DECODE
MAPS = load_maps()
VLLM = {
    "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:time_to_first_token_seconds_count",
    "vllm:time_to_first_token_seconds_sum", "vllm:time_to_first_token_seconds_bucket", "vllm:prompt_tokens_total",
    "vllm:request_generation_tokens_sum", "vllm:request_generation_tokens_count",
    "vllm:inter_token_latency_seconds_sum", "vllm:inter_token_latency_seconds_count",
    "vllm:request_queue_time_seconds_sum", "vllm:request_queue_time_seconds_count",
    "vllm:request_prompt_tokens_bucket", "vllm:request_prompt_tokens_count",
}  # fmt: skip
CHAT = Selector({"model": "chat"}, {P: {"role": "prefill"}, D: {"role": "decode"}})
NOW_S = 1000.0


def vector(**by_pool: float) -> Vector:
    """A value per pool of chat, and another service's, which must not be taken for it."""
    others = LabelledSample({"model": "code", "role": "prefill"}, 77.0, NOW_S)
    return Vector(
        (*(LabelledSample({"model": "chat", "role": role}, value, NOW_S) for role, value in by_pool.items()), others)
    )


VALUES: Mapping[Quantity, Answer] = {
    Quantity.ARRIVALS: vector(prefill=4.0, decode=4.1),
    Quantity.ISL_TOKENS: vector(prefill=3000.0, decode=3000.0),
    Quantity.OSL_TOKENS: vector(prefill=1.0, decode=150.0),
    Quantity.TTFT_S: vector(prefill=0.2, decode=0.01),
    Quantity.QUEUE_S: vector(prefill=0.05, decode=0.0),
    Quantity.ITL_S: vector(decode=0.02),
    Quantity.WAITING: vector(prefill=1.0, decode=0.0),
    Quantity.RUNNING: vector(prefill=2.0, decode=12.0),
    Quantity.REPORTING: vector(prefill=2.0, decode=1.0),
}
AGES_S = dict.fromkeys(VALUES, vector(prefill=3.0, decode=9.0))


def histogram(counts: Mapping[str, float], **more: str) -> Vector:
    """Prompts of chat's prefill pool by edge, and another service's."""
    labels = {"model": "chat", "role": "prefill", **more}
    own = (LabelledSample({**labels, "le": edge}, count, NOW_S) for edge, count in counts.items())
    return Vector((*own, LabelledSample({"model": "code", "role": "prefill", "le": "1000"}, 9.0, NOW_S)))


PROMPTS = {"500": 0.0, "1000.0": 25.0, "2000": 75.0, "5000": 100.0, "+Inf": 100.0}
ANSWERS = Answers(
    NOW_S, VALUES, {}, {**AGES_S, Quantity.ISL_BUCKETS: AGES_S[Quantity.TTFT_S]}, {0.5: vector(prefill=0.97)},
    {Quantity.ISL_BUCKETS: histogram(PROMPTS)},
)  # fmt: skip


def seen(answers: Answers = ANSWERS, there: set[str] | None = None, selector: Selector = CHAT) -> ServiceSamples:
    found = detect(VLLM if there is None else there, MAPS)
    return service_samples(
        selector, dict.fromkeys((P, D)), found.choice, found.missing, answers, 60.0, 0.5, found.conflicts
    )


def test_each_quantity_is_read_of_the_pool_that_knows_it_and_as_old_as_its_scrape() -> None:
    samples = seen()

    assert samples.rate_per_s == Sample(4.0, NOW_S - 3)
    assert (samples.isl_tokens, samples.osl_tokens) == (Sample(3000.0, NOW_S - 3), Sample(150.0, NOW_S - 9))
    assert (samples.ttft_s, samples.queue_s) == (Sample(0.2, NOW_S - 3), Sample(0.05, NOW_S - 3))
    assert (samples.itl_s, samples.good_share) == (Sample(0.02, NOW_S - 9), Sample(0.97, NOW_S))
    assert samples.pools[P].reporting == Sample(2.0, NOW_S - 3)
    assert (samples.pools[D].waiting, samples.pools[D].running) == (Sample(0.0, NOW_S - 9), Sample(12.0, NOW_S - 9))
    assert samples.pools[P].wanted == Absent("the connector tells")


def with_value(quantity: Quantity, answer: Answer, events: Answer | None = None) -> Answers:
    return replace(ANSWERS, values={**VALUES, quantity: answer}, events={} if events is None else {quantity: events})


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(Failure("status", "http://p/api/v1/query answers 503"), "answers 503", id="failed"),
        pytest.param(Vector(()), 'no series carries {model="chat", role="prefill"}', id="empty"),
        pytest.param(
            Vector((), (Rejected({"model": "chat", "role": "prefill"}, "NaN", NOW_S),)), "the value is NaN", id="NaN"
        ),
        pytest.param(
            Vector(tuple(LabelledSample({"model": "chat", "role": "prefill", "zone": z}, 1.0, NOW_S) for z in "ab")),
            '2 series carry .*such as {model="chat", role="prefill", zone="b"}', id="two",
        ),
    ],
)  # fmt: skip
def test_what_is_not_one_number_is_absent_with_the_cause_and_nothing_else_is(answer: Answer, cause: str) -> None:
    samples = seen(with_value(Quantity.TTFT_S, answer))

    assert isinstance(samples.ttft_s, Absent)
    with pytest.raises(AssertionError, match=cause):
        raise AssertionError(samples.ttft_s.cause)
    assert replace(samples, ttft_s=seen().ttft_s) == seen()


def test_a_mean_of_nothing_is_idle_where_the_events_were_counted() -> None:
    idle = seen(with_value(Quantity.TTFT_S, Vector(()), events=vector(prefill=0.0)))
    gone = seen(with_value(Quantity.TTFT_S, Vector(()), events=Vector(())))

    assert idle.ttft_s == Absent("none in the window")
    assert gone.ttft_s == Absent('no series carries {model="chat", role="prefill"}')


def test_a_router_tells_of_the_service_and_engines_of_their_pools() -> None:
    router = {"dynamo_frontend_requests_started_total", "dynamo_frontend_queued_requests",
              "dynamo_frontend_inflight_requests", "dynamo_frontend_requests_total"}  # fmt: skip
    of_the_model = Vector(
        (LabelledSample({"model": "chat"}, 5.0, NOW_S), LabelledSample({"model": "code"}, 9.0, NOW_S))
    )

    samples = seen(with_value(Quantity.ARRIVALS, of_the_model), VLLM | router)

    assert isinstance(samples.rate_per_s, Sample)
    assert samples.rate_per_s.value == 5.0
    assert samples.pools[P].reporting == Sample(2.0, NOW_S - 3)


def test_without_any_series_everything_is_absent_and_says_why() -> None:
    samples = seen(there=set())

    assert samples.rate_per_s == Absent("no metric map fits the series found; check the selector, or give a map")


def test_a_target_that_is_no_edge_of_the_histogram_is_not_guessed() -> None:
    samples = seen(replace(ANSWERS, within={0.5: Vector(())}))

    assert samples.good_share == Absent("500 ms is no edge of the histogram, or nothing came in the window")


# --- how much prompts vary --------------------------------------------------------------------------------------


def test_how_much_prompts_vary_is_read_from_their_histogram_and_as_old_as_its_scrape() -> None:
    variation = squared_variation({float(edge): count for edge, count in PROMPTS.items()})

    assert isinstance(variation, float)
    assert seen().isl_cv2 == Sample(variation, NOW_S - 3)


def test_an_edge_that_two_clients_write_differently_is_one() -> None:
    halves = {edge: count / 2 for edge, count in PROMPTS.items()} | {"1000": 12.5, "1000.0": 12.5, "500.0": 0.0}

    assert seen(with_prompts(histogram({**halves, **{"2000.0": 37.5, "5000.0": 50.0, "inf": 50.0}}))) == seen()


def with_prompts(answer: Answer) -> Answers:
    return replace(ANSWERS, buckets={Quantity.ISL_BUCKETS: answer})


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(Failure("status", "http://p answers 503"), "http://p answers 503", id="failed"),
        pytest.param(Vector(()), 'no series carries {model="chat", role="prefill"}', id="empty"),
        pytest.param(histogram({"1000": 2.0, "+Inf": 2.0}), "fewer than 5 prompts were measured", id="a few prompts"),
        pytest.param(
            histogram({"wide": 9.0, "+Inf": 9.0}), "the histogram of prompt lengths has no edges", id="no number"
        ),
        pytest.param(
            Vector((*histogram(PROMPTS, zone="a").samples, *histogram(PROMPTS, zone="b").samples)),
            'several histograms carry {model="chat", role="prefill"}, such as '
            '{le="+Inf", model="chat", role="prefill", zone="b"}', id="two",
        ),
    ],
)  # fmt: skip
def test_a_variation_that_cannot_be_told_is_absent_with_the_cause(answer: Answer, cause: str) -> None:
    assert seen(with_prompts(answer)) == replace(seen(), isl_cv2=Absent(cause))


def test_an_engine_without_a_histogram_of_prompts_says_so() -> None:
    lacking = seen(there=VLLM - {"vllm:request_prompt_tokens_bucket"})

    assert lacking.isl_cv2 == Absent(
        "vllm: vllm:request_prompt_tokens_bucket and vllm:request_prompt_tokens_count not found"
    )


# --- routers, conflicts, warnings -------------------------------------------------------------------------------


def test_a_router_is_read_under_its_own_labels() -> None:
    selector = replace(CHAT, router={"model": "Chat", "job": "frontend"})
    there = VLLM | {"dynamo_frontend_inflight_requests", "dynamo_frontend_requests_started_total"}
    of_routers = Vector(
        tuple(
            LabelledSample({"model": model, "job": "frontend"}, rate, NOW_S)
            for model, rate in (("Chat", 5.0), ("chat", 9.0))
        )
    )

    samples = seen(with_value(Quantity.ARRIVALS, of_routers), there, selector)

    assert samples == replace(seen(), rate_per_s=Sample(5.0, NOW_S))


def test_two_engines_under_one_selector_are_remarked_and_no_replica_is_taken_to_report() -> None:
    samples, alone = seen(there=VLLM | {"sglang:num_running_reqs"}), seen()
    conflict = (
        "vllm (vllm:) and sglang (sglang:) report under one selector; numbers are those of vllm (vllm:), of another "
        "only what it lacks; select one engine"
    )

    assert samples == replace(
        alone,
        pools={role: replace(pool, reporting=Absent(conflict)) for role, pool in alone.pools.items()},
        remarks=(conflict,),
    )


def test_what_prometheus_warns_of_is_remarked_once_and_at_most_three_times() -> None:
    def warned(*warnings: str) -> Vector:
        return replace(vector(prefill=2.0, decode=2.0), warnings=warnings)

    once = replace(ANSWERS, events={Quantity.TTFT_S: warned("partial"), Quantity.ITL_S: warned("partial")})
    often = replace(ANSWERS, events={Quantity.TTFT_S: warned(*"edcba")})

    assert seen(once).remarks == ("Prometheus warns: partial",)
    assert [remark[-1] for remark in seen(often).remarks] == ["a", "b", "c"]
