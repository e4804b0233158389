"""Performance profiles: how fast one replica is, measured or estimated before deployment.

A profile answers two questions about one model on one kind of GPU: how long does a prompt take (`Profile.prefill`), and
how long does a token take when so many requests of such a length decode together (`Profile.decode`). It is built once,
from a document that is checked, repaired where physics allows and doubted aloud elsewhere (`Profile.warnings`), and is
then an immutable value that is cheap to query.

Inside, times are seconds and lengths tokens; only documents and `points` speak milliseconds, as users do.
Pure: numpy and scipy, no files. `planner.profiler` reads and writes them.
"""

from planner.scaling.profile.decode import DecodeProfile
from planner.scaling.profile.document import document_from_profile, profile_from_document
from planner.scaling.profile.points import DecodePoints, PrefillPoints, ProfileError
from planner.scaling.profile.prefill import PrefillProfile
from planner.scaling.profile.profile import Profile, Provenance

__all__ = [
    "DecodePoints",
    "DecodeProfile",
    "PrefillPoints",
    "PrefillProfile",
    "Profile",
    "ProfileError",
    "Provenance",
    "document_from_profile",
    "profile_from_document",
]
