"""PromQL: whole queries of known engines, the grammar and labels of all that are built, and what is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.sources.prometheus.detect import Chosen, detect
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.maps import Buckets, MetricMap, Quantity, Ratio
from planner.sources.prometheus.queries import POD, Matcher, Queries, QueryError, Scope, queries

MAPS = load_maps()
CHAT = Matcher("namespace", "chat")


def asked(
    name: str,
    group_by: Sequence[str] = ("model_name",),
    pod_labels: Sequence[str] = (),
    targets_ttft_s: Sequence[float] = (0.5,),
    prefix: str | None = None,
) -> Queries:
    """The queries of a map of which everything is there, its first alternatives chosen."""
    each = MAPS[name]
    spelling = each.prefixes[0] if prefix is None else prefix
    choice = {quantity: Chosen(each, spelling, every[0]) for quantity, every in each.quantities.items()}
    return queries(choice, group_by, [CHAT], 60, targets_ttft_s, pod_labels)


# --- whole queries ----------------------------------------------------------------------------------------------

RATE = 'sum by (model_name) (rate(vllm:time_to_first_token_seconds_count{namespace="chat"}[60s]))'
SUM = 'sum by (model_name) (rate(vllm:time_to_first_token_seconds_sum{namespace="chat"}[60s]))'


@pytest.mark.parametrize(
    ("quantity", "promql"),
    [
        (
            Quantity.ARRIVALS,
            f'clamp_min({RATE} + sum by (model_name) (deriv(vllm:num_requests_waiting{{namespace="chat"}}[60s])), 0)',
        ),
        (Quantity.TTFT_S, f"{SUM} / ({RATE} > 0)"),
        (Quantity.WAITING, 'sum by (model_name) (vllm:num_requests_waiting{namespace="chat"})'),
    ],
)
def test_vllm_is_asked_for_each_quantity(quantity: Quantity, promql: str) -> None:
    assert asked("vllm").values[quantity] == promql


def test_prompts_are_counted_by_edge_over_ten_windows() -> None:
    assert asked("vllm", pod_labels=POD).buckets == {
        Quantity.ISL_BUCKETS: (
            "sum by (model_name, le) (max by (model_name, namespace, pod, engine, le) "
            '(increase(vllm:request_prompt_tokens_bucket{namespace="chat"}[600s])))'
        )
    }


def test_a_router_is_asked_for_by_labels_of_its_own_and_engines_by_theirs() -> None:
    found = detect(
        ["vllm:num_requests_running", "dynamo_frontend_inflight_requests", "dynamo_frontend_requests_started_total"],
        MAPS,
    )
    router = Scope(("model",), (Matcher("model", "llama"),))
    built = queries(found.choice, ["model_name"], [CHAT], 60, [], (), router)

    assert built.values == {
        Quantity.ARRIVALS: 'sum by (model) (rate(dynamo_frontend_requests_started_total{model="llama"}[60s]))',
        Quantity.RUNNING: 'sum by (model_name) (vllm:num_requests_running{namespace="chat"})',
        Quantity.REPORTING: (
            'count by (model_name) (max without (engine) (vllm:num_requests_running{namespace="chat"}))'
        ),
    }


def test_in_an_upgrade_across_a_renaming_each_pod_counts_once_under_the_newest_name_it_has() -> None:
    new, old = "vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"
    names = [f"{name}_{part}" for name in (new, old) for part in ("sum", "count")]
    found = detect(["vllm:num_requests_running", *names], MAPS)
    built = queries(found.choice, [], [], 60, [], ("pod",))

    def joined(part: str) -> str:
        rates = (f"max by (pod, model_name, engine) (rate({name}_{part}{{}}[60s]))" for name in (new, old))
        return f"sum by () ({' or '.join(rates)})"

    assert built.values[Quantity.ITL_S] == f"{joined('sum')} / ({joined('count')} > 0)"
    assert built.events[Quantity.ITL_S] == joined("count")


def test_the_count_behind_a_mean_is_asked_alone() -> None:
    assert asked("vllm").events[Quantity.TTFT_S] == RATE


def test_pods_that_are_scraped_twice_count_once() -> None:
    assert asked("vllm", pod_labels=POD).values[Quantity.RUNNING] == (
        "sum by (model_name) (max by (model_name, namespace, pod, engine) "
        '(vllm:num_requests_running{namespace="chat"}))'
    )


def test_of_ranks_that_say_the_same_one_is_taken_and_of_priorities_the_total() -> None:
    assert asked("sglang").values[Quantity.WAITING] == (
        "sum by (model_name) (max without (tp_rank, pp_rank, moe_ep_rank) "
        '(sglang:num_queue_reqs{namespace="chat", priority=""}))'
    )


def test_a_label_that_groups_is_never_merged_away() -> None:
    assert asked("sglang", ["tp_rank", "dp_rank"]).values[Quantity.REPORTING] == (
        "count by (tp_rank, dp_rank) (max without (model_name, engine_type, is_streaming, pp_rank, moe_ep_rank) "
        '(sglang:num_running_reqs{namespace="chat", priority=""}))'
    )


def test_a_mean_over_the_pool_is_multiplied_and_taken_once_whatever_the_pod() -> None:
    assert asked("llm-d-router", ["namespace"], POD).values[Quantity.WAITING] == (
        "sum by (namespace) (max by (namespace, name, inference_pool, model_name, target_model_name, fairness_id, "
        'priority, streaming, outcome) (llm_d_epp_average_queue_size{namespace="chat"} * '
        'llm_d_epp_ready_endpoints{namespace="chat"}))'
    )


def test_what_is_counted_at_the_finish_was_held_waiting_or_running() -> None:
    assert re.findall(r"(\w+)\(trtllm_(\w+)", asked("trtllm").values[Quantity.ARRIVALS]) == [
        ("rate", "time_to_first_token_seconds_count"),
        ("deriv", "num_requests_waiting"),
        ("deriv", "num_requests_running"),
    ]


def test_pods_are_counted_not_their_data_parallel_ranks() -> None:
    assert asked("vllm", pod_labels=POD).values[Quantity.REPORTING] == (
        'count by (model_name) (max by (model_name, namespace, pod) (vllm:num_requests_running{namespace="chat"}))'
    )


def test_the_age_is_that_of_the_worst_sample() -> None:
    assert asked("vllm").ages_s[Quantity.ARRIVALS] == (
        'max by (model_name) (time() - timestamp(vllm:num_requests_waiting{namespace="chat"}))'
    )


def test_series_are_asked_for_as_they_are_called_here() -> None:
    assert asked("vllm", prefix="kserve_vllm_").values[Quantity.WAITING] == (
        'sum by (model_name) (kserve_vllm_num_requests_waiting{namespace="chat"})'
    )


def test_without_any_group_all_is_one_service() -> None:
    assert asked("vllm", []).values[Quantity.WAITING] == 'sum by () (vllm:num_requests_waiting{namespace="chat"})'


def test_a_series_in_milliseconds_is_converted() -> None:
    each = MetricMap.model_validate(
        {
            "name": "own",
            "kind": "engine",
            "prefixes": ["own_"],
            "quantities": {
                "reporting": [{"how": "total", "unit": "replicas", "series": "own_up"}],
                "itl_s": [{"how": "ratio", "unit": "milliseconds", "series": "own_sum", "over": "own_count"}],
                "ttft_buckets": [{"how": "buckets", "unit": "milliseconds", "series": "own_b", "over": "own_c"}],
            },
        }
    )
    own = queries(
        detect(["own_up", "own_sum", "own_count", "own_b", "own_c"], {"own": each}).choice, [], [], 1.5, [0.29], ()
    )

    assert own.values[Quantity.ITL_S] == (
        "sum by () (rate(own_sum{}[1500ms])) / (sum by () (rate(own_count{}[1500ms])) > 0) / 1000"
    )
    assert 'own_b{le=~"290|290[.]0"}' in own.within[0.29]


# --- attainment -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target_s", "edge"),
    [
        (0.5, 'le="0.5"'),
        (0.001, 'le="0.001"'),
        (1.0, 'le=~"1|1[.]0"'),
        (2, 'le=~"2|2[.]0"'),
        (2560.0, 'le=~"2560|2560[.]0"'),
    ],
)
def test_an_edge_is_found_however_clients_write_it(target_s: float, edge: str) -> None:
    bucket = f'vllm:time_to_first_token_seconds_bucket{{namespace="chat", {edge}}}'

    assert asked("vllm", targets_ttft_s=[target_s]).within == {
        target_s: f"sum by (model_name) (rate({bucket}[60s])) / ({RATE} > 0)"
    }


def test_the_edges_there_are_can_be_asked_for() -> None:
    assert asked("vllm").ttft_edges == (
        'count by (model_name, le) (vllm:time_to_first_token_seconds_bucket{namespace="chat"})'
    )


def test_an_engine_without_the_histogram_has_no_attainment() -> None:
    tgi = asked("tgi")

    assert (tgi.within, tgi.ttft_edges) == ({}, None)


# --- everything that is built is PromQL and carries the grouping labels -----------------------------------------

TOKEN = re.compile(r'\s*("(?:[^"\\\n]|\\[\\"nr])*"|[a-zA-Z_:][a-zA-Z0-9_:]*|\d+(?:ms|s)?|=~|!~|!=|[-+*/>=(){}\[\],])')
FUNCTIONS = {"rate", "increase", "deriv", "clamp_min", "timestamp", "time"}
AGGREGATIONS = {"sum", "max", "count"}


class Grammar:
    """The part of PromQL that is used here: reads a query, and says which labels its answer has.

    None stands for the labels of the series themselves, and for a scalar.
    """

    def __init__(self, promql: str) -> None:
        self.tokens: list[str] = []
        at = 0
        while at < len(promql):
            token = TOKEN.match(promql, at)
            assert token, f"no token at {promql[at:]!r}"
            self.tokens.append(token[1])
            at = token.end()

    def whole(self) -> tuple[str, ...] | None:
        labels = self.expression()
        assert self.tokens == []
        return labels

    def expression(self) -> tuple[str, ...] | None:
        labels = self.operand()
        while self.tokens and self.tokens[0] in {"+", "-", "*", "/", ">", "or"}:
            self.tokens.pop(0)
            other = self.operand()
            assert labels is None or other is None or labels == other
            labels = labels or other
        return labels

    def operand(self) -> tuple[str, ...] | None:
        token = self.tokens.pop(0)
        if token[0].isdigit():
            return None
        if token == "(":
            labels = self.expression()
            self.expect(")")
            return labels
        if token in AGGREGATIONS:
            how = self.tokens.pop(0)
            named = self.names("(", ")")
            self.expect("(")
            self.expression()
            self.expect(")")
            assert how in {"by", "without"}
            return named if how == "by" else None
        if token in FUNCTIONS:
            return self.call()
        self.selector(token)
        return None

    def call(self) -> tuple[str, ...] | None:
        self.expect("(")
        labels = None
        while self.tokens[0] != ")":
            labels = self.expression() or labels
            if self.tokens[0] == ",":
                self.tokens.pop(0)
        self.expect(")")
        return labels

    def selector(self, name: str) -> None:
        assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name)
        self.expect("{")
        while self.tokens[0] != "}":
            label, op, value = self.tokens.pop(0), self.tokens.pop(0), self.tokens.pop(0)
            assert re.fullmatch(r"[a-zA-Z_]\w*", label)
            assert op in {"=", "!=", "=~", "!~"}
            assert value.startswith('"')
            if self.tokens[0] == ",":
                self.tokens.pop(0)
        self.expect("}")
        if self.tokens and self.tokens[0] == "[":
            window = self.tokens[1]
            self.tokens[:2] = []
            assert re.fullmatch(r"\d+(ms|s)", window)
            self.expect("]")

    def names(self, opening: str, closing: str) -> tuple[str, ...]:
        self.expect(opening)
        end = self.tokens.index(closing)
        inside, self.tokens = self.tokens[:end], self.tokens[end + 1 :]
        assert all(comma == "," for comma in inside[1::2])
        return tuple(inside[::2])

    def expect(self, token: str) -> None:
        assert self.tokens.pop(0) == token


def labels_of(promql: str) -> tuple[str, ...] | None:
    return Grammar(promql).whole()


def every_choice() -> list[tuple[str, int, str]]:
    return [
        (each.name, nth, prefix)
        for each in MAPS.values()
        for nth in range(max(len(every) for every in each.quantities.values()))
        for prefix in each.spellings
    ]


@pytest.mark.parametrize("pod_labels", [(), POD], ids=["without-pods", "with-pods"])
@pytest.mark.parametrize("group_by", [("namespace", "model_name"), ("service",)], ids=["two-labels", "one-label"])
@pytest.mark.parametrize(("name", "nth", "prefix"), every_choice())
def test_every_answer_carries_exactly_the_grouping_labels(
    name: str, nth: int, prefix: str, group_by: tuple[str, ...], pod_labels: tuple[str, ...]
) -> None:
    each = MAPS[name]
    choice = {
        quantity: Chosen(each, prefix, every[min(nth, len(every) - 1)]) for quantity, every in each.quantities.items()
    }
    built = queries(choice, group_by, [Matcher("role", 'a"b\\'), CHAT], 60, [0.5, 1], pod_labels)
    texts = [text for group in (built.values, built.events, built.ages_s, built.within) for text in group.values()]

    assert {labels_of(text) for text in texts} == {group_by}
    assert {labels_of(text) for text in built.buckets.values()} <= {(*group_by, "le")}
    assert built.ttft_edges is None or labels_of(built.ttft_edges) == (*group_by, "le")


@pytest.mark.parametrize("name", MAPS)
def test_what_was_chosen_has_its_queries_and_nothing_else_has(name: str) -> None:
    built = asked(name)
    alternatives = {quantity: every[0] for quantity, every in MAPS[name].quantities.items()}

    histograms = {quantity for quantity, one in alternatives.items() if isinstance(one, Buckets)}
    ratios = {quantity for quantity, one in alternatives.items() if isinstance(one, Ratio)}
    assert set(built.values) == set(alternatives) - histograms
    assert set(built.ages_s) == set(alternatives)
    assert set(built.events) == ratios | (histograms & {Quantity.TTFT_BUCKETS})
    assert set(built.buckets) == histograms & {Quantity.ISL_BUCKETS}


# --- matchers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matcher", "promql"),
    [
        (Matcher("pod", "chat-0"), 'pod="chat-0"'),
        (Matcher("pod", "chat-.*", "!~"), 'pod!~"chat-.*"'),
        (Matcher("model", 'a"b'), r'model="a\"b"'),
        (Matcher("model", "a\\b\nc"), r'model="a\\b\nc"'),
        (Matcher.any_of("model", ["Qwen/Qwen3-0.6B", "a|b"]), r'model=~"Qwen/Qwen3-0\\.6B|a\\|b"'),
        (Matcher.any_of("model", ['"(*)"']), r'model=~"\"\\(\\*\\)\""'),
    ],
    ids=["plain", "regex", "quote", "backslash", "metacharacters", "both"],
)
def test_a_matcher_is_escaped(matcher: Matcher, promql: str) -> None:
    assert str(matcher) == promql


def unquoted(promql: str) -> str:
    """What Prometheus reads between the quotes."""
    escapes = {r"\\": "\\", r"\"": '"', r"\n": "\n", r"\r": "\r"}
    return re.sub(r"\\.", lambda escape: escapes[escape[0]], promql[promql.index('"') + 1 : -1])


@given(st.text())
def test_any_value_is_one_string_that_reads_back_as_itself(value: str) -> None:
    text = str(Matcher("model", value))

    assert re.fullmatch(r'model="(?:[^"\\\n]|\\[\\"nr])*"', text)
    assert unquoted(text) == value


@given(st.lists(st.text(), min_size=1, max_size=3), st.text())
def test_any_of_matches_its_values_and_no_other(values: list[str], other: str) -> None:
    regex = re.compile(unquoted(str(Matcher.any_of("model", values))))

    assert all(regex.fullmatch(value) for value in values)
    assert bool(regex.fullmatch(other)) == (other in values)


# --- what cannot be asked ---------------------------------------------------------------------------------------


def test_no_value_to_match_is_refused() -> None:
    with pytest.raises(QueryError, match=r"^matchers: model has no value to match; give one$"):
        Matcher.any_of("model", [])


@pytest.mark.parametrize("label", ["", "a-b", "1a", "a} or up{x", "pod\n"])
def test_a_label_that_is_none_is_refused_wherever_it_stands(label: str) -> None:
    rule = f"{label!r} is no label name; write letters, digits and _, no digit first"

    with pytest.raises(QueryError, match=re.escape(f"matchers: {rule}")):
        Matcher(label, "x")
    with pytest.raises(QueryError, match=re.escape(f"group_by: {rule}")):
        asked("vllm", group_by=[label])
    with pytest.raises(QueryError, match=re.escape(f"pod_labels: {rule}")):
        asked("vllm", pod_labels=[label])


@pytest.mark.parametrize("window_s", [0, -1, 0.0004, float("nan"), float("inf")])
def test_a_window_of_no_length_is_refused(window_s: float) -> None:
    with pytest.raises(
        QueryError, match=r"^window_s: .* is no window; give a finite number of seconds, 0\.001 or more$"
    ):
        queries({}, [], [], window_s, [])


@pytest.mark.parametrize("target_s", [0, -1, float("nan"), float("inf")])
def test_a_target_that_is_none_is_refused(target_s: float) -> None:
    with pytest.raises(QueryError, match=r"^targets_ttft_s: .* is no target; give a finite number of seconds above 0$"):
        asked("vllm", targets_ttft_s=[target_s])
