"""Takes up a changed configuration while the planner runs; one that makes no sense is reported and changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from planner.clock import Clock
from planner.config import LoadedConfig, build_settings
from planner.errors import UserError
from planner.loop import ControlLoop

log = logging.getLogger("planner.reload")

LOOK_EVERY_S = 2.0

Seen = tuple[int, int, int] | None


class Reload:
    """Looks at a file, and at nothing else the configuration came from."""

    def __init__(
        self,
        path: Path,
        load: Callable[[], LoadedConfig],
        loop: ControlLoop,
        clock: Clock,
        prepare: Callable[[LoadedConfig], Callable[[], None]],
    ) -> None:
        """`load` reads the whole configuration anew, `prepare` gives what takes it up elsewhere when called.

        Both raise UserError for one that makes no sense.
        """
        self._path = path
        self._load = load
        self._loop = loop
        self._clock = clock
        self._prepare = prepare
        self._seen = _seen(path)

    async def watch(self) -> None:
        """Look every `LOOK_EVERY_S`, for ever."""
        while True:
            await self._clock.sleep_until(self._clock.now_s() + LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Take the file up if it has changed."""
        seen = _seen(self._path)
        # A file that is gone for a moment is being replaced.
        if seen is None or seen == self._seen:
            return
        self._seen = seen
        try:
            loaded = await asyncio.to_thread(self._load)
            commit = self._prepare(loaded)
            self._loop.adopt(build_settings(loaded), loaded.to_document(), loaded.profile_documents())
            commit()
        except UserError as error:
            log.error("%s: not taken, the configuration before it stays in force: %s", self._path, error)
            self._loop.trouble("configuration", f"{self._path}: not taken: {' '.join(str(error).split())}")
            return
        log.info("%s: taken", self._path)
        self._loop.well("configuration")


def _seen(path: Path) -> Seen:
    """What tells one version of a file from the next; mounted ConfigMaps change their inode."""
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_mtime_ns, info.st_ino, info.st_size
