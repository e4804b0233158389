"""A relay before a server that counts questions and the bytes of their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

Sizes = list[int]
"""Bytes of each answer on one connection, heads included; the last may still be under way."""


@asynccontextmanager
async def relayed(address: str) -> AsyncIterator[tuple[str, list[Sizes]]]:
    """Where it listens, as host:port, and what it counts, by connection. It relays to `address`, as long as it lasts.

    A connection must ask its next question only when the last is answered.
    """
    host, _, port = address.partition(":")
    connections: list[Sizes] = []
    relaying: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, int(port))
        sizes: Sizes = []
        connections.append(sizes)

        async def questions() -> None:
            while data := await reader.read(2**16):
                # A question may come in pieces.
                if not sizes or sizes[-1]:
                    sizes.append(0)
                # Answers in plain text: their length after decompression is what has to be read. No byte is added.
                to_server.write(data.replace(b"Accept-Encoding", b"Ignore-Encoding"))

        async def answers() -> None:
            while data := await from_server.read(2**16):
                sizes[-1] += len(data)
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(questions()), asyncio.create_task(answers())]
        relaying.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in (to_server, writer):
            each.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()
        for task in relaying:
            task.cancel()
        await asyncio.gather(*relaying, return_exceptions=True)
