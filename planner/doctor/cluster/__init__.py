"""Whether the planner can see and scale its targets, told before anything scales.

    evidence = await examine(api, fleet, clock)
    findings = judge(evidence, seen)

Made like the doctor of a Prometheus: `examine` asks and writes nothing, `judge` is pure.
"""

from planner.doctor.cluster.evidence import ClusterEvidence, Fleet, Found, PoolEvidence
from planner.doctor.cluster.examine import examine
from planner.doctor.cluster.judge import judge

__all__ = ["ClusterEvidence", "Fleet", "Found", "PoolEvidence", "examine", "judge"]
