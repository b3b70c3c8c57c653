"""The implicit network of IDR (Yariv et al. 2020), and Iso-Points' variant of it.

Both see the frequency encoding of a position, have weight normalisation and softplus, and give features beside the
value. That gives them value, gradient and features in one explicit pass (`recon.nets.value_gradient`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recon.errors import ConfigError
from recon.nets.activations import Softplus
from recon.nets.encoding import encode, encoded_width, pull_back
from recon.nets.sweeps import Layer
from recon.nets.value_gradient import Field
from recon.nets.weight_norm import NormedLinear


class ImplicitNetwork(Field):
    """Distance and features of a position. As a function (N, 3) -> (N,) it is the distance.

    Args:
        features: number of features.
        widths: of the hidden layers, before a skip narrows the layer below it.
        skip: layers that see the encoded position once more, ``[h, e] / sqrt(2)``.
        frequencies: of the encoding.
        radius: of the sphere that the initialisation aims at (IDR's ``bias``).
        squash: tanh of all outputs, as in Iso-Points; IDR's are linear.
    """

    def __init__(
        self,
        features: int = 256,
        widths: Sequence[int] = (512,) * 8,
        skip: Sequence[int] = (4,),
        frequencies: int = 6,
        radius: float = 0.6,
        squash: bool = False,
    ) -> None:
        super().__init__()
        if any(not 0 < layer < len(widths) for layer in skip):
            raise ConfigError(
                f"A skip connection to layer {list(skip)} is not possible with {len(widths)} hidden layers.",
                f"Give layers from 1 to {len(widths) - 1}.",
            )
        self.activation = Softplus(100.0)
        self.features, self.frequencies, self.squash = features, frequencies, squash
        self.skip, self.depth, self.seen = tuple(skip), len(widths), encoded_width(3, frequencies)
        inputs = [self.seen, *widths]
        outputs = [w - self.seen if n + 1 in skip else w for n, w in enumerate(widths)] + [1 + features]
        for number, (wide, narrow) in enumerate(zip(inputs, outputs, strict=True)):
            linear = nn.Linear(wide, narrow)
            self._initialize(linear, number, radius)
            self.add_module(f"lin{number}", NormedLinear(linear))

    def _initialize(self, linear: nn.Linear, number: int, radius: float) -> None:
        """The authors' draws, after those of the linear layer's own construction, in their order."""
        narrow, wide = linear.weight.shape
        with torch.no_grad():
            if number == self.depth:
                linear.weight.normal_(math.sqrt(math.pi) / math.sqrt(wide), 1e-4)
                linear.bias.fill_(-radius)
                return
            linear.bias.zero_()
            drawn = linear.weight[:, :3] if number == 0 else linear.weight
            drawn.normal_(0.0, math.sqrt(2) / math.sqrt(narrow))
            if number == 0:
                linear.weight[:, 3:] = 0.0
            elif number in self.skip:
                linear.weight[:, wide - (self.seen - 3) :] = 0.0

    def layers(self, codes: Tensor | None = None) -> list[Layer]:
        """The affine maps of encoded positions in order. There are no codes."""
        maps = []
        for number in range(self.depth + 1):
            linear = self.get_submodule(f"lin{number}")
            assert isinstance(linear, NormedLinear)
            weight, bias = linear.weight, linear.bias[None]
            if number == 0:
                maps.append(Layer(None, weight, bias))
            elif number in self.skip:
                hidden, position = (weight / math.sqrt(2)).split([weight.shape[1] - self.seen, self.seen], dim=1)
                maps.append(Layer(hidden, position, bias))
            else:
                maps.append(Layer(weight, None, bias))
        return maps

    def encoded(self, x: Tensor) -> Tensor:
        return encode(x, self.frequencies)

    def bounded(self, outputs: Tensor) -> Tensor:
        return outputs.tanh() if self.squash else outputs

    def outputs_and_gradient(
        self, x: Tensor, codes: Tensor | None = None, start: int = 0, dtype: torch.dtype | None = None
    ) -> tuple[Tensor, Tensor]:
        encoding = self.encoded(x)
        outputs, slopes = super().outputs_and_gradient(encoding, None, start, dtype)
        gradient = pull_back(encoding[start:], slopes, self.frequencies)
        if not self.squash:
            return outputs, gradient
        outputs = outputs.tanh()
        return outputs, gradient * (1 - outputs[start:, :1].square())
