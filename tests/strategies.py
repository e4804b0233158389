"""Hypothesis strategies shared by the tests of the planning core. Each new feature joins here."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from planner.profiler.library import load_profile
from planner.scaling.profile import Profile
from planner.scaling.settings import Routing, SizingSettings
from planner.scaling.types import Demand
from planner.slo.targets import Targets

rates_per_s = st.floats(0, 300)


def demands(rate_per_s: st.SearchStrategy[float] = rates_per_s) -> st.SearchStrategy[Demand]:
    """Loads from silence to a few hundred requests a second, short chats to long documents."""
    return st.builds(
        Demand,
        rate_per_s=rate_per_s,
        isl_tokens=st.floats(50, 30_000),
        osl_tokens=st.floats(1, 2000),
        isl_cv2=st.one_of(st.just(0.0), st.floats(0.01, 4)),
    )


def targets() -> st.SearchStrategy[Targets]:
    """Agreements from impossible to generous."""
    return st.builds(
        Targets,
        isl_tokens=st.just(3000.0),
        osl_tokens=st.just(150.0),
        ttft_ms=st.floats(5, 10_000),
        itl_ms=st.floats(1, 200),
        objective=st.floats(0.8, 0.999),
    )


def sizings() -> st.SearchStrategy[SizingSettings]:
    """Both methods, all routings."""
    return st.builds(
        SizingSettings,
        method=st.sampled_from(["queueing", "throughput"]),
        routing=st.sampled_from(get_args(Routing)),
        arrival_cv2=st.floats(0.0, 10),
        isl_cv2=st.just(1.0),
    )


def profiles() -> st.SearchStrategy[Profile]:
    """A measured one, and estimated ones of slow and of many GPUs."""
    names = ("h200-llama-3.1-8b-fp8-tp1", "l40s-llama-3.1-8b-bf16-tp1", "h100-llama-3.1-70b-fp8-tp4")
    return st.sampled_from(names).map(load_profile)
