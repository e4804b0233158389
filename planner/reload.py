"""Takes up a changed configuration while the planner runs: a file's, or that of services which come and go by label.

The configuration in force is the file's with the discovered services. One that makes no sense is reported and changes
nothing: a file as a whole, a discovered service by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from planner.clock import Clock
from planner.config import LoadedConfig, build_settings
from planner.config.admission import Admitted, Refused, admit
from planner.config.annotations import Reading
from planner.connectors.kubernetes.objects.services import Sightings
from planner.errors import UserError
from planner.loop import Compute, ControlLoop

log = logging.getLogger("planner.reload")

LOOK_EVERY_S = 2.0
MOST_TOLD = 3
"""Refused services in one sentence."""

Seen = tuple[int, int, int] | None


class Outside(Protocol):
    """What is configured beside the loop."""

    def prepare(self, loaded: LoadedConfig) -> Callable[[], None]:
        """What takes the configuration up when called. Raises UserError for one that cannot be."""
        ...

    def check(self, name: str, loaded: LoadedConfig) -> None:
        """Raises UserError when the service of that name cannot be had; the others are known to be good."""
        ...

    def seen(self) -> Sightings:
        """Objects that are labelled as services, as they are now."""
        ...

    def refuse(self, refused: Mapping[str, Refused]) -> None:
        """Tell the objects of these services why they are not taken as labelled."""
        ...


class Reload:
    """Looks at a file and at labelled objects, and at nothing else the configuration came from."""

    def __init__(
        self,
        path: Path | None,
        load: Callable[[], LoadedConfig],
        begun: LoadedConfig,
        loop: ControlLoop,
        clock: Clock,
        outside: Outside,
        compute: Compute = asyncio.to_thread,
    ) -> None:
        """`load` reads the whole configuration anew, but for discovered services; it raises UserError.

        `begun` is what it read at the start; `compute` runs a function elsewhere, lest the API wait for it.
        """
        self._path = path
        self._load = load
        self._base = self._in_force = begun
        self._loop = loop
        self._clock = clock
        self._outside = outside
        self._compute = compute
        self._seen = _seen(path)
        self._sightings = Sightings()
        self._forms: Mapping[str, Reading] = {}
        self._refused: Mapping[str, Refused] | None = {}
        """As it was told last; None: something else was."""

    async def watch(self) -> None:
        """Look every `LOOK_EVERY_S`, for ever."""
        while True:
            await self._clock.sleep_until(self._clock.now_s() + LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Take up what has changed."""
        sightings = self._outside.seen()
        changed = sightings != self._sightings
        self._sightings = sightings
        if await self._take_up_file() or not changed:
            return
        try:
            await self._take(self._base)
        except UserError as error:
            log.error("discovered services: not taken, those before them stay in force: %s", error)
            self._loop.trouble("discovery", f"discovered services: not taken: {_on_one_line(error)}")
            self._refused = None

    async def _take_up_file(self) -> bool:
        """Whether it has changed and was taken, with the services that are there."""
        seen = _seen(self._path)
        # A file that is gone for a moment is being replaced.
        if seen is None or seen == self._seen:
            return False
        self._seen = seen
        try:
            await self._take(await self._compute(self._load))
        except UserError as error:
            log.error("%s: not taken, the configuration before it stays in force: %s", self._path, error)
            self._loop.trouble("configuration", f"{self._path}: not taken: {_on_one_line(error)}")
            return False
        log.info("%s: taken", self._path)
        self._loop.well("configuration")
        return True

    async def _take(self, base: LoadedConfig) -> None:
        """`base` and what is discovered, as far as that is sound. Raises UserError, and changes nothing."""
        admitted: Admitted = await self._compute(admit, base, self._sightings, self._forms, self._check)
        loaded = admitted.loaded
        if base is not self._base or loaded.config != self._in_force.config:
            commit = self._outside.prepare(loaded)
            self._loop.adopt(build_settings(loaded), loaded.to_document(), loaded.profile_documents(), commit)
            self._log_services(loaded)
        self._base, self._in_force, self._forms = base, loaded, admitted.forms
        self._tell(admitted.refused)

    def _check(self, name: str, loaded: LoadedConfig) -> None:
        self._outside.check(name, loaded)
        self._loop.check(build_settings(loaded))

    def _log_services(self, loaded: LoadedConfig) -> None:
        before, now = self._in_force.config.services, loaded.config.services
        for name in sorted(before.keys() | now.keys()):
            if name not in before:
                log.info("taken up", extra={"service": name})
            elif name not in now:
                log.info("let go of: nothing describes it any more", extra={"service": name})
            elif before[name] != now[name]:
                log.info("changed", extra={"service": name})

    def _tell(self, refused: Mapping[str, Refused]) -> None:
        if refused == self._refused:
            return
        self._refused = refused
        self._outside.refuse(refused)
        if not refused:
            self._loop.well("discovery")
            return
        first = [f"{name}: {_on_one_line(each.mistakes[0])}" for name, each in sorted(refused.items())]
        more = f"; and {len(first) - MOST_TOLD} more" if len(first) > MOST_TOLD else ""
        text = f"not taken as labelled: {'; '.join(first[:MOST_TOLD])}{more}"
        log.error("%s", text)
        self._loop.trouble("discovery", text)


def _on_one_line(text: object) -> str:
    return " ".join(str(text).split())


def _seen(path: Path | None) -> Seen:
    """What tells one version of a file from the next; mounted ConfigMaps change their inode."""
    try:
        info = None if path is None else path.stat()
    except OSError:
        return None
    return None if info is None else (info.st_mtime_ns, info.st_ino, info.st_size)
