"""How hot paths are timed: against a reference in the same run, and in machine units.

CPU seconds, not wall time: on a shared machine wall time measures the neighbours. One machine unit is a
1536 x 1536 x 1536 float32 matrix product on the same threads in the same run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

Action = Callable[[], object]
TABLE = pytest.StashKey[list[str]]()


@dataclass(frozen=True)
class Timing:
    """The fastest of several rounds, in CPU seconds; `reference` is NaN where there was none.

    `ratio` above 1 means that ours is faster.
    """

    ours: float
    reference: float
    unit: float

    @property
    def ratio(self) -> float:
        return self.reference / self.ours

    @property
    def units(self) -> float:
        return self.ours / self.unit


def cpu_seconds(action: Action) -> float:
    """CPU seconds of one call, all threads together."""
    start = time.process_time()
    action()
    return time.process_time() - start


@pytest.fixture(scope="session", autouse=True)
def threads() -> int:
    """Threads of this run: RECON_BENCH_THREADS, else one."""
    count = int(os.environ.get("RECON_BENCH_THREADS", "1"))
    torch.set_num_threads(count)
    return count


@pytest.fixture(scope="session")
def machine_unit(threads: int) -> float:
    """CPU seconds of one machine unit."""
    left, right = torch.rand(1536, 1536), torch.rand(1536, 1536)
    return min(cpu_seconds(lambda: left @ right) for _ in range(12))


@pytest.fixture
def compare(request: pytest.FixtureRequest, benchmark: BenchmarkFixture, machine_unit: float) -> Callable[..., Timing]:
    """``compare(ours, reference=None, rounds=5) -> Timing``: both take turns; a table of all is printed at the end."""

    def measure(ours: Action, reference: Action | None = None, rounds: int = 5) -> Timing:
        mine: list[float] = []
        theirs: list[float] = []

        def before() -> None:
            if reference is not None:
                theirs.append(cpu_seconds(reference))

        benchmark.pedantic(lambda: mine.append(cpu_seconds(ours)), setup=before, rounds=rounds, warmup_rounds=1)
        timing = Timing(min(mine), min(theirs, default=float("nan")), machine_unit)
        benchmark.extra_info.update(ratio=timing.ratio, units=timing.units, cpu_seconds=timing.ours)
        rows = request.config.stash.setdefault(TABLE, [])
        rows.append(f"{request.node.name:<52} {timing.ours:>10.4f} {timing.ratio:>8.2f} {timing.units:>10.2f}")
        return timing

    return measure


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(TABLE, [])
    if rows:
        terminalreporter.section("ratios and machine units")
        terminalreporter.line(f"{'benchmark':<52} {'CPU s':>10} {'ratio':>8} {'units':>10}")
        for row in rows:
            terminalreporter.line(row)
