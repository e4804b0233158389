"""Which cluster, and as whom: the official client's configuration, from a kubeconfig or from within a pod.

What is read: the kubeconfig that is named; else those of the environment variable KUBECONFIG; else the pod's
ServiceAccount, where KUBERNETES_SERVICE_HOST is set; else ~/.kube/config.

The client itself reads a pod's token anew each minute. All the rest is read when it is loaded: it is loaded anew when
the API server no longer takes it. A kubeconfig is never written to, so the refresh token of an auth-provider of old is
not kept.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError

from planner.errors import UserError

# The package says it is typed, and these are not.
_from_kubeconfig: Callable[..., Awaitable[Any]] = load_kube_config
_from_pod: Callable[..., None] = load_incluster_config


class AccessError(UserError):
    """There is no way to a cluster, or its description cannot be read."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to find the API server and be let in."""

    kubeconfig: Path | None = None
    context: str | None = None
    """Of the kubeconfig; None for its current one."""

    async def load(self) -> Configuration:
        """Read it all now. Raises AccessError; its text holds nothing of what the files hold."""
        configuration = Configuration()
        files = self._files()
        try:
            if files is None:
                _from_pod(client_configuration=configuration)
            else:
                await _from_kubeconfig(
                    config_file=files,
                    context=self.context,
                    client_configuration=configuration,
                    persist_config=False,
                )
        except (ConfigException, YAMLError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            if files is None:
                raise AccessError(f"ServiceAccount: {_why(error)}; mount its token into the pod") from None
            raise AccessError(f"kubeconfig: {files}: {_why(error)}; see what kubectl config view says") from None
        # Every watch holds a connection: the client's own limit of 100 would make calls wait for watches to end.
        configuration.connection_pool_maxsize = 0
        return configuration

    def _files(self) -> str | None:
        """The kubeconfigs to read, as KUBECONFIG names them; None within a pod."""
        named = str(self.kubeconfig) if self.kubeconfig else os.environ.get("KUBECONFIG")
        if not named and os.environ.get("KUBERNETES_SERVICE_HOST"):
            return None
        files = named or str(Path.home() / ".kube" / "config")
        if not any(Path(file).expanduser().is_file() for file in files.split(os.pathsep) if file):
            raise AccessError(f"kubeconfig: there is no file {files}; name one, or run in a pod of the cluster")
        return files


def _why(error: Exception) -> str:
    """What is wrong, without what the client quotes: it prints a user with the token, and a line of YAML."""
    if isinstance(error, ConfigException):
        return str(error).partition("{")[0].rstrip(" /.")
    return getattr(error, "strerror", None) or "it is not written as kubectl writes it"
