"""Folders of RGB-D frames with poses: 7-Scenes, ICL-NUIM and Redwood, TUM, and depth in SUN3D's encoding.

Depth is z along the optical axis. Colour and depth are taken to be registered and of one camera. Its intrinsics come
from a file ``camera-intrinsics.txt`` (K in pixels, 3 x 3) or ``*intrinsic*.json`` (Open3D) in the folder or above it,
or are the ones published with the format. Where the optical centre is told: K = 320, 240 for 640 x 480 pixels
(7-Scenes) counts pixels from their corners, as we do; 319.5, 239.5 (ICL, TUM, Open3D) counts from the first one's
centre, and half a pixel is added. A file's centre is read in the second way if it is within 0.01 of (width - 1) / 2.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recon.errors import DataError
from recon.io.captures import Capture, Shot, of_quaternion, parsed, pinhole, rigid, told
from recon.io.images import IMAGES, image_files, image_size
from recon.io.parsing import FormatError, numbers, text_lines

log = logging.getLogger("recon")

SEVEN_SCENES = (585.0, 585.0, 320.0, 240.0)  # Shotton et al., CVPR 2013: the Kinect's, uncalibrated
OPENNI = (525.0, 525.0, 319.5, 239.5)  # what ICL-NUIM, Redwood and TUM publish for registered colour and depth
INVALID = 65535  # 7-Scenes: nothing measured
COLORS = ("image", "color", "rgb", "images", "colour")
LATEST = 0.02  # seconds between a colour and a depth image that belong together, as TUM's own tool has it
GAP = 0.1  # seconds a pose may be away from an image
NUMBER = re.compile(r"\d+")


def find_rgbd(folder: Path) -> str | None:
    """How a folder's frames are laid out: ``seven``, ``log``, ``tum``, or None."""
    if not folder.is_dir():
        return None
    if all((folder / name).is_file() for name in ("rgb.txt", "depth.txt", "groundtruth.txt")):
        return "tum"
    if next(folder.glob("*.pose.txt"), None) or next(folder.glob("seq-*/*.pose.txt"), None):
        return "seven"
    if (folder / "depth").is_dir() and _colors(folder) is not None and _log(folder) is not None:
        return "log"
    return None


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
            "(ICL, Redwood), rgb.txt, depth.txt and groundtruth.txt (TUM).",
        )
    return {"seven": _seven_scenes, "log": _redwood, "tum": _tum}[layout](folder)


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
    names = ("camera-intrinsics.txt", "intrinsics.txt", "*intrinsic*.json")
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


def _log(folder: Path) -> Path | None:
    return next(iter([*sorted(folder.glob("*.log")), *sorted(folder.glob("scene/*.log"))]), None)


def _number_of(path: Path) -> int:
    """The first number of a file's name; -1 if it has none. Redwood's names hold a time after it."""
    found = NUMBER.search(path.stem)
    return int(found.group()[:18]) if found else -1


def parse_matrix(data: bytes) -> np.ndarray:
    """(4, 4) of four rows of numbers, which may be NaN or infinite: tracking was lost.

    Raises:
        FormatError: if they are not.
    """
    table = numbers([line for line in text_lines(data) if line.strip()], "pose")
    if table.shape != (4, 4):
        raise FormatError(f"a pose of shape {table.shape}, not 4 x 4")
    return table


def parse_log(data: bytes) -> np.ndarray:
    """(N, 4, 4) camera to world of a Redwood trajectory: five lines a frame, its numbers and its matrix.

    Raises:
        FormatError: if it is damaged or empty.
    """
    rows = [line for line in text_lines(data) if line.strip()]
    if not rows or len(rows) % 5:
        raise FormatError(f"{len(rows)} lines, not five a frame")
    table = numbers([line for i, line in enumerate(rows) if i % 5], "trajectory")
    if table.shape[1] != 4:
        raise FormatError(f"matrices of {table.shape[1]} columns, not 4")
    return table.reshape(-1, 4, 4)


def parse_times(data: bytes) -> list[tuple[float, str]]:
    """TUM's lists of images: time in seconds and file name, in order of time.

    Raises:
        FormatError: if a line is damaged, or there is none.
    """
    found = []
    for line in text_lines(data):
        words = line.split(maxsplit=1)
        if not words or words[0][0] == "#":
            continue
        if len(words) < 2 or Path(words[1].strip()).is_absolute() or ".." in Path(words[1]).parts or "\0" in words[1]:
            raise FormatError(f"'{line[:60]}' is no time and file of this folder")
        found.append((_time(words[0]), words[1].strip()))
    if not found:
        raise FormatError("it lists no image")
    return sorted(found)


def parse_trajectory(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """TUM's trajectory ``time tx ty tz qx qy qz qw``: (N,) seconds and (N, 4, 4) camera to world, in order of time.

    Raises:
        FormatError: if a line is damaged, or there is none.
    """
    rows = [line for line in text_lines(data) if line.strip() and line.lstrip()[0] != "#"]
    table = numbers(rows, "trajectory", range(8))
    if not len(table) or not (np.abs(table) < 1e12).all():
        raise FormatError("it holds no poses, or numbers that are not finite")
    table = table[np.argsort(table[:, 0], kind="stable")]
    poses = np.tile(np.eye(4), (len(table), 1, 1))
    poses[:, :3, 3] = table[:, 1:4]
    for i, row in enumerate(table):
        poses[i, :3, :3] = of_quaternion(row[[7, 4, 5, 6]], f"row {i} of the trajectory")
    return table[:, 0], poses


def pose_at(time: float, times: np.ndarray, poses: np.ndarray) -> np.ndarray | None:
    """The (4, 4) pose at a time, between its neighbours (N, 4, 4) of `times` (N,); None if they are too far."""
    after = int(np.searchsorted(times, time))
    before, after = max(after - 1, 0), min(after, len(times) - 1)
    if times[after] - times[before] > GAP or not times[before] <= time <= times[after]:
        near = before if abs(times[before] - time) < abs(times[after] - time) else after
        return poses[near] if abs(times[near] - time) <= LATEST else None
    span = times[after] - times[before]
    share = (time - times[before]) / span if span > 0 else 0.0
    pose = (1 - share) * poses[before] + share * poses[after]
    # Neighbours are a hundredth of a second apart: the nearest rotation to the mean is the one between, to 1e-6.
    left, _, right = np.linalg.svd(pose[:3, :3])
    pose[:3, :3] = left @ right
    return pose if np.linalg.det(pose[:3, :3]) > 0 else poses[before]


def parse_intrinsics(data: bytes) -> np.ndarray:
    """(3, 3) K of rows of numbers, of which the first three rows and columns count.

    Raises:
        FormatError: if they are no camera.
    """
    rows = [line for line in text_lines(data) if line.strip() and line.lstrip()[0] != "#"]
    table = numbers(rows, "intrinsics")
    if table.shape not in ((3, 3), (4, 4), (3, 4)):
        raise FormatError(f"intrinsics of shape {table.shape}, not 3 x 3")
    return pinhole(table[0, 0], table[1, 1], table[0, 2], table[1, 2], "its camera")


def parse_intrinsics_json(data: bytes) -> np.ndarray:
    """(3, 3) K of Open3D's file: ``intrinsic_matrix`` of nine numbers, column after column.

    Raises:
        FormatError: if it is no such file.
    """
    try:
        values = np.array(json.loads(data)["intrinsic_matrix"], dtype=np.float64)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise FormatError(f"it holds no 'intrinsic_matrix' ({str(error)[:80]})") from error
    if values.shape != (9,):
        raise FormatError("its 'intrinsic_matrix' has not nine numbers")
    k = values.reshape(3, 3).T
    return pinhole(k[0, 0], k[1, 1], k[0, 2], k[1, 2], "its camera")


def _time(word: str) -> float:
    try:
        time = float(word)
    except ValueError as error:
        raise FormatError(f"'{word[:40]}' is no time") from error
    if not abs(time) < 1e15:
        raise FormatError(f"'{word[:40]}' is no time")
    return time
