"""Previews: what is seen where, in which colour, and that huge coordinates do not shake the picture."""

import time

import numpy as np
import pytest
import trimesh
from PIL import Image

from recon.errors import ConfigError
from recon.geometry.distance import MeshDistance
from recon.io.types import Cloud, Mesh
from recon.report.camera import FOUR_SIDES, Stage, View
from recon.report.errormap import ErrorMap, vertex_errors
from recon.report.previews import Panel, pair, render_cloud, render_mesh, save_gif, save_image, strip, turntable
from recon.report.shading import CLAY, INNER, MeshPainter


def ball(subdivisions: int = 3, centre=(0.0, 0.0, 0.0), radius: float = 1.0) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions, radius)
    return Mesh(np.asarray(sphere.vertices) + np.asarray(centre), np.asarray(sphere.faces))


def marker(at: tuple[float, float, float]) -> Mesh:
    return ball(2, at, 0.1)


def centre_of(image: np.ndarray) -> tuple[float, float]:
    """Column and row of the middle of what is not background, as shares of the picture."""
    rows, columns = np.nonzero((image != 255).any(axis=-1))
    return columns.mean() / image.shape[1], rows.mean() / image.shape[0]


@pytest.mark.parametrize(
    ("azimuth", "elevation", "up", "at", "where"),
    [
        (0, 0, "y", (0.7, 0, 0), (1, 0)),  # from the front, +x is on the right
        (0, 0, "y", (0, 0.7, 0), (0, 1)),  # and +y up
        (90, 0, "y", (0, 0, 0.7), (-1, 0)),  # from the right, what was near the eye is on the left
        (0, 90, "y", (0, 0, 0.7), (0, -1)),  # from above, the front is at the bottom
        (0, 0, "z", (0, 0, 0.7), (0, 1)),  # z up
        (0, 0, "z", (0.7, 0, 0), (1, 0)),
    ],
)
def test_the_camera_stands_where_it_says(azimuth, elevation, up, at, where):
    stage = Stage(np.zeros(3), 1.0, up)
    picture = render_mesh(marker(at), azimuth, elevation, 120, stage=stage)
    column, row = centre_of(picture)
    assert np.sign(np.round(column - 0.5, 1)) == where[0]
    assert np.sign(np.round(0.5 - row, 1)) == where[1]
    points = Cloud(np.asarray(at) + np.random.default_rng(0).normal(0, 0.03, (500, 3)))
    assert centre_of(render_cloud(points, azimuth, elevation, 120, stage=stage)) == pytest.approx(
        (column, row), abs=0.02
    )


def test_a_sphere_fills_its_stage_and_is_round():
    picture = render_mesh(ball(4), size=200)
    covered = (picture != 255).any(axis=-1)
    assert covered.mean() == pytest.approx(np.pi / 4 / 1.02**2, rel=0.03)
    assert covered.any(axis=0).sum() == pytest.approx(covered.any(axis=1).sum(), abs=1)


def test_map_like_coordinates_give_the_same_picture():
    here, there = ball(), ball(centre=(5e6, -4e6, 3e5))
    difference = render_mesh(here, size=100).astype(int) - render_mesh(there, size=100)
    assert np.abs(difference).mean() < 0.2
    tiny = Mesh(here.vertices * 1e-3, here.faces)
    assert np.abs(render_mesh(here, size=100).astype(int) - render_mesh(tiny, size=100)).mean() < 0.2


def test_light_is_interpolated_at_the_point_hit():
    # Positions as colours: the picture then holds the position of every hit, which the sphere's equation checks.
    mesh = ball(4)
    painter = MeshPainter(mesh, Stage.around(mesh))
    eye, directions = View(20, 30, 64).rays("y")
    hits = painter.scene.run(np.broadcast_to(eye, directions.shape).copy(), directions, output=True)
    seen = hits["primID"] >= 0
    share = np.stack([1 - hits["u"] - hits["v"], hits["u"], hits["v"]], axis=1)[seen]
    at = np.einsum("nk,nkd->nd", share, painter.vertices[painter.faces[hits["primID"][seen]]])
    np.testing.assert_allclose(at, eye + directions[seen] * hits["tfar"][seen, None], atol=1e-5)


def test_faces_seen_from_behind_have_another_colour():
    mesh = ball()
    outside = render_mesh(mesh, size=60, occlusion=False)[30, 30].astype(float)
    inside = render_mesh(Mesh(mesh.vertices, mesh.faces[:, ::-1]), size=60, occlusion=False)[30, 30].astype(float)
    ratio = (inside[0] / inside[2]) / (outside[0] / outside[2])
    assert ratio == pytest.approx((INNER[0] / INNER[2]) / (CLAY[0] / CLAY[2]), rel=0.1)


def test_colors_show_where_they_are():
    mesh = ball(4)
    colors = np.where(mesh.vertices[:, :1] > 0, np.array([[230, 20, 20]]), np.array([[20, 20, 230]])).astype(np.uint8)
    picture = render_mesh(mesh, 0, 0, 100, colors).astype(int)
    assert picture[50, 75, 0] > picture[50, 75, 2] + 100
    assert picture[50, 25, 2] > picture[50, 25, 0] + 100


def test_near_points_hide_far_ones():
    wall = np.stack(np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-1, 1, 60)), axis=-1).reshape(-1, 2)
    near, far = np.c_[wall, np.full(len(wall), 0.5)], np.c_[wall, np.full(len(wall), -0.5)]
    colors = np.repeat(np.array([[220, 30, 30], [30, 30, 220]], dtype=np.uint8), len(wall), axis=0)
    for order in (slice(None), slice(None, None, -1)):  # whatever the order in the file
        cloud = Cloud(np.concatenate([near, far])[order])
        front = render_cloud(cloud, 0, 0, 120, colors[order])[40:80, 40:80].astype(int)
        red, blue = (front[..., 0] > front[..., 2] + 60).sum(), (front[..., 2] > front[..., 0] + 60).sum()
        assert red > 3 * blue


def test_occlusion_darkens_a_corner_and_not_a_plain():
    floor = trimesh.creation.box((2, 0.02, 2))
    wall = trimesh.creation.box((2, 1, 0.02), trimesh.transformations.translation_matrix([0, 0.5, 0]))
    room = trimesh.util.concatenate([floor, wall])
    mesh = Mesh(np.asarray(room.vertices), np.asarray(room.faces))
    plain, shaded = (render_mesh(mesh, 0, 40, 160, occlusion=o).astype(float) for o in (False, True))
    share = (shaded.mean(axis=-1) / plain.mean(axis=-1))[:, 80]
    assert share[90:105].min() < 0.8
    assert share[125] > 0.93


def test_empty_and_broken_things_are_pictures_too():
    assert (render_mesh(Mesh.empty(), size=40) == 255).all()
    assert (render_cloud(Cloud(np.zeros((0, 3))), size=40) == 255).all()
    mesh = ball()
    mesh.vertices[0] = np.nan
    assert (render_mesh(mesh, size=40) != 255).any()
    assert render_mesh(mesh, size=40, background="transparent").shape == (40, 40, 4)


def test_errors_of_a_larger_ball_are_its_distance():
    truth, mesh = ball(5), ball(3, radius=1.1)
    np.testing.assert_allclose(vertex_errors(mesh, truth), 0.1, atol=2e-3)
    corners = truth.vertices[truth.faces]
    for vertex, found in zip(mesh.vertices[:10], vertex_errors(mesh, truth), strict=False):
        nearest = trimesh.triangles.closest_point(corners, np.tile(vertex, (len(corners), 1)))
        assert found == pytest.approx(np.linalg.norm(nearest - vertex, axis=1).min(), abs=1e-9)
    coarse, fine = ball(2), ball(4)
    exact = MeshDistance(coarse).query(fine.vertices).distance
    np.testing.assert_array_equal(vertex_errors(fine, coarse), exact)
    fine.vertices[0] = np.nan
    assert np.isnan(vertex_errors(fine, coarse)).sum() == np.isnan(vertex_errors(fine, Cloud(mesh.vertices))).sum() == 1
    assert np.isnan(vertex_errors(mesh, Mesh.empty())).all()
    np.testing.assert_allclose(vertex_errors(mesh, Cloud(mesh.vertices + np.array([0, 0, 1e-4]))), 1e-4, rtol=1e-6)


def test_error_colours_and_legend():
    errors = ErrorMap(np.array([0.0, 0.5, 1.0, 9.0, np.nan]), "m", limit=1.0)
    colors = errors.colors()
    assert (colors[2] == colors[3]).all()
    assert (colors[2] == colors[4]).all()
    assert (colors[0] == errors.bar(8)[0]).all()
    assert errors.ends() == ("0", "1 m or more")
    assert ErrorMap(np.zeros(4)).colors().shape == (4, 3)


def test_strip_pair_turntable_and_files(tmp_path):
    mesh = ball()
    cloud = Cloud(mesh.vertices, mesh.vertices)
    panels = [
        Panel("input", cloud),
        Panel.of_errors("error", mesh, ErrorMap(np.abs(mesh.vertices[:, 0]))),
        Panel("no", Mesh.empty()),
    ]
    sheet = strip(panels, 80)
    assert sheet.shape == (3 * (80 + 24), len(FOUR_SIDES) * 80, 3)
    assert np.unique(sheet[104:128].reshape(-1, 3), axis=0).shape[0] > 40  # the legend's colours
    assert pair(cloud, mesh, size=60).shape == (60, 120, 3)
    assert centre_of(pair(mesh, marker((0.5, 0, 0)), 0, 0, 60)[:, 60:])[0] > 0.6  # the left one sets the stage
    with Image.open(save_image(tmp_path / "ä b.png", sheet)) as image:
        assert image.size == (sheet.shape[1], sheet.shape[0])
    with Image.open(save_gif(tmp_path / "t.gif", turntable(mesh, 5, 48))) as image:
        assert image.n_frames == 5
    with pytest.raises(ConfigError, match="at least one panel"):
        strip([])


def test_four_views_of_a_large_mesh_are_quick():
    mesh = ball(6)  # 81,920 faces
    start = time.process_time()
    strip([Panel("mesh", mesh)], 200)
    assert time.process_time() - start < 4  # about 0.5 s on the machine this was written on
