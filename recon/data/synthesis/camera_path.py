"""The way of somebody who films a room by hand: around its things, one after another, looking at each."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from recon.geometry.cameras import look_at

UP = np.array([0.0, 0.0, 1.0])
STEPS = 4  # stands about each thing
MARGIN = 0.35  # metres kept to walls and to things that reach up to the eye


def film(
    boxes: np.ndarray, low: np.ndarray, high: np.ndarray, frames: int, eye: float, rng: np.random.Generator
) -> np.ndarray:
    """Poses along a smooth path through a room.

    Args:
        boxes: (N, 2, 3) lowest and highest corners of the things in it, in metres, z up.
        low: (3,) lowest corner of the room's free space.
        high: (3,) highest corner.
        frames: poses, at least one.
        eye: height of the camera above the ground.
        rng: of all draws.

    Returns:
        (frames, 4, 4) camera to world, OpenCV axes, upright but for a slight sway.
    """
    stands, targets = [], []
    for box in boxes[_tour(boxes.mean(axis=1))]:
        eyes = _around(box, boxes, low, high, eye, rng)
        stands.append(eyes)
        targets.append(np.repeat(box.mean(axis=0)[None], len(eyes), axis=0))
    eyes, looks = np.vstack(stands), np.vstack(targets)
    at, now = np.linspace(0, 1, len(eyes)), np.linspace(0, 1, frames)
    # Positions keep between their stands, so that the path stays in the room; looks may swing.
    path = PchipInterpolator(at, eyes)(now)
    look = CubicSpline(at, looks)(now) + _sway(now, 0.08, rng)
    path = clear(path + _sway(now, 0.03, rng), boxes, low, high)
    return look_at(path, look, UP + _sway(now, 0.03, rng) * [1, 1, 0])


def _tour(centres: np.ndarray) -> list[int]:
    """The things in an order in which each is the nearest to the one before."""
    left, order = list(range(1, len(centres))), [0]
    while left:
        nearest = min(left, key=lambda i: float(np.linalg.norm(centres[i] - centres[order[-1]])))
        left.remove(nearest)
        order.append(nearest)
    return order


def _around(
    box: np.ndarray, boxes: np.ndarray, low: np.ndarray, high: np.ndarray, eye: float, rng: np.random.Generator
) -> np.ndarray:
    """(STEPS, 3) places from which a thing is seen, from the side that faces the room's middle."""
    centre, middle = box.mean(axis=0), (low + high) / 2
    inward = np.arctan2(*(middle - centre)[[1, 0]])
    angles = inward + np.linspace(-1.0, 1.0, STEPS) * rng.choice([-1, 1]) + rng.normal(0, 0.1)
    distance = np.linalg.norm(np.ptp(box, axis=0)) / 2 + rng.uniform(0.8, 1.5, STEPS)
    around = np.stack([np.cos(angles) * distance, np.sin(angles) * distance], axis=1)
    eyes = np.column_stack([centre[:2] + around, low[2] + eye + rng.uniform(-0.15, 0.15, STEPS)])
    return clear(eyes, boxes, low, high)


def clear(eyes: np.ndarray, boxes: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(N, 3) places moved into the room and above what they would collide with."""
    middle = (low + high) / 2
    # A room too narrow for the margin is filmed from its middle.
    near, far = np.minimum(low[:2] + MARGIN, middle[:2]), np.maximum(high[:2] - MARGIN, middle[:2])
    eyes = np.column_stack([np.clip(eyes[:, :2], near, far), eyes[:, 2]])
    outside = np.maximum(boxes[:, 0, :2] - eyes[:, None, :2], eyes[:, None, :2] - boxes[:, 1, :2]).clip(min=0)
    # Higher the nearer it comes, so that the path has no steps.
    needed = boxes[:, 1, 2] + MARGIN - np.linalg.norm(outside, axis=2)
    eyes[:, 2] = np.maximum(eyes[:, 2], needed.max(axis=1))
    return eyes


def _sway(now: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) slow waves of a hand, about `size` high."""
    beats, phase = rng.uniform(2, 9, (4, 3)), rng.uniform(0, 2 * np.pi, (4, 3))
    return size / 2 * np.sin(2 * np.pi * beats * now[:, None, None] + phase).sum(axis=1)
