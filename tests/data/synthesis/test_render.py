"""The CPU renderer against what a sphere, a box and a quad must look like."""

import numpy as np
import pytest
import trimesh

from recon.data.synthesis.render import Renderer, render
from recon.data.synthesis.shading import Light, Lights, corner_normals
from recon.data.synthesis.textures import Material, Textured, merged
from recon.geometry.cameras import backproject, look_at
from recon.io.types import Mesh

FLAT = Lights((), ambient=1.0)
K = np.array([[150.0, 0, 50], [0, 150, 50], [0, 0, 1]])
UP = np.array([0.0, 1, 0])


def mesh_of(shape) -> Mesh:
    return Mesh(np.asarray(shape.vertices, dtype=np.float64), np.asarray(shape.faces, dtype=np.int64))


def quad(z: float = 0.0, half: float = 0.5) -> Mesh:
    corners = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]])
    return Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]]))


SPHERE = mesh_of(trimesh.creation.icosphere(5, 0.5))
FRONT = look_at(np.array([0, 0, 2.0]), np.zeros(3), UP)


def test_a_sphere_has_its_disc_its_depth_and_its_normals():
    seen = render(Textured.plain(SPHERE), K, FRONT, (100, 100))
    # The cone that touches the sphere has this radius on the picture.
    radius = 150 * np.tan(np.arcsin(0.5 / 2))
    assert seen.alpha.sum() / 255 == pytest.approx(np.pi * radius**2, rel=0.003)
    rows = seen.face >= 0
    assert (rows == (seen.depth > 0)).all()
    points = backproject(seen.depth, K, FRONT)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.5, atol=1e-3)
    np.testing.assert_allclose(seen.normal[rows], points / np.linalg.norm(points, axis=1, keepdims=True), atol=0.02)
    # Pixel centres lie at + 0.5: the picture is its own mirror image.
    np.testing.assert_allclose(seen.depth, seen.depth[:, ::-1], atol=2e-3)
    assert seen.depth[49:51, 49:51] == pytest.approx(1.5, abs=1e-3)


def test_a_mesh_far_from_the_origin_looks_the_same():
    offset = np.array([5e6, -3e6, 200.0])
    there = FRONT.copy()
    there[:3, 3] += offset
    near = render(Textured.plain(SPHERE), K, FRONT, (100, 100))
    far = render(Textured.plain(Mesh(SPHERE.vertices + offset, SPHERE.faces)), K, there, (100, 100))
    assert np.abs(near.rgb.astype(int) - far.rgb).max() <= 2
    np.testing.assert_allclose(near.depth, far.depth, atol=1e-5)


def test_images_colours_and_materials_multiply():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0], image[0, 1], image[1, 0], image[1, 1] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    seen = render(Textured.mapped(quad(), uv, image), K, FRONT, (100, 100), FLAT)
    # v points up: the image's first row is on top. The camera sees +x on its right.
    quarter = [seen.rgb[k, j].tolist() for k, j in ((32, 32), (32, 67), (67, 32), (67, 67))]
    for found, wanted in zip(quarter, image.reshape(4, 3).tolist(), strict=True):
        assert np.abs(np.array(found) - wanted).max() < 40
    tinted = Textured(
        Mesh(quad().vertices, quad().faces, colors=np.full((4, 3), 128, np.uint8)),
        (Material((1.0, 0.5, 0.0)),),
        np.zeros(2, np.int64),
    )
    assert render(tinted, K, FRONT, (100, 100), FLAT).rgb[50, 50].tolist() == [128, 64, 0]


def test_parts_keep_their_faces_and_looks_when_merged():
    parts = [Textured.plain(quad(0.2, 0.2), (1.0, 0.0, 0.0)), Textured.plain(quad(), (0.0, 0.0, 1.0))]
    seen = render(merged(parts), K, FRONT, (100, 100), FLAT)
    assert seen.face[48, 52] in (0, 1)
    assert seen.face[15, 50] in (2, 3)
    assert seen.rgb[48, 52].tolist() == [255, 0, 0]
    assert seen.rgb[15, 50].tolist() == [0, 0, 255]
    assert seen.rgb[2, 2].tolist() == [0, 0, 0]
    assert seen.alpha[2, 2] == 0


def test_edges_are_smooth_and_keep_their_colour():
    seen = render(Textured.plain(quad(half=0.411), (1.0, 0.0, 0.0)), K, FRONT, (100, 100), FLAT, supersample=4)
    partly = (seen.alpha > 0) & (seen.alpha < 255)
    assert partly.any()
    assert (seen.rgb[partly] == (255, 0, 0)).all()
    assert seen.alpha.sum() / 255 == pytest.approx((0.822 * 75) ** 2, rel=0.02)


def test_lights_shine_from_where_they_are_and_things_cast_shadows():
    floor, ball = quad(0, 2.0), mesh_of(trimesh.creation.icosphere(3, 0.2))
    scene = merged([Textured.plain(floor), Textured.plain(Mesh(ball.vertices + np.array([0, 0, 0.6]), ball.faces))])
    aside = Light((1.0, 0.0, 1.0))
    lit = [
        render(scene, K, FRONT, (100, 100), Lights((light,), 0.2, 0.0, shadows=shadows)).rgb.astype(int)
        for light, shadows in ((aside, False), (aside, True), (Light((0.6, 0, 0.6), kind="lamp"), True))
    ]
    # The ball at z = 0.6 throws its shadow to x = -0.6, which the camera sees 45 pixels left of the middle.
    assert lit[1][50, 5].sum() < 0.5 * lit[0][50, 5].sum()
    np.testing.assert_array_equal(lit[1][90, 80], lit[0][90, 80])
    # A lamp to the right of the ball, at its height, leaves what lies beyond in the dark, and the rest not.
    assert lit[2][50, 95].sum() > 1.5 * lit[2][50, 2].sum()
    held = Lights((Light((0.0, 0.0, -1.0), frame="camera"),), 0.0, 0.0)
    behind = look_at(np.array([0, 0, -2.0]), np.zeros(3), UP)
    for pose in (FRONT, behind):
        assert render(Textured.plain(floor, (1.0, 1.0, 1.0)), K, pose, (100, 100), held).rgb[50, 50].min() >= 254


def test_creases_stay_sharp_and_seams_are_smooth():
    box = mesh_of(trimesh.creation.box((1, 1, 1)))
    flat, corners = corner_normals(box)
    np.testing.assert_allclose(corners, np.repeat(flat[:, None], 3, axis=1), atol=1e-6)
    # A sphere whose faces share no vertex is as smooth as one whose faces do.
    soup = Mesh(SPHERE.vertices[SPHERE.faces].reshape(-1, 3), np.arange(3 * len(SPHERE.faces)).reshape(-1, 3))
    for shape in (SPHERE, soup):
        _, corners = corner_normals(shape)
        np.testing.assert_allclose(corners, 2 * shape.vertices[shape.faces], atol=0.01)
    _, corners = corner_normals(SPHERE, flat=True)
    assert np.ptp(corners, axis=1).max() == 0


def test_nothing_is_seen_of_nothing():
    seen = render(Renderer(Textured.plain(Mesh.empty())), K, FRONT, (10, 20))
    assert seen.rgb.shape == (10, 20, 3)
    assert not seen.alpha.any()
    assert not seen.depth.any()
    assert (seen.face == -1).all()


def test_the_hub_of_a_huge_fan_fills_no_memory():
    around = np.linspace(0, 2 * np.pi, 20_001)[:-1]
    rim = np.stack([np.cos(around), np.sin(around), np.zeros_like(around)], axis=1)
    index = np.arange(20_000)
    fan = Mesh(np.vstack([[0, 0, 0], rim]), np.stack([np.zeros_like(index), 1 + index, 1 + (index + 1) % 20_000], 1))
    _, corners = corner_normals(fan)
    np.testing.assert_allclose(corners, np.broadcast_to([0.0, 0, 1], corners.shape), atol=1e-5)


def test_large_pictures_are_made_in_bands_and_look_the_same(monkeypatch):
    skewed = K + np.array([[0, 3.0, 0], [0, 0, -4], [0, 0, 0]])
    whole = render(Textured.plain(SPHERE), skewed, FRONT, (60, 100))
    monkeypatch.setattr("recon.data.synthesis.render.MOST_RAYS", 1700)
    for name, image in vars(render(Textured.plain(SPHERE), skewed, FRONT, (60, 100))).items():
        np.testing.assert_allclose(image.astype(float), vars(whole)[name].astype(float), atol=1e-5, err_msg=name)
