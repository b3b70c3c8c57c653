"""Patterns for objects that came without colours, so that a place looks the same, and unlike others, from all sides."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from recon.data.synthesis.textures import CLAY, Material, Textured
from recon.geometry.sampling import face_normals_and_areas

TEXELS = 256
REPEATS = 1.5  # of the pattern along the longest side of an object
SCALES = (2.0, 6.0, 20.0)  # of its spots, in texels
CONTRAST, TINT = 0.13, 0.05  # standard deviation of brightness, and of each colour by itself


def is_plain(look: Textured) -> bool:
    """Whether nothing told what an object looks like."""
    first = look.materials[0]
    return look.mesh.colors is None and len(look.materials) == 1 and first.image is None and first.color == CLAY


def patterned(look: Textured, color: tuple[float, float, float], rng: np.random.Generator) -> Textured:
    """An object of one colour with spots of many sizes.

    The pattern is laid on along the axis that a face looks along most, so that the mesh needs no coordinates of its
    own, and may be as coarse as it likes.

    Args:
        look: its own looks are left aside.
        color: RGB in [0, 1].
        rng: of the spots.
    """
    mesh = look.mesh
    across = np.abs(face_normals_and_areas(mesh)[0]).argmax(axis=1)
    axes = np.array([[1, 2], [2, 0], [0, 1]])[across]
    used = mesh.vertices[mesh.faces] - mesh.vertices.min(axis=0)
    uv = (
        np.take_along_axis(used, axes[:, None, :].repeat(3, axis=1), axis=2)
        * REPEATS
        / np.ptp(mesh.vertices, axis=0).max()
    )
    spots = np.sum([_spots(scale, rng) for scale in SCALES], axis=0) / np.sqrt(len(SCALES))
    noise = CONTRAST * spots[..., :1] + TINT * spots[..., 1:]
    image = np.clip(255 * (np.array(color) + noise), 0, 255).astype(np.uint8)
    return Textured(mesh, (Material(image=image),), np.zeros(len(mesh.faces), dtype=np.int64), uv.astype(np.float32))


def hue(number: int) -> tuple[float, float, float]:
    """A colour that neighbours in number do not share."""
    angle = 2 * np.pi * ((0.11 + 0.618034 * number) % 1)
    red, green, blue = (float(0.55 + 0.3 * np.cos(angle + turn)) for turn in (0, 2.1, 4.2))
    return red, green, blue


def _spots(scale: float, rng: np.random.Generator) -> np.ndarray:
    """(TEXELS, TEXELS, 4) noise of standard deviation 1 whose edges fit to each other."""
    smooth = gaussian_filter(rng.normal(size=(TEXELS, TEXELS, 4)), (scale, scale, 0), mode="wrap")
    return np.asarray(smooth / smooth.std())
