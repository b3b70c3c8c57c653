"""`method=spline`: the solve and the meshes of its field, on a generated solid of 35,000 points (a bunny's number)."""

import resource

import numpy as np
import pytest
import torch

from recon.geometry.surface import Surface
from recon.methods.spline import Spline
from recon.observations import OrientedPoints

COUNT = 35_000


def bumpy_ball() -> OrientedPoints:
    """A ball with waves on it; normals from the gradient of its height."""
    random = np.random.default_rng(0)
    ways = torch.from_numpy(random.normal(size=(COUNT, 3)))
    ways = torch.nn.functional.normalize(ways, dim=1).requires_grad_()
    points = ways * (1 + 0.05 * torch.sin(9 * ways).prod(dim=1, keepdim=True))
    radius = points.norm(dim=1).detach()

    def level(x: torch.Tensor) -> torch.Tensor:
        unit = torch.nn.functional.normalize(x, dim=1)
        return x.norm(dim=1) - (1 + 0.05 * torch.sin(9 * unit).prod(dim=1))

    spots = (ways * radius[:, None]).detach().requires_grad_()
    (normals,) = torch.autograd.grad(level(spots).sum(), spots)
    return OrientedPoints(spots.detach(), normals=torch.nn.functional.normalize(normals, dim=1))


@pytest.fixture(scope="module")
def scene() -> OrientedPoints:
    return bumpy_ball()


@pytest.fixture(scope="module")
def surface(scene) -> Surface:
    return Spline().reconstruct(scene)


def test_solve_at_256(compare, scene):
    timing = compare(lambda: Spline().reconstruct(scene), rounds=1)
    assert timing.ours < 25


def test_mesh_at_512_is_faster_than_pointwise_evaluation(compare, surface):
    """Blocks by three small matrix products, against the field point by point on as many nodes."""
    count = surface.mesh(resolution=512).evaluations
    points = 2 * torch.rand(count // 16, 3) - 1
    timing = compare(lambda: surface.mesh(resolution=512), lambda: [surface.field(points) for _ in range(16)], rounds=2)
    assert timing.ours < 6
    assert timing.ratio > 1


def test_mesh_at_2048_stays_below_8_gigabytes(compare, surface):
    """The peak of the whole process, everything before included."""
    timing = compare(lambda: surface.mesh(resolution=2048), rounds=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"2048^3: {timing.ours:.1f} CPU seconds, peak {peak:.2f} GB")
    assert peak < 8
