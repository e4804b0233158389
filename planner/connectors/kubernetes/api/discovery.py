"""Which kinds the API server serves: versions, the name in paths, whether namespaced, whether there is /scale.

Asked of the API server once (kubernetes.io/docs, "API discovery"), and kept until told to forget or until a kind is
not found: a CRD may be installed or upgraded while we run. So after a 404 of an object that should be there: forget,
find and try once more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING
from urllib.parse import quote

from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.table import version_of
from planner.errors import UserError

if TYPE_CHECKING:
    from planner.connectors.kubernetes.api.client import Api

_VERSION = re.compile(r"v\d+((alpha|beta)\d+)?")
"""A version alone is the core group's, which has no name (kubernetes.io/docs, "CRD versioning")."""


class UnknownKindError(UserError):
    """The API server serves no such group, version or kind."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind at one version, as the API server serves it."""

    group: str
    """Empty for the core group."""
    version: str
    kind: str
    plural: str
    """The name in paths."""
    namespaced: bool
    scalable: bool
    """Whether it has a scale subresource at this version."""

    @property
    def api_version(self) -> str:
        """As objects say it."""
        return f"{self.group}/{self.version}" if self.group else self.version


def collection_of(resource: Resource, namespace: str | None = None) -> str:
    """The path of all objects of a kind: in one namespace, or everywhere."""
    root = f"/apis/{resource.group}" if resource.group else "/api"
    inside = f"/namespaces/{quote(namespace, safe='')}" if namespace and resource.namespaced else ""
    return f"{root}/{resource.version}{inside}/{resource.plural}"


def path_of(resource: Resource, namespace: str, name: str, sub: str | None = None) -> str:
    """The path of one object, or of a subresource such as `scale`. A kind without namespaces leaves it out."""
    below = f"/{sub}" if sub else ""
    return f"{collection_of(resource, namespace)}/{quote(name, safe='')}{below}"


class Discovery:
    """What one API server serves, as far as it was asked for."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._versions: dict[str, tuple[str, ...]] = {}
        self._resources: dict[tuple[str, str], tuple[Resource, ...]] = {}

    async def find(self, api_version: str, kind: str) -> Resource:
        """The kind at a version, such as `apps/v1`; or, for a group such as `apps`, at the version to speak.

        That is the newest we know of those that serve the kind, else the one the API server names first. Raises
        UnknownKindError, and ApiError when the API server does not say.
        """
        group, version = _taken_apart(api_version)
        found = await self._look(group, version, kind)
        if not found:
            self.forget(group)
            found = await self._look(group, version, kind)
        if not found:
            raise await self._unknown(group, version, kind)
        spoken = version_of(group, kind, [resource.version for resource in found])
        return next(resource for resource in found if resource.version == spoken)

    def forget(self, group: str) -> None:
        """Ask anew at the next occasion."""
        self._versions.pop(group, None)
        for known in [key for key in self._resources if key[0] == group]:
            del self._resources[known]

    async def _look(self, group: str, version: str | None, kind: str) -> list[Resource]:
        """The kind at the version, or at all of the group's, the API server's favourite first."""
        served = await self._served(group)
        wanted = served if version is None else [each for each in served if each == version]
        every = [resource for each in wanted for resource in await self._at(group, each)]
        return [resource for resource in every if resource.kind == kind]

    async def _served(self, group: str) -> tuple[str, ...]:
        """The group's versions; empty when it is not served."""
        if group not in self._versions:
            said = await self._ask(f"/apis/{group}" if group else "/api")
            if said is None:
                return ()
            self._versions[group] = _versions(said)
        return self._versions[group]

    async def _at(self, group: str, version: str) -> tuple[Resource, ...]:
        key = (group, version)
        if key not in self._resources:
            said = await self._ask(f"/apis/{group}/{version}" if group else f"/api/{version}")
            if said is None:
                return ()
            self._resources[key] = _resources(group, version, said)
        return self._resources[key]

    async def _ask(self, path: str) -> Object | None:
        """The document; None where there is none."""
        try:
            return await self._api.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def _unknown(self, group: str, version: str | None, kind: str) -> UnknownKindError:
        """Why the kind was not found, with what may have been meant."""
        served = await self._served(group)
        if not served:
            groups = (await self._api.get("/apis")).get("groups") or []
            meant = _meant(group, [str(each.get("name")) for each in groups])
            return UnknownKindError(
                f"target: the API server serves no group {group!r}; {meant or 'install the CRDs of its project'}"
            )
        if version is not None and version not in served:
            return UnknownKindError(
                f"target: {group or 'the core group'} is not served at {version!r}; write {' or '.join(served)}"
            )
        kinds = {resource.kind for each in served for resource in await self._at(group, each)}
        where = "/".join(part for part in (group, version) if part) or "the core group"
        remedy = _meant(kind, kinds) or "install its CRD, or correct the kind"
        return UnknownKindError(f"target: there is no kind {kind!r} in {where}; {remedy}")


def _taken_apart(api_version: str) -> tuple[str, str | None]:
    """Group and version; no version where a group alone is given."""
    group, slash, version = api_version.rpartition("/")
    if slash:
        return group, version
    return ("", api_version) if _VERSION.fullmatch(api_version) else (api_version, None)


def _versions(said: Object) -> tuple[str, ...]:
    """From an APIGroup, or from APIVersions for the core group; the preferred one first."""
    every = [each if isinstance(each, str) else str(each.get("version")) for each in said.get("versions") or []]
    preferred = (said.get("preferredVersion") or {}).get("version")
    return tuple(sorted(every, key=lambda version: version != preferred))


def _resources(group: str, version: str, said: Object) -> tuple[Resource, ...]:
    """From an APIResourceList, where a subresource is an entry of its own, named plural/subresource."""
    entries = said.get("resources") or []
    names = {entry.get("name") for entry in entries}
    return tuple(
        Resource(group, version, str(entry.get("kind")), name, bool(entry.get("namespaced")), f"{name}/scale" in names)
        for entry in entries
        if "/" not in (name := str(entry.get("name")))
    )


def _meant(said: str, known: Iterable[str]) -> str | None:
    lower = {each.lower(): each for each in sorted(known)}
    close = get_close_matches(said.lower(), lower, n=3)
    return f"did you mean {' or '.join(lower[each] for each in close)}?" if close else None
