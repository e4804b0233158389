"""The settings of the in-engine scheduler: names, defaults, meaning, and what is possible.

Given as environment variables (`VLLM_SLA_*`, `VLLM_SLO_*`), as the section `sla` of the engine's additional
configuration, or in code. Later ones win: defaults, environment, section, keywords. Times are ms. Settings that exist
are sound; a mistake is one line with the setting, its value, who gave it, and the remedy.

Names and defaults are the published ones where those are sound. Not so: the model is saved as JSON, never as a pickle;
the fallback line, which holds for one GPU and one model, is no model unless asked for; what a file and updates mean
together is a mode. docs/batch-optimiser.md has the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self, TypeVar

from planner.engine.settings_rules import (
    Choice,
    Given,
    ModelFile,
    Number,
    Rule,
    SettingsError,
    Switch,
    at_least_one,
    line,
    milliseconds,
    share,
    unknown,
)

Mode = Literal["frozen", "hybrid", "online"]
"""frozen: a fitted model as it is. hybrid: a fitted model, refitted as it drifts. online: learnt from nothing."""

Optimiser = Literal["default", "published"]

_PREFIXES = ("VLLM_SLA_", "VLLM_SLO_")
_FOR_CODE = "keyword"

T = TypeVar("T")


def _setting(default: T, env: str, rule: Rule, meaning: str) -> T:
    declared: Any = field(default=default, metadata={"env": env, "rule": rule, "meaning": meaning})
    return declared  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class SLASchedulerConfig:
    """All of them."""

    enabled: bool = _setting(
        True, "VLLM_SLA_SCHEDULER_ENABLED", Switch(), "Control the engine's steps. Steps are recorded when off, too."
    )
    fallback_on_error: bool = _setting(
        True, "VLLM_SLA_FALLBACK_ON_ERROR", Switch(),
        "After an error the engine always schedules that step by itself. true: control goes on with the next step. "
        "false: control pauses after `pause_after_errors` of them.",
    )  # fmt: skip
    pause_after_errors: int = _setting(
        10, "VLLM_SLA_PAUSE_AFTER_ERRORS", at_least_one(1_000_000),
        "Errors after which control pauses, where `fallback_on_error` is false.",
    )  # fmt: skip
    slo_tpot_ms: float = _setting(
        50.0, "VLLM_SLO_TPOT_MS", milliseconds(), "Agreed time per output token, ms: no target is above it."
    )
    slo_ttft_ms: float = _setting(
        500.0, "VLLM_SLO_TTFT_MS", milliseconds(),
        "Agreed time to first token, ms: its age orders admission and raises the target.",
    )  # fmt: skip
    request_tightest: float = _setting(
        0.5, "VLLM_SLO_REQUEST_TIGHTEST", share(),
        "The tightest that one request may ask for, as a share of the two above.",
    )  # fmt: skip
    request_loosest: float = _setting(
        20.0, "VLLM_SLO_REQUEST_LOOSEST", Number(1, 1_000_000), "The loosest, as a multiple of them."
    )
    min_batch_time_ms: float = _setting(
        15.0, "VLLM_SLA_MIN_BATCH_TIME_MS", milliseconds(), "Lower end of the adaptive target, ms."
    )
    queue_threshold: int = _setting(
        5, "VLLM_SLA_QUEUE_THRESHOLD", at_least_one(1_000_000),
        "Waiting requests at which the target reaches `slo_tpot_ms`.",
    )  # fmt: skip
    optimiser: Optimiser = _setting(  # noqa: RUF009
        "default", "VLLM_SLA_OPTIMISER", Choice(("default", "published")),
        "Which optimiser plans a step. `published` is there to compare with.",
    )  # fmt: skip
    progress_floor_tokens: int = _setting(
        16, "VLLM_SLA_PROGRESS_FLOOR_TOKENS", at_least_one(1_000_000),
        "Tokens that a starving prompt gets, whether they fit the target or not.",
    )  # fmt: skip
    starvation_steps: int = _setting(
        8, "VLLM_SLA_STARVATION_STEPS", at_least_one(1_000_000), "Steps without a token after which a prompt starves."
    )
    starvation_share: float = _setting(
        0.5, "VLLM_SLA_STARVATION_SHARE", share(), "Share of its TTFT after which it does."
    )
    look_ahead: int = _setting(
        32, "VLLM_SLA_LOOK_AHEAD", at_least_one(1024),
        "Waiting requests looked at in a step: so many may be admitted, and are ordered by the time left to their "
        "TTFT. 1 keeps the queue's own order.",
    )  # fmt: skip
    max_batch_search: int = _setting(
        32, "VLLM_SLA_MAX_BATCH_SEARCH", at_least_one(65_536), "Published optimiser: largest batch searched."
    )
    opt_timeout_ms: float = _setting(
        1.0, "VLLM_SLA_OPT_TIMEOUT_MS", milliseconds(), "Published optimiser: time after which its search stops, ms."
    )
    mode: Mode | None = _setting(  # noqa: RUF009
        None, "VLLM_SLA_MODE", Choice(("frozen", "hybrid", "online"), optional=True),
        "frozen: a fitted model as it is. hybrid: a fitted model, refitted as it drifts. online: learnt from nothing. "
        "Unset: frozen with a model file, online without.",
    )  # fmt: skip
    use_pretrained_model: bool = _setting(
        True, "VLLM_SLA_USE_PRETRAINED", Switch(), "Use the model file, if one is named."
    )
    pretrained_model_path: str = _setting(
        "", "VLLM_SLA_PRETRAINED_PATH", ModelFile(), "Fitted model, JSON of `planner fit`; empty for none."
    )
    save_model: bool = _setting(True, "VLLM_SLA_SAVE_MODEL", Switch(), "Save each refitted model.")
    model_save_path: str = _setting(
        "sla_scheduler_model.json", "VLLM_SLA_MODEL_SAVE_PATH", ModelFile(), "Where. Published as a pickle, here JSON."
    )
    model_update_threshold: float = _setting(
        0.15, "VLLM_SLA_MODEL_UPDATE_THRESHOLD", share(),
        "Online: mean absolute relative error (MAPE) above which a refit is due.",
    )  # fmt: skip
    hybrid_update_threshold: float = _setting(0.10, "VLLM_SLA_HYBRID_UPDATE_THRESHOLD", share(), "Hybrid: the same.")
    min_samples: int = _setting(50, "VLLM_SLA_MIN_SAMPLES", at_least_one(10_000), "Fewest new samples for a refit.")
    buffer_size: int = _setting(1000, "VLLM_SLA_BUFFER_SIZE", at_least_one(10_000), "Samples kept to refit from.")
    model_confidence: float = _setting(
        0.8, "VLLM_SLA_MODEL_CONFIDENCE", Number(0, 1),
        "R2 that a model needs to be used. Necessary, not enough: coverage decides besides.",
    )  # fmt: skip
    use_fallback_line: bool = _setting(
        False, "VLLM_SLA_USE_FALLBACK_LINE", Switch(),
        "Control with the line below until a model is there. false: no control until then.",
    )  # fmt: skip
    fallback_intercept: float = _setting(
        8.7, "VLLM_SLA_FALLBACK_INTERCEPT", Number(0, 3_600_000), "Time of a step without tokens, ms (one H100, 8B)."
    )
    fallback_slope: float = _setting(
        0.0215, "VLLM_SLA_FALLBACK_SLOPE", Number(0, 3_600_000), "Time of each of its tokens, ms (one H100, 8B)."
    )
    verbose: bool = _setting(False, "VLLM_SLA_VERBOSE", Switch(), "Log every decision.")
    perf_log: bool = _setting(True, "VLLM_SLA_PERF_LOG", Switch(), "Record every step with its time.")

    def __post_init__(self) -> None:
        _refuse_mistakes({each.name: Given(getattr(self, each.name), _FOR_CODE) for each in fields(self)}, [])

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """From the environment alone. Raises SettingsError."""
        return cls.load(env, {})

    @classmethod
    def from_dict(cls, section: Mapping[str, object]) -> Self:
        """From the section of the additional configuration alone, keyed by field. Raises SettingsError."""
        return cls.load({}, section)

    @classmethod
    def load(cls, env: Mapping[str, str], section: object, **keywords: object) -> Self:
        """Defaults, then the environment, then the section, then keywords; later ones win. Raises SettingsError."""
        mistakes: list[str] = []
        given = {each.name: Given(each.default, "default") for each in fields(cls)}
        by_env = {each.metadata["env"]: each for each in fields(cls)}
        for name in sorted(env):
            if name in by_env:
                setting = by_env[name]
                given[setting.name] = Given(setting.metadata["rule"].parse(env[name]), f"env {name}")
            elif name.startswith(_PREFIXES):
                mistakes.append(unknown(name, "env", by_env, len(_PREFIXES[0])))
        if not isinstance(section, Mapping):
            mistakes.append(line("sla", Given(section, "additional config"), "must be a section of settings"))
            section = {}
        for values, source in ((section, "additional config"), (keywords, _FOR_CODE)):
            for key, value in values.items():
                if key in given:
                    given[key] = Given(value, source)
                else:
                    mistakes.append(unknown(str(key), source, given))
        _refuse_mistakes(given, mistakes)
        values = {name: each.value for name, each in given.items()}
        return cls(**values)

    @property
    def learning(self) -> Mode:
        """The mode in force: the one given, else frozen with a model file and online without."""
        return self.mode or ("frozen" if self.model_file else "online")

    @property
    def model_file(self) -> str | None:
        """The model to start from; None when none is to be read."""
        wanted = self.use_pretrained_model and self.mode != "online"
        return self.pretrained_model_path or None if wanted else None

    @property
    def refit_above_mape(self) -> float | None:
        """The error above which a refit is due; None for a model that is never refitted."""
        thresholds: dict[Mode, float | None] = {
            "frozen": None, "hybrid": self.hybrid_update_threshold, "online": self.model_update_threshold,
        }  # fmt: skip
        return thresholds[self.learning]


def _refuse_mistakes(given: Mapping[str, Given], found: list[str]) -> None:
    """Raise SettingsError with those found already, those of single values, and, if there is none, what contradicts."""
    rules: dict[str, Rule] = {each.name: each.metadata["rule"] for each in fields(SLASchedulerConfig)}
    broken = [
        line(name, given[name], why) for name, rule in rules.items() if (why := rule.broken_by(given[name].value))
    ]
    if mistakes := [*found, *broken] or list(_contradictions(given)):
        raise SettingsError(mistakes)


def _contradictions(given: Mapping[str, Given]) -> Iterator[str]:
    """Values that are possible by themselves and not together."""

    def value(name: str) -> Any:
        return given[name].value

    if value("min_batch_time_ms") > value("slo_tpot_ms"):
        why = f"exceeds slo_tpot_ms {value('slo_tpot_ms'):g}; lower it or raise slo_tpot_ms"
        yield line("min_batch_time_ms", given["min_batch_time_ms"], why)
    if value("min_samples") > value("buffer_size"):
        why = f"exceeds buffer_size {value('buffer_size')}, so no refit would ever come; lower it or raise buffer_size"
        yield line("min_samples", given["min_samples"], why)
    if value("mode") in ("frozen", "hybrid"):
        if not value("use_pretrained_model"):
            why = "needs a model file, but use_pretrained_model is false; set it, or mode online"
            yield line("mode", given["mode"], why)
        elif not value("pretrained_model_path"):
            why = "needs a model file; set pretrained_model_path, or mode online"
            yield line("mode", given["mode"], why)
