from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.errors import DataError
from recon.io.parsing import FormatError
from recon.io.renderings import (
    FARTHEST,
    Viewpoint,
    format_viewpoints,
    intrinsics,
    parse_view_names,
    parse_viewpoints,
    read_view_names,
    read_viewpoints,
)

quick = settings(max_examples=50, deadline=None, derandomize=True)
finite = st.floats(allow_nan=False, allow_infinity=False)
PUBLISHED = "208.0 27.5 0 0.846 25\n329.9 29.1 0 0.701 25\n"


def project(view: Viewpoint, point: list[float]) -> np.ndarray:
    """Column and row of a world point, in pixels."""
    local = np.linalg.inv(view.pose()) @ [*point, 1.0]
    across = intrinsics() @ local[:3]
    return across[:2] / across[2]


def test_the_origin_is_in_the_middle_and_y_is_up():
    view = Viewpoint(208, 27.5, 0, 0.846)
    np.testing.assert_allclose(project(view, [0, 0, 0]), [68.5, 68.5])
    column, row = project(view, [0, 0.3, 0])
    assert column == pytest.approx(68.5)
    assert row < 68.5


def test_azimuth_runs_from_x_to_z_and_distance_is_a_share():
    np.testing.assert_allclose(Viewpoint(0, 0, 0, 1).pose()[:3, 3], [FARTHEST, 0, 0])
    np.testing.assert_allclose(Viewpoint(90, 0, 0, 0.5).pose()[:3, 3], [0, 0, FARTHEST / 2], atol=1e-12)
    np.testing.assert_allclose(Viewpoint(0, 90, 0, 1).pose()[:3, 3], [0, FARTHEST, 0], atol=1e-12)
    # Seen from +x with y up, -z is on the right.
    assert project(Viewpoint(0, 0), [0, 0, -0.2])[0] > 68.5


def test_poses_are_those_of_blenders_scene():
    """Blender turns an .obj by 90 degrees about x, then an empty that carries the camera by -azimuth and -elevation."""
    azimuth, elevation, rotation, distance = 208.0, 27.5, 12.0, 0.846

    def turn(axis: int, degrees: float) -> np.ndarray:
        matrix, (i, j) = np.eye(3), ((1, 2), (2, 0), (0, 1))[axis]
        matrix[i, i] = matrix[j, j] = np.cos(np.radians(degrees))
        matrix[j, i] = np.sin(np.radians(degrees))
        matrix[i, j] = -matrix[j, i]
        return matrix

    carried = turn(2, -azimuth) @ turn(1, -elevation) @ turn(0, -rotation)
    # A camera on +x that looks back: its image's right is +y, its down is -z, its forward is -x.
    local = np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]])
    expected = turn(0, -90) @ carried @ local
    pose = Viewpoint(azimuth, elevation, rotation, distance).pose()
    np.testing.assert_allclose(pose[:3, :3], expected, atol=1e-12)
    np.testing.assert_allclose(pose[:3, 3], turn(0, -90) @ carried @ [FARTHEST * distance, 0, 0], atol=1e-12)


def test_the_lens_is_35_mm_before_32_mm():
    np.testing.assert_allclose(intrinsics(), [[149.84375, 0, 68.5], [0, 149.84375, 68.5], [0, 0, 1]])


def test_files_are_read(tmp_path):
    (tmp_path / "rendering_metadata.txt").write_text(PUBLISHED)
    (tmp_path / "renderings.txt").write_text("00.png\r\n01.png\n")
    assert read_viewpoints(tmp_path / "rendering_metadata.txt") == [
        Viewpoint(208.0, 27.5, 0.0, 0.846, 25.0),
        Viewpoint(329.9, 29.1, 0.0, 0.701, 25.0),
    ]
    assert read_view_names(tmp_path / "renderings.txt") == ["00.png", "01.png"]


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_viewpoints, "", "five numbers"),
        (read_viewpoints, "1 2 3 4\n", "five numbers"),
        (read_viewpoints, "1 2 3 x 5\n", "cameras"),
        (read_viewpoints, "1 2 0 .8 25\n1 2 0 nan 25\n", "line 2"),
        (read_viewpoints, "1 2 0 -1 25\n", "is no camera"),
        (read_view_names, "\n", "none"),
        (read_view_names, "a.png\na.png\n", "twice"),
        (read_view_names, "../a.png\n", "no name of a file"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, read, text, message):
    (tmp_path / "file").write_text(text)
    with pytest.raises(DataError, match=f"file.*{message}"):
        read(tmp_path / "file")
    with pytest.raises(DataError, match="No such file"):
        read(tmp_path / "missing")


@quick
@given(st.lists(st.builds(Viewpoint, finite, finite, finite, st.floats(1e-300, 1e300), finite), min_size=1))
def test_cameras_are_read_as_they_were_written(views):
    assert parse_viewpoints(format_viewpoints(views)) == views


@quick
@given(st.one_of(st.text(), st.text("0123456789.- e\n", max_size=60)))
def test_no_text_does_harm(text):
    for parse in (parse_viewpoints, parse_view_names):
        try:
            parse(text)
        except FormatError:
            continue
