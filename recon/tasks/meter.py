"""What a piece of work cost: wall and CPU seconds, and the most memory the process held meanwhile."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Self

import torch

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Meter:
    """Measures a ``with`` block, and further ones added to it.

    Attributes:
        seconds: wall clock.
        cpu_seconds: of this process, all threads.
        peak_mib: largest resident set, MiB, sampled 50 times a second.
        gpu_peak_mib: largest CUDA allocation, MiB; 0 without a GPU.
    """

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = self.peak_mib = self.gpu_peak_mib = 0.0
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._stop.clear()
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self._watch.start()
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds += time.perf_counter() - self._wall
        self.cpu_seconds += time.process_time() - self._cpu
        self._stop.set()
        self._watch.join()
        if torch.cuda.is_initialized():
            self.gpu_peak_mib = max(self.gpu_peak_mib, torch.cuda.max_memory_allocated() / 2**20)

    def row(self) -> dict[str, float]:
        """The costs as columns of a table."""
        costs = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak_mib": self.peak_mib}
        return costs | ({"gpu_peak_mib": self.gpu_peak_mib} if self.gpu_peak_mib else {})

    def _sample(self) -> None:
        while True:
            self.peak_mib = max(self.peak_mib, _resident_mib())
            if self._stop.wait(0.02):
                return


def _resident_mib() -> float:
    """Resident memory of this process now, MiB."""
    try:
        with open("/proc/self/statm") as stream:
            return int(stream.read().split()[1]) * _PAGE / 2**20
    except FileNotFoundError:  # not Linux: only the peak since the process began is known
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
