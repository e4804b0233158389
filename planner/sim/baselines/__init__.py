"""What a policy is compared with.

- static: a fleet that never changes, sized for the peak or as one likes (`static`);
- the Horizontal Pod Autoscaler's rules on a metric of the engine (`hpa`);
- the formulas published with NVIDIA Dynamo's planner, without queues or headroom (`published`);
- a clairvoyant that knows the load to come (`clairvoyant`), the measure of what forecasts could still gain.

`contenders` makes them, and the planner itself, from what users write.
"""

from __future__ import annotations

from planner.sim.baselines.static import static_peak

__all__ = ["static_peak"]
