"""Whether the planner will see what it needs, told before anything scales.

    evidence = await examine(client, setup, wanted, clock)
    findings = judge(evidence)

`examine` asks, through the code that a running planner asks through, and writes nothing; `judge` is pure, a tuple of
checks; `report` prints. `cluster` has the same of an API server.
"""

from planner.doctor.evidence import Evidence, ServiceEvidence, Setup, Wanted
from planner.doctor.examine import examine
from planner.doctor.finding import Finding, Level
from planner.doctor.judge import judge

__all__ = ["Evidence", "Finding", "Level", "ServiceEvidence", "Setup", "Wanted", "examine", "judge"]
