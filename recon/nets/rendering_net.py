"""The colour of a surface point seen from a direction: IDR's rendering network and Iso-Points' variant of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from recon.nets.encoding import encode, encoded_width
from recon.nets.weight_norm import NormedLinear

Mode = Literal["idr", "no_view_dir", "no_normal"]
Layout = Literal["idr", "isopoints"]


class RenderingNetwork(nn.Module):
    """A perceptron with ReLUs and weight normalisation.

    Args:
        features: of the implicit network.
        mode: what it sees beside point and features: normal and direction, or one of them.
        widths: of the hidden layers.
        frequencies: of the encoding of the direction.
        layout: IDR's input is ``[point, e(view), normal, features]``, its colours are in [-1, 1], and its view points
            from the surface to the camera. Iso-Points' input is ``[features, normal, point, e(view)]``, its colours
            are in [0, 1], and its view points from the camera to the surface.
    """

    def __init__(
        self,
        features: int = 256,
        mode: Mode = "idr",
        widths: Sequence[int] = (512,) * 4,
        frequencies: int = 4,
        layout: Layout = "idr",
    ) -> None:
        super().__init__()
        self.mode, self.layout, self.frequencies, self.depth = mode, layout, frequencies, len(widths)
        view = 0 if mode == "no_view_dir" else encoded_width(3, frequencies)
        inputs = [3 + view + (0 if mode == "no_normal" else 3) + features, *widths]
        for number, (wide, narrow) in enumerate(zip(inputs, [*widths, 3], strict=True)):
            self.add_module(f"lin{number}", NormedLinear(nn.Linear(wide, narrow)))

    def forward(self, points: Tensor, normals: Tensor, views: Tensor, features: Tensor) -> Tensor:
        """(N, 3) colours.

        Args:
            points: (N, 3).
            normals: (N, 3) gradients of the distance, of any length.
            views: (N, 3) unit directions, in the sense of the layout.
            features: (N, F).
        """
        h = self._seen(points, normals, views, features)
        for number in range(self.depth):
            h = self.get_submodule(f"lin{number}")(h).relu()
        colour = self.get_submodule(f"lin{self.depth}")(h).tanh()
        return colour if self.layout == "idr" else (colour + 1) / 2

    def _seen(self, points: Tensor, normals: Tensor, views: Tensor, features: Tensor) -> Tensor:
        view = [] if self.mode == "no_view_dir" else [encode(views, self.frequencies)]
        normal = [] if self.mode == "no_normal" else [normals]
        if self.layout == "idr":
            return torch.cat([points, *view, *normal, features], dim=-1)
        return torch.cat([features, *normal, points, *view], dim=-1)
