"""The options of `planner run` about KEDA's external scaler, and what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from planner.errors import UserError

if TYPE_CHECKING:
    from planner.cli.run_kubernetes import Hands
    from planner.clock import Clock
    from planner.config.model import Service
    from planner.external_scaler import Address
    from planner.live import Beside
    from planner.loop import ControlLoop

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path)


def external_scaler_options(command: CommandT) -> CommandT:
    """--external-scaler and its certificates."""
    options = (
        click.option(
            "--external-scaler", "scaler_at", metavar="HOST:PORT", help="Where KEDA may ask for the figure, by gRPC."
        ),
        click.option(
            "--external-scaler-cert", "scaler_cert", type=_PATH, metavar="FILE", help="Certificate to serve it by, PEM."
        ),
        click.option(
            "--external-scaler-key", "scaler_key", type=_PATH, metavar="FILE", help="Key of that certificate."
        ),
        click.option(
            "--external-scaler-ca", "scaler_ca", type=_PATH, metavar="FILE",
            help="Let only those ask whose certificates these authorities signed.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def external_services(services: Mapping[str, Service]) -> tuple[str, ...]:
    """Those whose replicas somebody else sets."""
    return tuple(name for name, service in services.items() if service.kubernetes.actuator == "external")


def address_of(
    text: str | None, certificate: Path | None, key: Path | None, clients: Path | None, services: Collection[str]
) -> Address | None:
    """Where to serve, and by which certificates; None when nobody asked for it. Raises UserError.

    `services` are those whose replicas somebody else sets.
    """
    if text is None:
        if certificate or key or clients:
            raise UserError("--external-scaler-cert, -key, -ca: are for --external-scaler HOST:PORT; give that as well")
        return None
    if not services:
        raise UserError(
            f"--external-scaler: {text!r} would serve no figure; set kubernetes.actuator of a service to external"
        )
    from planner.external_scaler import Address, Identity

    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise UserError(f"--external-scaler: {text!r} must be HOST:PORT, such as 0.0.0.0:9090 or [::]:9090")
    if (certificate is None) != (key is None) or (clients is not None and certificate is None):
        raise UserError("--external-scaler-cert, -key: go together, and -ca with both; give what is missing")
    identity = None
    if certificate is not None and key is not None:
        identity = Identity(certificate, key, clients)
        identity.read()
    return Address(host.removeprefix("[").removesuffix("]"), int(port), identity)


def beside_the_loop(
    address: Address | None, services: Collection[str], loop: ControlLoop, hands: Hands, clock: Clock
) -> tuple[Beside, ...]:
    """What runs along with the loop: the server, where one is asked for, and a look at whether figures are heeded."""
    from planner.external_scaler import Answers, serve, tell_unheeded

    if not services:
        return ()
    telling = partial(tell_unheeded, loop, loop.desk, services)
    if address is None:
        return (telling,)
    answers = Answers(lambda: loop.desk.board, loop.desk.subscribe, services, clock)
    return telling, partial(serve, address, answers, lambda: hands.lease.leads, clock)
