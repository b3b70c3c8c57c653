"""Which points of a surface a camera sees: small discs are drawn into a z-buffer, in torch (Zwicker et al. 2001)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from recon.geometry.near import spacing as nearest_distances

RESOLUTION = 256
DISC = 1.5  # radius in spacings: with fewer, what lies behind shows through
MERGE = 0.05  # depth in units of the object, which lies in the unit sphere
WIDEST = 12  # pixels that a disc reaches at the most
FEWEST = 1  # and at least
PAIRS = 1 << 22  # pixels tried at once; bounds the memory


def visible(
    points: Tensor,
    normals: Tensor,
    intrinsics: Tensor,
    pose: Tensor,
    size: tuple[int, int],
    spacing: float | None = None,
    resolution: int = RESOLUTION,
    merge: float = MERGE,
) -> Tensor:
    """Which points face a camera, lie in its picture, and have no disc of another before them.

    Args:
        points: (N, 3) on a surface, local.
        normals: (N, 3) outward, of any length.
        intrinsics: (V, 3, 3) in pixels with centres at integer + 0.5.
        pose: (V, 4, 4) camera to local, OpenCV axes.
        size: (height, width) of the pictures.
        spacing: of the points; by default the mean distance to the nearest other.
        resolution: pixels along the longer side of the z-buffer.
        merge: how far behind the foremost disc a point is still seen.

    Returns:
        (V, N) bool.
    """
    if len(points) == 0:
        return torch.zeros(len(pose), 0, dtype=torch.bool, device=points.device)
    spacing = float(nearest_distances(points).mean()) if spacing is None else spacing
    scale = resolution / max(size)
    height, width = (max(round(scale * side), 1) for side in size)
    shrink = torch.diag(pose.new_tensor([width / size[1], height / size[0], 1.0]))
    normals = normalize(normals, dim=1)
    seen = [
        _one_view(points, normals, shrink @ k.to(pose.dtype), c2w, (height, width), DISC * spacing, merge)
        for k, c2w in zip(intrinsics, pose, strict=True)
    ]
    return torch.stack(seen)


def _one_view(
    points: Tensor, normals: Tensor, k: Tensor, pose: Tensor, size: tuple[int, int], radius: float, merge: float
) -> Tensor:
    """(N,) bool; `k` is that of the z-buffer."""
    rotation = pose[:3, :3].to(points.dtype)
    camera, normal = (points - pose[:3, 3].to(points.dtype)) @ rotation, normals @ rotation
    depth = camera[:, 2]
    facing = ((camera * normal).sum(dim=1) < 0) & (depth > 0)
    image = camera @ k.to(points.dtype).t()
    pixel = (image[:, :2] / depth.clamp(min=1e-6)[:, None]).floor()
    inside = facing & (pixel >= 0).all(dim=1) & (pixel[:, 0] < size[1]) & (pixel[:, 1] < size[0])
    buffer = torch.full((size[0] * size[1],), torch.inf, dtype=points.dtype, device=points.device)
    if inside.any():
        _draw(buffer, camera[facing], normal[facing], pixel[facing], k.to(points.dtype), size, radius)
    where = pixel[:, 1].clamp(0, size[0] - 1) * size[1] + pixel[:, 0].clamp(0, size[1] - 1)
    return inside & (depth <= buffer[where.long()] + merge)


def _draw(
    buffer: Tensor,
    camera: Tensor,
    normal: Tensor,
    pixel: Tensor,
    k: Tensor,
    size: tuple[int, int],
    radius: float,
) -> None:
    """Put the nearest depth of the points' discs into `buffer`, at the pixels whose rays meet them."""
    wide = float(k[:2, :2].abs().amax() * radius / camera[:, 2].min().clamp(min=1e-6))
    reach = int(min(max(wide + 0.5, FEWEST), WIDEST))
    steps = torch.arange(-reach, reach + 1, device=camera.device, dtype=camera.dtype)
    offsets = torch.cartesian_prod(steps, steps)
    lift, rows = torch.linalg.inv(k).t(), max(1, PAIRS // len(offsets))
    for start in range(0, len(camera), rows):
        part = slice(start, start + rows)
        at = pixel[part, None] + offsets
        rays = torch.cat([at + 0.5, torch.ones_like(at[..., :1])], dim=-1) @ lift
        centre, facing = camera[part, None], normal[part, None]
        # Where the ray (of depth 1) meets the disc's plane; rays along the plane meet nothing.
        slope = (rays * facing).sum(dim=-1)
        depth = (centre * facing).sum(dim=-1) / torch.where(slope < -1e-6, slope, torch.nan)
        hit = (depth[..., None] * rays - centre).norm(dim=-1) <= radius
        hit &= (at >= 0).all(dim=-1) & (at[..., 0] < size[1]) & (at[..., 1] < size[0])
        index = (at[..., 1] * size[1] + at[..., 0])[hit].long()
        buffer.scatter_reduce_(0, index, depth[hit], "amin")
