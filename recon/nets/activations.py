"""Activations with what the explicit input gradient needs of them: value, slope and curvature in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

SOFTPLUS_LINEAR = 20.0  # torch's softplus is the identity, with slope exactly 1, above this argument


class Activation(Protocol):
    """A scalar function, elementwise."""

    def __call__(self, a: Tensor) -> Tensor:
        """The value at the pre-activation `a`; differentiable by autograd as often as torch allows."""

    def with_slope(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """Value and first derivative at `a`, outside autograd."""

    def curvature(self, value: Tensor, slope: Tensor) -> Tensor | None:
        """Second derivative, from what `with_slope` gave; None where it vanishes everywhere."""


@dataclass(frozen=True)
class Softplus:
    """``log(1 + exp(beta a)) / beta``, linear above ``beta a = 20`` like torch's own."""

    beta: float = 100.0

    def __call__(self, a: Tensor) -> Tensor:
        return torch.nn.functional.softplus(a, self.beta, SOFTPLUS_LINEAR)

    def with_slope(self, a: Tensor) -> tuple[Tensor, Tensor]:
        slope = torch.sigmoid(self.beta * a)
        if a.dtype == torch.float64:  # in shorter types the sigmoid has already rounded to 1 there
            slope = slope.masked_fill(self.beta * a > SOFTPLUS_LINEAR, 1.0)
        return self(a), slope

    def curvature(self, value: Tensor, slope: Tensor) -> Tensor:
        return torch.addcmul(slope, slope, slope, value=-1).mul_(self.beta)


@dataclass(frozen=True)
class LeakyReLU:
    """``a`` where positive, ``negative * a`` elsewhere; `negative` 0 is the ReLU."""

    negative: float = 0.1

    def __call__(self, a: Tensor) -> Tensor:
        return torch.nn.functional.leaky_relu(a, self.negative)

    def with_slope(self, a: Tensor) -> tuple[Tensor, Tensor]:
        slope = torch.where(a > 0, a.new_tensor(1.0), a.new_tensor(self.negative))
        return a * slope, slope

    def curvature(self, value: Tensor, slope: Tensor) -> None:
        return None


@dataclass(frozen=True)
class Sine:
    """``sin(omega a)`` (Sitzmann et al. 2020, eq. 4)."""

    omega: float = 30.0

    def __call__(self, a: Tensor) -> Tensor:
        return torch.sin(self.omega * a)

    def with_slope(self, a: Tensor) -> tuple[Tensor, Tensor]:
        angle = self.omega * a
        return angle.sin(), angle.cos().mul_(self.omega)

    def curvature(self, value: Tensor, slope: Tensor) -> Tensor:
        return value * (-(self.omega**2))
