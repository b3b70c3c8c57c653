import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import chisquare

from recon.errors import DataError
from recon.geometry.sampling import face_normals_and_areas, sample_blue_noise, sample_surface
from recon.io.types import Mesh

# Areas 1/2 and 2, and one face without area.
UNEVEN = Mesh(
    np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 0, 0], [5, 2, 0], [5, 0, 2]]),
    np.array([[0, 1, 2], [3, 4, 5], [0, 0, 1]]),
)
SQUARE = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))


def test_normals_and_areas():
    normals, areas = face_normals_and_areas(UNEVEN)
    np.testing.assert_allclose(areas, [0.5, 2, 0])
    np.testing.assert_allclose(normals, [[0, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_samples_lie_on_their_faces_in_proportion_to_area():
    drawn = sample_surface(UNEVEN, 5000, seed=3)
    counts = np.bincount(drawn.faces, minlength=3)
    assert counts[2] == 0
    assert chisquare(counts[:2], [1000, 4000]).pvalue > 1e-3
    first, second = drawn.points[drawn.faces == 0], drawn.points[drawn.faces == 1]
    assert (first[:, 2] == 0).all()
    assert (first[:, :2].min() >= 0) & (first.sum(axis=1).max() <= 1 + 1e-12)
    np.testing.assert_allclose(second[:, 0], 5)
    np.testing.assert_allclose(drawn.normals[drawn.faces == 1], [[1, 0, 0]] * len(second))


def test_samples_are_uniform_within_a_square():
    drawn = sample_surface(SQUARE, 8000, seed=1).points
    cells = np.bincount((drawn[:, 0] * 4).astype(int) * 4 + (drawn[:, 1] * 4).astype(int), minlength=16)
    assert chisquare(cells).pvalue > 1e-3


def test_equal_seeds_give_equal_points_and_a_generator_moves_on():
    np.testing.assert_array_equal(sample_surface(SQUARE, 9, 5).points, sample_surface(SQUARE, 9, 5).points)
    rng = np.random.default_rng(5)
    assert (sample_surface(SQUARE, 9, rng).points != sample_surface(SQUARE, 9, rng).points).any()


@pytest.mark.parametrize("count", [0, 1, 700])
def test_blue_noise_gives_the_number_asked_for(count):
    drawn = sample_blue_noise(SQUARE, count, seed=2)
    assert drawn.points.shape == drawn.normals.shape == (count, 3)
    assert drawn.faces.shape == (count,)


def test_blue_noise_keeps_points_apart():
    spacing = np.sqrt(1 / (2 * np.sqrt(3) * 2000)) * 2

    def closest(points):
        return cKDTree(points).query(points, 2)[0][:, 1].min() / spacing

    assert closest(sample_blue_noise(SQUARE, 2000, seed=2).points) > 0.5
    assert closest(sample_surface(SQUARE, 2000, seed=2).points) < 0.1


@pytest.mark.parametrize("sampler", [sample_surface, sample_blue_noise])
@pytest.mark.parametrize(
    "mesh",
    [Mesh.empty(), Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])), Mesh(np.full((3, 3), np.nan), np.array([[0, 1, 2]]))],
    ids=["no faces", "no area", "not finite"],
)
def test_a_mesh_without_area_is_refused(mesh, sampler):
    with pytest.raises(DataError, match=r"Cannot sample a mesh of \d faces and area"):
        sampler(mesh, 10)
