"""What the names of series tell: which maps fit, which alternative counts, and what is missing and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.sources.prometheus.detect import Detection, detect
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.maps import MetricMap, Quantity

MAPS = load_maps()


def names_of(name: str, prefix: str | None = None) -> set[str]:
    """Every series that a map knows, in all alternatives."""
    each = MAPS[name]
    spelling = each.prefixes[0] if prefix is None else prefix
    return {each.spelt(series, spelling) for every in each.quantities.values() for one in every for series in one.needs}


def told_by(found: Detection) -> dict[Quantity, str]:
    return {quantity: chosen.map.name for quantity, chosen in found.choice.items()}


ALL_NAMES = sorted(
    {name for each in MAPS.values() for prefix in each.spellings for name in names_of(each.name, prefix)}
)
ENGINES = [name for name, each in MAPS.items() if each.kind == "engine"]
ROUTERS = [name for name, each in MAPS.items() if each.kind == "router"]

# --- one map ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "prefix"),
    [(each.name, prefix) for each in MAPS.values() for prefix in each.spellings if each.kind == "engine"],
)
def test_an_engine_is_recognised_under_every_spelling(name: str, prefix: str) -> None:
    found = detect(names_of(name, prefix), MAPS)

    assert (found.engines, found.routers, found.conflicts) == ((name,), (), ())
    assert {quantity: chosen.prefix for quantity, chosen in found.choice.items()} == dict.fromkeys(
        MAPS[name].quantities, prefix
    )
    assert found.missing == {quantity: f"{name}: {why}" for quantity, why in MAPS[name].absent.items()}


@pytest.mark.parametrize("name", ROUTERS)
def test_a_router_alone_tells_nothing_of_replicas(name: str) -> None:
    found = detect(names_of(name), MAPS)

    assert (found.engines, found.routers, found.conflicts) == ((), (name,), ())
    assert set(found.choice) == set(MAPS[name].quantities) - {Quantity.REPORTING}
    assert found.missing[Quantity.REPORTING] == f"{name}: tells of itself, not of replicas; scrape the engines too"


def test_nothing_found_is_missing_everywhere_with_a_remedy() -> None:
    why = "no metric map fits the series found; check the selector, or give a map"

    assert detect([], MAPS) == Detection((), (), {}, dict.fromkeys(Quantity, why), ())


def test_foreign_series_fit_no_map() -> None:
    assert detect(["up", "process_cpu_seconds_total", "vllm:prompt_tokens_total"], MAPS).choice == {}


# --- alternatives -----------------------------------------------------------------------------------------------

ITL_OLD = ["vllm:time_per_output_token_seconds_sum", "vllm:time_per_output_token_seconds_count"]
ITL_NEW = ["vllm:inter_token_latency_seconds_sum", "vllm:inter_token_latency_seconds_count"]


@pytest.mark.parametrize(
    ("there", "series"),
    [
        pytest.param(ITL_OLD, ITL_OLD[0], id="vllm-0.9"),
        pytest.param([*ITL_OLD, *ITL_NEW], ITL_NEW[0], id="vllm-0.11-has-both"),
        pytest.param(ITL_NEW, ITL_NEW[0], id="vllm-0.15"),
    ],
)
def test_of_a_renamed_series_the_newest_name_that_is_there_counts(there: list[str], series: str) -> None:
    found = detect(["vllm:num_requests_running", *there], MAPS)

    assert found.choice[Quantity.ITL_S].alternative.series == series


def test_half_a_histogram_is_none() -> None:
    found = detect(["vllm:num_requests_running", ITL_NEW[0], ITL_OLD[1]], MAPS)

    assert found.missing[Quantity.ITL_S] == f"vllm: {ITL_NEW[0]} and {ITL_NEW[1]} not found"


def test_what_is_missing_is_named_as_it_would_be_called_here() -> None:
    found = detect(["kserve_vllm_num_requests_running"], MAPS)

    assert found.missing[Quantity.WAITING] == "vllm: kserve_vllm_num_requests_waiting not found"


def test_of_the_router_s_twins_only_one_counts() -> None:
    found = detect(names_of("llm-d-router"), MAPS)
    series = [one for chosen in found.choice.values() for one in chosen.alternative.needs]

    assert [one for one in series if not one.startswith("llm_d_epp_")] == []


def test_the_router_s_old_names_do_where_they_are_alone() -> None:
    old = {name for name in names_of("llm-d-router") if name.startswith("inference_")}
    found = detect(old, MAPS)

    assert found.routers == ("llm-d-router",)
    assert set(found.missing) == {Quantity.ITL_S, Quantity.REPORTING}


# --- several maps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "tgi"])
@pytest.mark.parametrize("router", ROUTERS)
def test_a_router_tells_what_users_see_and_the_engine_the_rest(router: str, engine: str) -> None:
    found = detect(names_of(router) | names_of(engine), MAPS)
    of_users = {Quantity.ARRIVALS, Quantity.TTFT_S, Quantity.TTFT_BUCKETS}

    lacking = set(MAPS[engine].absent)
    assert told_by(found) == {quantity: router if quantity in of_users | lacking else engine for quantity in Quantity}
    assert (found.missing, found.conflicts) == ({}, ())


def test_a_router_fills_in_what_the_engine_lacks() -> None:
    found = detect(names_of("dynamo-frontend") | names_of("trtllm"), MAPS)

    assert told_by(found)[Quantity.ISL_BUCKETS] == "dynamo-frontend"


def test_a_router_is_looked_for_under_its_own_selector_and_an_engine_under_the_service_s() -> None:
    vllm, frontend = names_of("vllm"), names_of("dynamo-frontend")

    assert detect(vllm, MAPS, frontend) == detect(vllm | frontend, MAPS)
    assert detect(frontend, MAPS, vllm) == detect([], MAPS)
    assert detect(vllm | frontend, MAPS, []) == detect(vllm, MAPS)


def test_of_the_picker_a_selector_by_model_finds_the_requests_and_not_the_pool() -> None:
    by_model = {name for name in names_of("llm-d-router") if name.startswith("llm_d_epp_request_")}
    found = detect(names_of("vllm"), MAPS, by_model)

    assert {quantity for quantity, name in told_by(found).items() if name == "llm-d-router"} == {
        Quantity.ARRIVALS, Quantity.TTFT_S, Quantity.TTFT_BUCKETS,
    }  # fmt: skip


def test_what_neither_has_is_told_of_both() -> None:
    found = detect(["vllm:num_requests_running", "dynamo_frontend_inflight_requests"], MAPS)

    assert found.missing[Quantity.QUEUE_S] == (
        "vllm: vllm:request_queue_time_seconds_sum and vllm:request_queue_time_seconds_count not found; "
        "dynamo-frontend: the frontend does not observe the time in queue; the engines behind it may"
    )


def test_two_engines_under_one_selector_are_both_named() -> None:
    found = detect(names_of("vllm") | {"sglang:num_running_reqs"}, MAPS)

    assert found.engines == ("vllm", "sglang")
    assert set(told_by(found).values()) == {"vllm"}
    assert found.conflicts == (
        "vllm (vllm:) and sglang (sglang:) report under one selector; "
        "numbers are those of vllm (vllm:), of another only what it lacks; select one engine",
    )


def test_one_engine_under_two_spellings_is_a_conflict_too() -> None:
    found = detect(names_of("trtllm") | names_of("trtllm", ""), MAPS)

    assert found.engines == ("trtllm",)
    assert [line.split(" report")[0] for line in found.conflicts] == ["trtllm (trtllm_) and trtllm (no prefix)"]


def test_two_routers_are_told_beside_two_engines() -> None:
    found = detect(ALL_NAMES, MAPS)

    assert [line.rsplit("; ", 1)[1] for line in found.conflicts] == ["select one engine", "select one router"]


def test_a_map_of_the_user_is_detected_like_any_other() -> None:
    own = MetricMap.model_validate(
        {
            "name": "own",
            "kind": "engine",
            "prefixes": ["own_"],
            "quantities": {"reporting": [{"how": "total", "unit": "replicas", "series": "own_up"}]},
        }
    )
    found = detect(["own_up"], {**MAPS, "own": own})

    assert told_by(found) == {Quantity.REPORTING: "own"}
    assert found.missing[Quantity.ITL_S] == "own: its map names no series for it"


# --- properties -------------------------------------------------------------------------------------------------

SOME_NAMES = st.sets(st.sampled_from(ALL_NAMES), max_size=40)


@given(SOME_NAMES, SOME_NAMES)
def test_more_series_never_lose_a_quantity(some: set[str], more: set[str]) -> None:
    assert set(detect(some, MAPS).choice) <= set(detect(some | more, MAPS).choice)


@given(SOME_NAMES)
def test_every_quantity_is_either_chosen_from_what_is_there_or_missing(there: set[str]) -> None:
    found = detect(there, MAPS)

    assert set(found.choice) | set(found.missing) == set(Quantity)
    assert not set(found.choice) & set(found.missing)
    assert there.issuperset(one.spelt(series) for one in found.choice.values() for series in one.alternative.needs)
