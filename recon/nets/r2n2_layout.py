"""What sets the two published families of 3D-R2N2 apart, and the sizes that follow from an image's.

Choy et al. 2016, "3D-R2N2: A Unified Approach for Single and Multi-view 3D Object Reconstruction". The family
``"original"`` is the authors' Theano program, ``"torch"`` the PyTorch port whose weights are in circulation. Their
weights cannot be swapped: images, pooling, upsampling and biases differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recon.errors import ConfigError

Family = Literal["torch", "original"]
Cell = Literal["lstm", "gru"]
Upsampling = Literal["nearest", "zeros"]

SLOPE = 0.01  # of the leaky ReLU in all code; the paper says 0.1


@dataclass(frozen=True)
class Layout:
    """What a family fixes.

    Attributes:
        image: side of its images, in pixels.
        padding: of the 2 x 2 max pooling; padding never wins.
        upsampling: ``"nearest"`` repeats a voxel eight times, ``"zeros"`` puts it at the first corner of eight.
        cell_bias: whether features enter the recurrent grid with a bias of their own for every cell and channel.
    """

    image: int
    padding: int
    upsampling: Upsampling
    cell_bias: bool

    def pooled(self, side: int, times: int) -> int:
        """The side of an image after some poolings."""
        for _ in range(times):
            side = (side + 2 * self.padding - 2) // 2 + 1
        return side


LAYOUTS: dict[Family, Layout] = {
    "torch": Layout(128, 0, "nearest", True),
    "original": Layout(127, 1, "zeros", False),
}


def doublings(grid: int, resolution: int) -> int:
    """How many times a grid's side is doubled to reach a resolution.

    Raises:
        ConfigError: if doubling never reaches it.
    """
    count = (resolution // grid).bit_length() - 1
    if count < 1 or grid << count != resolution:
        possible = ", ".join(str(grid << n) for n in range(1, 7))
        raise ConfigError(
            f"A grid of {grid}^3 cells cannot be doubled to {resolution}^3 voxels.", f"Give one of {possible}."
        )
    return count


def decoder_widths(hidden: int, stages: int) -> tuple[int, ...]:
    """Channels of the decoder's layers: the published 128, 128, 64, 32 at 32^3, halved once more a further doubling."""
    return tuple(max(hidden >> max(n - 1, 0), 2) for n in range(stages + 1))


def image_side(layout: Layout, pooled: int, times: int) -> int:
    """The side of images that some poolings bring to `pooled`: the family's own if it does, else the smallest."""
    sides = sides_pooled_to(layout, pooled, times)
    return layout.image if layout.image in sides else sides[0]


def sides_pooled_to(layout: Layout, pooled: int, times: int) -> range:
    """All sides of images that some poolings bring to `pooled`."""
    # Pooling halves and rounds down; with padding a side s becomes s // 2 + 1, so that s - 2 is halved, rounded up.
    low = ((pooled - 2) << times) + 2 if layout.padding else pooled << times
    return range(max(low, 1), low + (1 << times))
