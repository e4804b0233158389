"""What a doctor makes of evidence: each finding, with its numbers and its remedy, and nothing that merely follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from planner.doctor import Evidence, Finding, Level, ServiceEvidence, Setup, Wanted, judge
from planner.scaling.types import Absent, PoolSamples, Role, Sample, Sampled, ServiceSamples
from planner.sources.prometheus.answers import Failure, Labels
from planner.sources.prometheus.batch import Asked
from planner.sources.prometheus.detect import detect
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.maps import Quantity
from planner.sources.prometheus.readings import Selector

P, D, A = Role.PREFILL, Role.DECODE, Role.AGGREGATED
NOW_S = 1000.0
MAPS = load_maps()
VLLM = (
    "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:prompt_tokens_total",
    "vllm:time_to_first_token_seconds_count", "vllm:time_to_first_token_seconds_sum",
    "vllm:time_to_first_token_seconds_bucket", "vllm:request_queue_time_seconds_sum",
    "vllm:request_queue_time_seconds_count", "vllm:request_generation_tokens_sum",
    "vllm:request_generation_tokens_count", "vllm:inter_token_latency_seconds_sum",
    "vllm:inter_token_latency_seconds_count", "vllm:request_prompt_tokens_bucket", "vllm:request_prompt_tokens_count",
)  # fmt: skip
SETUP = Setup(MAPS, window_s=60.0, deadline_s=10.0, pod_labels=("namespace", "pod"))
UNASKED = Absent("the connector tells")


def sample(value: float, age_s: float = 3.0) -> Sample:
    return Sample(value, NOW_S - age_s)


def pool(reporting: Sampled, waiting: Sampled | None = None, running: Sampled | None = None) -> PoolSamples:
    return PoolSamples(
        UNASKED, UNASKED, UNASKED, UNASKED, UNASKED, UNASKED, reporting,
        sample(2.0) if waiting is None else waiting, sample(5.0) if running is None else running,
    )  # fmt: skip


def series(pod: str, **more: str) -> Labels:
    return {
        "__name__": "vllm:num_requests_running", "namespace": "chat", "pod": pod, "engine": "0", "model_name": "llama",
        "instance": f"{pod}:8000", "job": "pods", **more,
    }  # fmt: skip


def asked(service: Labels, router: Labels | None = None, **pools: Labels) -> Asked:
    by_role = {Role(role): labels for role, labels in pools.items()} or {A: {}}
    return Asked(Selector(service, by_role, router), by_role, 0.5)


def there(*labels: Labels, names: tuple[str, ...] = VLLM) -> tuple[Labels, ...]:
    return tuple({"__name__": name, **each} for name in names for each in labels)


CHAT = asked({"namespace": "chat"})
SPLIT = asked({"namespace": "chat"}, prefill={"role": "prefill"}, decode={"role": "decode"})
SAMPLES = ServiceSamples(
    window_s=60.0, rate_per_s=sample(6.0), isl_tokens=sample(1000.0), osl_tokens=sample(150.0), isl_cv2=sample(0.5),
    ttft_s=sample(0.2), queue_s=sample(0.05), itl_s=sample(0.02), pools={A: pool(sample(2.0))},
    good_share=sample(0.9),
)  # fmt: skip
ONE = ServiceEvidence(
    name="chat", wanted=Wanted(CHAT, max_age_s=90.0, corrects=True), detection=detect(VLLM, MAPS), samples=SAMPLES,
    asked_at_s=NOW_S, idle=frozenset(), reporting=(series("a-0"), series("a-1")), scrape_interval_s=15.0,
    ttft_edges_s=(0.25, 0.5, 1.0), shares={0.5: 0.9},
)  # fmt: skip
GOOD = Evidence(SETUP, None, 21, 0.07, 0.2, (), (), there({"namespace": "chat"}), (ONE,))


def of(one: ServiceEvidence, **changes: object) -> Evidence:
    return replace(GOOD, services=(one,), **changes)  # type: ignore[arg-type]


def split(*reporting: Labels) -> ServiceEvidence:
    """Two pools."""
    pools = {role: pool(sample(1.0)) for role in (P, D)}
    return replace(
        ONE, wanted=replace(ONE.wanted, asked=SPLIT), samples=replace(SAMPLES, pools=pools), reporting=reporting
    )


def notable(evidence: Evidence) -> list[Finding]:
    return [finding for finding in judge(evidence) if finding.level is not Level.GOOD]


def problem(check: str, text: str, remedy: str | None, service: str | None = "chat") -> Finding:
    return Finding(service, check, Level.PROBLEM, text, remedy)


def remark(check: str, text: str, remedy: str | None, service: str | None = "chat") -> Finding:
    return Finding(service, check, Level.REMARK, text, remedy)


# --- what is good -----------------------------------------------------------------------------------------------


def test_says_of_a_sound_service_where_every_number_is_from() -> None:
    ttft, queue = "vllm:time_to_first_token_seconds", "vllm:request_queue_time_seconds"
    osl, itl = "vllm:request_generation_tokens", "vllm:inter_token_latency_seconds"
    isl = "vllm:request_prompt_tokens"

    assert {(finding.check, finding.text) for finding in judge(GOOD) if finding.level is Level.GOOD} == {
        ("answers", "a round took 0.07 s, prometheus.timeout_s is 10 s; queries: 21"),
        ("clock", "0.2 s ahead of this machine's"),
        ("engines", "engine vllm (series vllm:...)"),
        ("pods", "aggregated: 2 reporting"),
        ("scrapes", "every 15 s, 4 in prometheus.window_s 60 s"),
        ("ages", "the oldest sample is 3.0 s old, believed up to observe.max_age_s 90 s"),
        ("arrivals", f"6 req/s, 3.0 s old, from {ttft}_count and vllm:num_requests_waiting"),
        ("isl_tokens", f"1000 tokens, 3.0 s old, from vllm:prompt_tokens_total and {ttft}_count"),
        ("osl_tokens", f"150 tokens, 3.0 s old, from {osl}_sum and {osl}_count"),
        ("ttft_s", f"200 ms, 3.0 s old, from {ttft}_sum and {ttft}_count"),
        ("itl_s", f"20 ms, 3.0 s old, from {itl}_sum and {itl}_count"),
        ("queue_s", f"50 ms, 3.0 s old, from {queue}_sum and {queue}_count"),
        ("isl_buckets", f"0.5 (squared variation), 3.0 s old, from {isl}_bucket and {isl}_count"),
        ("aggregated waiting", "2 req, 3.0 s old, from vllm:num_requests_waiting"),
        ("aggregated running", "5 req, 3.0 s old, from vllm:num_requests_running"),
        (
            "good share",
            "sla.ttft 500 ms is an edge of the histogram: 90.0% within it; inter-token latency is no part of this "
            "share",
        ),
    }
    assert notable(GOOD) == []


def test_an_idle_service_is_told_from_a_blind_one() -> None:
    means = {Quantity.ISL_TOKENS, Quantity.OSL_TOKENS, Quantity.TTFT_S, Quantity.ITL_S, Quantity.QUEUE_S}
    none = Absent("none in the window")
    samples = replace(
        SAMPLES, rate_per_s=sample(0.0), isl_tokens=none, osl_tokens=none, ttft_s=none, itl_s=none, queue_s=none,
        pools={A: pool(sample(2.0), sample(0.0), sample(0.0))},
    )  # fmt: skip
    idle = of(replace(ONE, samples=samples, idle=frozenset(means), shares={}))

    (only,) = notable(idle)
    assert (only.check, only.level) == ("arrivals", Level.REMARK)
    assert only.text.endswith(": the service is idle")
    assert {finding.check for finding in judge(idle) if finding.text == "idle: none in the last 60 s"} == means


def test_no_arrivals_while_requests_run_is_not_called_idle() -> None:
    (only,) = notable(of(replace(ONE, samples=replace(SAMPLES, rate_per_s=sample(0.0)))))

    assert only.text.endswith(", while 7 requests wait or run: until that ends, nothing is lowered")


# --- prometheus itself ------------------------------------------------------------------------------------------


def test_when_prometheus_does_not_answer_nothing_else_is_said() -> None:
    down = Evidence(SETUP, Failure("unreachable", "http://p:9090/api: Connection refused; start Prometheus there"))

    assert judge(down) == (
        problem("answers", "http://p:9090/api: Connection refused", "start Prometheus there", service=None),
    )


def test_a_question_without_answer_is_one_problem_and_not_one_for_each_number() -> None:
    cause = "http://p:9090/api: no complete answer in time; give more time"
    samples = replace(SAMPLES, rate_per_s=Absent(cause), ttft_s=Absent(cause))

    assert notable(of(replace(ONE, samples=samples), unanswered=(cause,))) == [
        problem(
            "answers", "a question was not answered: http://p:9090/api: no complete answer in time", "give more time",
            service=None,
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        pytest.param(
            {"took_s": 6.0},
            remark(
                "answers", "a round took 6.00 s, prometheus.timeout_s is 10 s; queries: 21",
                "prometheus.timeout_s: give 12, or see why Prometheus is slow", None,
            ),
            id="slow",
        ),
        pytest.param(
            {"skew_s": -61.0},
            remark(
                "clock",
                "61.0 s behind this machine's; ages are right all the same, times of past load are not",
                "set both clocks by the same time server", None,
            ),
            id="clock behind",
        ),
        pytest.param(
            {"warnings": ("a store is away",)},
            remark("warning", "Prometheus warns: a store is away", "mend it in Prometheus", None),
            id="warning",
        ),
    ],
)  # fmt: skip
def test_what_is_odd_about_prometheus_is_a_remark(changes: Mapping[str, object], finding: Finding) -> None:
    assert notable(replace(GOOD, **changes)) == [finding]  # type: ignore[arg-type]


# --- labels -----------------------------------------------------------------------------------------------------


def blind(wanted: Asked, rows: tuple[Labels, ...]) -> Evidence:
    """Nothing of the service was found."""
    nothing = Absent("no metric map fits the series found")
    one = replace(
        ONE, wanted=replace(ONE.wanted, asked=wanted), detection=detect((), MAPS), reporting=(), ttft_edges_s=(),
        scrape_interval_s=None, shares={},
        samples=replace(
            SAMPLES, rate_per_s=nothing, isl_tokens=nothing, osl_tokens=nothing, ttft_s=nothing, queue_s=nothing,
            itl_s=nothing, isl_cv2=nothing, pools={A: pool(nothing, nothing, nothing)},
        ),
    )  # fmt: skip
    return of(one, there=rows)


@pytest.mark.parametrize(
    ("service", "rows", "text", "remedy"),
    [
        pytest.param(
            {"namespace": "caht"}, there({"namespace": "code"}, {"namespace": "chat"}),
            'namespace="caht": no series; there are chat, code', "metrics.match: did you mean namespace=chat?",
            id="misspelt",
        ),
        pytest.param(
            {"namespace": "chat", "zone": "a"}, there({"namespace": "chat"}),
            'zone="a": no series; none carries zone',
            "metrics.match: leave zone out, or have it attached when scraping", id="label nobody carries",
        ),
        pytest.param(
            {"namespace": "x", "model_name": "y"},
            there(*({"namespace": f"n-{i}", "model_name": "llama"} for i in range(7))),
            'namespace="x": no series; there are n-0, n-1, n-2, n-3, n-4 and 2 more; '
            'model_name="y": no series; there is llama',
            "metrics.match: write namespace= with one that is there, did you mean model_name=llama?", id="both wrong",
        ),
        pytest.param(
            {"namespace": "chat", "model_name": "qwen", "zone": "a"},
            there(
                {"namespace": "chat", "model_name": "llama", "zone": "b"},
                {"namespace": "code", "model_name": "qwen", "zone": "b"},
                {"namespace": "code", "model_name": "llama", "zone": "a"},
            ),
            '{model_name="qwen", namespace="chat", zone="a"}: each label is there, but no series carries all of them',
            "metrics.match: leave out one that is another service's", id="never together",
        ),
        pytest.param(
            {"namespace": "chat"}, (),
            "Prometheus has no series of any engine or router with a metric map "
            "(dynamo-frontend, llm-d-router, sglang, tgi, trtllm, vllm)",
            "have the engines scraped; for another engine, write a map and name it in prometheus.maps, "
            "see docs/metric-maps.md",
            id="no series at all",
        ),
    ],
)  # fmt: skip
def test_a_selector_that_finds_nothing_is_told_which_label_is_to_blame(
    service: Labels, rows: tuple[Labels, ...], text: str, remedy: str
) -> None:
    assert notable(blind(asked(service), rows)) == [problem("selector", text, remedy)]


PREFILL = series("p-0", role="prefill")
DECODE = series("d-0", role="decode")


def test_a_pool_that_finds_nothing_is_not_offered_what_another_pool_claims() -> None:
    assert notable(of(split(series("p-0", role="prefill-v2"), DECODE))) == [
        problem(
            "selector", 'role="prefill": no series; there is prefill-v2',
            "metrics.prefill: did you mean role=prefill-v2?",
        )
    ]  # fmt: skip
    assert notable(of(split(DECODE))) == [
        problem(
            "selector", '{role="prefill"}: no series, and all that the service has are of another pool',
            "see whether prefill engines run and are scraped; if so, metrics.prefill: give labels that they carry",
        )
    ]  # fmt: skip


def test_a_pool_that_contradicts_its_service_is_told_so() -> None:
    contradicting = asked({"role": "decode"}, prefill={"role": "prefill"}, decode={"role": "decode"})
    one = split(DECODE)
    one = replace(one, wanted=replace(one.wanted, asked=contradicting))

    assert notable(of(one, there=there({"role": "decode"}))) == [
        problem(
            "selector", 'metrics.match wants role="decode", metrics.prefill role="prefill": no series is both',
            "metrics.match: leave role out",
        )
    ]  # fmt: skip


def test_pools_that_share_replicas_are_a_problem_and_what_follows_is_not_told() -> None:
    both = asked({"namespace": "chat"}, prefill={"role": "prefill"}, decode={"namespace": "chat"})
    one = split(PREFILL, DECODE)
    two_series = Absent('2 series carry {namespace="chat"}')
    pools = {P: pool(sample(1.0)), D: pool(two_series, two_series, two_series)}
    one = replace(
        one, wanted=replace(one.wanted, asked=both),
        samples=replace(SAMPLES, pools=pools, osl_tokens=two_series, itl_s=two_series),
    )  # fmt: skip

    assert notable(of(one)) == [
        problem(
            "pools",
            '1 series carry the labels of prefill and of decode, such as {namespace="chat", pod="p-0", '
            'role="prefill"}; what they tell counts twice',
            "metrics.prefill, metrics.decode: give labels that tell the pools apart",
        )
    ]


def test_replicas_of_no_pool_are_a_remark() -> None:
    assert notable(of(split(PREFILL, DECODE, series("x-0", role="draft")))) == [
        remark(
            "pools",
            '1 series of the service are of none of its pools, such as {namespace="chat", pod="x-0", role="draft"}',
            "metrics.match: narrow it, if they are another's; else widen metrics.prefill or metrics.decode",
        )
    ]


def test_a_replica_that_two_services_claim_is_a_problem() -> None:
    assert notable(replace(GOOD, services=(ONE, replace(ONE, name="code")))) == [
        problem(
            "services", "2 of its series are those of service chat too, so load counts twice",
            "metrics.match: give each service labels that only its own series carry", "code",
        )
    ]  # fmt: skip


def test_a_router_that_is_named_and_not_found_is_a_problem() -> None:
    named = replace(ONE, wanted=replace(ONE.wanted, asked=asked({"namespace": "chat"}, router={"job": "epp"})))
    pickers = there({"job": "picker"}, names=("llm_d_epp_request_total",))

    assert [finding.text for finding in notable(of(named))] == [
        "Prometheus has no series of any router with a metric map (dynamo-frontend, llm-d-router)"
    ]
    assert notable(of(named, there=(*GOOD.there, *pickers))) == [
        problem("selector", 'job="epp": no series; there is picker', "metrics.router: did you mean job=picker?")
    ]


# --- engines ----------------------------------------------------------------------------------------------------


def test_two_engines_under_one_selector_are_one_problem() -> None:
    detection = detect((*VLLM, "sglang:num_running_reqs"), MAPS)
    conflict = detection.conflicts[0]
    samples = replace(SAMPLES, pools={A: pool(Absent(conflict))}, remarks=detection.conflicts)

    assert notable(of(replace(ONE, detection=detection, samples=samples))) == [
        problem(
            "engines",
            "vllm (vllm:) and sglang (sglang:) report under one selector; numbers are those of vllm (vllm:), of "
            "another only what it lacks",
            "select one engine",
        )
    ]


def test_a_router_alone_does_not_tell_which_replicas_report() -> None:
    names = ("llm_d_epp_request_total", "llm_d_epp_ready_endpoints")
    detection = detect(names, MAPS)
    samples = replace(SAMPLES, pools={A: pool(Absent(detection.missing[Quantity.REPORTING]))})
    one = replace(ONE, detection=detection, samples=samples, reporting=())

    assert notable(of(one, there=there({"namespace": "chat"}, names=names)))[0] == problem(
        "engines",
        "no engine is among 2 series, such as llm_d_epp_ready_endpoints, llm_d_epp_request_total; router llm-d-router "
        "(series llm_d_epp_...) does not tell which replicas report",
        "have the engines scraped too, with the labels of metrics.match; for an engine of your own write a map, see "
        "docs/metric-maps.md",
    )


def test_what_the_source_finds_odd_is_passed_on_once() -> None:
    samples = replace(SAMPLES, remarks=("Prometheus warns: slow", "the router is old; renew it"))

    assert notable(of(replace(ONE, samples=samples), warnings=("slow",))) == [
        remark("warning", "Prometheus warns: slow", "mend it in Prometheus", None),
        remark("engines", "the router is old", "renew it"),
    ]


# --- quantities -------------------------------------------------------------------------------------------------

SCRAPE_IT = "have it scraped, or name another series for it in a map of prometheus.maps, see docs/metric-maps.md"
NO_VALUE = Absent("the value is NaN")


BLIND = "it knows no load and holds for ever"
LATENCY = "nothing is lowered while requests come"
UNCORRECTED = "; else set correction.enabled to false"
VARIES = "sizing.isl_cv2 stands for it"
MEASURED = "; else set sizing.isl_cv2 to what your prompts have"
LENGTHS = "sizes for the agreement's lengths, and nothing is lowered while requests come"
WHOLE_TTFT = "the prefill profile is corrected by the whole time to first token, waiting included"


@pytest.mark.parametrize(
    ("samples", "level", "without", "otherwise"),
    [
        pytest.param(replace(SAMPLES, rate_per_s=NO_VALUE), Level.PROBLEM, BLIND, "", id="arrivals"),
        pytest.param(replace(SAMPLES, isl_tokens=NO_VALUE), Level.PROBLEM, LENGTHS, "", id="isl_tokens"),
        pytest.param(replace(SAMPLES, osl_tokens=NO_VALUE), Level.PROBLEM, LENGTHS, "", id="osl_tokens"),
        pytest.param(replace(SAMPLES, ttft_s=NO_VALUE), Level.PROBLEM, LATENCY, UNCORRECTED, id="ttft_s"),
        pytest.param(replace(SAMPLES, itl_s=NO_VALUE), Level.PROBLEM, LATENCY, UNCORRECTED, id="itl_s"),
        pytest.param(replace(SAMPLES, queue_s=NO_VALUE), Level.REMARK, WHOLE_TTFT, "", id="queue_s"),
        pytest.param(replace(SAMPLES, isl_cv2=NO_VALUE), Level.REMARK, VARIES, MEASURED, id="isl_buckets"),
    ],
)
def test_what_is_missing_says_what_the_planner_does_without_it(
    samples: ServiceSamples, level: Level, without: str, otherwise: str, request: pytest.FixtureRequest
) -> None:
    (only,) = notable(of(replace(ONE, samples=samples)))

    assert (only.check, only.level) == (request.node.callspec.id, level)
    assert only.text == f"missing, the value is NaN; without it: {without}"
    assert only.remedy is not None
    assert only.remedy.startswith("look for vllm:")
    assert only.remedy.endswith(
        f" in Prometheus, and mend the scraping, metrics.match or metrics.aggregated{otherwise}"
    )


def test_a_latency_that_corrects_nothing_is_missed_less() -> None:
    one = replace(ONE, wanted=replace(ONE.wanted, corrects=False), samples=replace(SAMPLES, itl_s=NO_VALUE))

    assert [(finding.check, finding.level) for finding in notable(of(one))] == [("itl_s", Level.REMARK)]


def test_a_quantity_without_series_names_those_that_were_looked_for() -> None:
    detection = detect([name for name in VLLM if "queue_time" not in name], MAPS)
    samples = replace(SAMPLES, queue_s=Absent(detection.missing[Quantity.QUEUE_S]))

    assert notable(of(replace(ONE, detection=detection, samples=samples))) == [
        remark(
            "queue_s",
            "missing, vllm: vllm:request_queue_time_seconds_sum and vllm:request_queue_time_seconds_count not found; "
            "without it: the prefill profile is corrected by the whole time to first token, waiting included",
            SCRAPE_IT,
        )
    ]


@pytest.mark.parametrize("position", [0, 1, 2], ids=["reporting", "waiting", "running"])
def test_a_pool_of_which_nothing_is_known_is_never_lowered(position: int) -> None:
    values: list[Sampled] = [sample(2.0), sample(2.0), sample(5.0)]
    values[position] = NO_VALUE

    (only,) = notable(of(replace(ONE, samples=replace(SAMPLES, pools={A: pool(*values)}))))

    assert only.check == f"aggregated {('reporting', 'waiting', 'running')[position]}"
    assert only.level is Level.PROBLEM
    assert only.text.endswith("nothing is ever lowered")


# --- scrapes and ages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval_s", "max_age_s", "findings"),
    [
        pytest.param(15.1, 90.0, [], id="not quite punctual"),
        pytest.param(
            20.0, 90.0,
            [
                remark(
                    "scrapes", "every 20 s, 3 in prometheus.window_s 60 s; below 4, one that is lost shows",
                    "prometheus.window_s: give 80, or scrape more often",
                )
            ],
            id="few",
        ),
        pytest.param(
            31.0, 90.0,
            [
                problem(
                    "scrapes", "every 31 s, 1.94 in prometheus.window_s 60 s; a rate needs 2",
                    "prometheus.window_s: give 124, or scrape more often",
                )
            ],
            id="too few",
        ),
        pytest.param(
            15.0, 20.0,
            [
                remark(
                    "scrapes",
                    "observe.max_age_s 20 s is hardly more than the scrape interval of 15 s: samples grow stale with "
                    "one lost scrape",
                    "observe.max_age_s: give 45, or scrape more often",
                )
            ],
            id="soon stale",
        ),
        pytest.param(
            15.0, 10.0,
            [
                problem(
                    "scrapes",
                    "observe.max_age_s 10 s is less than the scrape interval of 15 s: samples grow stale between two "
                    "scrapes",
                    "observe.max_age_s: give 45, or scrape more often",
                )
            ],
            id="always stale",
        ),
        pytest.param(
            None, 90.0,
            [
                remark(
                    "scrapes",
                    "no replica has been scraped twice in the last 10 min, so the scrape interval is not known yet",
                    "ask again after the second scrape",
                )
            ],
            id="unknown",
        ),
    ],
)  # fmt: skip
def test_scrapes_are_held_against_window_and_age(
    interval_s: float | None, max_age_s: float, findings: list[Finding]
) -> None:
    one = replace(ONE, scrape_interval_s=interval_s, wanted=replace(ONE.wanted, max_age_s=max_age_s))

    assert notable(of(one)) == findings


def test_rates_that_are_missing_for_want_of_scrapes_are_not_told_again() -> None:
    samples = replace(SAMPLES, rate_per_s=NO_VALUE, isl_tokens=NO_VALUE, ttft_s=NO_VALUE)

    findings = notable(of(replace(ONE, scrape_interval_s=45.0, samples=samples)))

    assert [finding.check for finding in findings] == ["scrapes"]


def test_a_sample_that_is_too_old_is_a_problem() -> None:
    old = replace(SAMPLES, pools={A: pool(sample(2.0, age_s=120.0))})

    assert notable(of(replace(ONE, samples=old))) == [
        problem(
            "ages",
            "the oldest sample is 120.0 s old, believed up to observe.max_age_s 90 s; a stale sample may raise the "
            "fleet, never lower it",
            "see on Prometheus's page /targets which pod is not scraped; one that is gone vanishes in five minutes",
        )
    ]


# --- pods -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ready", "findings"),
    [
        pytest.param(2, [], id="all"),
        pytest.param(
            3,
            [
                problem(
                    "pods", "aggregated: 2 reporting, 3 Ready; the planner may raise such a fleet, never lower it",
                    "see on Prometheus's page /targets which pods are not scraped, and why",
                )
            ],
            id="fewer",
        ),
        pytest.param(
            1,
            [
                remark(
                    "pods", "aggregated: 2 reporting, 1 Ready; a pod that is gone may linger for five minutes",
                    "if it stays so, narrow metrics.match or metrics.aggregated: another's pods are counted",
                )
            ],
            id="more",
        ),
    ],
)  # fmt: skip
def test_reporting_replicas_are_compared_with_those_ready(ready: int, findings: list[Finding]) -> None:
    assert notable(of(replace(ONE, wanted=replace(ONE.wanted, ready={A: ready})))) == findings


def test_a_pod_that_two_jobs_scrape_is_named_with_both() -> None:
    again = series("a-0", job="again")

    assert notable(of(replace(ONE, reporting=(*ONE.reporting, again)))) == [
        remark(
            "scraped twice",
            '1 of 2 pods are scraped more than once, such as {namespace="chat", pod="a-0"} by {job="pods"} and '
            '{job="again"}; the planner counts each once',
            "leave one scrape job for them; where a pod runs several engines, add instance to prometheus.pod_labels",
        )
    ]


def test_ranks_of_one_pod_are_not_taken_for_a_second_scrape() -> None:
    assert notable(of(replace(ONE, reporting=(series("a-0"), series("a-0", engine="1"))))) == []


def test_a_label_of_the_engine_that_no_map_knows_is_pointed_out() -> None:
    parts = (series("a-0", lora="x"), series("a-0", lora="y"))

    assert notable(of(replace(ONE, reporting=parts))) == [
        remark(
            "scraped twice",
            "1 of 1 pods have several series of vllm:num_requests_running from one target, such as "
            '{namespace="chat", pod="a-0"} by {lora="x"} and {lora="y"}; the largest counts',
            "where they add up, write a map vllm whose parts name lora, see docs/metric-maps.md; where they say the "
            "same, all is well",
        )
    ]


def bare(pod: str, **more: str) -> Labels:
    return {name: value for name, value in series(pod, **more).items() if name not in ("namespace", "pod")}


@pytest.mark.parametrize(
    ("pod_labels", "reporting", "findings"),
    [
        pytest.param(
            ("namespace", "pod"), (bare("a-0"), bare("a-1")),
            [
                problem(
                    "pod labels",
                    "not all series carry namespace and pod of prometheus.pod_labels: 2 targets are taken for one "
                    "pod, and only the largest of them counts",
                    "prometheus.pod_labels: give [instance], or have namespace and pod attached when scraping",
                )
            ],
            id="several taken for one",
        ),
        pytest.param(
            ("namespace", "pod"), (bare("a-0"),),
            [
                remark(
                    "pod labels", "not all series carry namespace and pod of prometheus.pod_labels",
                    "prometheus.pod_labels: give [instance], or have namespace and pod attached when scraping",
                )
            ],
            id="one alone",
        ),
        pytest.param(
            ("node",), (series("a-0"), series("a-1")),
            [
                problem(
                    "pod labels",
                    "not all series carry node of prometheus.pod_labels: 2 targets are taken for one pod, and only "
                    "the largest of them counts",
                    "prometheus.pod_labels: give [namespace, pod], or have node attached when scraping",
                )
            ],
            id="another label",
        ),
        pytest.param(
            (), (series("a-0"),),
            [
                remark(
                    "pod labels",
                    "prometheus.pod_labels is empty, so a pod that is scraped twice counts twice; the series carry pod",
                    "prometheus.pod_labels: give [namespace, pod]",
                )
            ],
            id="not used",
        ),
        pytest.param((), (bare("a-0"),), [], id="none to use"),
    ],
)  # fmt: skip
def test_labels_that_tell_pods_apart_are_looked_for(
    pod_labels: tuple[str, ...], reporting: tuple[Labels, ...], findings: list[Finding]
) -> None:
    one = replace(ONE, wanted=replace(ONE.wanted, asked=asked({})), reporting=reporting)

    assert notable(of(one, setup=replace(SETUP, pod_labels=pod_labels))) == findings


# --- the agreement ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target_s", "shares", "beside", "choices"),
    [
        (0.45, {0.25: 0.2, 0.5: 0.9}, "20.0% within 250 ms and 90.0% within 500 ms", "250 ms or 500 ms"),
        (2.0, {1.0: 0.95}, "95.0% within 1000 ms", "1000 ms"),
        (0.1, {}, "250 ms", "250 ms"),
    ],
    ids=["between", "above all", "below all, idle"],
)
def test_an_agreement_beside_the_edges_is_bounded_by_both_neighbours(
    target_s: float, shares: Mapping[float, float], beside: str, choices: str
) -> None:
    one = replace(ONE, wanted=replace(ONE.wanted, asked=replace(CHAT, target_ttft_s=target_s)), shares=shares)

    assert notable(of(one)) == [
        remark(
            "good share",
            f"sla.ttft {target_s * 1000:g} ms is no edge of the histogram of the time to first token, so the share of "
            f"good requests is not shown; beside it: {beside}",
            f"sla.ttft: choose {choices}, or give the engine's histogram an edge at {target_s * 1000:g} ms",
        )
    ]


def test_a_histogram_without_edges_or_none_at_all_is_a_remark() -> None:
    detection = detect([name for name in VLLM if not name.endswith("first_token_seconds_bucket")], MAPS)

    assert [finding.text for finding in notable(of(replace(ONE, ttft_edges_s=())))] == [
        "the histogram of the time to first token has no finite edge; the share of good requests is not shown"
    ]
    assert [finding.text for finding in notable(of(replace(ONE, detection=detection)))] == [
        "missing, vllm: vllm:time_to_first_token_seconds_bucket and vllm:time_to_first_token_seconds_count not found; "
        "without it: the share of good requests is not shown"
    ]
