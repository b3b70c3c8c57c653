"""Sliding windows: weights that add up to one, the right points in each window, and meshes without seams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor

from recon.errors import ConfigError, DataError
from recon.geometry.frames import Frame
from recon.geometry.surface import Extraction, Surface
from recon.geometry.window_lattice import WindowCloud, WindowLattice
from recon.geometry.windows import Recent, WindowedField, windowed_surface

PLACE = np.array([4e5, 5e6, 100.0])  # survey coordinates, which float32 cannot hold
RADIUS = 0.06


def sheet(count: int, seed: int = 0) -> np.ndarray:
    """A wavy sheet of 6 x 1.5 m."""
    xy = np.random.default_rng(seed).uniform(0, 1, (count, 2)) * [6, 1.5]
    return np.c_[xy, 0.3 * np.sin(2 * xy[:, 0]) + 0.2 * np.cos(3 * xy[:, 1])]


def shell(window: float) -> Callable[[Tensor], Callable[[Tensor], Tensor]]:
    """What stands in for a network: inside is what lies within RADIUS (in metres) of a point."""

    def encode(points: Tensor) -> Callable[[Tensor], Tensor]:
        tree = cKDTree(points.numpy())
        return lambda x: torch.from_numpy((RADIUS - window * tree.query(x.numpy())[0]).astype(np.float32))

    return encode


def meshed(window: float, context: float = 0.1, overlap: float = 0.25) -> tuple[Surface, Extraction]:
    """`context` in metres, so that the box is the same for all windows."""
    points = torch.from_numpy(sheet(20_000) + PLACE)
    made = windowed_surface(
        shell(window), points, Frame(), window, overlap, certain=0.1, context=context / window, least=3
    )
    return made, made.mesh(resolution=160, normals=False)


def sorted_rows(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.round(4).T)]


@pytest.mark.parametrize("overlap", [0.1, 0.3, 0.5])
def test_weights_add_up_to_one_and_are_smooth(overlap: float) -> None:
    lattice = WindowLattice.over(np.array([-1.3, -0.2, -0.7]), np.array([1.3, 0.2, 0.7]), overlap)
    ends = np.asarray(lattice.start) + lattice.stride * (np.array(lattice.shape) - 1) + 1
    assert (np.asarray(lattice.start) <= [-1.3, -0.2, -0.7]).all()
    assert (ends >= [1.3, 0.2, 0.7]).all()
    x = torch.linspace(-1.3, 1.3, 5201)
    points = torch.stack([x, 0.05 * x, 0.4 * x], dim=1)
    rows, windows, weights = lattice.covering(points)
    torch.testing.assert_close(torch.zeros(len(x)).index_add_(0, rows, weights), torch.ones(len(x)))
    dense = torch.zeros(len(lattice), len(x))
    dense[windows, rows] = weights
    assert dense.diff(dim=1).abs().max() < 5 * 0.0005 / overlap  # no jumps
    assert dense.diff(dim=1).diff(dim=1).abs().max() < 20 * (0.0005 / overlap) ** 2  # and no kinks
    centres = torch.from_numpy(lattice.centres(np.stack(np.unravel_index(windows.numpy(), lattice.shape), axis=1)))
    assert ((points[rows] - centres).abs() <= 0.5 + 1e-6).all()


def test_a_window_gets_its_points_and_those_in_its_context() -> None:
    rng = np.random.default_rng(0)
    for overlap in (0.2, 0.5):
        lattice = WindowLattice.over(np.array([-1.6, -1.2, -0.3]), np.array([1.6, 1.2, 0.3]), overlap)
        points = rng.uniform([-1.6, -1.2, -0.3], [1.6, 1.2, 0.3], (3000, 3)).astype(np.float32)
        cloud = WindowCloud(lattice, points, 0.05)
        for place in np.ndindex(*lattice.shape):
            local = points - lattice.centres(np.array(place)).astype(np.float32)
            expected = local[(np.abs(local) <= 0.55).all(axis=1)]
            found = cloud.within(np.array(place))
            assert len(found) == len(expected) > 0
            np.testing.assert_allclose(sorted_rows(found), sorted_rows(expected), atol=1e-6)


def test_the_mesh_is_that_of_a_single_window() -> None:
    """Fields that agree where they overlap: nothing tells where the windows were."""
    several, many = meshed(1.5)
    single, one = meshed(20.0)
    assert isinstance(several.field, WindowedField)
    assert isinstance(single.field, WindowedField)
    assert len(several.field.lattice) > 8
    assert len(single.field.lattice) == 1
    assert many.mesh.to_trimesh().is_watertight
    assert len(many.mesh.faces) == len(one.mesh.faces)
    np.testing.assert_allclose(cKDTree(many.mesh.vertices).query(one.mesh.vertices)[0], 0, atol=2e-5)
    assert not many.cut


def test_fields_that_disagree_are_blended_without_a_seam() -> None:
    """Each window's sheet lies at another height. The mesh is closed and climbs between them, and never steps."""
    height = iter(np.random.default_rng(1).uniform(-0.008, 0.008, 1000))

    def encode(points: Tensor) -> Callable[[Tensor], Tensor]:
        own = next(height)
        return lambda x: 0.02 - (x[:, 2] - own).abs()

    xy = np.random.default_rng(0).uniform(-2, 2, (4000, 2))
    points = np.c_[xy, 0 * xy[:, 0]]
    made = windowed_surface(encode, points, Frame(), 1.0, 0.4, certain=0.02, least=1)
    assert isinstance(made.field, WindowedField)
    assert len(made.field.lattice) >= 36
    mesh = made.mesh(resolution=200, normals=False, bisect=6).mesh.to_trimesh()
    open_edges = mesh.edges_sorted[trimesh.grouping.group_rows(mesh.edges_sorted, require_count=1)]
    rim = np.abs(mesh.vertices[open_edges][:, :, :2]).max(axis=2)
    np.testing.assert_allclose(rim, rim.max(), atol=0.02)  # the sheet has no end but that of the box
    assert len(np.unique(np.sort(mesh.faces, axis=1), axis=0)) == len(mesh.faces)
    top = mesh.vertices[(mesh.vertices[:, 2] > 0) & (np.abs(mesh.vertices[:, :2]) < 1.9).all(axis=1)]
    assert np.ptp(top[:, 2]) > 0.008
    pairs = cKDTree(top[:, :2]).query_pairs(0.03, output_type="ndarray")
    apart = np.abs(top[pairs[:, 0]] - top[pairs[:, 1]])
    run = np.linalg.norm(apart[:, :2], axis=1)
    slope = apart[run > 0.01, 2] / run[run > 0.01]
    # Two ramps of the cubic smooth step, between the largest difference, across an overlap; a seam would be steep.
    assert slope.max() < 2 * 1.5 * 0.016 / 0.4


def cube(side: float, count: int = 60_000) -> np.ndarray:
    rng = np.random.default_rng(0)
    points = rng.uniform(-side / 2, side / 2, (count, 3))
    axis = rng.integers(3, size=count)
    points[np.arange(count), axis] = side / 2 * rng.choice([-1, 1], count)
    return points


@pytest.mark.parametrize("solid", [True, False])
def test_a_cavity_without_points_is_what_the_windows_around_it_say(solid: bool) -> None:
    """A solid cube of five windows a side has windows inside that no point lies in; so does a hollow one."""
    side = 5.0

    class Knowing(WindowedField):
        """Its windows know the cube, as no network could know it from their points."""

        def _encoded(self, window: int) -> Callable[[Tensor], Tensor]:
            place = self.lattice.centres(np.array(np.unravel_index(window, self.lattice.shape)))
            away = torch.from_numpy(place).float()

            def field(x: Tensor) -> Tensor:
                distance = (x + away).abs().amax(dim=1) - side / 2
                return -distance if solid else 0.1 - distance.abs()

            return field

    half = np.full(3, side / 2 + 0.2)
    lattice = WindowLattice.over(-half, half, 0.25)
    field = Knowing(shell(1.0), cube(side).astype(np.float32), lattice, 0.0, -0.1)
    assert field.empty.sum() >= 27
    low, high = (-half[0],) * 3, (half[0],) * 3
    found = Surface(field, low, high, kind="occupancy", inside="above").mesh(resolution=100, normals=False)
    assert found.mesh.to_trimesh().is_watertight
    assert found.components == (1 if solid else 2)
    thick = side**3 if solid else (side + 0.2) ** 3 - (side - 0.2) ** 3
    assert found.mesh.to_trimesh().volume == pytest.approx(thick, rel=0.02)


def test_fields_are_forgotten_when_memory_is_needed() -> None:
    class Sized:
        nbytes = 10

        def __call__(self, points: Tensor) -> Tensor:
            return points[:, 0]

    recent = Recent(lambda window: Sized(), memory=25)
    first = recent[1]
    assert recent[2] is not first
    assert recent[1] is first
    _ = recent[3]  # 2 was asked longest ago
    assert recent[1] is first
    assert recent.encodings == 3
    _ = recent[2]
    assert recent.encodings == 4
    tiny = Recent(lambda window: Sized(), memory=1)
    assert tiny[1] is tiny[1]


def test_rotated_and_scaled_frames() -> None:
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    frame = Frame(2.0, turn, PLACE)
    local = sheet(20_000)
    made = windowed_surface(shell(0.8), local, frame, 1.6, certain=0.1, context=0.08, least=3)
    mesh = made.mesh(resolution=100, normals=False).mesh
    distance = cKDTree(frame.to_world(local)).query(mesh.vertices)[0]
    np.testing.assert_allclose(distance, 2 * RADIUS, atol=0.02)


def test_wrong_options_and_thin_clouds_are_told() -> None:
    points = sheet(100)
    with pytest.raises(ConfigError, match=r"overlap=0\.7"):
        windowed_surface(shell(1.0), points, Frame(), 1.0, 0.7)
    with pytest.raises(ConfigError, match=r"method\.window=-1"):
        windowed_surface(shell(1.0), points, Frame(), -1.0)
    with pytest.raises(DataError, match="No window holds 32 of the 100 points"):
        windowed_surface(shell(1.0), points, Frame(), 0.3)
