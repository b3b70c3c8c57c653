"""`kind=mvr`: many views of one object around a lamp-bearing camera, in the layout of Iso-Points' synthetic data.

Of Yifan et al., Iso-Points, 2021: cameras anywhere on spheres of shrinking radius about the object, which is scaled
into the unit ball, lit by three coloured lamps that move with the camera. Its ``data_dict.npz`` holds pickled objects,
which run code when they are read; ours holds the same entries with JSON texts in place of the objects (see
`write_data_dict`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recon.data.synthesis.output import contact_sheet, write_npz
from recon.data.synthesis.render import Renderer
from recon.data.synthesis.shading import Light, Lights
from recon.data.synthesis.textures import Textured
from recon.errors import DataError
from recon.geometry.cameras import invert, look_at, recentred
from recon.geometry.conventions import intrinsics_of_fov, to_pytorch3d, unit_to_pixels
from recon.geometry.frames import Frame
from recon.geometry.sampling import sample_surface
from recon.io.images import write_png
from recon.io.meshes import write_mesh
from recon.io.types import Mesh

JITTER = 0.05  # of the point that is looked at, along each axis
LAMP_DISTANCE = 5.0
LAMPS = ((-60.0, (0.0, 0.0, 0.8)), (60.0, (0.0, 0.8, 0.0)), (180.0, (0.8, 0.0, 0.0)))
"""Azimuth about the viewing axis in degrees, and colour: blue from the right, green from the left, red from below."""
ELEVATION = 30.0  # of all lamps, towards the camera
AMBIENT = 0.2
SAMPLES = 20_000  # points on the surface, in data_dict.npz


@dataclass(frozen=True)
class Around:
    """Cameras about an object in the unit ball.

    Attributes:
        views: how many.
        distance: interval of their distances, the farthest first.
        fov: angle of view in degrees.
        size: (height, width) of a picture.
    """

    views: int = 120
    distance: tuple[float, float] = (1.2, 2.2)
    fov: float = 60.0
    size: tuple[int, int] = (512, 512)

    def poses(self, rng: np.random.Generator) -> np.ndarray:
        """(V, 4, 4) camera to world: azimuth and elevation uniform, looking nearly at the origin."""
        distance = np.sort(rng.uniform(*self.distance, self.views))[::-1]
        azimuth, elevation = rng.uniform(-np.pi, np.pi, self.views), rng.uniform(-np.pi / 2, np.pi / 2, self.views)
        target = rng.uniform(-JITTER, JITTER, (self.views, 3))
        return look_at(target + distance[:, None] * toward(azimuth, elevation), target, np.array([0.0, 1.0, 0.0]))

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3) K, pixel centres at integer + 0.5."""
        return intrinsics_of_fov(self.fov, self.size)


def toward(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """(V, 3) unit vectors, y up, azimuth 0 along z; angles in radians."""
    level = np.cos(elevation)
    return np.stack([level * np.sin(azimuth), np.sin(elevation), level * np.cos(azimuth)], axis=-1)


def lamps(centre: float) -> Lights:
    """The three coloured lamps about an object at depth `centre` in front of the camera they are fixed to."""
    tilt = np.radians(ELEVATION)
    places = []
    for azimuth, color in LAMPS:
        around = np.radians(azimuth)
        offset = [-np.cos(tilt) * np.sin(around), -np.cos(tilt) * np.cos(around), -np.sin(tilt)]
        x, y, z = (float(LAMP_DISTANCE * part) for part in offset)
        places.append(Light((x, y, z + centre), color, "lamp", "camera"))
    return Lights(tuple(places), ambient=AMBIENT, specular=0.0)


def centred(look: Textured) -> Textured:
    """The object with its box about the origin and its farthest vertex at distance 1.

    Raises:
        DataError: if it has no extent.
    """
    used = used_vertices(look.mesh)
    box = Frame.fit(used, "box")
    radius = float(np.linalg.norm(used - box.translation, axis=1).max())
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([np.eye(3), -box.translation]) / radius
    return look.transformed(matrix)


def used_vertices(mesh: Mesh) -> np.ndarray:
    """(N, 3) the vertices that faces have.

    Raises:
        DataError: if there are none.
    """
    if mesh.is_empty:
        raise DataError("It has no faces.", "Take the file out of the source.")
    return mesh.vertices[np.unique(mesh.faces)]


def make(look: Textured, folder: Path, around: Around, rng: np.random.Generator) -> tuple[dict[str, Any], np.ndarray]:
    """Write image/, mask/, mesh.obj, data_dict.npz and cameras.npz of one object.

    Args:
        look: the object, of any size.
        folder: for the files.
        around: the cameras.
        rng: of all draws.

    Returns:
        facts and a contact sheet for the summary.

    Raises:
        DataError: if the object has no faces or no extent.
    """
    look = centred(look)
    poses, K = around.poses(rng), around.intrinsics
    renderer, pictures, covered = Renderer(look, flat=True), [], []
    lights = []
    for number, pose in enumerate(poses):
        lights.append(lamps(float(-pose[:3, 3] @ pose[:3, 2])))
        rgb, alpha = renderer.picture(K, pose, around.size, lights[-1])
        mask = np.where(alpha > 127, 255, 0).astype(np.uint8)
        write_png(folder / "image" / f"{number:06d}.png", np.dstack([rgb * (mask > 0)[..., None], mask]))
        write_png(folder / "mask" / f"{number:06d}.png", mask)
        covered.append(float((mask > 0).mean()))
        pictures.append(rgb)
    write_mesh(folder / "mesh.obj", Mesh(look.mesh.vertices, look.mesh.faces))
    write_data_dict(folder / "data_dict.npz", look.mesh, around.fov, poses, lights, rng)
    write_dvr_cameras(folder / "cameras.npz", K, poses, around.size)
    facts = {"views": len(poses), "size": f"{around.size[1]} x {around.size[0]}", "covered": float(np.mean(covered))}
    return facts, contact_sheet(pictures)


def write_data_dict(
    path: Path, mesh: Mesh, fov: float, poses: np.ndarray, lights: list[Lights], rng: np.random.Generator
) -> None:
    """The cameras, lights and 20 000 surface points of the layout, without pickled objects.

    Names and shapes are the original's: ``camera_mat`` (V, 4, 4), PyTorch3D's world to view for row vectors;
    ``points``, ``normals``, ``colors`` (20000, 3) float32; ``cameras_type`` and ``lights_type`` texts. But
    ``cameras_params`` and ``lights_0`` to ``lights_{V-1}``, there pickled dictionaries, are JSON texts here.
    """
    drawn = sample_surface(mesh, SAMPLES, rng)
    arrays: dict[str, Any] = {
        "cameras_type": "pytorch3d.renderer.cameras.FoVPerspectiveCameras",
        "cameras_params": json.dumps({"znear": 0.1, "fov": fov}),
        "lights_type": "DSS.core.lighting.PointLights",
        "points": drawn.points.astype(np.float32),
        "normals": drawn.normals.astype(np.float32),
        "colors": np.ones((SAMPLES, 3), dtype=np.float32),
        "camera_mat": to_pytorch3d(poses),
    }
    for number, (pose, given) in enumerate(zip(poses, lights, strict=True)):
        arrays[f"lights_{number}"] = json.dumps(described(given, pose))
    write_npz(path, arrays)


def described(lights: Lights, pose: np.ndarray) -> dict[str, list[Any]]:
    """Lamps as the original's dictionaries have them: world positions and colours, with a leading batch axis."""
    places = np.array([light.place for light in lights.lights]) @ pose[:3, :3].T + pose[:3, 3]
    colors = [list(light.color) for light in lights.lights]
    none = [[0.0] * 3] * len(colors)
    ambient = [[lights.ambient] * 3]
    return {
        "location": [places.tolist()],
        "ambient_color": [ambient],
        "diffuse_color": [colors],
        "specular_color": [none],
    }


def write_dvr_cameras(path: Path, K: np.ndarray, poses: np.ndarray, size: tuple[int, int]) -> None:
    """``cameras.npz`` as DVR has it: intrinsics in [-1, 1], world to camera, and no scaling, for each view."""
    inner = np.eye(4)
    inner[:3, :3] = np.linalg.inv(unit_to_pixels(size)) @ recentred(K, -0.5)
    arrays: dict[str, np.ndarray] = {}
    for number, view in enumerate(invert(poses)):
        arrays |= {f"camera_mat_{number}": inner, f"world_mat_{number}": view, f"scale_mat_{number}": np.eye(4)}
    write_npz(path, arrays)
