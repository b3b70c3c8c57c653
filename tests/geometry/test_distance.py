import numpy as np
import pytest
import trimesh

from recon.errors import DataError
from recon.geometry import distance
from recon.geometry.distance import MeshDistance
from recon.io.types import Mesh


def as_mesh(shape):
    return Mesh(np.asarray(shape.vertices, dtype=np.float64), np.asarray(shape.faces, dtype=np.int64))


def brute_force(mesh, points):
    """Every point against every face, by another implementation."""
    corners = mesh.vertices[mesh.faces]
    repeated = np.broadcast_to(corners, (len(points), *corners.shape)).reshape(-1, 3, 3)
    near = trimesh.triangles.closest_point(repeated, np.repeat(points, len(corners), axis=0))
    return np.linalg.norm(near.reshape(len(points), -1, 3) - points[:, None], axis=2).min(axis=1)


def spiky(rng):
    """A few huge thin triangles amid many small ones; trimesh's tolerances want sizes well above 1e-4."""
    small = as_mesh(trimesh.creation.icosphere(2, radius=10))
    thin = np.stack([rng.uniform(-100, 100, (6, 3)), rng.uniform(-100, 100, (6, 3)), np.zeros((6, 3))], axis=1)
    thin[:, 2] = thin[:, 0] + rng.normal(size=(6, 3)) * 0.1
    faces = np.arange(18).reshape(-1, 3) + len(small.vertices)
    return Mesh(np.concatenate([small.vertices, thin.reshape(-1, 3)]), np.concatenate([small.faces, faces]))


@pytest.mark.parametrize("spread", [0.01, 5, 300], ids=["near", "around", "far"])
@pytest.mark.parametrize("shape", ["sphere", "spiky", "soup", "one face"])
def test_equals_brute_force(shape, spread, rng):
    mesh = {
        "sphere": as_mesh(trimesh.creation.icosphere(3, radius=10)),
        "spiky": spiky(rng),
        "soup": Mesh(rng.uniform(-10, 10, (300, 3)), np.arange(300).reshape(-1, 3)),
        "one face": Mesh(rng.uniform(-10, 10, (3, 3)), np.array([[0, 1, 2]])),
    }[shape]
    points = mesh.vertices[rng.integers(len(mesh.vertices), size=300)] + rng.normal(size=(300, 3)) * spread
    found = MeshDistance(mesh).query(points)
    np.testing.assert_allclose(found.distance, brute_force(mesh, points), rtol=1e-9, atol=1e-9)


def test_the_nearest_point_lies_on_the_face_named(rng):
    mesh = spiky(rng)
    points = rng.uniform(-50, 50, (500, 3))
    found = MeshDistance(mesh).query(points)
    np.testing.assert_allclose(np.linalg.norm(points - found.point, axis=1), found.distance, rtol=1e-12)
    weights = trimesh.triangles.points_to_barycentric(mesh.vertices[mesh.faces[found.face]], found.point)
    assert weights.min() > -1e-5
    rebuilt = np.einsum("ij,ijk->ik", weights, mesh.vertices[mesh.faces[found.face]])
    np.testing.assert_allclose(rebuilt, found.point, atol=1e-6)


def test_known_distances_to_a_cube():
    mesh = as_mesh(trimesh.creation.box((2, 2, 2)))
    points = np.array([[0.0, 0, 0], [3, 0, 0], [2, 2, 0], [2, 2, 2], [1, 0.3, -0.2]])
    found = MeshDistance(mesh).query(points)
    np.testing.assert_allclose(found.distance, [1, 2, np.sqrt(2), np.sqrt(3), 0], atol=1e-15)
    np.testing.assert_allclose(found.point[1:4], [[1, 0, 0], [1, 1, 0], [1, 1, 1]], atol=1e-15)


def test_faces_without_area_count_as_segments_and_points():
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [1, 0, 0], [9, 9, 9]])
    mesh = Mesh(vertices, np.array([[0, 1, 2], [3, 3, 3]]))
    found = MeshDistance(mesh).query(np.array([[1.0, 1, 0], [3, 0, 0], [9, 9, 10]]))
    np.testing.assert_allclose(found.distance, [1, 1, 1])


@pytest.mark.parametrize("angle", [1e-4, 1e-6, 1e-8])
def test_slivers_stay_accurate(angle):
    mesh = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0.5, angle, 0]]), np.array([[0, 1, 2]]))
    turn = trimesh.transformations.rotation_matrix(1.1, [0.2, 0.5, 0.7])[:3, :3]
    turned = Mesh(mesh.vertices @ turn.T, mesh.faces)
    inside = np.array([[0.5, angle / 3, 1e-9], [0.3, angle / 4, 1e-7], [0.5, angle / 2, 0.1]])
    found = MeshDistance(turned).query(inside @ turn.T)
    np.testing.assert_allclose(found.distance, inside[:, 2], atol=2e-8)


def test_far_from_the_origin_no_digits_are_lost(rng):
    mesh, offset = as_mesh(trimesh.creation.icosphere(2)), np.array([5e6, -4e5, 3e5])
    points = rng.normal(size=(200, 3))
    near = MeshDistance(mesh).query(points)
    far = MeshDistance(Mesh(mesh.vertices + offset, mesh.faces)).query(points + offset)
    np.testing.assert_allclose(far.distance, near.distance, atol=3e-9)
    np.testing.assert_allclose(far.point - offset, near.point, atol=1e-7)


def test_small_chunks_give_the_same(rng, monkeypatch):
    # All faces of a sphere are nearly as far from its centre: the worst case for memory.
    mesh = as_mesh(trimesh.creation.icosphere(3))
    points = np.concatenate([rng.normal(size=(100, 3)) * 1e-3, rng.normal(size=(100, 3))])
    whole = MeshDistance(mesh).query(points).distance
    monkeypatch.setattr(distance, "CHUNK", 64)
    monkeypatch.setattr(distance, "MAX_PAIRS", 500)
    np.testing.assert_array_equal(MeshDistance(mesh).query(points).distance, whole)


def test_signed_distances_recorded_for_cad_models(data_dir):
    """Query points and distances that came with the models (Points2Surf's data), computed by others."""
    folders = {path.name: path for path in data_dir.glob("abc*/0*")}
    if not {"03_meshes", "05_query_pts", "05_query_dist"} <= set(folders):
        pytest.skip("no CAD models with query distances here")
    for file in sorted(folders["03_meshes"].glob("*.ply")):
        shape = as_mesh(trimesh.load(file, process=False))
        points, recorded = (np.load(folders[name] / f"{file.name}.npy") for name in ("05_query_pts", "05_query_dist"))
        found = MeshDistance(shape).query(points)
        # A few recorded distances are up to 1e-5 too long: those who wrote them missed the nearest face.
        assert (found.distance <= np.abs(recorded) + 1e-6).all()
        assert np.isclose(found.distance, np.abs(recorded), atol=1e-6).mean() > 0.995


def test_no_points_give_no_distances():
    found = MeshDistance(as_mesh(trimesh.creation.box())).query(np.zeros((0, 3)))
    assert found.distance.shape == found.face.shape == (0,)
    assert found.point.shape == (0, 3)


def test_an_empty_mesh_is_refused():
    with pytest.raises(DataError, match=r"Cannot measure distances to a mesh of 0 faces\."):
        MeshDistance(Mesh.empty())


def test_a_mesh_that_is_not_finite_is_refused():
    mesh = Mesh(np.array([[0.0, 0, 0], [1, 0, np.nan], [0, 1, 0]]), np.array([[0, 1, 2]]))
    with pytest.raises(DataError, match="1 faces with vertices that are not finite"):
        MeshDistance(mesh)


def test_points_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="from points that are not finite"):
        MeshDistance(as_mesh(trimesh.creation.box())).query(np.array([[0, 0, np.inf]]))
