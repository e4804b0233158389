"""What goes on beside a test, again and again, until the test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

EVERY_S = 0.2


@contextmanager
def repeated(act: Callable[[], None]) -> Iterator[None]:
    """Do it in a thread of its own, with a pause in between."""
    done = Event()

    def go_on() -> None:
        while not done.is_set():
            act()
            done.wait(EVERY_S)

    thread = Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
