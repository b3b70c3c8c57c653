"""Independent work in several processes: one that dies takes only its own item with it, and Ctrl-C stops all.

`concurrent.futures` gives up the whole pool when a process dies, and a library that reads meshes of unknown origin may
well crash on one in fifty thousand.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Failed:
    """Instead of a result: why there is none."""

    reason: str


@dataclass(frozen=True)
class _Raised:
    error: BaseException
    trace: str


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    item: Any = None


def each(work: Callable[[T], R], items: Sequence[T], workers: int | None = None) -> Iterator[tuple[T, R | Failed]]:
    """Every item with what `work` makes of it, in the order in which they are done.

    Args:
        work: picklable; an exception it raises ends everything and is raised here.
        items: picklable.
        workers: processes; 0 works in this one, None takes all cores.

    Yields:
        (item, result), or (item, `Failed`) where the process that worked on it died.
    """
    count = min(_cores() if workers is None else workers, len(items))
    if count < 1 or (workers is None and count == 1):
        for item in items:
            yield item, work(item)
        return
    todo = list(reversed(items))
    crew: list[_Worker] = []
    try:
        with _single_threaded():
            crew += [_start(work) for _ in range(count)]
        for worker in crew:
            _give(worker, todo)
        while busy := [w for w in crew if w.item is not None]:
            ready = wait([w.pipe for w in busy])
            for worker in [w for w in busy if w.pipe in ready]:
                item, result = worker.item, _result(worker)
                if isinstance(result, Failed) and not worker.process.is_alive() and todo:
                    crew.remove(worker)
                    with _single_threaded():
                        worker = _start(work)
                    crew.append(worker)
                _give(worker, todo)
                yield item, result
    finally:
        _stop(crew)


def _cores() -> int:
    """Those this process may use; containers and schedulers grant fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(work: Callable[[Any], Any]) -> _Worker:
    # Spawned, not forked: a fork of a process that has threads (torch, embree) may hang.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker, todo: list[Any]) -> None:
    worker.item = None
    if todo and worker.process.is_alive():
        worker.item = todo.pop()
        worker.pipe.send(worker.item)


def _result(worker: _Worker) -> Any:
    try:
        result = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        return Failed(f"The process that worked on it died (exit code {worker.process.exitcode}).")
    if isinstance(result, _Raised):
        result.error.add_note(f"In a worker process:\n{result.trace}")
        raise result.error
    return result


def _serve(work: Callable[[Any], Any], pipe: Connection) -> None:
    """What a worker does until it is told to stop or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            result = work(item)
        except Exception as error:  # sent to the parent, which raises it
            result = _Raised(error, traceback.format_exc())
        try:
            pipe.send(result)
        except BrokenPipeError:
            return


def _stop(crew: list[_Worker]) -> None:
    for worker in crew:
        worker.pipe.close()
        if worker.item is not None:
            worker.process.terminate()
    for worker in crew:
        worker.process.join(5)
        if worker.process.is_alive():
            worker.process.kill()


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes started meanwhile use one thread each: there is one process a core."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    saved = {n: os.environ.get(n) for n in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
