"""ScanNet's fused scans in the frame in which ALTO and its kin evaluate them: a unit cube, y up, the floor at -0.5.

The originals swap y and z, which mirrors the room: their reconstructions are mirror images. Here the scan is turned,
(x, y, z) -> (x, z, -y), which puts the same faces up and keeps left and right; so that a mesh comes back as the scan
was. Networks trained on rooms turned at random do not know the difference.

A scan is ``<scene>/<scene>_vh_clean_2.ply`` (or ``_vh_clean.ply``) with ``<scene>.txt``, of which points are drawn, or
a ``pointcloud.npz`` of points drawn before. ``frame.json`` beside it says where the scan was; a file of the originals
has none, and then its own coordinates are the world.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from recon.data.scannet_truth import MESHES, scan_mesh
from recon.errors import DataError
from recon.geometry.frames import Frame
from recon.geometry.sampling import sample_surface
from recon.io.meshes import read_mesh
from recon.io.onet import SurfaceFile
from recon.io.scannet import read_axis_alignment, rigid
from recon.io.types import Cloud, Mesh
from recon.observations import OrientedPoints, Points, Scene, Truth

CLOUD, FRAME = "pointcloud.npz", "frame.json"
UPRIGHT = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


@dataclass(frozen=True)
class Fused:
    """A fused scan.

    Attributes:
        points: (N, 3) in the unit cube, float16 to float64.
        normals: (N, 3) outward, or None.
        frame: to the scan's own coordinates.
    """

    points: np.ndarray
    normals: np.ndarray | None
    frame: Frame

    def to_cloud(self) -> Cloud:
        """All of its points in the scan's own coordinates."""
        normals = None if self.normals is None else self.frame.normals_to_world(self.normals)
        return Cloud(self.frame.to_world(self.points), normals)


def fused_frame(points: np.ndarray, axis_alignment: np.ndarray) -> Frame:
    """The frame of ALTO's ScanNet evaluation, to the scan's own coordinates.

    The scan is aligned to its room's axes and turned upright (y up); the longest edge of its bounding box becomes 1,
    the centre comes to x = z = 0, and the lowest point to y = -0.5.

    Args:
        points: (N, 3) of the scan, e.g. its vertices.
        axis_alignment: (4, 4) rigid motion, ``axisAlignment`` of the scene's text file.

    Raises:
        DataError: if the points have no extent.
    """
    motion = rigid(axis_alignment)[0]
    turn = UPRIGHT @ motion[:3, :3]
    upright = np.asarray(points, dtype=np.float64) @ turn.T + UPRIGHT @ motion[:3, 3]
    scale = Frame.fit(upright, "box", 1.0).scale
    low, high = upright.min(axis=0), upright.max(axis=0)
    centre = np.array([low[0] + high[0], 2 * low[1] + scale, low[2] + high[2]]) / 2
    return Frame(scale, turn.T, turn.T @ (centre - UPRIGHT @ motion[:3, 3]))


def read_scan_mesh(file: Path) -> tuple[Mesh, Frame]:
    """A scan's mesh in its own coordinates, and its `fused_frame`; one without a text file counts as aligned.

    Raises:
        DataError: if a file is damaged.
    """
    mesh, text = read_mesh(file), file.with_name(f"{file.name.split('_vh_clean')[0]}.txt")
    return mesh, fused_frame(mesh.vertices, read_axis_alignment(text) if text.is_file() else np.eye(4))


def sample_scan(mesh: Mesh, frame: Frame, samples: int, seed: int | np.random.Generator) -> Fused:
    """Points and normals drawn on a scan, uniform by area, in its frame."""
    drawn = sample_surface(mesh, samples, seed)
    return Fused(frame.to_local(drawn.points), frame.normals_to_local(drawn.normals), frame)


def is_fused(folder: Path) -> bool:
    """Whether a folder holds a fused scan."""
    return (folder / CLOUD).is_file() or scan_mesh(folder) is not None


def has_normals(folder: Path) -> bool:
    """Whether a folder's scan has normals; points drawn on a mesh always do.

    Raises:
        DataError: if its file is damaged.
    """
    return not (folder / CLOUD).is_file() or SurfaceFile(folder / CLOUD).has_normals


def read_fused(folder: Path, samples: int, seed: int) -> Fused:
    """A scene's points: those of ``pointcloud.npz``, else drawn on its mesh; the last scenes are kept.

    Args:
        folder: of the scene.
        samples: points to draw on a mesh.
        seed: of that draw.

    Raises:
        DataError: if its files are missing or damaged.
    """
    if (folder / CLOUD).is_file():
        stored = SurfaceFile(folder / CLOUD)
        normals = stored.normals() if stored.has_normals else None
        return Fused(stored.points(), normals, _stored_frame(folder, stored))
    file = scan_mesh(folder)
    if file is None:
        raise DataError(f"'{folder}': it holds neither {CLOUD} nor {MESHES[0]}.", "Download this scene again.")
    return _sampled(file, file.stat().st_mtime_ns, samples, seed)


@lru_cache(4)
def _sampled(file: Path, modified: int, samples: int, seed: int) -> Fused:
    """A file that was replaced is another key, so that it is read anew."""
    return sample_scan(*read_scan_mesh(file), samples, seed)


def _stored_frame(folder: Path, stored: SurfaceFile) -> Frame:
    file = folder / FRAME
    if not file.is_file():
        scale, location = stored.world()
        return Frame(scale, translation=location)
    try:
        frame = Frame.from_state(json.loads(file.read_text(encoding="utf-8")))
        motion = np.eye(4)
        motion[:3, :3], motion[:3, 3] = frame.rotation, frame.translation
        if not (rigid(motion, 1e-6)[1] and frame.scale > 0 and np.isfinite(frame.scale)):
            raise ValueError("its rotation, scale or translation is none")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise DataError(f"'{file}': it holds no frame ({error}).", f"Make it again, or remove it: {CLOUD}.") from error
    return frame


def load_fused(folder: Path, name: str, points: int, noise: float, samples: int, seed: int) -> Scene:
    """What ALTO is given of a scene, and all that is known of it as its truth.

    Args:
        folder: of the scene.
        name: of the scene.
        points: drawn with replacement from its samples.
        noise: standard deviation of their coordinates, in the unit cube.
        samples: points to draw on a mesh, which are the truth.
        seed: of the draws, with the name.

    Raises:
        DataError: if its files are missing or damaged.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    fused = read_fused(folder, samples, seed)
    return Scene(draw_points(fused, name, points, noise, rng), Truth(fused.to_cloud()))


def draw_points(fused: Fused, name: str, points: int, noise: float, rng: np.random.Generator) -> Points:
    """`points` samples with noise, as float32 in the unit cube, with normals if there are some."""
    rows = rng.integers(len(fused.points), size=points)
    seen = fused.points[rows].astype(np.float32) + np.float32(noise) * rng.standard_normal((points, 3), np.float32)
    if fused.normals is None:
        return Points(torch.from_numpy(seen), fused.frame, name)
    normals = torch.from_numpy(fused.normals[rows].astype(np.float32))
    return OrientedPoints(torch.from_numpy(seen), fused.frame, name, normals)
