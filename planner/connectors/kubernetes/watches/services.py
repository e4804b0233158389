"""The objects that are labelled as services, by watches that the API server filters by that label.

Beside the watches of targets: what a service is must be known before it has targets, and of objects that have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random

from planner.clock import Clock
from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.api.discovery import Discovery
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.services import SERVICE, Place, Sightings, labelled, place_of
from planner.connectors.kubernetes.objects.targets import ObjectRef, target_of
from planner.connectors.kubernetes.watches.watches import Watches


class ServiceWatches:
    """Labelled objects of some kinds in some namespaces. Does nothing until it is run."""

    def __init__(self, api: Api, clock: Clock, chance: Random, may_lack: Iterable[str] = ()) -> None:
        """Of the kinds `may_lack` it is no failure that the API server does not serve them."""
        self._watches = Watches(api, Discovery(api), clock, chance, label_selector=SERVICE)
        self._may_lack = {_kind_of(text) for text in may_lack}

    def want(self, namespaces: Iterable[str], kinds: Iterable[str]) -> None:
        """Look there and nowhere else. Kinds are spelt as in targets, such as Deployment or Kind.group."""
        every = [_kind_of(text) for text in kinds]
        self._watches.want((*kind, namespace) for namespace in namespaces for kind in every)

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._watches.run()

    def seen(self) -> Sightings:
        """What there is now, as far as that can be seen."""
        found, blind = [], set[Place]()
        for key in self._watches.wanted:
            watched = self._watches.get(key)
            if watched is None or not watched.synced:
                if not self._watches.is_unserved(key):
                    blind.add(key)
                continue
            group, kind, namespace = key
            found += [labelled(ObjectRef(group, kind, namespace, name), each)
                      for (_, name), each in watched.objects.items()]  # fmt: skip
        found.sort(key=lambda each: (each.service, str(each.ref)))
        return Sightings(tuple(found), frozenset(blind))

    def get(self, ref: ObjectRef) -> Object | None:
        """The object itself, where it is known."""
        watched = self._watches.get(place_of(ref))
        return None if watched is None else watched.objects.get((ref.namespace, ref.name))

    def failures(self) -> Mapping[str, str]:
        """What cannot be watched, and why."""
        return {
            f"services by label, {kind} of {namespace}": failure
            for (group, kind, namespace), failure in self._watches.failures().items()
            if (group, kind) not in self._may_lack or not self._watches.is_unserved((group, kind, namespace))
        }


def _kind_of(text: str) -> tuple[str, str]:
    ref = target_of(f"{text}/any", "any").object
    return ref.group, ref.kind
