"""Losses of surfaces rendered from posed images: IDR's, and those of Iso-Points' multi-view reconstruction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from recon.losses.eikonal import eikonal


def colour_l1(colours: Tensor, truth: Tensor, count: int) -> Tensor:
    """``sum |difference| / count``, summed over channels (Yariv et al. 2020, eq. 6).

    Args:
        colours: (M, 3) of the rays that hit the object.
        truth: (M, 3), in the same range.
        count: number of all rays, hit or not.
    """
    return (colours - truth).abs().sum() / count


def silhouette(value: Tensor, inside: Tensor, sharpness: float, count: int) -> Tensor:
    """Cross entropy of ``sigmoid(-sharpness f)`` and the mask, over the sharpness (Yariv et al. 2020, eq. 7).

    Args:
        value: (M,) the field's least value on rays that miss the object or should.
        inside: (M,) bool, the mask.
        sharpness: alpha.
        count: number of all rays.
    """
    logits = -sharpness * value
    return binary_cross_entropy_with_logits(logits, inside.to(value.dtype), reduction="sum") / (sharpness * count)


@dataclass(frozen=True)
class IDRObjective:
    """The weighted sum of IDR's losses.

    Attributes:
        eikonal: weight of the unit gradient.
        mask: weight of the silhouette.
    """

    eikonal: float = 0.1
    mask: float = 100.0

    def __call__(
        self,
        colours: Tensor,
        truth: Tensor,
        value: Tensor,
        inside: Tensor,
        gradient: Tensor,
        sharpness: float,
        count: int,
    ) -> dict[str, Tensor]:
        """The terms without their weights, and their weighted sum as ``loss``.

        Args:
            colours: (M, 3) rendered, of the rays that hit inside the mask.
            truth: (M, 3) photographed.
            value: (K,) the least values on the other rays.
            inside: (K,) bool, the mask there.
            gradient: (G, 3) of the field, at any points.
            sharpness: alpha.
            count: number of all rays, M + K.
        """
        terms = {
            "rgb": colour_l1(colours, truth, count),
            "mask": silhouette(value, inside, sharpness, count),
            "eikonal": eikonal(gradient) if len(gradient) else gradient.sum(),
        }
        return {"loss": terms["rgb"] + self.eikonal * terms["eikonal"] + self.mask * terms["mask"], **terms}


@dataclass(frozen=True)
class MultiViewObjective:
    """The weighted sum of Iso-Points' losses on several views; sums over samples are divided by the number of rays.

    Unlike IDR's, its cross entropies are not divided by the sharpness.

    Attributes:
        rgb: weight of colours.
        freespace: weight of samples that are to be outside.
        occupied: weight of samples that are to be inside.
        eikonal: weight of the unit gradient.
    """

    rgb: float = 1.0
    freespace: float = 1.0
    occupied: float = 1.0
    eikonal: float = 0.01

    def __call__(
        self,
        colours: Tensor,
        truth: Tensor,
        free: Tensor,
        occupied: Tensor,
        gradient: Tensor,
        sharpness: float,
        count: int,
    ) -> dict[str, Tensor]:
        """The terms, balanced by the numbers of samples, but without their weights, and their weighted sum as ``loss``.

        Args:
            colours: (M, 3) rendered at points of the surface.
            truth: (M, 3) photographed.
            free: (F,) the field where the masks say that nothing is.
            occupied: (O,) the field on rays through the masks that meet no surface.
            gradient: (G, 3) of the field, at any points.
            sharpness: alpha.
            count: number of all rays of the batch.
        """
        share = min((len(free) + len(occupied)) / max(len(colours), 1), 1.0)
        balance = len(free) / (5 * max(len(occupied), 1))
        terms = {
            "rgb": colour_l1(colours, truth, count) * share,
            "freespace": softplus(-sharpness * free).sum() / count,
            "occupied": softplus(sharpness * occupied).sum() / count * balance,
            "eikonal": (gradient.norm(dim=-1) - 1).square().sum() / count,
        }
        weighted = [getattr(self, name) * term for name, term in terms.items()]
        return {"loss": torch.stack(weighted).sum(), **terms}
