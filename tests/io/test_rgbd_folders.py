"""RGB-D recordings: the real ones line up when all of their frames are fused; damaged ones do no harm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from recon.errors import DataError
from recon.geometry.rgbd import frame_cloud
from recon.io import trajectories
from recon.io.images import read_gray, write_png
from recon.io.parsing import FormatError
from recon.io.rgbd import decode_sun, read_rgbd
from tests.data import recordings

HARMLESS = settings(max_examples=30, deadline=None, derandomize=True)
PARSERS = [
    trajectories.parse_matrix,
    trajectories.parse_log,
    trajectories.parse_extrinsics,
    trajectories.parse_times,
    trajectories.parse_trajectory,
    trajectories.parse_intrinsics,
    trajectories.parse_intrinsics_json,
]


def disagreement(folder) -> np.ndarray:
    """(V, 2) for each frame: mean distance of its points to those of all other frames, and to their planes.

    Depth is read by hand, so that this judges cameras, poses and units alone. Points that no other frame has within
    10 cm are not in the overlap.
    """
    clouds = []
    for shot in (capture := read_rgbd(folder)).shots:
        counts = read_gray(shot.depth)
        depth = np.where(counts == 65535, 0, counts)[1::3, 1::3] * capture.depth_unit
        third = np.diag([1 / 3, 1 / 3, 1]) @ shot.intrinsics  # the middle of three pixels is their common centre
        cloud = frame_cloud(depth, third, shot.pose, normals=True)
        clouds.append((cloud.points[::3], cloud.normals[::3]))
    rows = []
    for i, (points, _) in enumerate(clouds):
        others = np.concatenate([c[0] for j, c in enumerate(clouds) if j != i])
        normals = np.concatenate([c[1] for j, c in enumerate(clouds) if j != i])
        distance, near = cKDTree(others).query(points, distance_upper_bound=0.1)
        met = np.isfinite(distance)
        assert met.mean() > 0.6
        gap = points[met] - others[near[met]]
        rows.append((distance[met].mean(), np.abs((gap * normals[near[met]]).sum(axis=1)).mean()))
    return np.array(rows)


def test_real_7scenes_lines_up_within_3_cm(data_dir):
    assert disagreement(data_dir / "rgbd_7scenes").max(axis=0)[0] < 0.03


def test_real_icl_lines_up_within_5_mm(data_dir):
    points, planes = disagreement(data_dir / "icl_livingroom1").T
    # Neighbours in a sparse sample are 5 mm apart of themselves; what poses and depth do shows across the surface.
    assert np.median(points) < 0.005
    assert planes.max() < 0.005


def test_real_encodings(data_dir):
    """A wrong decoding is torn: neighbours in a smooth image of depth are near each other."""

    def torn(depth):
        both = (depth[:, 1:] > 0) & (depth[:, :-1] > 0)
        return float((np.abs(np.diff(depth, axis=1))[both] > 0.1).mean())

    counts = read_gray(data_dir / "rgbd_formats/SUN_depth.png")
    metres = decode_sun(counts) / 1000
    assert torn(metres) < 0.06
    assert 0.5 < np.median(metres[metres > 0]) < 4
    assert metres.max() < 10
    turned = (counts & 7) > 0
    assert not turned.any() or metres[turned].min() >= 8.192  # what the bits were turned for
    tum = read_gray(data_dir / "rgbd_formats/TUM_depth.png") / 5000
    assert torn(tum) < 0.06
    assert 0.5 < np.median(tum[tum > 0]) < 4
    assert tum.max() < 10


def test_sun_bits_are_turned_by_three():
    counts = np.arange(65536).astype(np.uint16)
    turned = (counts << 3) | (counts >> 13)
    assert (decode_sun(turned) == counts).all()


def test_frames_without_pose_are_left_out_and_told(tmp_path, caplog):
    folder = recordings.seven_scenes(tmp_path / "a")
    np.savetxt(folder / "frame-000003.pose.txt", np.full((4, 4), -np.inf))
    np.savetxt(folder / "frame-000004.pose.txt", np.full((4, 4), np.nan))
    assert len(read_rgbd(folder).shots) == recordings.VIEWS - 2
    assert "2 of 10 frames" in caplog.text
    for file in folder.glob("*.pose.txt"):
        np.savetxt(file, np.full((4, 4), np.nan))
    with pytest.raises(DataError, match="none of its 10 frames"):
        read_rgbd(folder)


def test_a_trajectory_longer_than_its_images_goes_by_their_numbers(tmp_path):
    folder = recordings.redwood(tmp_path / "a")
    for name in ("image", "depth"):
        for i in (0, 1, 3, 4, 6, 7, 8):
            (folder / name / f"{i:05d}.png").unlink()
    shots = read_rgbd(folder).shots
    np.testing.assert_allclose([s.pose for s in shots], recordings.poses()[[2, 5, 9]], atol=1e-6)
    (folder / "image/00005.png").unlink()
    with pytest.raises(DataError, match="2 colour and 3 depth images"):
        read_rgbd(folder)


def test_times_far_from_all_others_are_left_out(tmp_path):
    folder = recordings.tum(tmp_path / "a")
    lines = (folder / "rgb.txt").read_text().splitlines()
    late = lines[1].split()
    lines[1] = f"{float(late[0]) + 0.3:.6f} {late[1]}"
    (folder / "rgb.txt").write_text("\n".join(lines))
    shots = read_rgbd(folder).shots
    assert [shot.image.stem for shot in shots] == [str(i) for i in range(1, recordings.VIEWS)]


def test_poses_between_others():
    times = np.array([0.0, 0.01])
    poses = np.tile(np.eye(4), (2, 1, 1))
    c, s = np.cos(0.02), np.sin(0.02)
    poses[1, :2, :2], poses[1, 0, 3] = [[c, -s], [s, c]], 0.1
    middle = trajectories.pose_at(0.0025, times, poses)
    assert np.arctan2(middle[1, 0], middle[0, 0]) == pytest.approx(0.005, abs=1e-6)
    assert middle[0, 3] == pytest.approx(0.025)
    assert (trajectories.pose_at(0.02, times, poses) == poses[1]).all()
    assert trajectories.pose_at(0.05, times, poses) is None
    assert trajectories.pose_at(-1.0, times, poses) is None


@pytest.mark.parametrize(("centre", "given"), [(319.5, 239.5), (320.0, 240.0), (325.1, 249.7)])
def test_where_pixels_are_counted_from(tmp_path, centre, given):
    """Half a pixel is added to a centre of an image that is counted from its first pixel's centre, and only then."""
    write_png(tmp_path / "frame-000000.color.png", np.zeros((480, 640, 3), dtype=np.uint8))
    write_png(tmp_path / "frame-000000.depth.png", np.full((480, 640), 1000, dtype=np.uint16))
    np.savetxt(tmp_path / "frame-000000.pose.txt", np.eye(4))
    (tmp_path / "camera-intrinsics.txt").write_text(f"525 0 {centre}\n0 525 {given}\n0 0 1\n")
    k = read_rgbd(tmp_path).shots[0].intrinsics
    shift = 0.5 if centre == 319.5 else 0.0
    assert k[:2, 2].tolist() == [centre + shift, given + shift]
    (tmp_path / "camera-intrinsics.txt").unlink()
    assert read_rgbd(tmp_path).shots[0].intrinsics.tolist() == [[585, 0, 320], [0, 585, 240], [0, 0, 1]]
    write_png(tmp_path / "frame-000000.depth.png", np.full((240, 320), 1000, dtype=np.uint16))
    with pytest.raises(DataError, match=r"(?s)320 x 240 pixels is not known.*camera-intrinsics\.txt"):
        read_rgbd(tmp_path)


def test_missing_and_unknown(tmp_path):
    with pytest.raises(DataError, match=r"(?s)no RGB-D frames.*7-Scenes.*TUM"):
        read_rgbd(tmp_path)
    folder = recordings.seven_scenes(tmp_path / "a")
    (folder / "frame-000002.depth.png").unlink()
    with pytest.raises(DataError, match=r"frame-000002\.depth\.png': this image is not there"):
        read_rgbd(folder)
    (folder / "frame-000002.pose.txt").write_text("1 0 0\n")
    with pytest.raises(DataError, match=r"frame-000002\.pose\.txt': a pose of shape \(1, 3\)"):
        read_rgbd(folder)


WORDS = (
    "0",
    "1",
    "-1",
    "nan",
    "inf",
    "1e400",
    "-1e308",
    "x",
    "5",
    "0.5",
    "#",
    "\n",
    "a.png",
    "../b",
    "/",
    "\0",
    "{}",
    '"',
)


@pytest.mark.parametrize("parse", PARSERS)
@HARMLESS
@given(data=st.binary(max_size=200), words=st.lists(st.sampled_from(WORDS), max_size=60))
def test_no_bytes_do_harm(parse, data, words):
    rows = "\n".join(" ".join(words[i : i + 8]) for i in range(0, len(words), 8)).encode()
    squares = "\n".join(" ".join(words[i : i + 4]) for i in range(0, len(words), 4)).encode()
    nine = b'{"intrinsic_matrix": [' + ",".join(words[:9]).encode() + b"]}"
    for candidate in (data, rows, squares, nine, " ".join(words).encode()):
        try:
            with np.errstate(all="ignore"):
                parse(candidate)
        except FormatError:
            pass
