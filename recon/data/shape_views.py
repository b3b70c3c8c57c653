"""Pictures of generated shapes: 3D-R2N2's views with voxels, and cameras all around with depth and normals."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from recon.data.images import Pixels
from recon.data.synthesis.render import Renderer
from recon.data.synthesis.textures import Textured
from recon.geometry.cameras import look_at
from recon.geometry.conventions import intrinsics_of_fov
from recon.geometry.frames import Frame
from recon.geometry.voxelize import voxelize
from recon.io.renderings import SIDE, VIEWS, Viewpoint, intrinsics
from recon.io.types import Mesh
from recon.observations import PosedRGBD, PosedViews

Arrays = dict[str, np.ndarray]
VOXELS = 32
FOV = 50.0  # degrees
FAR = 2.6  # distance of the cameras, in radii of the shape


def cube_of(mesh: Mesh) -> Frame:
    """The frame of the cube [-0.5, 0.5]^3 about a shape whose longest side is 1: that of its voxels."""
    return Frame.fit(mesh.vertices, "box", 1.0)


def pictured(name: str, mesh: Mesh) -> Arrays:
    """24 views from random sides and the voxels, as `prepare data=shapenet` makes them.

    Returns:
        ``rgba`` (24, 137, 137, 4) uint8, of the shape with a diagonal of 1, and ``voxels`` (32, 32, 32) bool, in the
        cube of `cube_of`.
    """
    local = Mesh(cube_of(mesh).to_local(mesh.vertices), mesh.faces)
    seen = Mesh(local.vertices / np.linalg.norm(np.ptp(local.vertices, axis=0)), mesh.faces)
    rng = np.random.default_rng([zlib.crc32(name.encode()), 24])
    drawn = rng.random((VIEWS, 3)) * (360, 5, 0.3) + (0, 25, 0.65)
    renderer = Renderer(_painted(name, seen))
    views = [
        np.dstack(renderer.picture(intrinsics(), Viewpoint(azimuth, elevation, 0.0, ratio).pose(), (SIDE, SIDE)))
        for azimuth, elevation, ratio in drawn.tolist()
    ]
    return {"rgba": np.stack(views), "voxels": voxelize(local, VOXELS)}


def unpacked(arrays: Arrays) -> list[Pixels]:
    """The views of `pictured`, as `Preparation` wants them."""
    return [(view[..., :3], view[..., 3]) for view in arrays["rgba"]]


def surrounded(name: str, mesh: Mesh, views: int, size: int) -> Arrays:
    """Cameras spread evenly over a sphere about a shape, and what they see.

    Returns:
        ``rgba`` (V, S, S, 4) uint8, ``depth`` (V, S, S) float32, ``normal`` (V, S, S, 3) float32, ``K`` (3, 3),
        ``poses`` (V, 4, 4), in the shape's own coordinates.
    """
    region = region_of(mesh)
    K, directions = intrinsics_of_fov(FOV, (size, size)), _evenly(views)
    eyes = region.translation + FAR * region.scale * directions
    poses = look_at(eyes, np.broadcast_to(region.translation, eyes.shape), np.array([0.0, 1.0, 0.0]))
    renderer = Renderer(_painted(name, mesh))
    rgba = [np.dstack(renderer.picture(K, pose, (size, size))) for pose in poses]
    depth, normal = zip(*(renderer.geometry(K, pose, (size, size))[:2] for pose in poses), strict=True)
    return {
        "rgba": np.stack(rgba),
        "depth": np.stack(depth),
        "normal": np.stack(normal),
        "K": K,
        "poses": poses,
    }


def posed(name: str, arrays: Arrays, region: Frame, kind: type) -> PosedViews:
    """What `surrounded` made, as posed views with masks and normals, or as posed RGB-D."""
    rgba = torch.from_numpy(arrays["rgba"]).permute(0, 3, 1, 2).contiguous()
    count = len(rgba)
    depth = torch.from_numpy(arrays["depth"])[:, None] if issubclass(kind, PosedRGBD) else None
    made = PosedRGBD if depth is not None else PosedViews
    return made(
        images=rgba[:, :3],
        mask=rgba[:, 3:],
        name=name,
        view_names=tuple(f"{i:03d}" for i in range(count)),
        intrinsics=torch.from_numpy(arrays["K"]).expand(count, 3, 3).clone(),
        poses=torch.from_numpy(arrays["poses"]),
        depth=depth,
        normal=torch.from_numpy(arrays["normal"]).permute(0, 3, 1, 2).contiguous(),
        region=region,
    ).validated()


def region_of(mesh: Mesh) -> Frame:
    """The frame whose unit sphere holds a shape with a tenth to spare."""
    centre = (mesh.vertices.max(axis=0) + mesh.vertices.min(axis=0)) / 2
    return Frame(1.1 * float(np.linalg.norm(mesh.vertices - centre, axis=1).max()), translation=centre)


def _painted(name: str, mesh: Mesh) -> Textured:
    """A shape in a colour of its own, with a soft pattern that tells its parts apart."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), 3])
    base, waves, phase = rng.uniform(0.35, 0.85, 3), rng.normal(0, 2.5, (3, 3)), rng.uniform(0, 6.28, 3)
    size = float(np.ptp(mesh.vertices, axis=0).max())
    tint = base + 0.15 * np.sin(mesh.vertices / size * 2 @ waves + phase)
    colors = np.round(255 * np.clip(tint, 0, 1)).astype(np.uint8)
    return Textured.plain(Mesh(mesh.vertices, mesh.faces, colors=colors))


def _evenly(count: int) -> np.ndarray:
    """(count, 3) directions spread evenly over the sphere (a Fibonacci spiral about y), none straight up or down."""
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(angle), height, flat * np.sin(angle)], axis=1)
