"""Extraction of iso-points: evenness, holes, warm starts, several surfaces, weights of scans, insertion, filters."""

import pytest
import torch
from torch.nn.functional import normalize

from recon.geometry.iso_filters import curvature, denoise_normals, is_flat, pca_frames
from recon.geometry.isopoints import extract
from recon.geometry.near import Trees
from recon.geometry.point_weights import bilateral_weights, heat_weights, laplacian_weights
from recon.geometry.resampling import resample
from recon.geometry.saliency import insert, salient
from recon.geometry.upsampling import upsample
from recon.geometry.wlop import wlop
from tests.geometry.fields import (
    FIELDS,
    box,
    distance_to_edge,
    even,
    gradient,
    hole,
    random,
    seeded,
    sphere,
    torus,
    variation,
)

AREAS = {"sphere": 4 * torch.pi * 0.36, "torus": 4 * torch.pi**2 * 0.5 * 0.22, "box": 2.08}


@pytest.mark.parametrize("name", list(FIELDS))
def test_iso_points_are_even_and_leave_no_hole(name: str) -> None:
    cold = extract(FIELDS[name], 600, generator=seeded())
    warm = extract(FIELDS[name], 600, start=cold.points, generator=seeded(1))
    surface, _ = random(name, 4000, seed=9)
    ideal = (2 * AREAS[name] / (3**0.5 * 600)) ** 0.5
    for found in (cold, warm):
        assert found.counts == (600,)
        assert FIELDS[name](found.points).abs().max() <= 5e-5
        # What is pushed over a sharp edge comes back to lie on it.
        assert variation(found.points) < (0.2 if name == "box" else 0.14)
        assert hole(found.points, surface) < ideal
        torch.testing.assert_close(found.normals, normalize(gradient(name, found.points), dim=1), rtol=0, atol=1e-4)


def test_released_recipe_is_less_even() -> None:
    sound, released = (extract(torus, 600, generator=seeded(), compat=compat) for compat in (None, "released"))
    assert variation(sound.points) < 0.5 * variation(released.points) < 0.16
    assert torus(released.points).abs().max() <= 5e-5
    assert released.counts[0] > 590


def test_seeds_decide_all_draws() -> None:
    first, again, other = (extract(torus, 100, generator=seeded(seed)).points for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("compat", [None, "released"])
def test_surfaces_together_equal_each_alone(compat) -> None:
    """The original can do one cloud only."""
    fields = [sphere, lambda p: p[:, 0] * 0 + 1, torus, lambda p: box(p) + 0.05]
    together = extract(fields, 120, generator=[seeded(s) for s in range(4)], compat=compat)
    alone = [extract(field, 120, generator=seeded(s), compat=compat) for s, field in enumerate(fields)]
    assert together.counts == tuple(part.counts[0] for part in alone)
    assert together.counts[1] == 0
    for ours, expected in zip(together.clouds(), alone, strict=True):
        torch.testing.assert_close(ours.points, expected.points, rtol=0, atol=1e-6)
        torch.testing.assert_close(ours.gradients, expected.gradients, rtol=0, atol=1e-5)


@pytest.mark.parametrize("compat", [None, "released"])
def test_brute_force_finds_the_same_points(compat, monkeypatch) -> None:
    """As on an accelerator."""
    trees = extract(torus, 200, generator=seeded(), compat=compat)
    monkeypatch.setattr(Trees.__init__, "__defaults__", (None, True))
    torch.testing.assert_close(extract(torus, 200, generator=seeded(), compat=compat).points, trees.points)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_an_accelerator_does_the_same() -> None:
    start, normals = random("torus", 800)
    results = []
    for device in ("cpu", "cuda"):
        points, facing = start.to(device), normals.to(device)
        found = extract(torus, 300, start=points, generator=seeded())
        assert found.points.device.type == device
        assert found.counts == (300,)
        assert variation(found.points.cpu()) < 0.14
        moved = resample(torus, points, facing, 1).points, wlop(points, start=points[::2] + 0.01)[0]
        results.append(torch.cat([*moved, upsample(points, 900)[0][100:]]).cpu())
    assert ((results[0] - results[1]).norm(dim=1) < 1e-4).float().mean() >= 0.99


def test_points_beyond_the_sphere_are_dropped() -> None:
    found = extract(lambda p: p[:, 2] - 0.1, 200, generator=seeded(), radius=0.5)
    assert found.points.norm(dim=1).max() < 0.5
    assert 150 < len(found) <= 200


def test_warm_start_fills_a_surface_that_has_grown() -> None:
    cap, _ = even("sphere", 400)
    found = extract(sphere, 400, start=cap[cap[:, 2] > 0.3], generator=seeded())
    assert found.counts == (400,)
    moved = extract(lambda p: sphere(p) - 0.1, 400, start=cap, generator=seeded())
    assert (moved.points.norm(dim=1) - 0.7).abs().max() < 1e-4


def test_errors_are_not_swallowed() -> None:
    def broken(p: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        extract(broken, 10, generator=seeded())


def test_children_stay_near_their_fathers_unless_as_released() -> None:
    """Neighbours that are too far lie at the origin in the original, and draw the children of their fathers there."""
    points, _ = random("sphere", 400)
    lonely = torch.tensor([[0.0, 0.0, -0.6]])
    points = torch.cat([lonely, points[points[:, 2] > 0]])
    reference = lonely + torch.tensor([[0.01, 0.0, 0.0]])
    known = points, torch.cat([reference, points[1:]]), torch.tensor([1.0] + [0.0] * (len(points) - 1))
    children, counts = insert(*known)
    released, _ = insert(*known, compat="released")
    assert counts == [0]
    assert len(children) == 0
    torch.testing.assert_close(released, (2 / 3 * lonely).expand(8, 3))


def test_children_are_born_where_the_metric_is_high() -> None:
    points, _ = even("torus", 500)
    metric = (points[:, 0] > 0.5).float() + 0.01
    children, counts = insert(points, points, metric)
    assert counts == [len(children)]
    assert len(children) > 50
    assert children[:, 0].min() > 0.2
    pair = torch.cat([points, points])
    both, counts = insert(pair, pair, torch.cat([metric, metric]), [500, 500], [500, 500])
    assert torch.equal(both, torch.cat([children, children]))
    assert counts == [len(children)] * 2


def test_salient_points() -> None:
    assert salient(torch.tensor([1.0] * 60 + [9.0, 8.0])).nonzero().flatten().tolist() == [60, 61]
    assert salient(torch.arange(40.0)).nonzero().flatten().tolist() == [38, 39]
    assert salient(torch.zeros(10)).sum() == 1
    assert len(salient(torch.zeros(0))) == 0


def test_principal_axes_and_curvature() -> None:
    points, normals = even("sphere", 1500)
    variance, axes = pca_frames(points, 12)
    assert (axes[:, :, 0] * normals).sum(dim=1).abs().min() > 0.98
    assert (variance.diff(dim=1) >= 0).all()
    torch.testing.assert_close(axes.transpose(1, 2) @ axes, torch.eye(3).expand_as(axes), rtol=0, atol=1e-5)
    corners, _ = even("box", 1500)
    edge = distance_to_edge(corners) < 0.01
    bent = curvature(corners)
    assert bent[edge].median() > 20 * bent[~edge].median()


def test_outliers_are_not_flat() -> None:
    points, _ = even("sphere", 600)
    strays = torch.rand(15, 3, generator=seeded(5)) * 0.4 - 0.2
    kept = is_flat(torch.cat([points, strays]))
    assert kept[:600].float().mean() > 0.97
    assert not kept[600:].any()
    together = is_flat(torch.cat([points, strays, points]), counts=[615, 600])
    assert torch.equal(together, torch.cat([kept, is_flat(points)]))


def test_denoising_keeps_edges_unless_as_released() -> None:
    """The original gives the angle in degrees as the scale of 1 - cos, and so averages across edges."""
    points, _ = even("box", 1500)
    clean = normalize(gradient("box", points), dim=1)
    noisy = normalize(clean + 0.15 * torch.randn(clean.shape, generator=seeded()), dim=1)
    distance = distance_to_edge(points)
    edge = (distance > 1e-3) & (distance < 0.03)
    sound, released = (denoise_normals(points, noisy, 30.0, compat=compat) for compat in (None, "released"))
    error = lambda n, where: float((1 - (n * clean).sum(dim=1))[where].mean())  # noqa: E731
    assert error(sound, edge) < 0.5 * error(released, edge)
    assert error(sound, ~edge) < 0.5 * error(noisy, ~edge)


def test_points_without_neighbours_keep_their_normals() -> None:
    normals = torch.tensor([[0.0, 0.0, 2.0], [1.0, 0.0, 0.0]])
    smooth = denoise_normals(torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]]), normals)
    torch.testing.assert_close(smooth, normalize(normals, dim=1))


def test_weights_doubt_what_is_off_the_surface() -> None:
    iso, facing = even("torus", 800)
    points, normals = random("torus", 300)
    away = points + 0.06 * normals
    for weights in (bilateral_weights, laplacian_weights, heat_weights):
        on, off = weights(points, normals, iso, facing), weights(away, normals, iso, facing)
        assert ((on >= 0) & (on <= 1)).all()
        assert on.median() > 0.8
        assert on.median() > off.median()
        assert (weights(points + 1, normals, iso, facing) < 1e-6).all()
    assert (bilateral_weights(points, -normals, iso, facing) < 1e-4).all()


def test_weights_of_several_scans() -> None:
    iso, facing = even("sphere", 200)
    points, normals = random("sphere", 50)
    scans = torch.cat([points, points]), torch.cat([normals, normals])
    surfaces = torch.cat([iso, 0.5 * iso[:90]]), torch.cat([facing, facing[:90]])
    for weights in (bilateral_weights, laplacian_weights, heat_weights):
        both = weights(*scans, *surfaces, counts=[50, 50], iso_counts=[200, 90])
        parts = [weights(points, normals, iso, facing), weights(points, normals, 0.5 * iso[:90], facing[:90])]
        torch.testing.assert_close(both, torch.cat(parts))
        none = weights(points, normals, iso[:0], facing[:0])
        assert none.shape == (50,)
        assert not none.any()
