"""`method=spline` on known solids: accuracy, coordinates, normals, noise, strays, density, thin parts, messages."""

from functools import partial

import numpy as np
import pytest
import torch
import trimesh

from recon.errors import ConfigError
from recon.geometry.poisson import solve_poisson
from recon.geometry.surface import Surface
from recon.io.types import Mesh
from recon.methods.spline import Spline
from recon.observations import OrientedPoints, Points

CENTRE, RADIUS = np.array([5e5, -3.0, 40.0]), 7.0


def ball(count: int = 3000, noise: float = 0.0, seed: int = 0) -> OrientedPoints:
    random = np.random.default_rng(seed)
    normals = random.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = CENTRE + RADIUS * normals + random.normal(0, noise, normals.shape)
    return OrientedPoints(torch.from_numpy(points), name="ball", normals=torch.from_numpy(normals))


def errors(mesh: Mesh) -> np.ndarray:
    """Distances of vertices from the sphere, in radii."""
    return np.abs(np.linalg.norm(mesh.vertices - CENTRE, axis=1) / RADIUS - 1)


@pytest.fixture(scope="module")
def solved() -> tuple[Spline, Surface]:
    """A method and the clean ball's surface that it found."""
    method = Spline(resolution=32)
    return method, method.reconstruct(ball())


def test_ball_in_its_own_coordinates(solved):
    method, surface = solved
    found = surface.mesh(resolution=48)
    assert errors(found.mesh).max() < 0.004
    solid = found.mesh.to_trimesh()
    assert solid.is_watertight
    assert solid.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)
    assert found.components == 1
    assert method.warnings == ()
    assert np.isnan(method.score)


def test_field_is_a_signed_distance(solved):
    points = torch.nn.functional.normalize(torch.randn(200, 3), dim=1)
    for radius in (0.9, 1.05):
        values = solved[1].field(radius * points)
        torch.testing.assert_close(values, torch.full((200,), radius - 1), atol=0.01, rtol=0)


def test_normals_are_estimated_where_there_are_none():
    method = Spline(resolution=32)
    found = method.reconstruct(Points(ball(1500).points, name="bare")).mesh(resolution=48)
    assert errors(found.mesh).max() < 0.01
    assert method.score > 0.9
    assert method.facts is not None
    assert method.facts.estimated


def test_wrong_normals_can_be_ignored_and_the_same_seed_gives_the_same_field():
    """Estimating twice, from a cloud with shuffled normals and from one without any, ends at the very same field."""
    scene = ball(500)
    turned = OrientedPoints(scene.points, normals=torch.flip(scene.normals, dims=(0,)))
    one = Spline(resolution=16, normals="estimate").reconstruct(turned).field.levels[-1].values
    two = Spline(resolution=16).reconstruct(Points(scene.points)).field.levels[-1].values
    assert torch.equal(one, two)


def test_noise_is_found_and_smoothed_away():
    method = Spline(resolution=32)
    found = method.reconstruct(ball(6000, noise=0.01 * RADIUS)).mesh(resolution=48)
    assert method.facts is not None
    assert method.facts.noise == pytest.approx(0.01, rel=0.35)
    assert method.facts.noisy
    # A third of the noise and less: it is averaged over many points.
    assert errors(found.mesh).mean() < 0.0033


def test_noise_given_in_the_scans_unit_decides():
    method = Spline(resolution=16, noise=0.06 * RADIUS)
    method.reconstruct(ball(500))
    assert method.facts is not None
    assert method.facts.noise == pytest.approx(0.06, rel=0.02)
    assert method.energy is not None
    assert method.energy.curvature_scale is not None


def test_strays_are_left_out_and_reported(caplog):
    scene = ball(2000)
    random = np.random.default_rng(1)
    away = torch.from_numpy(CENTRE + 3 * RADIUS * random.uniform(-1, 1, (12, 3)))
    with_strays = OrientedPoints(
        torch.cat((scene.points, away)), normals=torch.cat((scene.normals, scene.normals[:12])), name="strays"
    )
    method = Spline(resolution=32)
    found = method.reconstruct(with_strays).mesh(resolution=48)
    assert np.quantile(errors(found.mesh), 0.99) < 0.02
    assert "stand alone" in method.warnings[0]
    assert "stand alone" not in caplog.text  # the task says it, once


def test_uneven_density_bends_little():
    scene = ball(8000)
    side = (scene.points[:, 0] > CENTRE[0]).numpy()
    keep = torch.from_numpy(np.random.default_rng(2).random(8000) < np.where(side, 1.0, 0.04))
    thinned = OrientedPoints(scene.points[keep], normals=scene.normals[keep])
    found = errors(Spline(resolution=32).reconstruct(thinned).mesh(resolution=48).mesh)
    # On the thin side samples are a fifth of a radius apart: chords between them would sag by 0.005 on average.
    assert found.mean() < 0.0025
    assert found.max() < 0.03


def test_thin_sheet_keeps_both_sides():
    """A plate hardly thicker than a cell of the grid comes back as one solid of the right volume."""
    plate = trimesh.creation.box((1.0, 0.6, 0.04))
    points, faces = trimesh.sample.sample_surface(plate, 4000, seed=0)
    scene = OrientedPoints(torch.from_numpy(points), normals=torch.from_numpy(plate.face_normals[faces].copy()))
    found = Spline(resolution=32).reconstruct(scene).mesh(resolution=64)
    assert found.mesh.to_trimesh().volume == pytest.approx(plate.volume, rel=0.1)


def test_open_scan_is_trimmed():
    """A hemisphere is closed by the field; `trim` cuts away what no point supports."""
    scene = ball(4000)
    half = scene.points[:, 2] > CENTRE[2]
    surface = Spline(resolution=32).reconstruct(OrientedPoints(scene.points[half], normals=scene.normals[half]))
    closed, trimmed = surface.mesh(resolution=48).mesh, surface.mesh(resolution=48, trim=3.0).mesh
    assert not trimmed.to_trimesh().is_watertight
    assert trimmed.to_trimesh().area == pytest.approx(2 * np.pi * RADIUS**2, rel=0.1)
    assert closed.to_trimesh().area > 1.2 * trimmed.to_trimesh().area


def test_preview_comes_first_and_then_every_level(monkeypatch):
    monkeypatch.setattr("recon.methods.spline.solve_poisson", partial(solve_poisson, resolution=32))
    method, seen = Spline(resolution=32), []
    method.preview = lambda what, surface: seen.append((what, float(surface.field(torch.zeros(1, 3))) < 0))
    method.reconstruct(ball(500))
    assert seen == [("spectral", True), ("16 cells", True), ("32 cells", True)]


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"resolution": 100}, "method.resolution=100"),
        ({"noise": -1.0}, "method.noise=-1.0"),
        ({"trust": 0.0}, "method.trust=0.0"),
        ({"curvature": float("nan")}, "method.curvature=nan"),
        ({"eikonal": -0.5}, "method.eikonal=-0.5"),
    ],
)
def test_impossible_options_are_named(options, culprit):
    with pytest.raises(ConfigError, match=culprit):
        Spline(**options)
