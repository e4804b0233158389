"""Metric maps: what the built-in ones hold, how users' files change them, and what a mistake in one is called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from planner.sources.prometheus.map_files import MapError, load_maps
from planner.sources.prometheus.maps import MetricMap, Quantity, Ratio, Total

BUILT_IN = load_maps()
DOCUMENT = Path(__file__).parents[2] / "docs/metric-maps.md"

OWN = """
name: own
kind: engine
prefixes: ["own_"]
quantities:
  reporting:
    - {how: total, unit: replicas, series: own_up}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "map.yaml"
    file.write_text(text, encoding="utf-8")
    return file


# --- the built-in maps ------------------------------------------------------------------------------------------


def test_six_engines_and_routers_are_known() -> None:
    assert {name: each.kind for name, each in BUILT_IN.items()} == {
        "dynamo-frontend": "router",
        "llm-d-router": "router",
        "sglang": "engine",
        "tgi": "engine",
        "trtllm": "engine",
        "vllm": "engine",
    }


@pytest.mark.parametrize("each", BUILT_IN.values(), ids=BUILT_IN)
def test_every_quantity_of_a_built_in_map_is_named_or_explained(each: MetricMap) -> None:
    assert {*each.quantities, *each.absent} == set(Quantity)


@pytest.mark.parametrize("each", BUILT_IN.values(), ids=BUILT_IN)
def test_the_first_alternatives_are_written_with_the_first_prefix(each: MetricMap) -> None:
    first = [series for alternatives in each.quantities.values() for series in alternatives[0].needs]

    assert [series for series in first if not series.startswith(each.prefixes[0])] == []


@pytest.mark.parametrize("each", BUILT_IN.values(), ids=BUILT_IN)
def test_a_kept_label_belongs_to_a_series_that_is_used(each: MetricMap) -> None:
    used = {series for every in each.quantities.values() for one in every for series in one.needs}

    assert set(each.keep) <= used


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("vllm", {"vllm:up", "vllm_up", "kserve_vllm:up", "kserve_vllm_up"}),
        ("trtllm", {"trtllm_up", "up"}),
        ("dynamo-frontend", {"dynamo_frontend_up", "nv_llm_http_service_up"}),
    ],
)
def test_a_series_is_known_under_every_spelling_of_its_prefix(name: str, spelt: set[str]) -> None:
    each = BUILT_IN[name]

    assert {each.spelt(f"{each.prefixes[0]}up", prefix) for prefix in each.spellings} == spelt


def test_a_series_with_another_prefix_keeps_its_name() -> None:
    assert BUILT_IN["vllm"].spelt("python_info", "kserve_vllm:") == "python_info"


def test_the_document_tells_which_engine_has_which_quantity() -> None:
    header = f"| quantity | {' | '.join(BUILT_IN)} |"
    rows = [
        f"| `{quantity}` | {' | '.join(_cell(each, quantity) for each in BUILT_IN.values())} |" for quantity in Quantity
    ]

    assert "\n".join([header, "|---" * (len(BUILT_IN) + 1) + "|", *rows]) in DOCUMENT.read_text(encoding="utf-8")


def _cell(each: MetricMap, quantity: Quantity) -> str:
    return ", ".join(dict.fromkeys(one.how for one in each.quantities.get(quantity, ()))) or "-"


# --- a user's file ----------------------------------------------------------------------------------------------


def test_the_examples_of_the_document_are_maps(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    maps = [load_maps([written(tmp_path, example)]) for example in examples]

    assert [len(each) - len(BUILT_IN) for each in maps] == [0, 1]


def test_a_file_replaces_the_quantities_it_names_and_no_others(tmp_path: Path) -> None:
    text = """
    name: vllm
    quantities:
      itl_s:
        - {how: ratio, unit: milliseconds, series: "vllm:step_ms_sum", over: "vllm:step_ms_count"}
    """
    vllm = load_maps([written(tmp_path, text)])["vllm"]
    instead = Ratio(how="ratio", unit="milliseconds", series="vllm:step_ms_sum", over="vllm:step_ms_count")

    assert vllm == BUILT_IN["vllm"].model_copy(
        update={"quantities": {**BUILT_IN["vllm"].quantities, Quantity.ITL_S: (instead,)}}
    )


def test_a_file_may_take_a_quantity_away_with_a_sentence(tmp_path: Path) -> None:
    text = "{name: vllm, absent: {queue_s: our build has none}}"
    vllm = load_maps([written(tmp_path, text)])["vllm"]

    assert set(Quantity) - set(vllm.quantities) == {Quantity.QUEUE_S}
    assert vllm.why_absent(Quantity.QUEUE_S) == "our build has none"


def test_a_file_may_give_a_quantity_that_was_absent(tmp_path: Path) -> None:
    text = """
    name: tgi
    quantities:
      ttft_s: [{how: ratio, unit: seconds, series: tgi_ttft_sum, over: tgi_ttft_count}]
    """
    tgi = load_maps([written(tmp_path, text)])["tgi"]

    assert Quantity.TTFT_S in tgi.quantities
    assert set(tgi.absent) == {Quantity.TTFT_BUCKETS}


def test_a_kept_label_is_added_to_those_the_map_has(tmp_path: Path) -> None:
    text = """{name: sglang, keep: {"sglang:num_requests_total": {is_streaming: "true"}}}"""

    assert load_maps([written(tmp_path, text)])["sglang"].keep == {
        **BUILT_IN["sglang"].keep,
        "sglang:num_requests_total": {"is_streaming": "true"},
    }


def test_a_file_with_a_new_name_adds_a_map(tmp_path: Path) -> None:
    maps = load_maps([written(tmp_path, OWN)])

    assert maps == {
        **BUILT_IN,
        "own": MetricMap(
            name="own",
            kind="engine",
            prefixes=("own_",),
            quantities={Quantity.REPORTING: (Total(how="total", unit="replicas", series="own_up"),)},
        ),
    }
    assert maps["own"].why_absent(Quantity.ITL_S) == "its map names no series for it"


def test_a_user_s_file_leaves_the_built_in_maps_alone(tmp_path: Path) -> None:
    load_maps([written(tmp_path, "{name: vllm, absent: {queue_s: our build has none}}")])

    assert load_maps() == BUILT_IN


# --- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("- vllm", "the top level is ['vllm']; it must be a mapping, such as name: vllm", id="list"),
        pytest.param("", "the top level is None; it must be a mapping, such as name: vllm", id="empty"),
        pytest.param("a: [", "line 1: expected the node content, but found", id="not-yaml"),
        pytest.param("? [a]\n: b", "line 1: found unhashable key; mend the YAML", id="key-that-is-a-list"),
        pytest.param("a: \x00", "unacceptable character #x0000", id="not-a-character"),
        pytest.param("{name: vllm, on: 3}", "1: the key is not text; put it in quotes", id="key-that-is-no-text"),
        pytest.param("{name: vllm, keep: 3}", "keep: 3 does not fit; write a mapping", id="no-mapping"),
        pytest.param("{name: vllm, parts: rank}", "parts: 'rank' does not fit; write a list", id="no-list"),
        pytest.param(
            "{name: vllm, quantities: {itl_s: [a]}}",
            "quantities.itl_s.0: 'a' does not fit; write a mapping",
            id="no-map",
        ),
        pytest.param("name: vllm\nname: tgi", "'name' is given twice; mend the YAML", id="twice"),
        pytest.param("kind: engine", "name: not set; write it", id="no-name"),
        pytest.param("name: other", "kind: not set; write it", id="new-without-kind"),
        pytest.param("{name: vllm, kind: gateway}", "kind: 'gateway' does not fit; it should be", id="kind"),
        pytest.param("{name: vllm, prefix: x}", "prefix: unknown key; did you mean prefixes?", id="key"),
        pytest.param("{name: vllm, prefixes: []}", "prefixes: [] does not fit; ", id="no-prefix"),
        pytest.param("{name: vllm, parts: [a-b]}", "parts.0: 'a-b' is malformed; write what matches ^[a-z", id="label"),
        pytest.param('{name: vllm, parts: ["a\\n"]}', r"parts.0: 'a\n' is malformed", id="line-end"),
        pytest.param("{name: vllm, quantities: 3}", "quantities: 3 does not fit; ", id="quantities"),
        pytest.param(
            "{name: vllm, quantities: {itl: []}}", "quantities.itl: no quantity; did you mean itl_s?", id="quantity"
        ),
        pytest.param("{name: vllm, quantities: {itl_s: []}}", "quantities.itl_s: [] does not fit; ", id="none-given"),
        pytest.param(
            "{name: vllm, quantities: {itl_s: [{unit: seconds}]}}",
            "quantities.itl_s.0.how: not set; write rate, balance, ratio, total, pool_mean, buckets",
            id="no-how",
        ),
        pytest.param(
            "{name: vllm, quantities: {itl_s: [{how: mean}]}}",
            "quantities.itl_s.0.how: 'mean' is unknown; write rate, balance, ratio, total, pool_mean, buckets",
            id="how",
        ),
        pytest.param(
            "{name: vllm, quantities: {itl_s: [{how: ratio, unit: seconds, series: a}]}}",
            "quantities.itl_s.0.over: not set; write it",
            id="incomplete",
        ),
        pytest.param(
            "{name: vllm, quantities: {itl_s: [{how: ratio, unit: seconds, series: a, over: b, ovr: c}]}}",
            "quantities.itl_s.0.ovr: unknown key; did you mean over?",
            id="key-of-an-alternative",
        ),
        pytest.param(
            "{name: vllm, quantities: {itl_s: [{how: total, unit: seconds, series: a}]}}",
            "quantities.itl_s.0.how: 'total' does not give it; write ratio",
            id="unfit-how",
        ),
        pytest.param(
            "{name: vllm, quantities: {itl_s: [{how: ratio, unit: tokens, series: a, over: b}]}}",
            "quantities.itl_s.0.unit: 'tokens' is no unit of it; write seconds or milliseconds",
            id="unfit-unit",
        ),
        pytest.param(
            "{name: vllm, quantities: {waiting: [{how: total, unit: requests, series: 'a{b}'}]}}",
            "quantities.waiting.0.series: 'a{b}' is malformed; write what matches",
            id="series",
        ),
        pytest.param(
            "{name: vllm, absent: {reporting: gone}}",
            "quantities.reporting: not set; name a series that every live replica has",
            id="no-reporting",
        ),
        pytest.param(
            "{name: vllm, quantities: {itl_s: [{how: ratio, unit: seconds, series: a, over: b}]}, absent: {itl_s: x}}",
            "absent.itl_s: stands in quantities too; keep one",
            id="both",
        ),
        pytest.param("{name: vllm, repeats: [engine]}", "parts: 'engine' stands in repeats too; keep one", id="labels"),
        pytest.param('{name: vllm, absent: {itl_s: " "}}', "absent.itl_s: ' ' is malformed; write", id="no-sentence"),
        pytest.param("&a {name: vllm, parts: [*a]}", "parts.0: {", id="in-itself"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_path_value_and_remedy(tmp_path: Path, text: str, line: str) -> None:
    file = written(tmp_path, text)

    with pytest.raises(MapError) as refused:
        load_maps([file])

    assert str(refused.value).startswith(str(file))
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MapError, match=r"gone\.yaml: cannot be read \(No such file or directory\); check the path"):
        load_maps([tmp_path / "gone.yaml"])


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_bytes(b"name: caf\xe9")

    with pytest.raises(MapError, match=r"map\.yaml: not UTF-8 at byte 9; save it as UTF-8"):
        load_maps([file])


def test_what_a_map_says_can_be_written_and_read_again(tmp_path: Path) -> None:
    texts = [yaml.safe_dump({**each.model_dump(mode="json"), "name": f"my {name}"}) for name, each in BUILT_IN.items()]
    copies = [load_maps([written(tmp_path, text)])[f"my {name}"] for text, name in zip(texts, BUILT_IN, strict=True)]

    assert copies == [each.model_copy(update={"name": f"my {name}"}) for name, each in BUILT_IN.items()]
