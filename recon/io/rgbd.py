"""Folders of RGB-D frames with poses: 7-Scenes, ICL-NUIM and Redwood, TUM, SUN3D, and a folder of poses (ScanNet).

Depth is z along the optical axis. Colour and depth are taken to be registered and of one camera. Its intrinsics come
from a file ``camera-intrinsics.txt`` (K in pixels, 3 x 3) or ``*intrinsic*.json`` (Open3D) in the folder or above it,
or are the ones published with the format. Where the optical centre is told: K = 320, 240 for 640 x 480 pixels
(7-Scenes) counts pixels from their corners, as we do; 319.5, 239.5 (ICL, TUM, Open3D) counts from the first one's
centre, and half a pixel is added. A file's centre is read in the second way if it is within 0.01 of (width - 1) / 2.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from recon.errors import DataError
from recon.io.captures import Capture, Shot, parsed, pinhole, rigid, told
from recon.io.images import IMAGES, image_files, image_size
from recon.io.trajectories import (
    LATEST,
    parse_extrinsics,
    parse_intrinsics,
    parse_intrinsics_json,
    parse_log,
    parse_matrix,
    parse_times,
    parse_trajectory,
    pose_at,
)

log = logging.getLogger("recon")

SEVEN_SCENES = (585.0, 585.0, 320.0, 240.0)  # Shotton et al., CVPR 2013: the Kinect's, uncalibrated
OPENNI = (525.0, 525.0, 319.5, 239.5)  # what ICL-NUIM, Redwood and TUM publish for registered colour and depth
INVALID = 65535  # 7-Scenes: nothing measured
COLORS = ("image", "color", "rgb", "images", "colour")
NUMBER = re.compile(r"\d+")


def find_rgbd(folder: Path) -> str | None:
    """How a folder's frames are laid out: ``seven``, ``log``, ``tum``, ``sun``, ``poses``, or None."""
    if not folder.is_dir():
        return None
    if all((folder / name).is_file() for name in ("rgb.txt", "depth.txt", "groundtruth.txt")):
        return "tum"
    if next(folder.glob("*.pose.txt"), None) or next(folder.glob("seq-*/*.pose.txt"), None):
        return "seven"
    if not (folder / "depth").is_dir() or _colors(folder) is None:
        return None
    if next(folder.glob("extrinsics/*.txt"), None) and (folder / "intrinsics.txt").is_file():
        return "sun"
    if _poses(folder) is not None:
        return "poses"
    return None if _log(folder) is None else "log"


def read_rgbd(folder: str | Path) -> Capture:
    """The frames of a folder: colour, depth, camera and pose of each; frames without a pose are left out and told of.

    Raises:
        DataError: if files are missing or damaged, or no frame has a pose.
    """
    folder = Path(folder)
    layout = find_rgbd(folder)
    if layout is None:
        raise DataError(
            f"'{folder}': these are no RGB-D frames with poses that are known.",
            "Known are frame-000000.{color,depth}.png with .pose.txt (7-Scenes), image/ and depth/ with trajectory.log "
            "(ICL, Redwood), pose/ (ScanNet) or extrinsics/ (SUN3D), rgb.txt, depth.txt and groundtruth.txt (TUM).",
        )
    return {"seven": _seven_scenes, "log": _redwood, "tum": _tum, "sun": _sun, "poses": _posed}[layout](folder)


def decode_sun(counts: np.ndarray) -> np.ndarray:
    """Millimetres (uint16) of SUN3D's depth images, whose bits are turned by three places."""
    counts = np.asarray(counts, dtype=np.uint16)
    return (counts >> 3) | (counts << 13)


def _seven_scenes(folder: Path) -> Capture:
    """``frame-000000.{color.png,depth.png,pose.txt}`` in the folder, or in its ``seq-01``, ``seq-02``, ..."""
    shots, lost = [], []
    for file in sorted(folder.glob("*.pose.txt")) or sorted(folder.glob("seq-*/*.pose.txt")):
        stem = file.name.removesuffix(".pose.txt")
        matrix = parsed(file, parse_matrix)
        if not np.isfinite(matrix).all():
            lost.append(stem)
            continue
        with told(file):
            pose = rigid(matrix, "the pose")
        color, depth = (_only(file.parent, f"{stem}.{kind}") for kind in ("color", "depth"))
        shots.append((color, depth, pose))
    return _capture(folder, shots, lost, SEVEN_SCENES, 0.001)


def _redwood(folder: Path) -> Capture:
    """``image/`` and ``depth/`` with a trajectory.

    Row i is of the i-th image where there are as many rows as images, else of the image of number i.
    """
    colors_folder, file = _colors(folder), _log(folder)
    assert colors_folder is not None
    assert file is not None
    colors, depths = image_files(colors_folder), image_files(folder / "depth")
    if len(colors) != len(depths):
        raise DataError(
            f"'{folder}': there are {len(colors)} colour and {len(depths)} depth images.", "Give as many of each."
        )
    poses = parsed(file, parse_log)
    rows = range(len(colors)) if len(poses) == len(colors) else [_number_of(color) for color in colors]
    shots, lost = [], []
    for color, depth, row in zip(colors, depths, rows, strict=True):
        if not 0 <= row < len(poses) or not np.isfinite(poses[row]).all():
            lost.append(color.name)
            continue
        with told(file):
            shots.append((color, depth, rigid(poses[row], f"the pose of '{color.name}'")))
    return _capture(folder, shots, lost, OPENNI, 0.001)


def _tum(folder: Path) -> Capture:
    """``rgb.txt``, ``depth.txt`` and ``groundtruth.txt``: what was taken at times that are near goes together."""
    colors = parsed(folder / "rgb.txt", parse_times)
    depths = parsed(folder / "depth.txt", parse_times)
    times, poses = parsed(folder / "groundtruth.txt", parse_trajectory)
    depth_times = np.array([time for time, _ in depths])
    shots, lost = [], []
    for time, name in colors:
        near = int(np.abs(depth_times - time).argmin())
        pose = pose_at(time, times, poses)
        if abs(depth_times[near] - time) > LATEST or pose is None:
            lost.append(name)
            continue
        shots.append((folder / name, folder / depths[near][1], pose))
    return _capture(folder, shots, lost, OPENNI, 1 / 5000)


def _posed(folder: Path) -> Capture:
    """``color/``, ``depth/`` and ``pose/`` with files of the same names, as ScanNet's tool exports recordings."""
    colors_folder, poses_folder = _colors(folder), _poses(folder)
    assert colors_folder is not None
    assert poses_folder is not None
    shots, lost = [], []
    for color in image_files(colors_folder):
        file = poses_folder / f"{color.stem}.txt"
        matrix = parsed(file, parse_matrix) if file.is_file() else np.full((4, 4), np.nan)
        if not np.isfinite(matrix).all():
            lost.append(color.stem)
            continue
        with told(file):
            shots.append((color, _only(folder / "depth", color.stem), rigid(matrix, "the pose")))
    return _capture(folder, shots, lost, OPENNI, 0.001)


def _sun(folder: Path) -> Capture:
    """``image/`` and ``depth/`` named ``number-microseconds``; the last of ``extrinsics/*.txt`` has 3 rows an image."""
    colors_folder = _colors(folder)
    assert colors_folder is not None
    colors, depths = image_files(colors_folder), image_files(folder / "depth")
    file = sorted(folder.glob("extrinsics/*.txt"))[-1]
    poses = parsed(file, parse_extrinsics)
    if len(poses) != len(colors) or not depths:
        raise DataError(
            f"'{file}': {len(poses)} poses for {len(colors)} colour and {len(depths)} depth images.",
            "Give a pose an image, and depth.",
        )
    times = np.array([_microseconds(depth) for depth in depths])
    shots, lost = [], []
    for color, pose in zip(colors, poses, strict=True):
        near = int(np.abs(times - _microseconds(color)).argmin())
        if abs(times[near] - _microseconds(color)) > 1e6 * LATEST or not np.isfinite(pose).all():
            lost.append(color.name)
            continue
        with told(file):
            shots.append((color, depths[near], rigid(pose, f"the pose of '{color.name}'")))
    return replace(_capture(folder, shots, lost, OPENNI, 0.001), turned_bits=True)


def _capture(
    folder: Path,
    frames: Sequence[tuple[Path, Path, np.ndarray]],
    lost: list[str],
    default: tuple[float, float, float, float],
    unit: float,
) -> Capture:
    if not frames:
        raise DataError(f"'{folder}': none of its {len(lost)} frames has a valid pose.", "Give frames with poses.")
    if lost:
        log.warning("'%s': %d of %d frames have no valid pose or partner.", folder, len(lost), len(lost) + len(frames))
    k = _intrinsics(folder, image_size(frames[0][1]), default)
    # The intrinsics are those of the depth images; colour of another size is brought to theirs.
    shots = (Shot(color, k, pose, image_size(frames[0][1]), depth=depth) for color, depth, pose in frames)
    return Capture(tuple(shots), depth_unit=unit, invalid=INVALID, depth_first=True)


def _intrinsics(folder: Path, size: tuple[int, int], default: tuple[float, float, float, float]) -> np.ndarray:
    names = ("camera-intrinsics.txt", "intrinsics.txt", "*intrinsic*.json", "intrinsic/intrinsic_depth.txt")
    found = [f for place in (folder, folder.parent) for name in names for f in sorted(place.glob(name)) if f.is_file()]
    if found:
        k = parsed(found[0], parse_intrinsics_json if found[0].suffix == ".json" else parse_intrinsics)
    elif size == (640, 480):
        log.warning("'%s': no camera-intrinsics.txt; the format's own are taken: %s.", folder, default)
        with told(folder):
            k = pinhole(*default, "its camera")
    else:
        raise DataError(
            f"'{folder}': the camera of its images of {size[0]} x {size[1]} pixels is not known.",
            "Write a file 'camera-intrinsics.txt' into it: three lines of K, e.g. '585 0 320', '0 585 240', '0 0 1'.",
        )
    if np.abs(k[:2, 2] - (np.array(size) - 1) / 2).max() < 0.01:
        k[:2, 2] += 0.5
    return k


def _only(folder: Path, stem: str) -> Path:
    """The image of a given name, whatever its suffix."""
    choices = [folder / f"{stem}{suffix}" for suffix in IMAGES]
    found = next((file for file in choices if file.is_file()), None)
    if found is None:
        raise DataError(f"'{choices[0]}': this image is not there.", "Give colour and depth of every frame.")
    return found


def _colors(folder: Path) -> Path | None:
    return next((folder / name for name in COLORS if (folder / name).is_dir()), None)


def _poses(folder: Path) -> Path | None:
    return next((folder / name for name in ("pose", "poses") if next((folder / name).glob("*.txt"), None)), None)


def _log(folder: Path) -> Path | None:
    return next(iter([*sorted(folder.glob("*.log")), *sorted(folder.glob("scene/*.log"))]), None)


def _number_of(path: Path) -> int:
    """The first number of a file's name; -1 if it has none. Redwood's names hold a time after it."""
    found = NUMBER.search(path.stem)
    return int(found.group()[:18]) if found else -1


def _microseconds(path: Path) -> float:
    """The number after the dash of a SUN3D file's name; where there is none, its first number as seconds."""
    found = NUMBER.findall(path.stem)
    return float(found[1][:18]) if len(found) > 1 else 1e6 * _number_of(path)
