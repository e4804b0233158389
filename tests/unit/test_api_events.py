"""News over HTTP: what one client is sent, when, and how many may listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from api_boards import Api, FakePlanner, fake_planner

from planner.api import events
from planner.api.events import MOST_CLIENTS, stream
from planner.board import Board
from planner.controls import Controls, Pause

FIRST = 'retry: 3000\nevent: tick\ndata: {"tick": 3, "at_s": 62.0}\n\n'


def later(shown: Board, **fields: object) -> Board:
    return replace(shown, ticks=shown.ticks + 1, now_s=shown.now_s + 30, **fields)  # type: ignore[arg-type]


def listen(script: Callable[[FakePlanner, AsyncIterator[str]], Awaitable[list[str]]], heartbeat_s: float) -> list[str]:
    """What a client heard while `script` moved the planner."""
    planner = fake_planner("chat")

    async def main() -> list[str]:
        return await asyncio.wait_for(script(planner, stream(planner, heartbeat_s)), timeout=20)

    heard = asyncio.run(main())
    assert planner.readers == []
    return heard


def test_a_client_hears_of_the_present_board_and_of_each_new_one_until_the_planner_ends() -> None:
    async def script(planner: FakePlanner, news: AsyncIterator[str]) -> list[str]:
        heard = [await anext(news)]
        planner.publish(later(planner.shown))
        heard.append(await anext(news))
        planner.end()
        return heard + [each async for each in news]

    assert listen(script, 60) == [FIRST, 'event: tick\ndata: {"tick": 4, "at_s": 92.0}\n\n']


def test_changed_orders_are_news_of_their_own() -> None:
    async def script(planner: FakePlanner, news: AsyncIterator[str]) -> list[str]:
        await anext(news)
        paused = Controls(paused={"chat": Pause("ada", "load test", 63.0)})
        planner.publish(replace(planner.shown, controls=paused))
        planner.publish(later(planner.shown))
        planner.end()
        return [each async for each in news]

    assert listen(script, 60) == [
        'event: tick\ndata: {"tick": 3, "at_s": 62.0}\n\n',
        'event: control\ndata: {"tick": 3, "at_s": 62.0}\n\n',
        'event: tick\ndata: {"tick": 4, "at_s": 92.0}\n\n',
    ]


def test_silence_is_broken_by_a_comment_and_loses_no_news() -> None:
    async def script(planner: FakePlanner, news: AsyncIterator[str]) -> list[str]:
        heard = [await anext(news) for _ in range(3)]
        planner.publish(later(planner.shown))
        while heard[-1].startswith(":"):
            heard.append(await anext(news))
        planner.end()
        async for _ in news:
            pass
        return heard[:3] + heard[-1:]

    assert listen(script, 0.001) == [
        FIRST, ": alive\n\n", ": alive\n\n", 'event: tick\ndata: {"tick": 4, "at_s": 92.0}\n\n'
    ]  # fmt: skip


@pytest.mark.parametrize("unread", [False, True], ids=["in silence", "with news unread"])
def test_a_client_that_goes_leaves_nothing_behind(unread: bool) -> None:
    planner = fake_planner("chat")

    async def main() -> None:
        news = stream(planner)
        await anext(news)
        assert len(planner.readers) == 1
        if unread:
            planner.publish(later(planner.shown))
            for _ in range(5):
                await asyncio.sleep(0)
        await news.aclose()
        while planner.readers:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), timeout=20))


def test_the_stream_is_sent_as_server_sent_events() -> None:
    planner = fake_planner("chat")
    api = Api(planner)

    async def main() -> None:
        async with api.client() as client:
            asking = asyncio.ensure_future(client.get("/events"))
            while not planner.readers:
                await asyncio.sleep(0)
            planner.end()
            answer = await asking
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.text == FIRST

    asyncio.run(asyncio.wait_for(main(), timeout=20))


def test_so_many_clients_may_listen_and_the_next_when_one_has_gone() -> None:
    planner = fake_planner("chat")
    api = Api(planner)

    async def main() -> None:
        async with api.client() as client:
            asking = [asyncio.ensure_future(client.get("/events")) for _ in range(MOST_CLIENTS)]
            while len(planner.readers) < MOST_CLIENTS:
                await asyncio.sleep(0)
            refused = await client.get("/events")
            assert refused.status_code == 503
            assert refused.json() == {"error": "events: 100 clients listen already; poll /overview"}
            assert refused.headers["retry-after"] == "30"
            planner.end()
            await asyncio.gather(*asking)
            one_more = asyncio.ensure_future(client.get("/events"))
            while not planner.readers:
                await asyncio.sleep(0)
            planner.end()
            assert (await one_more).status_code == 200

    asyncio.run(asyncio.wait_for(main(), timeout=20))


def test_a_heartbeat_comes_before_proxies_lose_patience() -> None:
    assert events.HEARTBEAT_S <= 30
