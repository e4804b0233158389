"""A small client of the Kubernetes API for tests: objects in and out as JSON, over one user's credentials.

An object says itself where it lives (`apiVersion`, `kind`, `metadata.name`, `metadata.namespace`), so what was applied
is also how one asks for it. The planner's own connector is deliberately not used: it is what the tests are about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from cluster_keys import Pair

Object = dict[str, Any]

TIMEOUT_S = 10.0


class RefusedError(Exception):
    """The API server's answer was no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        """Of HTTP."""


def kubeconfig(url: str, ca_file: Path, user: Mapping[str, str]) -> str:
    """For the API server at `url`, as the user with these credentials; YAML takes JSON as it is."""
    cluster = {"server": url, "certificate-authority": str(ca_file)}
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": cluster}], "users": [{"name": "it", "user": dict(user)}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    })  # fmt: skip


class Api:
    """Speaks with the API server at `url` as the user whose client certificate or token it is given."""

    def __init__(self, url: str, ca_file: Path, *, pair: Pair | None = None, token: str | None = None) -> None:
        self.url = url
        self.ca_file = ca_file
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        own: dict[str, Any] = {} if pair is None else {"cert_file": str(pair.certificate), "key_file": str(pair.key)}
        self._pool = urllib3.PoolManager(ca_certs=str(ca_file), retries=False, timeout=TIMEOUT_S, maxsize=4, **own)
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}

    def apply(self, manifest: Mapping[str, Any]) -> Object:
        """Make the object so, by server-side apply: made where it is not there. Returns it as the server has it."""
        asked = urlencode({"fieldManager": "tests", "force": "true"})
        return self.request("PATCH", f"{self._path(manifest)}?{asked}", manifest, "application/apply-patch+yaml")

    def get(self, reference: Mapping[str, Any]) -> Object:
        """The object as it is now."""
        return self.request("GET", self._path(reference))

    def find(self, api_version: str, kind: str, namespace: str | None = None, labels: str = "") -> list[Object]:
        """All of a kind, in one namespace or everywhere, that a label selector lets pass."""
        path = self._collection(api_version, kind, namespace)
        items: list[Object] = self.request("GET", f"{path}?{urlencode({'labelSelector': labels})}")["items"]
        return items

    def delete(self, reference: Mapping[str, Any]) -> None:
        """Ask for its end; what has finalizers or a grace period is still there afterwards."""
        self.request("DELETE", self._path(reference))

    def token_for(self, service_account: str, namespace: str, lifetime_s: int = 3600) -> str:
        """A new token of the service account, as its pods would have it; the server grants no less than 600 s."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}
        path = self._path({**account, "metadata": {"name": service_account, "namespace": namespace}})
        asked = {"spec": {"expirationSeconds": lifetime_s}}
        token: str = self.request("POST", f"{path}/token", asked)["status"]["token"]
        return token

    def is_ready(self) -> bool:
        """Whether the API server says that it is ready to serve."""
        return self._pool.request("GET", f"{self.url}/readyz", headers=self._headers).status == 200

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
    ) -> Object:
        """Any other question. Raises RefusedError, or urllib3.exceptions.HTTPError where nobody answers."""
        answer = self._pool.request(
            method,
            self.url + path,
            body=None if body is None else json.dumps(body),
            headers={**self._headers, "Content-Type": content_type},
        )
        # A path that is not served is refused in plain text.
        text = answer.data.decode()
        if answer.status >= 400:
            raise RefusedError(answer.status, json.loads(text)["message"] if text.startswith("{") else text.strip())
        said: Object = json.loads(text)
        return said

    def _path(self, reference: Mapping[str, Any]) -> str:
        metadata = reference["metadata"]
        collection = self._collection(reference["apiVersion"], reference["kind"], metadata.get("namespace"))
        return f"{collection}/{metadata['name']}"

    def _collection(self, api_version: str, kind: str, namespace: str | None) -> str:
        base = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        if (api_version, kind) not in self._resources:
            for each in self.request("GET", base)["resources"]:
                # Subresources have kinds too.
                if "/" not in each["name"]:
                    self._resources[api_version, each["kind"]] = each["name"], each["namespaced"]
        if (api_version, kind) not in self._resources:
            raise RefusedError(404, f"{api_version} has no kind {kind}")
        name, namespaced = self._resources[api_version, kind]
        if namespaced and namespace is not None:
            return f"{base}/namespaces/{namespace}/{name}"
        return f"{base}/{name}"
