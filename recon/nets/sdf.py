"""The perceptrons of implicit geometric regularisation, in both published lineages.

Gropp et al. 2020, "Implicit Geometric Regularization for Learning Shapes" (the authors' settings), and the
re-implementation with another input order, activation and initialisation that is known as the nnabla example.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from recon.errors import ConfigError
from recon.nets.activations import Activation, Softplus
from recon.nets.sweeps import Layer
from recon.nets.value_gradient import Field

Layout = Literal["features_first", "position_first"]
Initialization = Literal["geometric", "he"]


class MLP(Field):
    """A perceptron with skip connections, whose linear maps are named ``lin0``, ``lin1``, ...

    Args:
        d_in: dimensions of a position.
        widths: of the hidden layers, before a skip narrows the layer below it.
        skip: layers that see the field's input once more.
        latent: length of a latent code, 0 for none.
        activation: of all layers but the last; ``Softplus(100)`` by default.
        layout: what a skip layer sees. ``"features_first"``: ``[h, z, x] / sqrt(2)``, and codes z enter at the
            bottom as well (the authors'); ``"position_first"``: ``[x, z, h]``, and codes enter only there (nnabla).
        initialization: ``"geometric"``: about the signed distance of a sphere (Atzmon and Lipman 2020, theorem 1),
            drawn in the authors' order; ``"he"``: He normal, and Glorot uniform at the top.
        radius: of that sphere.
    """

    def __init__(
        self,
        d_in: int = 3,
        widths: Sequence[int] = (512,) * 8,
        skip: Sequence[int] = (4,),
        latent: int = 0,
        activation: Activation | None = None,
        layout: Layout = "features_first",
        initialization: Initialization = "geometric",
        radius: float = 1.0,
    ) -> None:
        super().__init__()
        if any(not 0 < layer < len(widths) for layer in skip):
            raise ConfigError(
                f"A skip connection to layer {list(skip)} is not possible with {len(widths)} hidden layers.",
                f"Give layers from 1 to {len(widths) - 1}.",
            )
        self.d_in, self.latent, self.skip, self.layout = d_in, latent, tuple(skip), layout
        self.activation = activation or Softplus()
        self.depth = len(widths)
        whole = d_in + latent
        inputs = [whole if layout == "features_first" else d_in, *widths]
        outputs = [w - whole if n + 1 in skip else w for n, w in enumerate(widths)] + [1]
        for number, (wide, narrow) in enumerate(zip(inputs, outputs, strict=True)):
            linear = nn.Linear(wide, narrow)
            if initialization == "geometric":
                _geometric(linear, top=number == self.depth, radius=radius)
            else:
                _he(linear, top=number == self.depth)
            self.add_module(f"lin{number}", linear)

    def layers(self, codes: Tensor | None = None) -> list[Layer]:
        """The affine maps in order; codes (B, latent) become biases, so that they cost nothing a point."""
        return [self._layer(number, codes) for number in range(self.depth + 1)]

    def _layer(self, number: int, codes: Tensor | None) -> Layer:
        linear = self.get_submodule(f"lin{number}")
        assert isinstance(linear, nn.Linear)
        weight, bias = linear.weight, linear.bias
        if number not in self.skip and number > 0:
            return Layer(weight, None, bias[None])
        hidden = None
        if self.layout == "features_first":
            weight = weight / math.sqrt(2) if number else weight
            features = weight.shape[1] - self.latent - self.d_in
            hidden, code, position = weight.split([features, self.latent, self.d_in], dim=1)
        else:
            latent = self.latent if number else 0
            position, code, hidden = weight.split([self.d_in, latent, weight.shape[1] - self.d_in - latent], dim=1)
        rows = bias[None]
        if codes is not None and code.shape[1]:
            rows = rows + codes @ code.t()
        return Layer(hidden if number else None, position, rows)


def _geometric(linear: nn.Linear, top: bool, radius: float) -> None:
    """The authors' draws, after those of the linear layer's own construction."""
    out_features, in_features = linear.weight.shape
    if top:
        nn.init.normal_(linear.weight, math.sqrt(math.pi) / math.sqrt(in_features), 1e-5)
        nn.init.constant_(linear.bias, -radius)
    else:
        nn.init.constant_(linear.bias, 0.0)
        nn.init.normal_(linear.weight, 0.0, math.sqrt(2) / math.sqrt(out_features))


def _he(linear: nn.Linear, top: bool) -> None:
    if top:
        nn.init.xavier_uniform_(linear.weight)
    else:
        nn.init.normal_(linear.weight, 0.0, math.sqrt(2 / linear.in_features))
    nn.init.zeros_(linear.bias)
