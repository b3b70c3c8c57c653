"""What meshes enclose: closed ones, leaky ones, sheets, parts that overlap, parts that face inward."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from recon.data.synthesis.normalise import cleaned, normalised
from recon.data.synthesis.occupancy import Solid, kind_of
from recon.data.synthesis.textures import Textured, read_textured
from recon.errors import ConfigError, DataError
from recon.geometry.voxelize import grid_corners, touched
from recon.io.types import Mesh


def mesh_of(shape) -> Mesh:
    return Mesh(np.asarray(shape.vertices, dtype=np.float64), np.asarray(shape.faces, dtype=np.int64))


def box(sides=(0.8, 0.8, 0.8), at=(0, 0, 0)):
    return trimesh.creation.box(sides, transform=trimesh.transformations.translation_matrix(at))


def solid(shape, **options) -> Solid:
    mesh = shape if isinstance(shape, Mesh) else mesh_of(shape)
    return Solid(cleaned(mesh), np.random.default_rng(0), **options)


def without(shape, faces):
    kept = np.setdiff1d(np.arange(len(shape.faces)), faces)
    return Mesh(np.asarray(shape.vertices), np.asarray(shape.faces, dtype=np.int64)[kept])


BALL = trimesh.creation.icosphere(4, 0.5)


def test_a_closed_ball_is_a_ball(rng):
    ball, points = solid(BALL), rng.uniform(-0.55, 0.55, (20_000, 3))
    assert ball.kind == "oriented"
    radius = np.linalg.norm(points, axis=1)
    sure = np.abs(radius - 0.499) > 2e-3
    assert (ball.contains(points) == (radius < 0.499))[sure].all()
    assert ball.contains(points).mean() == pytest.approx(4 / 3 * np.pi * 0.125 / 1.331, rel=0.03)


@pytest.mark.parametrize("turned", [False, True], ids=["outward", "inward"])
def test_normals_face_outward_whichever_way_the_faces_wind(turned, rng):
    faces = BALL.faces[:, ::-1] if turned else BALL.faces
    drawn = solid(Mesh(np.asarray(BALL.vertices), np.asarray(faces, dtype=np.int64))).surface(5000, rng)
    assert len(drawn.points) == 5000
    assert (np.einsum("nd,nd->n", drawn.points, drawn.normals) > 0.49).all()


def test_overlapping_parts_are_one_solid_and_show_no_inner_faces(rng):
    one, two = box(at=(-0.3, 0, 0)), box((0.8, 0.6, 0.6), (0.3, 0, 0))
    two.invert()  # exporters often turn single parts
    both = solid(trimesh.util.concatenate([one, two]))
    probes = np.array([[0, 0, 0], [-0.6, 0, 0], [0.6, 0, 0], [0, 0.5, 0]])
    assert both.contains(probes).tolist() == [True, True, True, False]
    drawn = both.surface(4000, rng)
    assert not ((np.abs(drawn.points[:, 0]) < 0.099) & (np.abs(drawn.points[:, 1:]) < 0.399).all(axis=1)).any()
    area = 4 * 0.64 + 0.64 + (0.64 - 0.36) + 4 * 0.36 + 0.36
    assert (np.abs(drawn.points[:, 0]) < 0.05).mean() == pytest.approx(4 * 0.1 * 0.8 / area, rel=0.15)


def test_a_cavity_stays_empty():
    hole = box((0.3, 0.3, 0.3))
    hole.invert()
    hollow = solid(trimesh.util.concatenate([box(), hole]))
    assert hollow.contains(np.array([[0, 0, 0], [0.3, 0, 0], [0.5, 0, 0]])).tolist() == [False, True, False]


def test_faces_that_disagree_are_decided_by_parity(rng):
    faces = np.asarray(BALL.faces, dtype=np.int64).copy()
    faces[::3] = faces[::3, ::-1]
    mixed = solid(Mesh(np.asarray(BALL.vertices), faces))
    assert mixed.kind == "closed"
    assert mixed.contains(np.array([[0.0, 0, 0], [0.3, 0.2, 0.1], [0.6, 0, 0]])).tolist() == [True, True, False]
    drawn = mixed.surface(2000, rng)
    assert (np.einsum("nd,nd->n", drawn.points, drawn.normals) > 0).all()


@pytest.mark.parametrize("mixed", [False, True], ids=["oriented", "mixed"])
def test_a_leaky_ball_is_nearly_the_ball(mixed, rng):
    pytest.importorskip("igl")
    top = np.argsort(-BALL.triangles_center[:, 2])[:60]
    mesh = without(BALL, top)
    if mixed:
        turned = rng.random(len(mesh.faces)) < 0.4
        mesh.faces[turned] = mesh.faces[turned][:, ::-1]
    leaky, points = solid(mesh), rng.uniform(-0.55, 0.55, (20_000, 3))
    assert leaky.kind == "leaky"
    assert not leaky.sheet.any()
    assert (leaky.contains(points) == (np.linalg.norm(points, axis=1) < 0.499)).mean() > 0.99
    drawn = leaky.surface(2000, rng)
    assert (np.einsum("nd,nd->n", drawn.points, drawn.normals) > 0).all()


def test_sheets_have_a_thickness_and_enclose_nothing(rng):
    pytest.importorskip("igl")
    lid = [k for k in range(12) if box().face_normals[k, 1] > 0.9]
    crate = solid(without(box(), lid), thickness=0.02)
    assert crate.sheet.all()
    probes = np.array([[0, 0, 0], [0.395, 0, 0], [0.405, 0, 0], [0.42, 0, 0], [0, 0.4, 0]])
    assert crate.contains(probes).tolist() == [False, True, True, False, False]
    drawn = crate.surface(4000, rng)
    # Both of its surfaces are sampled, and each sample lies on the border of what is inside.
    assert (drawn.normals[:, 1] > 0.9).any()
    assert (drawn.normals[:, 1] < -0.9).any()
    assert crate.contains(drawn.points - 1e-3 * drawn.normals).all()
    assert not crate.contains(drawn.points + 1e-3 * drawn.normals).any()
    assert not solid(without(box(), lid), thickness=0.0).contains(probes).any()


def test_a_leaky_mesh_without_libigl_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "igl", None)
    with pytest.raises(ConfigError, match=r"recon\[prepare\]"):
        solid(without(box(), [0]))


def test_kinds():
    assert kind_of(np.asarray(BALL.faces), len(BALL.vertices)) == "oriented"
    assert kind_of(np.asarray(BALL.faces)[1:], len(BALL.vertices)) == "leaky"


def test_cleaning_joins_seams_and_drops_what_is_empty_or_there_twice():
    shape = box()
    soup = Mesh(shape.triangles.reshape(-1, 3), np.arange(36).reshape(-1, 3))
    messy = Mesh(soup.vertices, np.vstack([soup.faces, soup.faces[:3, ::-1], [[0, 0, 1], [5, 5, 5]]]))
    tidy = cleaned(messy)
    assert (len(tidy.vertices), len(tidy.faces)) == (8, 12)
    assert kind_of(tidy.faces, 8) == "oriented"
    with pytest.raises(DataError, match="area"):
        cleaned(Mesh(np.eye(3), np.array([[0, 0, 1]])))


@pytest.mark.parametrize(("up", "top"), [("y", [0, 1, 0]), ("z", [0, 0, 1]), ("x", [1, 0, 0])])
def test_normalised_is_upright_centred_and_of_unit_length(up, top):
    shape = box((1, 2, 3), (5, 6, 7))
    corner = 2 * np.array([top], dtype=float) @ shape.vertices.T  # how high each corner is, in the file
    found = normalised(Textured.plain(mesh_of(shape)), up)
    low, high = found.shape.vertices.min(axis=0), found.shape.vertices.max(axis=0)
    np.testing.assert_allclose(low, -high)
    assert (high - low).max() == pytest.approx(1)
    assert np.corrcoef(corner[0], found.look.mesh.vertices[:, 1])[0, 1] == pytest.approx(1)
    # A proper turn: outward faces stay outward.
    assert trimesh.Trimesh(found.look.mesh.vertices, found.look.mesh.faces, process=False).volume > 0
    np.testing.assert_allclose(found.frame.scale, 3)


@pytest.mark.parametrize("name", ["chair_0890.off", "chair_0892.off"])
def test_a_real_leaky_chair_is_a_thin_shell(data_dir: Path, name):
    pytest.importorskip("igl")
    path = data_dir / "modelnet" / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    shape = normalised(read_textured(path), "z")
    chair = Solid(shape.shape, np.random.default_rng(0))
    assert chair.kind == "leaky"
    points = np.random.default_rng(1).uniform(-0.55, 0.55, (20_000, 3))
    inside = chair.contains(points)
    assert 0.002 < inside.mean() < 0.06
    # All of it lies near the faces: nobody fills the room between legs, or a seat's hollow.
    near = touched(grid_corners(shape.shape, 16, ((-0.6,) * 3, (0.6,) * 3)), 16)
    cells = ((points[inside] + 0.6) / 1.2 * 16).astype(int)
    assert near[tuple(cells.T)].mean() > 0.95
    drawn = chair.surface(3000, np.random.default_rng(2))
    assert not chair.contains(drawn.points + 1e-3 * drawn.normals).mean() > 0.02
