"""Meshing: our marching cubes against skimage's, sparse extraction against dense, and 2048^3 in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from skimage.measure import marching_cubes
from torch import Tensor

from recon.geometry.extraction import Grid
from recon.geometry.marching import march
from recon.geometry.surface import Surface
from recon.geometry.welding import Welder
from recon.nets.sdf import MLP

Compare = Callable[..., object]
LOW, HIGH = (-1.2,) * 3, (1.2,) * 3
WAVES = 6 * torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def bent_ball(x: Tensor) -> Tensor:
    """An SDF-like field that costs next to nothing."""
    return x.norm(dim=1) - 0.7 + 0.02 * torch.sin(x @ WAVES).sum(dim=1)


def march_slabs(volume: np.ndarray, thickness: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """A whole volume through our kernel."""
    cells = volume.shape[0] - 1
    grid, welder = Grid((0.0, 0.0, 0.0), 1.0, (cells,) * 3), Welder()
    for start in range(0, cells, thickness):
        welder.add(march(volume[None, start : start + thickness + 1], np.array([[start, 0, 0]]), grid))
    return welder.join()


@pytest.mark.parametrize("side", [128, 256])
def test_marching_cubes_against_skimage(side: int, compare: Compare) -> None:
    axis = torch.linspace(-1.2, 1.2, side + 1)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    volume = bent_ball(points).reshape(side + 1, side + 1, side + 1).numpy()
    assert len(march_slabs(volume)[1]) == len(marching_cubes(volume, 0.0)[1])
    compare(lambda: march_slabs(volume), lambda: marching_cubes(volume, 0.0))


@pytest.mark.parametrize("resolution", [256, 512])
def test_sparse_against_dense(resolution: int, compare: Compare, benchmark: BenchmarkFixture) -> None:
    """The cheapest of fields, which is the worst case: its dense grid costs little more than the search."""
    surface = Surface(bent_ball, LOW, HIGH)
    compare(
        lambda: surface.mesh(resolution=resolution, normals=False),
        lambda: surface.mesh(resolution=resolution, normals=False, extraction="dense"),
        rounds=1,
    )
    found = surface.mesh(resolution=resolution, normals=False).evaluations
    benchmark.extra_info["evaluations saved"] = (resolution + 1) ** 3 / found


def bean(x: Tensor) -> Tensor:
    """Two balls in one, smoothly; what the network is fitted to."""
    one = (x - torch.tensor([0.25, 0.1, 0.0])).norm(dim=1) - 0.5
    other = (x + torch.tensor([0.35, 0.15, 0.1])).norm(dim=1) - 0.35
    return -torch.logsumexp(torch.stack([-20 * one, -20 * other]), dim=0) / 20


def fitted() -> MLP:
    """A small network of IGR's make, fitted to a distance."""
    torch.manual_seed(0)
    net = MLP(widths=(64,) * 4, skip=(2,))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(400):
        points = 2.4 * torch.rand(2048, 3) - 1.2
        optimizer.zero_grad()
        (net(points).view(-1) - bean(points)).abs().mean().backward()
        optimizer.step()
    return net


def test_a_fitted_network_at_512(compare: Compare, benchmark: BenchmarkFixture) -> None:
    """The reference is the dense grid at 128: times 64 it is about that at 512."""
    surface = Surface(fitted(), LOW, HIGH)
    found = surface.mesh(resolution=512, normals=False)
    saved = 513**3 / found.evaluations
    benchmark.extra_info["evaluations saved"] = saved
    print(f"\n512^3 of a network: {saved:.1f} times fewer evaluations than the dense grid")
    assert saved >= 40
    compare(
        lambda: surface.mesh(resolution=512, normals=False),
        lambda: surface.mesh(resolution=128, normals=False, extraction="dense"),
        rounds=1,
    )


SCRIPT = """
import json, resource, time, torch
from benchmarks.test_extraction import HIGH, LOW, bent_ball
from recon.geometry.surface import Surface
torch.set_num_threads(1)
start = time.process_time()
found = Surface(bent_ball, LOW, HIGH).mesh(resolution=2048, normals=False)
print(json.dumps({
    "seconds": time.process_time() - start,
    "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "faces": len(found.mesh.faces),
    "components": found.components,
    "saved": 2049**3 / found.evaluations,
}))
"""


def test_2048_in_bounded_memory(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> None:
    def run() -> dict[str, float]:
        answer = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, cwd=request.config.rootpath
        )
        return dict(json.loads(answer.stdout))

    found = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info.update(found)
    print(f"\n2048^3: {found}")
    assert found["gigabytes"] < 8
    assert found["components"] == 1
