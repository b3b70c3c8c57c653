"""`prepare data=scannet kind=fused`: fused scans to the files that ALTO is evaluated on."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from recon.data.scannet_fused import CLOUD, FRAME, Fused, fused_frame, read_scan_mesh, sample_scan
from recon.data.synthesis.factory import Factory, Item, Made, Shared
from recon.data.synthesis.sources import find_meshes, named
from recon.geometry.cameras import look_at, project
from recon.geometry.frames import Frame
from recon.io.files import write_text
from recon.io.onet import write_pointcloud
from recon.io.types import Mesh

SCAN = re.compile(r"(?P<scene>.+)_vh_clean(?P<fine>_2)?\.ply")
LAMP = np.array([0.48, 0.8, 0.36])  # where the thumbnail's light comes from
EYE = np.array([0.7, 1.1, 0.9])  # of the thumbnail's camera, in the unit cube


class ScannetFused(Factory):
    """``<scene>/pointcloud.npz`` (points and normals in the unit cube, y up) and ``frame.json`` (where that was).

    Scans are ``<scene>_vh_clean_2.ply``, else ``_vh_clean.ply``, with ``<scene>.txt`` beside them for the alignment;
    where a source has none of these, all of its meshes are taken, with z up.

    Args:
        samples: points drawn on a scan, uniform by area.
        half: store float16, like the published files (a step is 1 mm in a room of 4 m); else float32.
        shared: see `Factory`.
    """

    kinds = ("fused",)

    def __init__(self, samples: int = 100_000, half: bool = True, **shared: Unpack[Shared]) -> None:
        super().__init__(**shared)
        self.samples, self.half = samples, half

    def items(self) -> Sequence[Item]:
        return [Item(name, file, name) for name, file in sorted(scans_of(find_meshes(self.source)).items())]

    def make(self, item: Item, folder: Path) -> Made:
        assert item.source is not None
        mesh, frame = read_scan_mesh(item.source)
        fused = write_fused(mesh, folder, self.samples, self.rng(item), frame, self.half)
        high = frame.scale * np.ptp(fused.points, axis=0)[1]
        facts = {"faces": len(mesh.faces), "longest edge": round(frame.scale, 3), "height": round(float(high), 3)}
        return Made(item.name, facts, thumbnail(fused))


def scans_of(files: Sequence[Path]) -> dict[str, Path]:
    """Scenes by name: one scan each, the cleaner one; all meshes where none is named like a scan."""
    matches = [(found, file) for file in files if (found := SCAN.fullmatch(file.name))]
    if not matches:
        return {f"{group}_{model}": file for (group, model), file in named(files).items()}
    return {found["scene"]: file for found, file in sorted(matches, key=lambda match: bool(match[0]["fine"]))}


def write_fused(
    mesh: Mesh,
    folder: Path,
    samples: int,
    seed: int | np.random.Generator = 0,
    frame: Frame | None = None,
    half: bool = True,
) -> Fused:
    """Draw points on a scan and write them as `recon.data.scannet_fused` reads them.

    Args:
        mesh: the scan, in its own coordinates.
        folder: where the two files go.
        samples: points drawn.
        seed: of the draw.
        frame: of the unit cube; None: `fused_frame` of a scan that is aligned, z up.
        half: store float16.

    Returns:
        What was written, before it was rounded.

    Raises:
        DataError: if the mesh has no area, or the files cannot be written.
    """
    frame = frame or fused_frame(mesh.vertices, np.eye(4))
    fused = sample_scan(mesh, frame, samples, seed)
    write_pointcloud(folder / CLOUD, fused.points, fused.normals, half=half)
    write_text(folder / FRAME, json.dumps(frame.state(), indent=1))
    return fused


def thumbnail(fused: Fused, width: int = 160, height: int = 120) -> np.ndarray:
    """(H, W, 3) uint8: the points from above, one corner in front, shaded by their normals."""
    pose = look_at(EYE, np.array([0, -0.25, 0]), np.array([0, 1.0, 0]))
    k = np.array([[width * 0.9, 0, width / 2], [0, width * 0.9, height / 2], [0, 0, 1]])
    pixels, depth = project(fused.points, k, pose)
    columns, rows = np.floor(pixels).astype(int).T
    shown = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width) & (depth > 0)
    if fused.normals is not None:
        shown &= ((EYE - fused.points) * fused.normals).sum(axis=1) > 0
    order = np.flatnonzero(shown)[np.argsort(-depth[shown])]  # the nearest is drawn last
    picture = np.full((height, width, 3), 255, dtype=np.uint8)
    light = 0.5 if fused.normals is None else 0.55 + 0.4 * fused.normals[order] @ LAMP
    picture[rows[order], columns[order]] = (np.broadcast_to(light, len(order)) * 235)[:, None]
    return picture
