"""A run ends when a signal asks it to: at the next task, after a minute at most, or at once."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from slt_jax.run.config import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 60.0
# A disk that hangs shall not keep a process that was told to end.
SAVING_SECONDS = 5.0


class Interrupted(Stopped):
    """A signal asked the run to stop; every finished task is saved."""

    def __init__(self, signal_number: int, done: int, total: int) -> None:
        self.status = 128 + signal_number
        super().__init__(
            f"interrupted; {done} of {total} tasks are saved, the same command goes on from there"
        )


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where SIGINT raises KeyboardInterrupt."""


class Stop(threading.Event):
    """An event, set when no further task shall begin, and the signal that asked for it."""

    signal_number: int | None = None


@contextlib.contextmanager
def raise_on_termination() -> Iterator[None]:
    """Raise ``Terminated`` at SIGTERM, which otherwise ends the process without a word."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        raise Terminated(number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def stop_on_signals(
    say: Callable[[str], None], progress: Callable[[], tuple[int, int]], saving: threading.Lock
) -> Iterator[Stop]:
    """Yield an event that the first SIGINT or SIGTERM sets; the second one ends the process.

    The first one says so, and that the tasks in progress have GRACE_SECONDS to finish. What has
    not finished then is given up, between two saved tasks: ``saving`` is held while one is written.
    ``progress`` counts the tasks that are done, and all.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def give_up() -> None:
        # Threads cannot be ended, only their process can.
        saving.acquire(timeout=SAVING_SECONDS)
        ending = Interrupted(stop.signal_number or 0, *progress())
        say(f"{ending}; those in progress took too long")
        sys.stderr.flush()
        os._exit(ending.status)

    timer = threading.Timer(GRACE_SECONDS, give_up)
    timer.daemon = True

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.signal_number is not None:
            os._exit(128 + number)
        stop.signal_number = number
        stop.set()
        timer.start()
        say(
            f"{signal.Signals(number).name}: the tasks in progress have {GRACE_SECONDS:g} s to be "
            "finished and saved; a second signal ends at once"
        )

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
