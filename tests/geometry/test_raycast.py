import numpy as np
import pytest
import trimesh

from recon.errors import DataError
from recon.geometry.raycast import RayCaster, contains, first_hit
from recon.io.types import Mesh

BOX = trimesh.creation.box((2, 2, 2))


def as_mesh(shape, scale=1.0, offset=0.0):
    return Mesh(np.asarray(shape.vertices) * scale + offset, np.asarray(shape.faces, dtype=np.int64))


@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (1e-3, 0), (10, 5e6)], ids=["unit", "tiny", "map"])
def test_inside_a_sphere_at_any_scale(scale, offset, rng):
    shape = trimesh.creation.icosphere(3)
    points = rng.uniform(-1.3, 1.3, (5000, 3))
    radius = np.linalg.norm(points, axis=1)
    inside = contains(as_mesh(shape, scale, offset), points * scale + offset)
    flat = np.linalg.norm(shape.triangles_center, axis=1).min()
    assert inside[radius < flat - 1e-6].all()
    assert not inside[radius > 1 + 1e-6].any()


def test_points_in_line_with_edges_and_corners():
    steps = np.linspace(-1.5, 1.5, 13)
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    on_surface = np.isclose(np.abs(points).max(axis=1), 1)
    expected = np.abs(points).max(axis=1) < 1
    np.testing.assert_array_equal(contains(as_mesh(BOX), points)[~on_surface], expected[~on_surface])


def test_a_hollow_and_a_nested_solid():
    outer, hollow, core = (np.asarray(BOX.vertices) * s for s in (3.0, 2.0, 1.0))
    faces = np.asarray(BOX.faces)
    mesh = Mesh(np.concatenate([outer, hollow, core]), np.concatenate([faces, faces[:, ::-1] + 8, faces + 16]))
    found = contains(mesh, np.array([[2.5, 0.1, 0], [1.5, 0.1, 0], [0.5, 0.1, 0], [3.5, 0, 0]]))
    np.testing.assert_array_equal(found, [True, False, True, False])


def test_votes_survive_a_missing_face(rng):
    shape = trimesh.creation.icosphere(3)
    leaky = Mesh(np.asarray(shape.vertices), np.asarray(shape.faces)[12:])
    points = rng.normal(size=(500, 3))
    points *= rng.uniform(0, 0.9, (500, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
    assert contains(leaky, points).mean() > 0.995


def test_first_hit_of_a_cube():
    hits = first_hit(as_mesh(BOX), np.array([[-5.0, 0.2, 0.3], [-5, 3, 0], [0, 0, 0]]), np.array([[2.0, 0, 0]] * 3))
    np.testing.assert_allclose(hits.distance, [4, np.inf, 1], rtol=1e-14)
    np.testing.assert_array_equal(hits.hit, [True, False, True])
    assert hits.face[1] == -1
    corners = np.asarray(BOX.vertices)[BOX.faces[hits.face[0]]]
    np.testing.assert_allclose(hits.barycentric[0] @ corners, [-1, 0.2, 0.3], atol=1e-14)


def test_hits_are_accurate_far_from_the_origin(rng):
    offset = np.array([5e6, -4e5, 3e5])
    mesh = as_mesh(trimesh.creation.icosphere(3), 10, offset)
    directions = rng.normal(size=(500, 3))
    origins = offset + rng.normal(size=(500, 3))
    hits = RayCaster(mesh).first_hit(origins, directions)
    assert hits.hit.all()
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    on_face = np.einsum("ij,ijk->ik", hits.barycentric, mesh.vertices[mesh.faces[hits.face]])
    np.testing.assert_allclose(origins + hits.distance[:, None] * unit, on_face, atol=1e-5)


def test_nothing_is_inside_or_hit_where_there_is_nothing():
    points = np.zeros((4, 3))
    assert not contains(Mesh.empty(), points).any()
    assert not first_hit(Mesh.empty(), points, points + 1).hit.any()
    assert contains(as_mesh(BOX), np.zeros((0, 3))).shape == (0,)


def test_a_mesh_that_is_not_finite_is_refused():
    with pytest.raises(DataError, match="Cannot cast rays at a mesh with vertices that are not finite"):
        contains(Mesh(np.full((3, 3), np.nan), np.array([[0, 1, 2]])), np.zeros((1, 3)))


def test_signs_recorded_for_cad_models(data_dir):
    """Signed distances that came with the models (Points2Surf's data: positive inside), computed by others."""
    folders = {path.name: path for path in data_dir.glob("abc*/0*")}
    if not {"03_meshes", "05_query_pts", "05_query_dist"} <= set(folders):
        pytest.skip("no CAD models with query distances here")
    for file in sorted(folders["03_meshes"].glob("*.ply")):
        shape = as_mesh(trimesh.load(file, process=False))
        points, recorded = (np.load(folders[name] / f"{file.name}.npy") for name in ("05_query_pts", "05_query_dist"))
        clear = np.abs(recorded) > 1e-5
        np.testing.assert_array_equal(contains(shape, points)[clear], recorded[clear] > 0)


def test_winding_counts_overlapping_solids_and_cavities():
    outer, other, cavity = (trimesh.creation.box((2, 2, 2)) for _ in range(3))
    other.apply_translation([1, 0, 0])
    cavity.apply_scale(0.25)
    cavity.invert()
    whole = trimesh.util.concatenate([outer, other, cavity])
    caster = RayCaster(Mesh(np.asarray(whole.vertices), np.asarray(whole.faces, dtype=np.int64)))
    points = np.array([[0.5, 0.3, 0.2], [-0.6, 0.1, 0], [1.5, 0, 0.3], [-0.1, 0.1, 0.1], [3, 0, 0], [-1.5, 0, 0]])
    assert caster.winding(points).tolist() == [2, 1, 1, 0, 0, 0]
