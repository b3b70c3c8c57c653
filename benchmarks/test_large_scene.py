"""A hall of 40 m x 40 m x 5 m, 5 M points, at 5 cm cells: sliding windows end to end, each run in a process of its own.

The machine is timed with a field that costs little (what lies within 7 cm of a point is inside), and a part of the hall
with ALTO's network of the paper's size beside it. `python -m benchmarks.test_large_scene` runs the whole hall so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.spatial import cKDTree
from torch import Tensor

from recon.geometry.frames import Frame
from recon.geometry.surface import Extraction, Surface
from recon.geometry.windows import windowed_surface
from recon.nets.occupancy_net import OccupancyNet

POINTS, WINDOW, CELL, SHELL = 5_000_000, 3.2, 0.05, 0.07
SEEN = 10_000  # points of a window that the network sees
LIMIT = 16.0  # GB


def hall(count: int, side: float = 40.0, seed: int = 0) -> np.ndarray:
    """(count, 3) points of a hall in survey coordinates: an uneven floor, ten walls through it, sixty balls."""
    rng = np.random.default_rng(seed)
    floor = rng.uniform(0, side, (count // 2, 2))
    floor = np.c_[floor, 0.3 * np.sin(floor[:, 0]) * np.cos(0.7 * floor[:, 1])]
    number = rng.integers(10, size=count // 3)
    wall = np.c_[(number + 0.5) * side / 10, rng.uniform([0, 0.5], [side, 4.6], (len(number), 2))]
    wall[number % 2 == 1] = wall[number % 2 == 1][:, [1, 0, 2]]
    on_ball = rng.normal(size=(count - len(floor) - len(wall), 3))
    on_ball *= 0.6 / np.linalg.norm(on_ball, axis=1, keepdims=True)
    centre = rng.uniform([1, 1, 1.5], [side - 1, side - 1, 4], (60, 3))
    ball = centre[rng.integers(60, size=len(on_ball))] + on_ball
    return np.concatenate([floor, wall, ball]) + np.array([4e5, 5e6, 100])


def shells(points: Tensor) -> Callable[[Tensor], Tensor]:
    """Inside is what lies near a point; farther than three shells off, it is only known that nothing is near."""
    tree, far = cKDTree(points.numpy()), 3 * SHELL / WINDOW

    def field(x: Tensor) -> Tensor:
        distance = tree.query(x.numpy(), distance_upper_bound=far)[0]
        return torch.from_numpy((SHELL / WINDOW - np.minimum(distance, far)).astype(np.float32))

    return field


def cheap(points: np.ndarray) -> Surface:
    return windowed_surface(shells, points, Frame(), WINDOW, certain=3 * SHELL / WINDOW)


def network(points: np.ndarray) -> Surface:
    """The shells again, and beside them what ALTO's network costs, whose untrained answers do not count."""
    torch.manual_seed(0)
    net = OccupancyNet("triplane", 64, decoder="attention", alternating=True).eval()

    def encode(seen: Tensor) -> Callable[[Tensor], Tensor]:
        near = shells(seen)
        latent = net.encode(seen[torch.randperm(len(seen))[:SEEN]][None]).prepared(net)
        return lambda x: near(x) + 0 * net.decode(latent, x[None])[0]

    return windowed_surface(encode, points, Frame(), WINDOW, certain=3 * SHELL / WINDOW)


def run(kind: str, count: int, side: float) -> dict[str, float]:
    """What a process spends on a hall; printed as JSON by the process itself."""
    import resource

    torch.set_num_threads(1)
    points = hall(count, side)
    start, busy = time.perf_counter(), time.process_time()
    surface = {"cheap": cheap, "network": network}[kind](points)
    found: Extraction = surface.mesh(cell=CELL, normals=False)
    spent = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - busy,
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    return spent | {
        "evaluations": found.evaluations,
        "encodings": surface.field.fields.encodings,  # type: ignore[attr-defined]
        "windows": int((~surface.field.empty).sum()),  # type: ignore[attr-defined]
        "faces": len(found.mesh.faces),
        "components": found.components,
        "open_edges": open_edges(found.mesh.faces),
    }


def open_edges(faces: np.ndarray) -> int:
    """How many edges have one face only."""
    ends = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    keys = np.sort(ends.min(axis=1) * (ends.max() + 1) + ends.max(axis=1))
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return int((np.diff(starts, append=len(keys)) == 1).sum())


def in_a_process(kind: str, count: int, side: float, root: str) -> dict[str, float]:
    script = (
        f"import json\nfrom benchmarks.test_large_scene import run\nprint(json.dumps(run({kind!r}, {count}, {side})))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def test_a_hall_at_5_cm(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> None:
    found = benchmark.pedantic(in_a_process, ("cheap", POINTS, 40.0, str(request.config.rootpath)), rounds=1)
    benchmark.extra_info.update(found)
    print(f"\n40 m x 40 m x 5 m, 5 M points, 5 cm: {found}")
    assert found["gigabytes"] < LIMIT
    assert found["faces"] > 5e6
    assert found["open_edges"] == 0


def test_a_room_of_it_through_the_network(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> None:
    """5 m x 5 m of it; of windows as costly as these the whole hall has 515."""
    found = benchmark.pedantic(in_a_process, ("network", POINTS // 64, 5.0, str(request.config.rootpath)), rounds=1)
    benchmark.extra_info.update(found)
    print(f"\n5 m x 5 m through ALTO: {found}")
    assert found["gigabytes"] < LIMIT
    assert found["open_edges"] == 0


if __name__ == "__main__":
    print(json.dumps(run("network", POINTS, 40.0)))
