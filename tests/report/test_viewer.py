"""The viewer's buffers hold the mesh: where it is, how it winds, in its colours."""

import base64
import json
import re

import numpy as np
import pytest
import trimesh

from recon.io.types import Cloud, Mesh
from recon.report.camera import Stage
from recon.report.errormap import ErrorMap
from recon.report.viewer import payload, simplified, viewer_html
from tests.report.conftest import SHIFT


def unpacked(data: dict, key: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(data[key]), kind).reshape(-1, 3)


def positions(data: dict, key: str = "position") -> np.ndarray:
    return unpacked(data, key, "<u2") / 65535 * data["size"] + np.array(data["low"])


def test_the_buffers_are_the_mesh(ball):
    data = payload(ball)
    stage = Stage.around(ball)
    np.testing.assert_allclose(positions(data), (ball.vertices - stage.centre) / stage.radius, atol=2e-5)
    np.testing.assert_array_equal(unpacked(data, "index", "<u4"), ball.faces)
    normals = unpacked(data, "normal", "i1") / 127
    np.testing.assert_allclose(normals, ball.vertices - SHIFT, atol=0.02)
    assert "error" not in data
    json.dumps(data)


def test_large_meshes_are_simplified_and_keep_shape_and_colours():
    sphere = trimesh.creation.icosphere(6)
    mesh = Mesh(np.asarray(sphere.vertices) + SHIFT, np.asarray(sphere.faces))
    errors = ErrorMap(np.asarray(sphere.vertices[:, 2] + 1), limit=2.0)
    data = payload(mesh, errors, max_faces=5000)
    assert data["faces_before"] == 81920
    assert data["faces"] <= 5100
    at = positions(data)
    assert np.linalg.norm(at, axis=1) == pytest.approx(1, abs=0.01)
    expected = ErrorMap(at[:, 2] + 1, limit=2.0).colors().astype(int)
    assert np.abs(unpacked(data, "error", "u1") - expected).max() < 20
    same, colors = simplified(mesh, 10**6)
    assert same is mesh
    assert colors is None


def test_own_colours_and_errors_are_two_colourings(ball):
    own = np.random.default_rng(0).integers(0, 256, ball.vertices.shape).astype(np.uint8)
    data = payload(Mesh(ball.vertices, ball.faces, colors=own), ErrorMap(np.ones(len(own)), limit=1.0))
    np.testing.assert_array_equal(unpacked(data, "color", "u1"), own)
    assert len(np.unique(unpacked(data, "error", "u1"), axis=0)) == 1


def test_clouds_are_thinned_and_outliers_do_not_shrink_the_rest(ball):
    points = np.concatenate([ball.vertices, ball.vertices[:1] + 1e4, [[np.nan] * 3]])
    data = payload(ball, cloud=Cloud(points), max_points=500)
    assert len(unpacked(data, "points", "<u2")) == 500
    assert data["size"] < 4.5


def test_broken_vertices_go_with_their_faces(ball):
    vertices = ball.vertices.copy()
    vertices[0] = np.nan
    data = payload(Mesh(vertices, ball.faces), ErrorMap(np.arange(len(vertices), dtype=float)))
    assert data["faces"] == (ball.faces != 0).all(axis=1).sum()
    assert len(unpacked(data, "position", "<u2")) == len(unpacked(data, "error", "u1")) == len(vertices) - 1


def test_an_empty_mesh_is_a_sentence():
    html = viewer_html(Mesh.empty())
    assert "empty" in html
    assert "canvas" not in html


def test_the_page_offers_what_there_is(ball):
    bare = viewer_html(ball)
    assert "data-switch" not in bare
    full = viewer_html(ball, ErrorMap(np.ones(len(ball.vertices)), "mm", 2.0), Cloud(ball.vertices))
    assert re.findall(r'data-switch="(\w+)"', full) == ["error", "points"]
    assert "2 mm or more" in full
    assert re.findall(r'data-mode="(\w+)" aria-pressed="(\w+)"', full) == [
        ("surface", "true"),
        ("wire", "false"),
        ("vertices", "false"),
    ]
