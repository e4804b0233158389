"""The gRPC server of the external scaler.

It listens only while this planner leads: of several behind one Service a standby refuses connections, so that a client
goes on to the leader, whose figures alone follow from what was ordered. Certificates are read anew for each connection,
since they are replaced while it runs; one that cannot be read leaves the last in use.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never, TypeVar

import grpc
from google.protobuf.message import Message

from planner.clock import Clock
from planner.errors import UserError
from planner.external_scaler.answers import Answers
from planner.external_scaler.externalscaler_pb2 import DESCRIPTOR, GetMetricsRequest, ScaledObjectRef
from planner.external_scaler.figure import NoFigureError, WrongTriggerError

log = logging.getLogger("planner.external_scaler")

LOOK_S = 1.0
"""Between two looks at who leads."""
_SERVICE = DESCRIPTOR.services_by_name["ExternalScaler"].full_name
# Two servers must not share a port in silence, as gRPC has it by default.
_OPTIONS = (("grpc.so_reuseport", 0),)

AskedT = TypeVar("AskedT", bound=Message)
AnswerT = TypeVar("AnswerT", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """What the server shows, and whom it lets in; files in PEM."""

    certificate: Path
    key: Path
    clients: Path | None
    """The authorities that must have signed a client's certificate; None: everybody may ask."""

    def read(self) -> grpc.ServerCertificateConfiguration:
        """From the files as they are now. Raises UserError."""
        try:
            pair = self.key.read_bytes(), self.certificate.read_bytes()
            roots = None if self.clients is None else self.clients.read_bytes()
        except OSError as error:
            raise UserError(
                f"--external-scaler-cert, -key, -ca: {error.filename} cannot be read ({error.strerror}); name another"
            ) from None
        return grpc.ssl_server_certificate_configuration([pair], roots)


@dataclass(frozen=True, slots=True)
class Address:
    """Where it listens."""

    host: str
    port: int
    """0 takes any that is free."""
    identity: Identity | None = None
    """None: without TLS."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def serve(address: Address, answers: Answers, leads: Callable[[], bool], clock: Clock) -> None:
    """Serve while this planner leads, until cancelled. Raises UserError when it cannot listen there."""
    while True:
        while not leads():
            await clock.sleep_until(clock.now_s() + LOOK_S)
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((_handler(answers),))
        port = _listen(server, address)
        await server.start()
        log.info("external scaler: serving on %s port %d", address.host, port)
        try:
            while leads():
                await clock.sleep_until(clock.now_s() + LOOK_S)
            log.info("external scaler: closed, another planner leads")
        finally:
            await server.stop(grace=None)


def _listen(server: grpc.aio.Server, address: Address) -> int:
    try:
        if address.identity is None:
            return server.add_insecure_port(str(address))
        return server.add_secure_port(str(address), _credentials(address.identity))
    except RuntimeError:
        raise UserError(
            f"--external-scaler: {address} cannot be listened on, or its certificate does not fit its key; choose "
            "another, or correct the files"
        ) from None


def _credentials(identity: Identity) -> grpc.ServerCredentials:
    last = identity.read()

    def newest() -> grpc.ServerCertificateConfiguration:
        nonlocal last
        try:
            last = identity.read()
        except UserError as error:
            log.warning("%s; the last is used", error)
        return last

    return grpc.dynamic_ssl_server_credentials(last, newest, identity.clients is not None)


# --- from questions to answers ----------------------------------------------------------------------------------------


def _handler(answers: Answers) -> grpc.GenericRpcHandler:
    of_object, of_metric = ScaledObjectRef.FromString, GetMetricsRequest.FromString
    one, many = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    return grpc.method_handlers_generic_handler(
        _SERVICE,
        {
            "IsActive": one(_once(answers.is_active), of_object, _bytes),
            "StreamIsActive": many(_stream(answers.stream_is_active), of_object, _bytes),
            "GetMetricSpec": one(_once(answers.metric_spec), of_object, _bytes),
            "StreamMetricSpec": many(_stream(answers.stream_metric_spec), of_object, _bytes),
            "GetMetrics": one(_once(answers.metrics), of_metric, _bytes),
        },
    )


def _once(answer: Callable[[AskedT], Awaitable[AnswerT]]) -> Callable[[AskedT, Context], Awaitable[AnswerT]]:
    async def handle(asked: AskedT, context: Context) -> AnswerT:
        try:
            return await answer(asked)
        except (NoFigureError, WrongTriggerError) as error:
            await _refuse(context, error)

    return handle


def _stream(answer: Callable[[AskedT], AsyncIterator[AnswerT]]) -> Callable[[AskedT, Context], AsyncIterator[AnswerT]]:
    async def handle(asked: AskedT, context: Context) -> AsyncIterator[AnswerT]:
        try:
            async for each in answer(asked):
                yield each
        except (NoFigureError, WrongTriggerError) as error:
            await _refuse(context, error)

    return handle


async def _refuse(context: Context, error: NoFigureError | WrongTriggerError) -> Never:
    wrong = isinstance(error, WrongTriggerError)
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT if wrong else grpc.StatusCode.UNAVAILABLE, str(error))


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()
