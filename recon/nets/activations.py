"""Activations, and what the explicit input gradient needs of them: slope and second derivative in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

Bend = tuple[float, Tensor, Tensor]
SOFTPLUS_LINEAR = 20.0  # torch's softplus is the identity, with slope exactly 1, above this argument


class Activation(Protocol):
    """A scalar function, elementwise.

    Attributes:
        looks_back: whether `bend` reads its factor v.
    """

    looks_back: ClassVar[bool]

    def __call__(self, a: Tensor) -> Tensor:
        """The value at the pre-activation `a`; differentiable by autograd as often as torch allows."""

    def with_slope(self, a: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
        """Value and first derivative at `a`, written over `a` and `out`, outside autograd."""

    def bend(self, value: Tensor, v: Tensor, u: Tensor, d_u: Tensor, d_v: Tensor) -> Bend | None:
        """Second derivative times ``v d_u`` as three factors, or None where it vanishes everywhere.

        They are left unmultiplied because whoever adds them up does it in one pass over memory.

        Args:
            value: what `with_slope` gave.
            v: any factor.
            u: v times the slope.
            d_u: any other factor; may be overwritten.
            d_v: d_u times the slope; no factor may be it, since it is overwritten before they are used.
        """


@dataclass(frozen=True)
class Softplus:
    """``log(1 + exp(beta a)) / beta``, linear above ``beta a = 20`` like torch's own."""

    looks_back: ClassVar[bool] = False
    beta: float = 100.0

    def __call__(self, a: Tensor) -> Tensor:
        return torch.nn.functional.softplus(a, self.beta, SOFTPLUS_LINEAR)

    def with_slope(self, a: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
        one = a.new_ones(()).expand_as(a)
        slope = torch.ops.aten.softplus_backward.grad_input(one, a, self.beta, SOFTPLUS_LINEAR, grad_input=out)
        return torch.ops.aten.softplus.out(a, self.beta, SOFTPLUS_LINEAR, out=a), slope

    def bend(self, value: Tensor, v: Tensor, u: Tensor, d_u: Tensor, d_v: Tensor) -> Bend:
        # The second derivative is beta s (1 - s), s the slope.
        return self.beta, d_u.sub_(d_v), u


@dataclass(frozen=True)
class LeakyReLU:
    """``a`` where positive, ``negative * a`` elsewhere; `negative` 0 is the ReLU."""

    looks_back: ClassVar[bool] = False
    negative: float = 0.1

    def __call__(self, a: Tensor) -> Tensor:
        return torch.nn.functional.leaky_relu(a, self.negative)

    def with_slope(self, a: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
        slope = torch.where(a > 0, a.new_tensor(1.0), a.new_tensor(self.negative), out=out)
        return a.mul_(slope), slope

    def bend(self, value: Tensor, v: Tensor, u: Tensor, d_u: Tensor, d_v: Tensor) -> None:
        return None


@dataclass(frozen=True)
class Sine:
    """``sin(omega a)`` (Sitzmann et al. 2020, eq. 4)."""

    looks_back: ClassVar[bool] = True
    omega: float = 30.0

    def __call__(self, a: Tensor) -> Tensor:
        return torch.sin(self.omega * a)

    def with_slope(self, a: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
        angle = a.mul_(self.omega)
        slope = torch.cos(angle, out=out).mul_(self.omega)
        return angle.sin_(), slope

    def bend(self, value: Tensor, v: Tensor, u: Tensor, d_u: Tensor, d_v: Tensor) -> Bend:
        return -(self.omega**2), d_u.mul_(v), value
