"""What stands before a plain background in a photograph, and the square that frames it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

BORDER = 0.02
"""Width of the rim that is taken for background, in sides of the image."""
PLAIN = 0.75
"""Share of the rim that one smooth colour must explain."""
SOME = 0.25
"""Share of it that must be near the first guess."""
ROUGH = 0.04
"""Spread of the colours of a rim, of 1, up to which it is plain."""
NEAR = 0.12
"""Colours this far from the first guess still count as background while it is refined."""
SPECK = 5e-4
"""Share of the image below which a spot is noise."""
MINOR = 0.02
"""Parts smaller than this share of the largest do not move the frame."""


def subject_of(rgb: np.ndarray) -> np.ndarray | None:
    """The pixels that differ from a plain background, which may brighten or change its hue smoothly.

    The background is a quadratic polynomial of the place in each channel, fitted to the image's rim without
    those pixels of it that the subject reaches.

    Args:
        rgb: (H, W, 3) in [0, 1].

    Returns:
        (H, W) bool; None if the rim is not plain, or nothing or everything differs from it.
    """
    terms = _terms(*rgb.shape[:2])
    rim = _rim(*rgb.shape[:2])
    colours, places = rgb[rim], terms[rim]
    # The commonest colour to start from: a subject that reaches the rim must not pull at it.
    model = np.zeros((terms.shape[-1], 3))
    model[0] = _commonest(colours)
    for _ in range(5):
        near = np.abs(colours - places @ model).max(axis=1) < NEAR
        if near.mean() < SOME:
            return None
        model = np.linalg.lstsq(places[near], colours[near], rcond=None)[0]
    residual = np.abs(colours - places @ model).max(axis=1)
    spread = 1.4826 * float(np.median(residual))
    if spread > ROUGH or (residual < NEAR).mean() < PLAIN:
        return None
    found = _without_specks(np.abs(rgb - terms @ model).max(axis=-1) > max(0.04, 5 * spread))
    return found if 0.002 < found.mean() < 0.95 else None


def frame_of(mask: np.ndarray, share: float) -> tuple[int, int, int]:
    """The square about a subject.

    Args:
        mask: (H, W) bool, some of it True.
        share: of the square's side that the subject's longest side shall take.

    Returns:
        Row and column of its first pixel, which may lie outside the image, and its side.
    """
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    major = np.isin(labels, 1 + np.flatnonzero(sizes >= MINOR * sizes.max()))
    rows, columns = np.flatnonzero(major.any(axis=1)), np.flatnonzero(major.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    side = max(1, round(max(height, width) / share))
    middle = (rows[0] + rows[-1] + 1) / 2, (columns[0] + columns[-1] + 1) / 2
    return round(middle[0] - side / 2), round(middle[1] - side / 2), side


def touches_border(mask: np.ndarray) -> bool:
    """Whether a subject reaches the edge of its image, for more than a pixel or two."""
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(edge.mean() > 0.005)


def _terms(height: int, width: int) -> np.ndarray:
    """(H, W, 6) the monomials 1, x, y, xx, xy, yy of places in [-1, 1]."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _rim(height: int, width: int) -> np.ndarray:
    thick = max(2, round(BORDER * max(height, width)))
    rim = np.ones((height, width), dtype=bool)
    rim[thick:-thick, thick:-thick] = False
    return rim


def _commonest(colours: np.ndarray) -> np.ndarray:
    """The mean of the fullest bin of (n, 3) colours, 8 bins a channel, each half over the next."""
    best, fullest = colours.mean(axis=0), 0
    for shift in (0.0, 0.0625):
        bins = np.floor((colours + shift) * 8).astype(np.int64) @ np.array([1, 16, 256])
        values, counts = np.unique(bins, return_counts=True)
        if counts.max() > fullest:
            best, fullest = colours[bins == values[counts.argmax()]].mean(axis=0), int(counts.max())
    return np.asarray(best)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """A mask without spots of noise, and without such holes."""
    for value in (True, False):
        labels, count = ndimage.label(mask == value)
        small = np.flatnonzero(np.bincount(labels.ravel(), minlength=count + 1)[1:] < SPECK * mask.size) + 1
        mask = np.where(np.isin(labels, small), not value, mask)
    return np.asarray(mask)
