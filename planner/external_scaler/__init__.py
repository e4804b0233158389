"""For those who keep their actuator: the planner's figure, served to whoever sets the replicas in its place.

KEDA asks for it by its external scaler interface (`figure`, `answers`, `server`), an HPA by the planner's own metrics.
Where nobody heeds it, people are told (`unheeded`).
"""

from planner.external_scaler.answers import Answers
from planner.external_scaler.server import Address, Identity, serve
from planner.external_scaler.unheeded import tell_unheeded

__all__ = ["Address", "Answers", "Identity", "serve", "tell_unheeded"]
