"""The objective of implicit geometric regularisation and its relatives, on one merged batch of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from recon.losses.eikonal import eikonal, normal_error
from recon.losses.points import off_surface, surface_distance
from recon.nets.value_gradient import Field


@dataclass(frozen=True)
class Objective:
    """Weights and forms of the terms.

    Attributes:
        surface: weight of the distance at surface points.
        surface_power: 1: |f|; 2: f squared.
        normal: weight of the normals, where there are any.
        normal_kind: ``"l2"`` or ``"cosine"`` (see `normal_error`).
        reduction: of the two terms above, over the surface points; the others are always means.
        eikonal: weight of the unit gradient.
        eikonal_power: 2: squared error; 1: absolute error.
        eikonal_everywhere: on surface points too, not only off the surface.
        off_surface: weight of SIREN's penalty on small values away from the data.
    """

    surface: float = 1.0
    surface_power: Literal[1, 2] = 1
    normal: float = 1.0
    normal_kind: Literal["l2", "cosine"] = "l2"
    reduction: Literal["mean", "sum"] = "mean"
    eikonal: float = 0.1
    eikonal_power: Literal[1, 2] = 2
    eikonal_everywhere: bool = False
    off_surface: float = 0.0

    def __call__(
        self,
        field: Field,
        surface: Tensor,
        normals: Tensor | None,
        off: Tensor,
        codes: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> dict[str, Tensor]:
        """The terms, each without its weight, and their weighted sum as ``loss``.

        All points go through the network at once, and gradients are taken only where a term wants them.

        Args:
            field: the network.
            surface: (N, d) points of the surface; with codes (B, N, d).
            normals: like `surface`, or None.
            off: (M, d) other points; with codes (B, M, d).
            codes: (B, C) or None.
            dtype: see `Field.value_and_gradient`.
        """
        oriented = normals is not None and self.normal > 0
        count = surface.shape[-2]
        start = 0 if oriented or self.eikonal_everywhere else count
        values, gradients = field.value_and_gradient(torch.cat([surface, off], dim=-2), codes, start, dtype)
        beyond = gradients if self.eikonal_everywhere else gradients[..., count - start :, :]
        terms = {
            "surface": surface_distance(values[..., :count], self.surface_power, self.reduction),
            "eikonal": eikonal(beyond, self.eikonal_power),
        }
        loss = self.surface * terms["surface"] + self.eikonal * terms["eikonal"]
        if oriented and normals is not None:
            terms["normal"] = normal_error(gradients[..., :count, :], normals, self.normal_kind, self.reduction)
            loss = loss + self.normal * terms["normal"]
        if self.off_surface:
            terms["off_surface"] = off_surface(values[..., count:])
            loss = loss + self.off_surface * terms["off_surface"]
        return {"loss": loss, **terms}
