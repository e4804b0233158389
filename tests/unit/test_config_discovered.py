"""What labels and annotations make of a service, and which discovered services are let in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.config import ConfigError, LoadedConfig, build_settings, load_config
from planner.config.admission import Admitted, Refused, admit
from planner.config.annotations import read_services
from planner.config.build import settings_from_document
from planner.config.load import config_from_document
from planner.config.model import Service
from planner.connectors.kubernetes.objects.services import Labelled, Sightings
from planner.connectors.kubernetes.objects.targets import ObjectRef
from planner.errors import UserError

BASE = """\
budget: {gpus: 8}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {isl: 3000, osl: 150, ttft: 200, itl: 20}
prometheus: {url: "http://prometheus:9090"}
metrics: {match: "namespace={namespace},model_name={service}", prefill: "pod={name}", decode: "pod={name}"}
discover: {namespaces: [llm, tools]}
"""
CHAT = ObjectRef("apps", "Deployment", "llm", "chat")
NONE: Mapping[str, Any] = {}


def configured(tmp_path: Path, text: str = BASE, **flags: object) -> LoadedConfig:
    path = tmp_path / "planner.yaml"
    path.write_text(text)
    return load_config(path, {}, {name.replace("__", "."): value for name, value in flags.items()})


def a(
    service: str, role: str | None = "aggregated", name: str | None = None, namespace: str = "llm", **annotations: str
) -> Labelled:
    """An object of a service; `sla__ttft` is the annotation sla.ttft."""
    ref = ObjectRef("apps", "Deployment", namespace, name or service)
    return Labelled(ref, service, role, {key.replace("__", "."): text for key, text in annotations.items()})


def all_good(name: str, loaded: LoadedConfig) -> None:
    """Whatever it is, it can be had."""


def admitted(
    base: LoadedConfig,
    *objects: Labelled,
    before: Admitted | None = None,
    blind: Iterable[tuple[str, str, str]] = (),
    check: Callable[[str, LoadedConfig], None] = all_good,
) -> Admitted:
    return admit(base, Sightings(objects, frozenset(blind)), {} if before is None else before.forms, check)


def services(found: Admitted) -> list[str]:
    return sorted(found.loaded.config.services)


# --- one service ----------------------------------------------------------------------------------------------------

SETTINGS: Mapping[str, tuple[dict[str, str], Callable[[Service], object], object]] = {
    "a short form": ({"ttft": "150"}, lambda one: one.sla.ttft, 150),
    "its dotted path": ({"sla.ttft": "150"}, lambda one: one.sla.ttft, 150),
    "the share of requests": ({"objective": "0.99"}, lambda one: one.sla.objective, 0.99),
    "a profile by name": (
        {"profile": "h100-llama-3.1-8b-fp8-tp1"}, lambda one: one.profile, "h100-llama-3.1-8b-fp8-tp1",
    ),
    "bounds of its pool": ({"aggregated.min_replicas": "2"}, lambda one: one.aggregated.min_replicas, 2),
    "no bound": ({"aggregated.max_replicas": ""}, lambda one: one.aggregated.max_replicas, None),
    "seconds to start": ({"startup_s": "300"}, lambda one: one.startup_s, 300),
    "labels of its own": ({"metrics.match": "app={name}"}, lambda one: one.metrics.match, "app=chat"),
    "its pace": ({"scaling.max_up_replicas": "2"}, lambda one: one.scaling.max_up_replicas, 2),
    "its forecaster": ({"forecast.model": "constant"}, lambda one: one.forecast.model, "constant"),
    "nothing": ({}, lambda one: one.metrics.match, "namespace=llm,model_name=chat"),
}  # fmt: skip


@pytest.mark.parametrize(("annotations", "setting", "value"), SETTINGS.values(), ids=SETTINGS)
def test_annotations_set_what_is_the_services_own(
    tmp_path: Path, annotations: dict[str, str], setting: Callable[[Service], object], value: object
) -> None:
    found = admitted(configured(tmp_path), a("chat", **annotations))

    assert found.refused == {}
    assert setting(found.loaded.config.services["chat"]) == value


MISTAKES: Mapping[str, tuple[dict[str, str], str]] = {
    "another Prometheus": (
        {"prometheus.url": "http://evil"},
        "sla-planner.io/prometheus.url: is for the planner's own configuration; remove it (annotation of Deployment "
        "llm/chat)",
    ),
    "another target": (
        {"kubernetes.aggregated": "Deployment/other"},
        "sla-planner.io/kubernetes.aggregated: is for the planner's own configuration; remove it (annotation of "
        "Deployment llm/chat)",
    ),
    "priority": (
        {"priority": "9"},
        "sla-planner.io/priority: is for the planner's own configuration; remove it (annotation of Deployment "
        "llm/chat)",
    ),
    "the budget": (
        {"budget.gpus": "900"},
        "sla-planner.io/budget.gpus: is for the planner's own configuration; remove it (annotation of Deployment "
        "llm/chat)",
    ),
    "the interval": (
        {"interval_s": "5"},
        "sla-planner.io/interval_s: is for the planner's own configuration; remove it (annotation of Deployment "
        "llm/chat)",
    ),
    "a file": (
        {"profile": "/etc/passwd"},
        'sla-planner.io/profile: "/etc/passwd" is a file; name a profile that comes with the planner (annotation of '
        "Deployment llm/chat)",
    ),
    "code": (
        {"forecast.model": "os:system"},
        'sla-planner.io/forecast.model: "os:system" is code; name a forecaster that comes with the planner (annotation '
        "of Deployment llm/chat)",
    ),
    "a misspelt setting": (
        {"ttfft": "1"},
        "sla-planner.io/ttfft: no annotation sets this; did you mean sla-planner.io/ttft? (annotation of Deployment "
        "llm/chat)",
    ),
    "a value of another kind": (
        {"ttft": "fast"},
        'services.chat.sla.ttft: "fast" must be a number above 0 (annotation of Deployment llm/chat)',
    ),
    "a list": (
        {"isl": "[&a [1, 2], *a, *a]"},
        'sla-planner.io/isl: "[&a [1, 2], *a, *a]" is not a single value; give text or a number (annotation of '
        "Deployment llm/chat)",
    ),
    "a book": (
        {"isl": "1" * 501},
        'sla-planner.io/isl: "11111111111111111111111111111111111111111111111111111111... is longer than 500 '
        "characters; shorten it (annotation of Deployment llm/chat)",
    ),
    "a pool that it does not have": (
        {"prefill.min_replicas": "2"},
        "services.chat.prefill: mode aggregated has no such pool; configure aggregated, or change mode "
        "(annotation of Deployment llm/chat)",
    ),
    "both forms, unlike": (
        {"sla.ttft": "1", "ttft": "2"},
        'sla-planner.io/ttft: Deployment llm/chat says "1" and Deployment llm/chat "2"; keep one',
    ),
}


@pytest.mark.parametrize(("annotations", "mistake"), MISTAKES.values(), ids=MISTAKES)
def test_what_annotations_may_not_or_cannot_say_is_a_mistake(
    tmp_path: Path, annotations: dict[str, str], mistake: str
) -> None:
    found = admitted(configured(tmp_path), a("chat", **annotations))

    assert found.refused == {"chat": Refused((mistake,), (CHAT,))}
    assert services(found) == []


PLACED: Mapping[str, tuple[tuple[Labelled, ...], str]] = {
    "no role": (
        (a("chat", None),),
        "sla-planner.io/role: is missing on Deployment llm/chat; label it prefill, decode, aggregated",
    ),
    "another role": (
        (a("chat", "router"),),
        'sla-planner.io/role: "router" is no role on Deployment llm/chat; label it prefill, decode, aggregated',
    ),
    "one role twice": (
        (a("chat"), a("chat", name="two")),
        "sla-planner.io/role: Deployment llm/chat and Deployment llm/two are both aggregated; label one of them",
    ),
    "two forms at once": (
        (a("chat"), a("chat", "decode", "two")),
        "sla-planner.io/role: a service is aggregated or has decode; relabel Deployment llm/chat",
    ),
    "half of it": (
        (a("chat", "prefill"),),
        "sla-planner.io/role: Deployment llm/chat is the prefill pool; no object of the service is labelled decode",
    ),
    "two namespaces": (
        (a("chat"), a("chat", namespace="tools")),
        "sla-planner.io/service: is given in the namespaces llm and tools; name one otherwise",
    ),
    "a name that is none": (
        (a("Chat.2", name="chat"),),
        'sla-planner.io/service: "Chat.2" is no service name; use lower-case letters, digits and inner dashes',
    ),
    "annotations that contradict each other": (
        (a("chat", "prefill", "p", ttft="100"), a("chat", "decode", "d", sla__ttft="200")),
        'sla-planner.io/sla.ttft: Deployment llm/p says "100" and Deployment llm/d "200"; keep one',
    ),
}


@pytest.mark.parametrize(("objects", "mistake"), PLACED.values(), ids=PLACED)
def test_labels_that_make_no_service_are_a_mistake(tmp_path: Path, objects: tuple[Labelled, ...], mistake: str) -> None:
    found = admitted(configured(tmp_path), *objects)

    (refused,) = found.refused.values()
    assert refused == Refused((mistake,), tuple(each.ref for each in objects))
    assert services(found) == []


def test_two_objects_make_one_service_from_what_both_say(tmp_path: Path) -> None:
    found = admitted(
        configured(tmp_path),
        a("chat", "prefill", "vllm-p", ttft="150", prefill__min_replicas="2"),
        a("chat", "decode", "vllm-d", ttft="150", itl="30"),
    )

    one = found.loaded.config.services["chat"]
    assert one.mode == "disaggregated"
    assert (one.sla.ttft, one.sla.itl, one.prefill.min_replicas) == (150, 30, 2)
    assert one.kubernetes.model_dump(include={"namespace", "prefill", "decode", "aggregated"}) == {
        "namespace": "llm", "prefill": "Deployment/vllm-p", "decode": "Deployment/vllm-d", "aggregated": None,
    }  # fmt: skip
    assert (one.metrics.match, one.metrics.prefill, one.metrics.decode) == (
        "namespace=llm,model_name=chat", "pod=vllm-p", "pod=vllm-d",
    )  # fmt: skip
    assert found.loaded.origins["services", "chat", "sla", "itl"] == "annotation of Deployment llm/vllm-d"
    assert found.loaded.origins["services", "chat", "profile"].endswith("planner.yaml, inherited")


def test_the_name_of_one_object_cannot_stand_for_both_of_a_service(tmp_path: Path) -> None:
    base = configured(tmp_path, metrics__match="app={name}")

    found = admitted(base, a("chat", "prefill", "p"), a("chat", "decode", "d"))

    assert found.refused["chat"].mistakes == (
        "metrics.match: {name} is the name of one object, and chat has two; write it in metrics.prefill and "
        "metrics.decode (flag --set metrics.match)",
    )


@given(
    st.dictionaries(
        st.sampled_from(["ttft", "sla.isl", "profile", "forecast.model", "metrics.match", "x", "prefill"]), st.text()
    )
)
def test_no_annotation_whatever_does_more_than_refuse_its_service(annotations: dict[str, str]) -> None:
    base = load_config(None, {}, {"--gpus": 8, "discover.namespaces": ["llm"]})

    found = admitted(base, a("chat", **annotations))

    assert set(found.refused) == {"chat"}
    assert all("\n" not in mistake for mistake in found.refused["chat"].mistakes)


# --- several services -----------------------------------------------------------------------------------------------


def test_a_service_of_the_file_goes_before_labels_of_its_name(tmp_path: Path) -> None:
    base = configured(tmp_path, BASE + "services: {chat: {mode: aggregated, metrics: {match: a=b}}}\n")

    found = admitted(base, a("chat", ttft="1"))

    assert found.loaded.config.services["chat"].sla.ttft == 200
    assert found.refused["chat"].mistakes == (
        "sla-planner.io/service: chat is a service of the configuration, which goes before labels; keep one",
    )


def test_a_mistake_leaves_the_last_good_form_and_the_others(tmp_path: Path) -> None:
    base = configured(tmp_path)
    before = admitted(base, a("chat", ttft="150"), a("code"))

    found = admitted(base, a("chat", ttft="fast"), a("code", ttft="300"), before=before)

    one, other = (found.loaded.config.services[name] for name in ("chat", "code"))
    assert (one.sla.ttft, other.sla.ttft) == (150, 300)
    assert set(found.refused) == {"chat"}
    mended = admitted(base, a("chat", ttft="170"), a("code", ttft="300"), before=found)
    assert mended.loaded.config.services["chat"].sla.ttft == 170
    assert mended.refused == {}


def test_newcomers_that_do_not_fit_are_refused_in_order_of_name_and_the_others_stay(tmp_path: Path) -> None:
    base = configured(tmp_path)
    first = admitted(base, a("zoo", aggregated__min_replicas="3"))

    found = admitted(
        base,
        a("big", aggregated__min_replicas="6"), a("chat", aggregated__min_replicas="4"), a("code"), a("extra"),
        a("zoo", aggregated__min_replicas="3"),
        before=first,
    )  # fmt: skip

    assert services(found) == ["chat", "code", "zoo"]
    assert {name: each.mistakes[0] for name, each in found.refused.items()} == {
        "big": "budget.gpus: with big the minima of all services need 9 GPUs, and the budget is 8; raise it or lower "
        "min_replicas",
        "extra": "budget.gpus: with extra the minima of all services need 9 GPUs, and the budget is 8; raise it or "
        "lower min_replicas",
    }
    grown = admitted(base, a("chat", aggregated__min_replicas="7"), a("code"), a("zoo", aggregated__min_replicas="3"),
                     before=found)  # fmt: skip
    assert grown.loaded.config.services["chat"].aggregated.min_replicas == 4
    assert list(grown.refused) == ["chat"]


def test_a_service_that_the_rest_of_the_planner_cannot_have_is_refused_alone(tmp_path: Path) -> None:
    def picky(name: str, loaded: LoadedConfig) -> None:
        assert name in loaded.config.services
        if name == "chat":
            raise UserError("metrics.prefill: is empty; give labels")

    found = admitted(configured(tmp_path), a("chat"), a("code"), check=picky)

    assert services(found) == ["code"]
    assert found.refused["chat"].mistakes == ("metrics.prefill: is empty; give labels",)


DEPLOYMENTS = ("apps", "Deployment", "llm")


def test_a_service_ends_when_it_is_seen_that_no_object_names_it(tmp_path: Path) -> None:
    base = configured(tmp_path)
    before = admitted(base, a("chat"), a("code"))

    assert services(admitted(base, a("code"), before=before)) == ["code"]
    blind = admitted(base, before=before, blind=[DEPLOYMENTS])
    assert services(blind) == ["chat", "code"]
    elsewhere = admitted(base, before=before, blind=[("apps", "Deployment", "tools")])
    assert services(elsewhere) == []


def test_a_service_of_which_one_object_is_gone_stays_as_it_was(tmp_path: Path) -> None:
    base = configured(tmp_path)
    both = admitted(base, a("chat", "prefill", "p"), a("chat", "decode", "d"))

    half = admitted(base, a("chat", "prefill", "p"), before=both)

    assert half.loaded.config.services == both.loaded.config.services
    assert half.refused["chat"].mistakes[0].endswith("no object of the service is labelled decode")
    assert services(admitted(base, before=half)) == []


def test_half_a_service_is_waited_for_while_the_other_half_may_be_hidden(tmp_path: Path) -> None:
    found = admitted(configured(tmp_path), a("chat", "prefill", "p"), blind=[("apps", "StatefulSet", "llm")])

    assert (services(found), found.refused) == ([], {})


def test_a_namespace_that_is_looked_at_no_more_has_no_services(tmp_path: Path) -> None:
    before = admitted(configured(tmp_path), a("chat"), a("code", namespace="tools"))

    found = admitted(
        configured(tmp_path, discover__namespaces=["tools"]),
        a("chat"), a("code", namespace="tools"), before=before, blind=[DEPLOYMENTS],
    )  # fmt: skip

    assert services(found) == ["code"]


def test_another_file_changes_what_services_inherit_and_must_leave_room_for_them(tmp_path: Path) -> None:
    before = admitted(configured(tmp_path), a("chat", ttft="150", aggregated__min_replicas="4"))

    changed = admitted(configured(tmp_path, sla__itl=40), a("chat", ttft="fast"), before=before)
    assert changed.loaded.config.services["chat"].sla.model_dump() == {
        "isl": 3000, "osl": 150, "ttft": 150, "itl": 40, "objective": 0.95,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"^budget\.gpus: 3 is less than the 4 GPUs of the minima \(services\.chat"):
        admitted(configured(tmp_path, budget__gpus=3), a("chat", aggregated__min_replicas="4"), before=before)
    with pytest.raises(ConfigError, match=r"^services\.chat\.sla\.itl: not set; write it"):
        admitted(configured(tmp_path, BASE.replace(", itl: 20", "")), a("chat", ttft="150"), before=before)


def test_what_does_not_matter_makes_no_other_reading() -> None:
    objects = [a("chat", ttft="150"), a("code", "prefill", "p")]

    assert read_services(objects) == read_services(list(objects))


# --- the configuration without a service ----------------------------------------------------------------------------


def test_with_namespaces_to_discover_a_configuration_may_have_no_service(tmp_path: Path) -> None:
    base = configured(tmp_path, interval_s=15)

    assert (services(admitted(base)), base.interval_s) == ([], 15)
    assert build_settings(base).services == {}
    assert build_settings(base).budget_gpus == 8


def test_without_services_the_top_level_is_judged_as_far_as_it_can_be(tmp_path: Path) -> None:
    text = "discover: {namespaces: [llm]}\nsla: {ttft: -1}\nprofile: unknown\nprefill: {min_replicas: 2}\nmod: 1\n"

    with pytest.raises(ConfigError) as error:
        configured(tmp_path, text)

    assert sorted(line.split(";")[0].split(" (")[0] for line in error.value.mistakes) == [
        "budget.gpus: not set",
        "mod: unknown setting",
        "profile: 'unknown' is not known",
        "sla.ttft: -1 must be a number above 0",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("discover: {namespaces: [LLM]}", r'discover\.namespaces: \["LLM"\] must be a list of names of namespaces'),
        ("discover: {kinds: [Fleet]}", r'discover\.kinds: \["Fleet"\] must be a list of kinds such as Deployment'),
        ("discover: {namespace: llm}", r"discover\.namespace: unknown setting; did you mean"),
    ],
    ids=["a namespace", "a kind without its group", "a setting"],
)
def test_what_cannot_be_looked_at_is_a_mistake(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configured(tmp_path, BASE.replace("discover: {namespaces: [llm, tools]}", text))


def test_a_service_of_the_file_must_not_inherit_placeholders(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"metrics\.match: .* has placeholders, which are filled in for discovered services alone"
    ):
        configured(tmp_path, BASE + "services: {chat: {mode: aggregated}}\n")


@pytest.mark.parametrize("objects", [(), (a("chat"), a("code", ttft="300"))], ids=["none", "two"])
def test_a_record_of_discovered_services_reads_back(tmp_path: Path, objects: tuple[Labelled, ...]) -> None:
    loaded = admitted(configured(tmp_path), *objects).loaded
    document, profiles = loaded.to_document(), loaded.profile_documents()

    again = config_from_document(document, profiles)

    assert again.config == loaded.config
    assert again.to_document() == document
    assert settings_from_document(document, profiles).services.keys() == loaded.config.services.keys()
