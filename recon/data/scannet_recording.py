"""ScanNet's recordings: the frames of a .sens file, or of the folders it is exported to, decoded when asked for.

Pixel centres are at integers in ScanNet's matrices; here they become integer + 0.5. The extrinsics of the two cameras
are left alone, as everybody does: they are at one place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from recon.errors import DataError
from recon.geometry.cameras import recentred
from recon.io.images import read_depth, read_image
from recon.io.scannet import numbered, read_matrix
from recon.io.sens import read_sens

log = logging.getLogger("recon")

PHOTOS = (".jpg", ".jpeg", ".png")


class Recording(Protocol):
    """Frames of a recording, decoded when asked for.

    Attributes:
        path: of its file or folder.
        numbers: of its frames, in order.
        poses: (F, 4, 4) camera to world as stored; not finite where tracking was lost.
        color_k: (3, 3), pixel centres at integer + 0.5.
        depth_k: (3, 3), likewise.
    """

    path: Path
    numbers: Sequence[int]
    poses: np.ndarray
    color_k: np.ndarray
    depth_k: np.ndarray

    def color(self, number: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""

    def depth(self, number: int) -> np.ndarray:
        """(h, w) float32 metres, 0 where missing."""


class SensRecording:
    """A `Recording` in a .sens file."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, read_sens(path)
        self.numbers: Sequence[int] = range(len(self.file))
        self.poses = self.file.poses
        self.color_k = _camera(self.file.color_intrinsic, path)
        self.depth_k = _camera(self.file.depth_intrinsic, path)

    def color(self, number: int) -> np.ndarray:
        return self.file.color(number)

    def depth(self, number: int) -> np.ndarray:
        return self.file.depth(number)


class FolderRecording:
    """A `Recording` exported to ``color/N.jpg depth/N.png pose/N.txt intrinsic/intrinsic_{color,depth}.txt``.

    Frames that lack one of the three are left out, which is told.

    Raises:
        DataError: if no frame has all three, or a matrix is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._color, self._depth = numbered(folder / "color", PHOTOS), numbered(folder / "depth", (".png",))
        poses = numbered(folder / "pose", (".txt",))
        parts = {"color": self._color, "depth": self._depth, "pose": poses}
        self.numbers: Sequence[int] = sorted(set.intersection(*map(set, parts.values())))
        counts = ", ".join(f"{len(files)} in '{name}'" for name, files in parts.items())
        if not self.numbers:
            raise DataError(f"'{folder}': no frame has colour, depth and pose; there are {counts}.", "Export it again.")
        if any(len(files) > len(self.numbers) for files in parts.values()):
            log.warning("'%s': %d frames have colour, depth and pose; there are %s.", folder, len(self.numbers), counts)
        self.poses = np.array([read_matrix(poses[number]) for number in self.numbers])
        self.color_k, self.depth_k = (
            _camera(read_matrix(file), file)
            for file in (folder / "intrinsic" / f"intrinsic_{kind}.txt" for kind in ("color", "depth"))
        )

    def color(self, number: int) -> np.ndarray:
        return read_image(self._color[number], turn=False)[0]  # its camera is of the pixels as stored

    def depth(self, number: int) -> np.ndarray:
        return read_depth(self._depth[number])


def _camera(matrix: np.ndarray, file: Path) -> np.ndarray:
    k = matrix[:3, :3]
    if not (np.isfinite(k).all() and k[0, 0] > 0 and k[1, 1] > 0 and np.allclose(k[2], [0, 0, 1])):
        raise DataError(f"'{file}': its intrinsic matrix is none: {np.round(k, 2).tolist()}.", "Export it again.")
    return recentred(k)


def is_recording(folder: Path) -> bool:
    """Whether a folder holds a recording."""
    return _is_exported(folder) or any(folder.glob("*.sens"))


def _is_exported(folder: Path) -> bool:
    return (folder / "color").is_dir() and (folder / "depth").is_dir()


def open_recording(folder: Path) -> Recording:
    """A scene's recording; exported folders come before a .sens file, for they may have been chosen from it.

    Raises:
        DataError: if its files are missing or damaged.
    """
    if _is_exported(folder):
        return FolderRecording(folder)
    files = sorted(folder.glob("*.sens"))
    if not files:
        raise DataError(f"'{folder}': it holds no .sens file and no folders color and depth.", "Export it again.")
    return SensRecording(files[0])
