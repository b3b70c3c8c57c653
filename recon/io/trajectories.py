"""Trajectories and cameras of RGB-D recordings as their text files have them; numbers are checked, not believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from recon.io.captures import of_quaternion, pinhole
from recon.io.parsing import FormatError, numbers, text_lines

LATEST = 0.02  # seconds between what belongs together, as TUM's own tool has it
GAP = 0.1  # seconds between poses that a third one lies between


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


def parse_extrinsics(data: bytes) -> np.ndarray:
    """(N, 3, 4) camera to world of SUN3D's list of poses: three rows of four numbers an image.

    Raises:
        FormatError: if it is damaged or empty.
    """
    table = numbers([line for line in text_lines(data) if line.strip()], "extrinsics")
    if not len(table) or len(table) % 3 or table.shape[1] != 4:
        raise FormatError(f"a table of shape {table.shape}, not three rows of four numbers an image")
    return table.reshape(-1, 3, 4)


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
