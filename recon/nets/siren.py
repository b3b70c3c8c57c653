"""Sitzmann et al. 2020, "Implicit Neural Representations with Periodic Activation Functions"."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recon.nets.activations import Sine
from recon.nets.sweeps import Layer
from recon.nets.value_gradient import Field


class Siren(Field):
    """A perceptron of sines; value, gradient and curvature are smooth and in closed form.

    Args:
        d_in: dimensions of a position.
        width: of the hidden layers.
        depth: number of hidden layers.
        omega: frequency factor of all layers (the paper's omega_0).
    """

    def __init__(self, d_in: int = 3, width: int = 256, depth: int = 4, omega: float = 30.0) -> None:
        super().__init__()
        self.depth = depth
        self.activation = Sine(omega)
        for number in range(depth + 1):
            linear = nn.Linear(d_in if number == 0 else width, 1 if number == depth else width)
            # Section 3.2 of the paper: activations stay normally distributed at any depth.
            bound = 1 / d_in if number == 0 else math.sqrt(6 / width) / omega
            with torch.no_grad():
                linear.weight.uniform_(-bound, bound)
            self.add_module(f"lin{number}", linear)

    def layers(self, codes: Tensor | None = None) -> list[Layer]:
        """The affine maps in order. There are no codes."""
        maps: list[Layer] = []
        for number in range(self.depth + 1):
            linear = self.get_submodule(f"lin{number}")
            assert isinstance(linear, nn.Linear)
            hidden, position = (linear.weight, None) if number else (None, linear.weight)
            maps.append(Layer(hidden, position, linear.bias[None]))
        return maps
