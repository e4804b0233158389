"""Write the estimated profiles that come with the planner: `python scripts/estimate_profiles.py`.

Needs the extra `estimate`. The list holds common pairs of model and GPU whose estimates are sound; docs/adr/0009 says
which are left out, and why. A pair that has been measured has no estimate here.
"""

from __future__ import annotations

import logging
from pathlib import Path

from planner.profiler.estimate import estimate_document
from planner.profiler.library import write_profile
from planner.scaling.profile import profile_from_document

LIBRARY = Path(__file__).resolve().parents[1] / "profiles"

ESTIMATED = {
    ("llama-3.1-8b", "bf16"): ("a100-tp1", "b200-tp1", "h100-tp1", "h200-tp1", "l40s-tp1"),
    ("llama-3.1-8b", "fp8"): ("h100-tp1", "l40s-tp1"),
    ("llama-3.1-70b", "bf16"): ("a100-tp4", "a100-tp8", "b200-tp2"),
    ("llama-3.1-70b", "fp8"): ("h100-tp2", "h100-tp4", "h100-tp8", "h200-tp2", "h200-tp4"),
    ("qwen3-32b", "bf16"): ("a100-tp2", "b200-tp1"),
    ("qwen3-32b", "fp8"): ("h100-tp1", "h100-tp2", "h200-tp1", "h200-tp2"),
    ("qwen3-30b-a3b", "fp8"): ("h100-tp1", "h200-tp1"),
    ("gpt-oss-120b", "mxfp4"): ("b200-tp1", "h100-tp1", "h200-tp1"),
}
"""(model, precision) to GPUs: the folder and the file of each profile."""


def main() -> None:
    """Estimate each profile and write it; doubts about its points are printed."""
    logging.getLogger("aiconfigurator_core").setLevel(logging.ERROR)
    for (model, precision), replicas in ESTIMATED.items():
        for replica in replicas:
            gpu, _, tp = replica.rpartition("-tp")
            profile = profile_from_document(estimate_document(model, gpu, int(tp), precision))
            write_profile(profile, LIBRARY / f"{model}-{precision}" / f"{replica}.json")
            print(profile.name, *profile.warnings, sep="\n    ")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
