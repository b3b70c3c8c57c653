"""Pushing apart, consolidation and up-sampling: evenness, the original's quirks, several clouds at once."""

import pytest
import torch

from recon.geometry.edge_aware import clear_edges, upsample_edges
from recon.geometry.farthest import farthest_points
from recon.geometry.newton import newton
from recon.geometry.resampling import relax, resample
from recon.geometry.upsampling import upsample
from recon.geometry.wlop import wlop
from tests.geometry.fields import (
    FIELDS,
    box,
    distance_to_edge,
    even,
    faces_of_box,
    gradient,
    random,
    seeded,
    sphere,
    torus,
    variation,
)


@pytest.mark.parametrize("name", ["sphere", "torus"])
def test_resampling_and_relaxing_make_points_more_even(name: str) -> None:
    points, normals = random(name)
    resampled = resample(FIELDS[name], points, normals, 5, k=16)
    relaxed = relax(FIELDS[name], points, normals, 30)
    assert resampled.converged.all()
    assert relaxed.converged.all()
    assert variation(relaxed.points) < 0.15 < variation(resampled.points) < 0.45 < variation(points)


def test_each_iteration_is_projected_unless_as_released() -> None:
    """The original goes on from points off the surface, and keeps the normals that they had before."""
    points, normals = random("torus")
    one = resample(torus, points, normals, 1)
    torch.testing.assert_close(one.points, resample(torus, points, normals, 1, compat="released").points)
    torch.testing.assert_close(one.points, newton(torus, one.points).points)
    sound, released = (resample(torus, points, normals, 8, compat=compat) for compat in (None, "released"))
    assert torus(sound.points).abs().max() <= 5e-5
    assert (sound.points - released.points).norm(dim=1).max() > 0.01


def test_no_iterations_only_project() -> None:
    points, normals = random("sphere")
    assert torch.equal(resample(sphere, points, normals, 0).points, newton(sphere, points, 3).points)


@pytest.mark.parametrize("name", ["sphere", "torus"])
def test_consolidation_evens_out_and_stays_in_the_middle_without_repulsion(name: str) -> None:
    clean, _ = random(name)
    points, counts = wlop(clean, 0.5, generator=seeded())
    assert counts == [200]
    assert variation(points) < 0.3 < variation(clean)
    noisy = clean + 0.03 * torch.randn(clean.shape, generator=seeded(3))
    pushed, calm = (wlop(noisy, 0.25, repulsion=mu, generator=seeded())[0] for mu in (0.5, 0.0))
    assert FIELDS[name](calm).abs().mean() < 0.8 * FIELDS[name](pushed).abs().mean()
    assert (wlop(noisy, 0.25, start=calm)[0] != pushed).any()


def test_farthest_points_are_chosen_greedily() -> None:
    points, _ = random("torus", 200)
    chosen = farthest_points(points, [20])
    assert chosen[0] == 0
    for number in range(1, 20):
        distance = torch.cdist(points, points[chosen[:number]]).amin(dim=1)
        assert distance[chosen[number]] == pytest.approx(float(distance.max()), abs=1e-6)
    with pytest.raises(ValueError, match="to choose"):
        farthest_points(points, [201])


def test_upsampling_fills_where_there_is_most_room() -> None:
    points, _ = even("sphere", 600)
    centre = points[300]
    torn = points[(points - centre).norm(dim=1) > 0.1]
    grown, counts = upsample(torn, len(torn) + 4, k=31)  # whose reach spans the hole
    assert counts == [len(torn) + 4]
    assert ((grown[:4] - centre).norm(dim=1) < 0.1).all()


@pytest.mark.parametrize("count", range(2, 8))
def test_small_clouds_grow(count: int) -> None:
    """Fewer than eight points never end in the original, whose rounds add P // 8."""
    points, _ = random("sphere", count)
    grown, counts = upsample(points, 20)
    assert counts == [20]
    assert grown.isfinite().all()


@pytest.mark.parametrize("count", [0, 1])
def test_clouds_without_neighbours_stay(count: int) -> None:
    assert upsample(torch.rand(count, 3), 20)[1] == [count]


def test_points_leave_edges_unless_as_released() -> None:
    """The original divides each coordinate of the moves by its norm over all points."""
    points, normals = faces_of_box(1000)
    moved, released = (clear_edges(points, normals, compat=compat) for compat in (None, "released"))
    near = lambda p: float((distance_to_edge(p) < 0.01).float().mean())  # noqa: E731
    assert near(moved) < 0.4 * near(points)
    assert (released - points).norm(dim=1).max() < 0.01
    assert near(released) > 0.8 * near(points)
    assert (moved - points).norm(dim=1).mean() > 4 * (released - points).norm(dim=1).mean()


def test_edges_are_filled_again() -> None:
    points, _ = even("box", 600)
    cleared = clear_edges(points, gradient("box", points))
    found, counts = upsample_edges(box, points, 1.5)
    assert counts == [900]
    assert found.converged.float().mean() > 0.98
    new = distance_to_edge(found.points[:300])
    assert new.median() < 0.7 * distance_to_edge(cleared).median()


def test_clouds_together_equal_each_alone() -> None:
    clouds = [random("sphere", 90)[0], random("torus", 150)[0], torch.zeros(0, 3), random("box", 5)[0] * 0.5]
    counts = [len(cloud) for cloud in clouds]
    points = torch.cat(clouds)
    normals = torch.nn.functional.normalize(points, dim=1)
    alone = list(zip(points.split(counts), normals.split(counts), strict=True))
    pairs = [
        (
            resample(torus, points, normals, 2, counts=counts).points,
            [resample(torus, p, n, 2).points for p, n in alone],
        ),
        (relax(torus, points, normals, 2, counts=counts).points, [relax(torus, p, n, 2).points for p, n in alone]),
        (upsample(points, 160, counts=counts)[0], [upsample(p, 160)[0] for p, _ in alone]),
        (clear_edges(points, normals, counts=counts), [clear_edges(p, n) for p, n in alone]),
        (
            clear_edges(points, normals, counts=counts, compat="released"),
            [clear_edges(p, n, compat="released") for p, n in alone],
        ),
        (
            upsample_edges(torus, points, counts=counts)[0].points,
            [upsample_edges(torus, p)[0].points for p, _ in alone],
        ),
    ]
    seeds = range(len(clouds))
    together = wlop(points, 0.5, counts=counts, generator=[seeded(s) for s in seeds])[0]
    pairs.append((together, [wlop(p, 0.5, generator=seeded(s))[0] for s, (p, _) in zip(seeds, alone, strict=True)]))
    for ours, parts in pairs:
        torch.testing.assert_close(ours, torch.cat(parts), rtol=0, atol=1e-6)
