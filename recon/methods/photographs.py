"""From anyone's photographs to what a network was trained on: subject, background, frame and size.

What training images look like is measured while a network is trained, and kept with its weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recon.geometry.silhouette import frame_of, subject_of, touches_border
from recon.observations import Views, as_float

WORKING = 512
"""Longest side at which photographs are worked on, in pixels."""
UNUSUAL = 6.0
"""Standard deviations from which a photograph is told to be unlike those of the training."""
TRAITS = (
    "brightness",
    "contrast",
    "colourfulness",
    "detail",
    "background's brightness",
    "background's roughness",
    "subject's extent",
)
BACKGROUND, EXTENT = 4, 6
SLACK = 0.02
"""Added to every spread: generated images can be all alike in a trait."""


class Appearance(nn.Module):
    """Means and spreads of the traits of the images that a network has seen in training; they go into checkpoints."""

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(len(TRAITS), dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(len(TRAITS), dtype=torch.float64))

    @torch.no_grad()
    def update(self, images: Tensor) -> None:
        """Count some images (N, 3, S, S) in [0, 1] (Chan et al. 1979)."""
        found = traits(images).double()
        total = self.count + len(found)
        mean = found.mean(dim=0)
        shift = mean - self.mean
        self.squares += ((found - mean) ** 2).sum(dim=0) + shift**2 * self.count * len(found) / total
        self.mean += shift * len(found) / total
        self.count.copy_(total)

    def trait(self, number: int, default: float) -> float:
        """The mean of a trait; a default where nothing was counted."""
        return float(self.mean[number]) if self.count else default

    def unlike(self, image: Tensor) -> list[str]:
        """Sentences' ends about what is unusual in an image (3, S, S); none where nothing was counted."""
        if not self.count:
            return []
        spread = (self.squares / self.count).sqrt() + SLACK
        found = traits(image[None].to(self.mean.device))[0].double()
        return [
            f"its {name} is {value:.2f}, in training {mean:.2f} +- {wide:.2f}"
            for name, value, mean, wide in zip(TRAITS, found, self.mean, spread, strict=True)
            if abs(value - mean) > UNUSUAL * wide
        ]


def traits(images: Tensor) -> Tensor:
    """(N, 7) numbers in the order of `TRAITS` that tell images (N, 3, S, S) in [0, 1] apart at a glance."""
    grey = images.mean(dim=1)
    side = grey.shape[-1]
    rim = torch.ones(side, side, dtype=torch.bool, device=images.device)
    rim[2:-2, 2:-2] = False
    edge = grey[:, rim]
    around = edge.median(dim=1).values
    differs = (grey - around[:, None, None]).abs() > 0.1
    lengths = [differs.any(dim=axis).float() for axis in (1, 2)]
    numbers = torch.arange(side, device=images.device) + 1.0
    spans = [(x * numbers).amax(dim=1) + (x * (side + 1 - numbers)).amax(dim=1) - side for x in lengths]
    return torch.stack(
        [
            grey.mean(dim=(1, 2)),
            grey.flatten(1).std(dim=1),
            (images - grey[:, None]).abs().mean(dim=(1, 2, 3)),
            grey.diff(dim=1).abs().mean(dim=(1, 2)) + grey.diff(dim=2).abs().mean(dim=(1, 2)),
            around,
            (edge - around[:, None]).abs().mean(dim=1),
            torch.stack(spans).amax(dim=0).clamp(min=0) / side,
        ],
        dim=1,
    )


@dataclass(frozen=True)
class Framing:
    """How photographs are brought to a network's liking.

    Attributes:
        side: of its images, in pixels.
        background: grey in [0, 1] put around the subject.
        extent: share of the side that the subject's longest side takes.
    """

    side: int
    background: float
    extent: float

    def prepared(self, views: Views) -> tuple[Tensor, list[str]]:
        """Views (V, 3, side, side) in [0, 1], and what the user should know about them.

        The subject is what the mask says (alpha, or a mask file), or else what differs from a plain background.
        """
        images, warnings = [], []
        for number, photograph in enumerate(views.rgb):
            mask = None if views.mask is None else as_float(views.mask[number, 0])
            image, said = self._one(photograph.cpu(), None if mask is None else mask.cpu())
            name = views.view_names[number] if number < len(views.view_names) else str(number + 1)
            images.append(image)
            warnings += [f"view {name}: {text}" for text in said]
        return torch.stack(images), warnings

    def _one(self, rgb: Tensor, mask: Tensor | None) -> tuple[Tensor, list[str]]:
        rgb, mask = _shrunk(*_unpadded(rgb, mask))
        told = mask is not None
        if mask is None:
            subject = subject_of(np.asarray(rgb.permute(1, 2, 0), dtype=np.float64))
            mask = None if subject is None else torch.from_numpy(subject).float()
        if mask is None:
            text = "no plain background was found, and it has neither alpha nor a mask; its middle is taken whole."
            return self._cut(rgb, *_middle(rgb)), [text]
        solid = np.asarray(mask > 0.5)
        row, column, side = frame_of(solid, self.extent)
        warnings = []
        if touches_border(solid):
            warnings.append("the subject reaches the edge of the picture; what is cut off cannot be known.")
        if side < self.side / 2:
            warnings.append(f"the subject is small; {side} pixels become {self.side}.")
        if not told:
            mask = _softened(mask)
        return self._cut(self._before_background(rgb, mask), row, column, side), warnings

    def _before_background(self, rgb: Tensor, mask: Tensor) -> Tensor:
        return rgb * mask + self.background * (1 - mask)

    def _cut(self, rgb: Tensor, row: int, column: int, side: int) -> Tensor:
        """A square of an image, beyond which lies background, at the network's size."""
        height, width = rgb.shape[1:]
        square = torch.full((3, side, side), self.background)
        top, left = max(row, 0), max(column, 0)
        bottom, right = min(row + side, height), min(column + side, width)
        square[:, top - row : bottom - row, left - column : right - column] = rgb[:, top:bottom, left:right]
        size = (self.side, self.side)
        return F.interpolate(square[None], size, mode="bilinear", align_corners=False, antialias=True)[0].clamp(0, 1)


def _unpadded(rgb: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A photograph without the rim that was added to make several of one size; and its mask if it tells anything."""
    if mask is None or not bool((mask > 0.5).any()):
        return rgb, None
    solid = mask > 0.5
    rows, columns = solid.any(dim=1).nonzero()[:, 0], solid.any(dim=0).nonzero()[:, 0]
    height, width = int(rows[-1]) + 1, int(columns[-1]) + 1
    added = bool((rgb[:, height:] == 0).all() and (rgb[:, :, width:] == 0).all())
    if bool(solid[:height, :width].all()) and added:
        return rgb[:, :height, :width], None
    return rgb, mask


def _shrunk(rgb: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    height, width = rgb.shape[1:]
    factor = WORKING / max(height, width)
    if factor >= 1:
        return rgb, mask
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    small = F.interpolate(rgb[None], size, mode="area")[0]
    return small, None if mask is None else F.interpolate(mask[None, None], size, mode="area")[0, 0]


def _softened(mask: Tensor) -> Tensor:
    """A found mask, a pixel wider and without stairs, since the subject's rim is mixed with its background."""
    return F.avg_pool2d(F.max_pool2d(mask[None, None], 3, 1, 1), 3, 1, 1)[0, 0]


def _middle(rgb: Tensor) -> tuple[int, int, int]:
    height, width = rgb.shape[1:]
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side
