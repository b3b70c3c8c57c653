"""Bringing clouds of any size, place and orientation into the cube that occupancy networks were trained in."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from recon.geometry.frames import Frame
from recon.observations import Points

Place = Literal["auto", "box", "floor", "none"]
Up = Literal["x", "y", "z"]

TURNS: dict[Up, np.ndarray] = {
    "x": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "y": np.eye(3),
    "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
"""World to local: rotations that make an axis the second one."""

CUBE = 0.55
"""Half the side of the padded cube; what lies in it and has a longest side near 1 is in place already."""


def placed(cloud: Points, how: Place = "auto", up: Up = "y") -> Points:
    """A cloud in the networks' cube, float32, with the frame back to where it was.

    Args:
        cloud: in any coordinates.
        how: ``"box"``: its longest side becomes 1 and its centre the origin, as ShapeNet's; ``"auto"``: the same,
            unless it `is_placed` already; ``"floor"``: as ``"auto"``, but with its lowest point at y = -0.5, as rooms;
            ``"none"``: it stays.
        up: the axis of the cloud that points up, which becomes y.

    Raises:
        DataError: if the points have no extent.
    """
    if how == "none" or (how != "box" and up == "y" and is_placed(cloud)):
        return replace(cloud, points=cloud.points.float())
    turned = upright(cloud, up)
    boxed = Points(turned.points, turned.frame, turned.name).normalized("box", 1.0)
    if how != "floor":
        return boxed
    return _seen_from(boxed, Frame(translation=np.array([0.0, float(boxed.points[:, 1].min()) + 0.5, 0.0])))


def upright(cloud: Points, up: Up) -> Points:
    """A cloud turned so that its axis `up` is y."""
    return _seen_from(cloud, Frame(rotation=TURNS[up].T))


def is_placed(cloud: Points) -> bool:
    """Whether a cloud is in the cube as it comes: a reader put it there and says so by a frame, or it fills it."""
    f = cloud.frame
    if f.scale != 1 or (f.translation != 0).any() or (f.rotation != np.eye(3)).any():
        return True
    side = float((cloud.points.amax(0) - cloud.points.amin(0)).max())
    return 0.9 <= side <= 2 * CUBE and float(cloud.points.abs().max()) <= CUBE


def _seen_from(cloud: Points, inner: Frame) -> Points:
    local = torch.from_numpy(inner.to_local(cloud.points.double().cpu().numpy())).to(cloud.points.dtype)
    return Points(local, cloud.frame.then(inner), cloud.name)
