"""Questions to one API server, a few at a time. What has no answer stays unknown, and the causes are kept.

Every call has the deadline of `Api`, and only reads: reviews of access are POSTs that store nothing
(kubernetes.io/docs, "Authorization").
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from planner.connectors.kubernetes.api.discovery import Discovery, Resource
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.pods import epoch_s
from planner.doctor.cluster.needs import Need
from planner.errors import UserError
from planner.scaling.types import Absent

if TYPE_CHECKING:
    from planner.connectors.kubernetes.api.client import Api

_AT_ONCE = 8
"""Calls under way: enough to be quick, few enough to be nobody's burden."""
_ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_OURSELVES = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

Answer = TypeVar("Answer")


class Asks:
    """Asks, and keeps what went wrong."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._discovery = Discovery(api)
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._finding = asyncio.Lock()
        self.known: dict[tuple[str, str], Resource | Absent] = {}
        """Kinds that were asked for, by group and kind."""
        self.failed: dict[str, None] = {}
        """Why calls failed."""
        self.forbidden: dict[str, None] = {}
        """Why calls were refused for want of a permission."""

    async def version(self) -> str | None:
        """Of Kubernetes; None where it is not told. Raises ApiError when there is no way to the API server."""
        try:
            return str((await self._api.get("/version")).get("gitVersion"))
        except ApiError as error:
            if error.status != 403:
                raise
            return None

    async def ourselves(self) -> tuple[str | None, float | None]:
        """The account we are taken for, and the API server's time; None where it is too old to tell."""
        said = await self._soft(self._api.create(_OURSELVES, _review("authentication", "SelfSubjectReview")))
        if not isinstance(said, Mapping):
            return None, None
        created = (said.get("metadata") or {}).get("creationTimestamp")
        user = ((said.get("status") or {}).get("userInfo") or {}).get("username")
        return user, None if created is None else epoch_s(str(created))

    async def served(self, group: str, kind: str) -> Resource | Absent | None:
        """The kind; Absent where it is not served. One after another, so that each is asked for once."""
        async with self._finding:
            if (group, kind) not in self.known:
                try:
                    self.known[group, kind] = await self._discovery.find(group, kind)
                except UserError as error:
                    self.known[group, kind] = Absent(str(error))
                except ApiError as error:
                    self._note(error)
                    return None
            return self.known[group, kind]

    async def get(self, path: str) -> Object | Absent | None:
        """The object; Absent where there is none."""
        return await self._soft(self._api.get(path))

    async def items(self, path: str) -> tuple[Object, ...] | None:
        """All objects of a collection."""
        listed = await self._soft(self._api.items(path))
        return None if listed is None or isinstance(listed, Absent) else listed.items

    async def allowed(self, need: Need) -> bool | None:
        """Whether we have the permission."""
        attributes = {
            "namespace": need.namespace, "verb": need.verb, "group": need.group, "resource": need.resource,
            "subresource": need.subresource, "name": need.name,
        }  # fmt: skip
        body = {**_review("authorization", "SelfSubjectAccessReview"), "spec": {"resourceAttributes": attributes}}
        said = await self._soft(self._api.create(_ACCESS, body))
        return bool((said.get("status") or {}).get("allowed")) if isinstance(said, Mapping) else None

    async def _soft(self, call: Awaitable[Answer]) -> Answer | Absent | None:
        try:
            async with self._room:
                return await call
        except ApiError as error:
            if error.status == 404:
                return Absent(str(error))
            self._note(error)
            return None

    def _note(self, error: ApiError) -> None:
        (self.forbidden if error.status == 403 else self.failed)[str(error)] = None


def _review(group: str, kind: str) -> dict[str, Any]:
    return {"apiVersion": f"{group}.k8s.io/v1", "kind": kind}
