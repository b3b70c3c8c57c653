"""How a rendered view becomes a network's input: background, crop, flip, colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from recon.errors import ConfigError

Pixels = tuple[np.ndarray, np.ndarray | None]
"""(H, W, 3) uint8 RGB, and (H, W) uint8 alpha or None: what `recon.io.images.read_image` gives."""
Random = np.random.Generator | np.random.RandomState
"""The second is NumPy's old one, from which the originals drew."""
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
COLOURS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
"""Columns: principal directions of ImageNet's colours (Krizhevsky et al. 2012, section 4.1)."""
SPREADS = np.array([0.2175, 0.0188, 0.0045])
"""Their eigenvalues."""


@dataclass(frozen=True)
class Preparation:
    """What is done to the views of an object; the defaults are those of the Theano 3D-R2N2.

    Training draws, view by view, background (3 channels), row and column of the crop, and flip; then, for all views of
    the object together, the changes of colour. At test the crop is the middle, the background is `test_background`, and
    nothing else is done. Only where alpha is exactly 0 there is background: half transparent pixels keep their colours.

    Args:
        crop: side of the square that is cut out, in pixels (127; 128 in the PyTorch port and in Pix2Vox).
        place: where it is cut out in training: ``random`` or ``centre``.
        size: side to which it is then resized; None leaves it.
        background: darkest and lightest value of each channel of the colour put where alpha is 0, in training;
            None drops alpha, at test too: what was stored under it is seen.
        test_background: grey put there at test.
        shared_background: one colour for all views of an object (Pix2Vox), or one for each view.
        flip: probability that a view is mirrored. The voxels are not, as in all originals.
        jitter: brightness, contrast and saturation change by up to this share (Pix2Vox: 0.4).
        pca: spread of the noise along the principal colours of ImageNet (Pix2Vox: 0.1).
        permute: put the three channels into a random order (Pix2Vox).
    """

    crop: int = 127
    place: Literal["random", "centre"] = "random"
    size: int | None = None
    background: tuple[int, int] | None = (225, 255)
    test_background: int = 240
    shared_background: bool = False
    flip: float = 0.5
    jitter: float = 0.0
    pca: float = 0.0
    permute: bool = False

    def __post_init__(self) -> None:
        light = self.background
        if light is not None and not (len(light) == 2 and 0 <= light[0] <= light[1] <= 255):
            raise ConfigError(
                f"data.background={list(light)}: this is no range of values.",
                "Give the darkest and the lightest, such as [225,255]; null leaves what is stored under alpha.",
            )
        if self.place not in ("random", "centre"):
            raise ConfigError(f"data.place={self.place}: there is no such place.", "Give random or centre.")
        if self.crop < 1 or (self.size is not None and self.size < 1):
            raise ConfigError(f"data.crop={self.crop} and data.size={self.size}: these are no sides.", "Give pixels.")
        if not 0 <= self.test_background <= 255:
            raise ConfigError(f"data.test_background={self.test_background}: no such grey.", "Give 0 to 255.")

    def train(self, views: Sequence[Pixels], rng: Random) -> np.ndarray:
        """The views as a network sees them in training.

        Args:
            views: of one object, none smaller than `crop`.
            rng: draws everything, in the order of the original.

        Returns:
            (V, 3, S, S) uint8; float32 in [0, 1] if colours are changed.
        """
        shared = self._colour(rng) if self.shared_background and self.background is not None else None
        images = self._stacked([self._train_view(rgb, alpha, rng, shared) for rgb, alpha in views])
        if self.jitter or self.pca or self.permute:
            images = recoloured(images, rng, self.jitter, self.pca, self.permute)
        return images

    def test(self, views: Sequence[Pixels]) -> np.ndarray:
        """(V, 3, S, S) uint8, the views as a network sees them at test."""
        grey = None if self.background is None else np.full(3, self.test_background, dtype=np.uint8)
        return self._stacked([painted(*self._middle(rgb, alpha), grey) for rgb, alpha in views])

    def masks(self, views: Sequence[Pixels]) -> np.ndarray | None:
        """(V, 1, S, S) uint8 alpha in the places of `test`, or None if a view has none."""
        cut = [self._middle(rgb, alpha)[1] for rgb, alpha in views]
        kept = [alpha[None] for alpha in cut if alpha is not None]
        return self._stacked(kept) if len(kept) == len(cut) else None

    def _train_view(
        self, rgb: np.ndarray, alpha: np.ndarray | None, rng: Random, shared: np.ndarray | None
    ) -> np.ndarray:
        colour = shared if shared is not None or self.background is None else self._colour(rng)
        row, column = ((side - self.crop) // 2 for side in rgb.shape[:2])
        if self.place == "random":
            row, column = (_integer(rng, 0, side - self.crop) for side in rgb.shape[:2])
        step = -1 if self.flip and rng.random() > 1 - self.flip else 1
        window = np.s_[row : row + self.crop, column : column + self.crop]
        return painted(rgb[window], None if alpha is None else alpha[window], colour)[..., ::step]

    def _middle(self, rgb: np.ndarray, alpha: np.ndarray | None) -> Pixels:
        row, column = ((side - self.crop) // 2 for side in rgb.shape[:2])
        window = np.s_[row : row + self.crop, column : column + self.crop]
        return rgb[window], None if alpha is None else alpha[window]

    def _colour(self, rng: Random) -> np.ndarray:
        assert self.background is not None
        low, high = self.background
        return np.array([_integer(rng, low, high + 1) for _ in range(3)], dtype=np.uint8)

    def _stacked(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(V, C, S, S) from (C, crop, crop) uint8, resized if that is asked for."""
        stacked = np.stack(images)
        if self.size is None or self.size == self.crop:
            return stacked
        side = (self.size, self.size)
        planes = [Image.fromarray(plane) for plane in stacked.reshape(-1, self.crop, self.crop)]
        resized = np.stack([np.asarray(plane.resize(side, Image.Resampling.BILINEAR)) for plane in planes])
        return resized.reshape(*stacked.shape[:2], *side)


def painted(rgb: np.ndarray, alpha: np.ndarray | None, colour: np.ndarray | None) -> np.ndarray:
    """(H, W, 3) `rgb` as (3, H, W), with a colour where alpha is exactly 0; None leaves what is stored there."""
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    if alpha is not None and colour is not None:
        empty = alpha == 0
        for plane, value in zip(planes, colour, strict=True):
            np.putmask(plane, empty, value)  # five times as fast as np.where over all three
    return planes


def recoloured(images: np.ndarray, rng: Random, jitter: float, pca: float, permute: bool) -> np.ndarray:
    """Pix2Vox's changes of colour, the same for all views.

    Brightness scales, contrast moves away from each image's mean grey, saturation from each pixel's grey, by
    factors uniform in 1 +- `jitter` and in random order; then comes one colour along ImageNet's principal ones, of
    normal strengths of spread `pca`; then the order of channels.

    Args:
        images: (V, 3, H, W) uint8.
        rng: draws.
        jitter: largest change.
        pca: spread of the noise.
        permute: whether channels change places.

    Returns:
        (V, 3, H, W) float32, cut to [0, 1].
    """
    changed = images.astype(np.float32) / 255
    if jitter:
        factors = rng.uniform(1 - jitter, 1 + jitter, 3).astype(np.float32)
        for kind in rng.permutation(3):
            changed = _adjusted(changed, int(kind), factors[kind])
    if pca:
        changed += (COLOURS * SPREADS @ rng.normal(0, pca, 3)).astype(np.float32)[:, None, None]
    if permute:
        changed = np.ascontiguousarray(changed[:, rng.permutation(3)])
    return changed.clip(0, 1)


def _adjusted(images: np.ndarray, kind: int, factor: np.float32) -> np.ndarray:
    """Brightness (0), contrast (1) or saturation (2) times a factor."""
    if kind == 0:
        return images * factor
    grey = np.einsum("c,vchw->vhw", LUMA, images)[:, None]
    return factor * images + (1 - factor) * (grey.mean(axis=(2, 3), keepdims=True) if kind == 1 else grey)


def _integer(rng: Random, low: int, high: int) -> int:
    """A whole number from `low` up to but not including `high`; `low` if there is no room."""
    if high - low < 1:
        return low
    return int(rng.randint(low, high) if isinstance(rng, np.random.RandomState) else rng.integers(low, high))
