"""`kind=idr`: photographs of one object from all around, in the layout of IDR's DTU scans.

Of Yariv et al., Multiview Neural Surface Reconstruction, 2020: ``image/``, ``mask/`` and ``cameras.npz`` with
``world_mat_i`` = K [R | t] (pixel centres at integers) and ``scale_mat_i``, from the unit sphere about the object to
the mesh's own coordinates. The light stays with the object, as in a studio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recon.data.synthesis.mvr import toward, used_vertices
from recon.data.synthesis.normalise import TO_Y, Up
from recon.data.synthesis.output import contact_sheet, write_npz
from recon.data.synthesis.render import Renderer, before
from recon.data.synthesis.shading import Light, Lights
from recon.data.synthesis.textures import Textured
from recon.errors import DataError
from recon.geometry.cameras import compose, look_at, matrix_of, recentred
from recon.geometry.conventions import intrinsics_of_fov
from recon.geometry.frames import Frame
from recon.io.images import write_png
from recon.io.meshes import write_mesh

MARGIN = 1.1  # radius of the sphere of interest, in those of the object
GOLDEN = np.pi * (3 - np.sqrt(5))
UP = np.array([0.0, 1.0, 0.0])
LIGHTS = Lights(
    (
        Light((0.5, 1.0, 0.4), (0.55, 0.54, 0.52)),
        Light((-0.9, 0.3, 0.3), (0.25, 0.26, 0.28)),
        Light((0.2, 0.1, -1.0), (0.2, 0.2, 0.22)),
    ),
    ambient=0.3,
    specular=0.08,
)


@dataclass(frozen=True)
class Ring:
    """Cameras spread evenly over a band of a sphere about an object.

    Attributes:
        views: how many.
        elevation: lowest and highest, in degrees above the horizon.
        distance: from the object's centre, in radii of the sphere of interest.
        size: (height, width) of a picture.
    """

    views: int = 49
    elevation: tuple[float, float] = (-10.0, 75.0)
    distance: float = 3.0
    size: tuple[int, int] = (600, 800)

    def poses(self) -> np.ndarray:
        """(V, 4, 4) camera to the frame of the unit sphere of interest; y is up."""
        low, high = np.sin(np.radians(self.elevation))
        number = np.arange(self.views)
        # Equal areas of the sphere for equal steps in height: a Fibonacci lattice.
        elevation = np.arcsin(low + (high - low) * (number + 0.5) / self.views)
        return look_at(self.distance * toward(number * GOLDEN, elevation), np.zeros(3), UP)

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3) K, centres at integer + 0.5: the unit sphere just fits into the picture's shorter side."""
        if self.distance <= 1:
            raise DataError(f"distance={self.distance}: these cameras stand inside the object.", "Give more than 1.")
        return intrinsics_of_fov(2 * np.degrees(np.arcsin(1 / self.distance)), self.size)


def make(look: Textured, folder: Path, ring: Ring, up: Up = "y") -> tuple[dict[str, Any], np.ndarray]:
    """Write image/, mask/, cameras.npz and the true mesh.ply of one object, in its own coordinates.

    Args:
        look: the object.
        folder: for the files.
        ring: the cameras.
        up: the axis of its coordinates that points up.

    Returns:
        facts and a contact sheet for the summary.

    Raises:
        DataError: if the object has no extent.
    """
    frame = region(look)
    K, turn = ring.intrinsics, TO_Y[up].T
    poses = ring.poses()
    poses[:, :3] = turn @ poses[:, :3]
    poses[:, :3, 3] = frame.to_world(poses[:, :3, 3])
    lights = replace(LIGHTS, lights=tuple(replace(one, place=tuple(turn @ one.place)) for one in LIGHTS.lights))
    renderer, pictures, covered = Renderer(look), [], []
    arrays: dict[str, np.ndarray] = {}
    for number, pose in enumerate(poses):
        rgb, alpha = renderer.picture(K, pose, ring.size, lights)
        mask = np.where(alpha > 127, 255, 0).astype(np.uint8)
        pictures.append(before(rgb, alpha, 0))
        write_png(folder / "image" / f"{number:06d}.png", pictures[-1])
        write_png(folder / "mask" / f"{number:06d}.png", mask)
        arrays[f"world_mat_{number}"] = np.vstack([compose(recentred(K, -0.5), pose), [0, 0, 0, 1]])
        arrays[f"scale_mat_{number}"] = matrix_of(frame)
        covered.append(float((mask > 0).mean()))
    write_npz(folder / "cameras.npz", arrays)
    write_mesh(folder / "mesh.ply", look.mesh)
    facts = {"views": len(poses), "size": f"{ring.size[1]} x {ring.size[0]}", "covered": float(np.mean(covered))}
    return facts, contact_sheet(pictures)


def region(look: Textured) -> Frame:
    """The sphere of interest: about the object's box, a tenth larger than what holds all of it."""
    used = used_vertices(look.mesh)
    centre = Frame.fit(used, "box").translation
    return Frame(MARGIN * float(np.linalg.norm(used - centre, axis=1).max()), translation=centre)
