"""Writing requests as a trace: CSV with `t_seconds,isl,osl`, gzipped where the name ends in .gz.

Streamed. The same requests give the same bytes, gzip included. Times are cut to the microsecond.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO

from planner.errors import UserError
from planner.sim.loads import Request


def write_trace(requests: Iterable[Request], path: Path) -> int:
    """Write `path` and return the number of requests.

    The file appears only when it is whole. Raises UserError when it cannot be written, and when there are no requests.
    """
    if path.exists() and not path.is_file():
        # Replacing a device such as /dev/null would take it away from everybody.
        raise UserError(f"output: {path} is not a regular file; give a file's name, or - for standard output")
    part = path.with_name(f"{path.name}.part")
    try:
        with _opened(part, zipped=path.suffix == ".gz") as stream:
            written = write_rows(requests, stream)
        part.replace(path)
    except OSError as error:
        raise UserError(f"output: {path} cannot be written ({error.strerror or error}); choose another path") from None
    finally:
        with suppress(OSError):
            part.unlink()
    return written


def write_rows(requests: Iterable[Request], stream: IO[str]) -> int:
    """Write header and rows to `stream` and return the number of requests; UserError when there are none."""
    written = 0
    for request in requests:
        if written == 0:
            stream.write("t_seconds,isl,osl\n")
        stream.write(f"{request.arrival_s:.6f},{request.isl},{request.osl}\n")
        written += 1
    if written == 0:
        raise UserError("requests: none were drawn; raise the rate or the duration")
    return written


@contextmanager
def _opened(path: Path, *, zipped: bool) -> Iterator[IO[str]]:
    with path.open("wb") as raw:
        if not zipped:
            with TextIOWrapper(raw, encoding="utf-8", newline="") as stream:
                yield stream
            return
        # Without name and time of day, which would make each file differ.
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
            TextIOWrapper(packed, encoding="utf-8", newline="") as stream,
        ):
            yield stream
