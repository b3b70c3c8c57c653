"""Progress of anything that takes a while: a rich bar with ETA on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Eta

LINE_SHARE = 0.1
LINE_SECONDS = 10.0
LINE_PAUSE = 1.0  # never more than one line a second, however quick the steps are


class Meter(Protocol):
    """What `progress` yields; it may be called like a function too."""

    def __call__(self, steps: float = 1, note: str = "") -> None:
        """Move on by some steps and show a short note, e.g. the loss."""

    def to(self, done: float, note: str = "", total: float | None = None) -> None:
        """Say how many steps are done in all, and of how many if that is known better by now."""


@contextmanager
def progress(
    total: float | None, title: str, console: Console | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Meter]:
    """Show how far something has come.

    Args:
        total: how many steps there are, or None if nobody knows.
        title: what is done, e.g. ``"extraction"``.
        console: where to show it; None is the standard error stream.
        clock: seconds, for tests.

    Yields:
        a function to call with the number of steps just done.
    """
    meter = start(total, title, console, clock)
    try:
        yield meter
        meter.close(finished=True)
    except BaseException:
        meter.close(finished=False)
        raise


def start(
    total: float | None,
    title: str,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
    done: float = 0,
) -> Bar | Lines:
    """The meter behind `progress`, for callers that cannot hold a context open; they must call `close`."""
    console = console or Console(stderr=True)
    kind = Bar if console.is_terminal else Lines
    return kind(total, title, console, clock, done)


class Bar:
    """A rich bar with elapsed and remaining time."""

    def __init__(
        self, total: float | None, title: str, console: Console, clock: Callable[[], float], done: float = 0
    ) -> None:
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            Eta(compact=True, elapsed_when_finished=False),
            TextColumn("{task.fields[note]}", style="cyan"),
            console=console,
            expand=True,
            get_time=clock,
        )
        self.progress.start()
        self.task: TaskID = self.progress.add_task(title, total=total, note="")
        self.progress.update(self.task, completed=done)

    def __call__(self, steps: float = 1, note: str = "") -> None:
        self.progress.advance(self.task, steps)
        self._say(note)

    def to(self, done: float, note: str = "", total: float | None = None) -> None:
        self.progress.update(self.task, completed=done, total=total)  # None leaves the total as it is
        self._say(note)

    def close(self, finished: bool) -> None:
        """Leave the bar where it is; below it goes what comes next."""
        self.progress.stop()

    def _say(self, note: str) -> None:
        if note:
            self.progress.update(self.task, note=note)


class Lines:
    """A plain line at the start, after every tenth or ten seconds, and at the end."""

    def __init__(
        self, total: float | None, title: str, console: Console, clock: Callable[[], float], done: float = 0
    ) -> None:
        self.total, self.title, self.console, self.clock = total, title, console, clock
        self.first = self.done = self.told = done
        self.began = self.last = clock()
        self.note = ""
        self._print(f"{title}: started" + (f", {_count(total)} steps" if total else ""))

    def __call__(self, steps: float = 1, note: str = "") -> None:
        self.to(self.done + steps, note)

    def to(self, done: float, note: str = "", total: float | None = None) -> None:
        self.total = self.total if total is None else total
        self.done, self.note = done, note or self.note
        since = self.clock() - self.last
        far = bool(self.total) and self.done - self.told >= LINE_SHARE * (self.total or 0)
        if (far and since >= LINE_PAUSE) or since >= LINE_SECONDS:
            self._tell()

    def close(self, finished: bool) -> None:
        """Say that it is over, and whether all was done."""
        seconds = self.clock() - self.began
        note = f", {self.note}" if self.note else ""
        if finished:
            self._print(f"{self.title}: done in {duration(seconds)}{note}")
        else:
            self._print(f"{self.title}: stopped at {_count(self.done)} after {duration(seconds)}{note}")

    def _tell(self) -> None:
        now = self.clock()
        spent, self.last, self.told = now - self.began, now, self.done
        parts = [f"{self.title}: {_count(self.done)}"]
        if self.total:
            parts[0] += f"/{_count(self.total)} ({self.done / self.total:.0%})"
        parts.append(duration(spent))
        if self.total and self.done > self.first:
            left = (self.total - self.done) / (self.done - self.first) * spent
            parts.append(f"eta {duration(left)}")
        self._print(", ".join([*parts, *([self.note] if self.note else [])]))

    def _print(self, text: str) -> None:
        # Logs are searched by line, and a title may hold brackets: no wrapping, no markup.
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds as people say them: ``4.2 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _count(steps: float) -> str:
    return f"{steps:g}" if steps < 1e6 else f"{steps:.0f}"
