"""Fields with known surfaces through `Surface.mesh`: where the mesh lies, what is reported, and every option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor

from recon.errors import ConfigError, ReconError
from recon.geometry.cleanup import simplify
from recon.geometry.frames import Frame
from recon.geometry.surface import Extraction, MeshOptions, Surface

Field = Callable[[Tensor], Tensor]


def ball(centre: tuple[float, float, float] = (0.0, 0.0, 0.0), radius: float = 0.6) -> Field:
    return lambda x: (x - torch.tensor(centre)).norm(dim=1) - radius


def two_balls(x: Tensor) -> Tensor:
    return torch.minimum(ball((-0.4, 0, 0), 0.4)(x), ball((0.6, 0.1, 0), 0.15)(x))


def surface(field: Field, size: float = 1.0, **kwargs: Any) -> Surface:
    return Surface(field, (-size,) * 3, (size,) * 3, **kwargs)


def distances(extraction: Extraction, field: Field) -> np.ndarray:
    return field(torch.from_numpy(extraction.mesh.vertices)).abs().numpy()


@pytest.mark.parametrize("extraction", ["dense", "coarse_to_fine", "mise"])
def test_a_ball_is_a_closed_ball_with_outward_faces(extraction: Any) -> None:
    result = surface(ball()).mesh(resolution=64, extraction=extraction)
    mesh = result.mesh.to_trimesh()
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.euler_number == 2
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=2e-3)
    assert distances(result, ball()).max() < 1e-3
    assert (result.components, result.cut, result.warnings) == (1, False, ())


@pytest.mark.parametrize("kind", ["sdf", "occupancy", "implicit"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_sign_is_found_by_itself(kind: Any, sign: float) -> None:
    mesh = surface(lambda x: sign * ball()(x), kind=kind).mesh(resolution=32).mesh
    assert mesh.to_trimesh().volume > 0
    assert mesh.normals is not None
    assert (mesh.normals * mesh.vertices).sum(axis=1).min() > 0.5


@pytest.mark.parametrize("extraction", ["coarse_to_fine", "region"])
def test_cells_can_be_given_in_world_units(extraction: Any) -> None:
    """A ball of 0.6 local units in a frame of scale 5: of cells of 0.1 its longest side of 6 has 60."""
    frame, points = Frame(5.0), 0.6 * torch.nn.functional.normalize(torch.randn(500, 3), dim=1)
    ball_there = surface(ball(), frame=frame, support=points)
    fine, coarse = (ball_there.mesh(cell=c, extraction=extraction, resolution=7).mesh for c in (0.1, 0.2))
    assert len(fine.faces) == pytest.approx(4 * len(coarse.faces), rel=0.1)
    edge = np.linalg.norm(np.diff(fine.vertices[fine.faces[:, :2]], axis=1), axis=2)
    assert edge.max() < 0.1 * np.sqrt(3)
    with pytest.raises(ConfigError, match=r"mesh\.cell=-1"):
        ball_there.mesh(cell=-1.0)


def test_inside_can_be_said() -> None:
    hollow = surface(ball(), inside="above").mesh(resolution=32)
    assert hollow.mesh.to_trimesh().volume < 0


def test_the_level_is_where_the_surface_lies() -> None:
    scene = surface(lambda x: torch.sigmoid(-20 * ball()(x)), kind="occupancy", level=0.2)
    result = scene.mesh(resolution=64, bisect=6)
    radius = np.linalg.norm(result.mesh.vertices, axis=1)
    np.testing.assert_allclose(radius, 0.6 + np.log(4) / 20, atol=1e-5)


def test_no_surface_is_reported() -> None:
    result = surface(lambda x: x[:, 0] + 5).mesh(resolution=32, largest_component=True, faces=10, bisect=2)
    assert result.mesh.is_empty
    assert result.components == 0
    assert "no surface" in result.warnings[0]


@pytest.mark.parametrize("extraction", ["dense", "coarse_to_fine", "mise"])
def test_a_surface_cut_by_the_box_is_reported(extraction: Any) -> None:
    result = surface(ball(radius=1.1)).mesh(resolution=48, extraction=extraction)
    assert result.cut
    assert "cuts the surface" in result.warnings[0]
    assert not result.mesh.is_empty


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_values_that_are_not_finite_are_reported_and_outside(value: float, sign: float) -> None:
    def broken(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 0.9, value, sign * ball()(x))

    kind: Any = "sdf" if sign > 0 else "implicit"
    result = surface(broken, kind=kind).mesh(resolution=32, extraction="dense")
    assert result.mesh.to_trimesh().is_watertight
    assert result.mesh.to_trimesh().volume == pytest.approx(
        surface(ball()).mesh(resolution=32).mesh.to_trimesh().volume
    )
    assert "not finite" in result.warnings[0]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_field_that_is_infinite_outside_keeps_its_sign(sign: float) -> None:
    def sure(x: Tensor) -> Tensor:
        distance = ball()(x)
        return sign * torch.where(distance > 0.2, torch.inf, distance)

    mesh = surface(sure, kind="implicit").mesh(resolution=32).mesh.to_trimesh()
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(surface(ball()).mesh(resolution=32).mesh.to_trimesh().volume)


def test_world_coordinates_keep_float64() -> None:
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    frame = Frame(scale=5.0, rotation=turn, translation=np.array([5e6, 1e5, 300.0]))
    local = surface(two_balls).mesh(resolution=48).mesh
    world = surface(two_balls, frame=frame).mesh(resolution=48).mesh
    assert world.vertices.dtype == np.float64
    np.testing.assert_allclose(frame.to_local(world.vertices), local.vertices, atol=1e-9)
    np.testing.assert_allclose(world.normals, local.normals @ turn.T, atol=1e-12)


def test_a_box_with_unequal_sides() -> None:
    result = Surface(ball(radius=0.45), (-1.0, -0.5, -0.61), (1.0, 0.5, 0.57)).mesh(resolution=50)
    assert result.mesh.to_trimesh().is_watertight
    assert distances(result, ball(radius=0.45)).max() < 2e-3


@pytest.mark.parametrize("given", [True, False])
def test_normals_are_the_gradient(given: bool) -> None:
    gradient = (lambda x: -x / x.norm(dim=1, keepdim=True)) if given else None
    mesh = surface(lambda x: -ball()(x), gradient=gradient).mesh(resolution=48).mesh
    expected = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    np.testing.assert_allclose(mesh.normals, expected, atol=1e-6 if given else 2e-3)


def test_gradients_may_come_from_autograd() -> None:
    def gradient(x: Tensor) -> Tensor:
        x = x.requires_grad_()
        return torch.autograd.grad(ball()(x).sum(), x)[0]

    mesh = surface(ball(), gradient=gradient).mesh(resolution=24).mesh
    assert mesh.normals is not None
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-6)


def test_bisection_moves_vertices_onto_the_surface() -> None:
    def field(x: Tensor) -> Tensor:
        return torch.tanh(9 * (x.norm(dim=1) - 0.6)) + 0.3 * (x[:, 0] - 0.1) ** 3

    errors = [
        np.abs(field(torch.from_numpy(surface(field).mesh(resolution=24, bisect=n).mesh.vertices)).numpy()).max()
        for n in (0, 2, 4, 8)
    ]
    assert errors[0] > 1e-2
    assert errors[1] < errors[0] / 10
    assert errors[2] < errors[1]
    assert errors[3] < 2e-6


def test_components_are_counted_and_dropped() -> None:
    both = surface(two_balls).mesh(resolution=64)
    assert both.components == 2
    for options in ({"largest_component": True}, {"min_area": 0.2}):
        one = surface(two_balls).mesh(resolution=64, **options)
        assert one.components == 2
        assert one.mesh.to_trimesh().body_count == 1
        assert one.mesh.vertices[:, 0].max() < 0.1
    assert surface(two_balls).mesh(resolution=64, min_area=0.01).mesh.to_trimesh().body_count == 2


def support() -> Tensor:
    points = torch.nn.functional.normalize(torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    return points * 0.4 - torch.tensor([0.4, 0, 0])


def test_components_far_from_the_input_are_dropped() -> None:
    scene = surface(two_balls, support=support())
    assert scene.mesh(resolution=64, support_filter=0.025).mesh.to_trimesh().body_count == 1
    assert scene.mesh(resolution=64, support_filter=2.0).mesh.to_trimesh().body_count == 2


def test_faces_far_from_the_input_are_trimmed() -> None:
    points = support()
    half = points[points[:, 2] < 0]
    spacing = cKDTree(half).query(half, k=2)[0][:, 1].mean()
    mesh = surface(two_balls, support=half).mesh(resolution=64, trim=3.0).mesh
    assert cKDTree(half).query(mesh.vertices)[0].max() <= 3 * spacing
    assert -0.1 < mesh.vertices[:, 2].max() < 4 * spacing
    nothing = surface(ball(), support=points + 5).mesh(resolution=32, trim=1.0)
    assert nothing.mesh.is_empty
    assert "Nothing is left" in nothing.warnings[0]


def test_trimming_without_an_input_is_reported() -> None:
    assert "did nothing" in surface(ball()).mesh(resolution=24, trim=2.0).warnings[0]


def test_simplification_reaches_the_count_and_keeps_the_shape() -> None:
    mesh = surface(ball()).mesh(resolution=64, faces=2000).mesh
    assert abs(len(mesh.faces) - 2000) <= 20
    assert mesh.to_trimesh().is_watertight
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.6).max() < 5e-3
    assert mesh.normals is not None
    assert mesh.normals.shape == mesh.vertices.shape


@pytest.mark.parametrize("size", [1e-3, 1.0, 5e6])
def test_simplification_does_not_depend_on_the_unit(size: float) -> None:
    shape = trimesh.creation.icosphere(5)
    vertices, faces = simplify(size * (np.asarray(shape.vertices) + 7), np.asarray(shape.faces), 2000)
    assert abs(len(faces) - 2000) <= 20
    assert np.abs(np.linalg.norm(vertices / size - 7, axis=1) - 1).max() < 4e-3


def test_colours_are_those_of_the_field() -> None:
    coloured = surface(ball(), color=lambda x: (x > 0).float())
    mesh = coloured.mesh(resolution=24).mesh
    assert mesh.colors is not None
    assert mesh.colors.dtype == np.uint8
    np.testing.assert_array_equal(mesh.colors, 255 * (mesh.vertices > 0))
    assert coloured.mesh(resolution=24, color=False).mesh.colors is None


def test_the_chunk_bounds_every_call_and_progress_reaches_the_count() -> None:
    sizes, told = [], []

    def field(x: Tensor) -> Tensor:
        assert torch.is_inference_mode_enabled()
        assert x.dtype == torch.float32
        sizes.append(len(x))
        return ball()(x)

    result = surface(field).mesh(
        MeshOptions(resolution=32, chunk=500), progress=lambda done, total: told.append((done, total))
    )
    assert max(sizes) <= 500
    assert sum(sizes) == result.evaluations == told[-1][0]
    assert all(done <= total for done, total in told)
    assert told == sorted(told)


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="resolution=1"):
        surface(ball()).mesh(resolution=1)
    with pytest.raises(ConfigError, match="Did you mean 'dense'"):
        surface(ball()).mesh(extraction="dens")
    with pytest.raises(ConfigError, match="is empty"):
        Surface(ball(), (0, 0, 0), (1, 0, 1)).mesh()
    with pytest.raises(ReconError, match="values of shape"):
        surface(lambda x: x).mesh(resolution=16)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_field_on_a_gpu_gives_the_same_mesh() -> None:
    def field(x: Tensor) -> Tensor:
        assert x.is_cuda
        return x.norm(dim=1) - 0.6

    ours = surface(field, device="cuda").mesh(resolution=64).mesh
    theirs = surface(ball()).mesh(resolution=64).mesh
    np.testing.assert_array_equal(ours.faces, theirs.faces)
    np.testing.assert_allclose(ours.vertices, theirs.vertices, atol=1e-6)


def test_an_occupancys_normals_are_those_of_its_faces_and_cost_no_evaluation():
    def step(x):
        return (ball()(x) < 0).float()

    found = {n: surface(step, kind="occupancy", level=0.5).mesh(resolution=32, normals=n) for n in (False, True)}
    assert found[True].evaluations == found[False].evaluations
    mesh = found[True].mesh
    outward = mesh.vertices - mesh.vertices.mean(axis=0)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert (mesh.normals * outward).sum(axis=1).min() > 0.7
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1)
