"""The two Poisson methods on a known solid: accuracy, sign, coordinates, estimated normals, options, messages."""

import sys

import numpy as np
import pytest
import torch
import trimesh

from recon.errors import ConfigError
from recon.geometry.mesh_surface import MeshSurface
from recon.geometry.surface import Surface
from recon.io.types import Mesh
from recon.methods.poisson import Poisson
from recon.methods.screened_poisson import ScreenedPoisson
from recon.observations import OrientedPoints, Points

CENTRE, RADIUS = np.array([5e5, -3.0, 40.0]), 7.0


def ball(count: int = 6000, noise: float = 0.0) -> OrientedPoints:
    random = np.random.default_rng(0)
    normals = random.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = CENTRE + RADIUS * normals + random.normal(0, noise, normals.shape)
    return OrientedPoints(torch.from_numpy(points), name="ball", normals=torch.from_numpy(normals))


def errors(mesh: Mesh) -> np.ndarray:
    """Distances of vertices from the sphere, in radii."""
    return np.abs(np.linalg.norm(mesh.vertices - CENTRE, axis=1) / RADIUS - 1)


def test_ball_in_its_own_coordinates() -> None:
    surface = Poisson(resolution=96).reconstruct(ball())
    assert isinstance(surface, Surface)
    found = surface.mesh(resolution=96)
    assert errors(found.mesh).max() < 0.01
    solid = found.mesh.to_trimesh()
    assert solid.is_watertight
    assert solid.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.02)


def test_flipped_normals_turn_the_inside_out() -> None:
    scene = ball(2000)
    field = Poisson(resolution=32).reconstruct(scene).field
    turned = OrientedPoints(scene.points, normals=-scene.normals)
    other = Poisson(resolution=32).reconstruct(turned).field
    centre = torch.zeros(1, 3)
    assert float(field(centre)) < 0 < float(other(centre))


def test_normals_are_estimated_where_there_are_none_and_said_so() -> None:
    method = Poisson(resolution=64)
    found = method.reconstruct(Points(ball(3000).points)).mesh(resolution=64)
    assert errors(found.mesh).max() < 0.02
    assert "estimated" in method.warnings[0]
    method.reconstruct(ball(500))
    assert method.warnings == ()


def test_given_normals_can_be_refused() -> None:
    wrong = OrientedPoints(ball(3000).points, normals=torch.tensor([[0.0, 0.0, 1.0]]).double().expand(3000, 3))
    found = Poisson(resolution=64, normals="estimate").reconstruct(wrong).mesh(resolution=64)
    assert errors(found.mesh).max() < 0.02


def test_smoothing_follows_sparseness_and_noise() -> None:
    method = Poisson(resolution=256)
    cell = 2.4 / 256
    assert method._smoothing(spacing=0.01, noise=0.0) == pytest.approx(cell / 2)
    assert method._smoothing(spacing=0.1, noise=0.0) == pytest.approx(0.02)
    assert method._smoothing(spacing=0.01, noise=0.03) == pytest.approx(0.03)
    assert Poisson(256, smoothing=2.0)._smoothing(0.1, 0.1) == pytest.approx(2 * cell)


def test_noise_is_averaged() -> None:
    noise = 0.03 * RADIUS
    found = Poisson(resolution=64).reconstruct(ball(12000, noise)).mesh(resolution=64)
    assert errors(found.mesh).mean() < 0.01


@pytest.mark.parametrize("weights", ["auto", "area", "uniform"])
def test_weights_agree_on_even_samples(weights: str) -> None:
    found = Poisson(resolution=48, weights=weights).reconstruct(ball(3000)).mesh(resolution=48)  # type: ignore[arg-type]
    assert errors(found.mesh).max() < 0.03


def test_impossible_options_are_named() -> None:
    with pytest.raises(ConfigError, match=r"method\.resolution=4"):
        Poisson(resolution=4)
    with pytest.raises(ConfigError, match="depth=40"):
        ScreenedPoisson(depth=40)


def test_without_open3d_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(ConfigError, match=r"pip install 'recon\[baselines\]'"):
        ScreenedPoisson().reconstruct(ball(100))


def test_screened_poisson_makes_the_ball() -> None:
    pytest.importorskip("open3d", reason="Open3D is in the extra 'baselines'", exc_type=ImportError)
    for scene in (ball(), Points(ball(3000).points)):
        surface = ScreenedPoisson(depth=6, threads=1).reconstruct(scene)
        found = surface.mesh(resolution=10)
        assert errors(found.mesh).max() < 0.02
        assert found.mesh.to_trimesh().is_watertight
        assert found.mesh.to_trimesh().volume > 0


def test_finished_meshes_obey_the_options_of_meshes() -> None:
    big, small = trimesh.creation.icosphere(3), trimesh.creation.icosphere(1, radius=0.1)
    small.apply_translation((3, 0, 0))
    both = trimesh.util.concatenate([big, small])
    surface = MeshSurface(Mesh(np.asarray(both.vertices), np.asarray(both.faces)), np.asarray(big.vertices))
    assert surface.mesh().components == 2
    assert len(surface.mesh().mesh.faces) == len(both.faces)
    for options in ({"largest_component": True}, {"min_area": 0.1}, {"trim": 3.0}, {"support_filter": 0.05}):
        kept = surface.mesh(**options).mesh
        assert len(kept.faces) == len(big.faces)
        np.testing.assert_array_equal(kept.vertices, big.vertices)
    assert len(surface.mesh(faces=200).mesh.faces) == pytest.approx(200, abs=10)


def test_finished_meshes_without_input_or_colours_say_so_or_leave_them() -> None:
    shape = trimesh.creation.icosphere(1)
    colors = np.full((len(shape.vertices), 3), 7, dtype=np.uint8)
    surface = MeshSurface(Mesh(np.asarray(shape.vertices), np.asarray(shape.faces), colors=colors))
    assert "did nothing" in surface.mesh(trim=2.0).warnings[0]
    assert surface.mesh().warnings == ()
    assert surface.mesh().mesh.colors is not None
    assert surface.mesh(color=False).mesh.colors is None


def test_finished_meshes_of_nothing_say_so() -> None:
    assert MeshSurface(Mesh.empty()).mesh().mesh.is_empty
    ball_mesh = trimesh.creation.icosphere(2)
    far = MeshSurface(
        Mesh(np.asarray(ball_mesh.vertices), np.asarray(ball_mesh.faces)), np.random.default_rng(0).random((50, 3)) + 9
    )
    assert "mesh.trim" in far.mesh(trim=1.0).warnings[0]
