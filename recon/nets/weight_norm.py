"""Linear maps whose rows are lengths times directions (Salimans and Kingma 2016), under torch's two sets of names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

LENGTH, DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"


class NormedLinear(nn.Module):
    """``x W^T + b`` with ``W = g v / |v|``, row by row; the names and sizes are those of torch's old `weight_norm`.

    Args:
        linear: gives the start; W begins as its weight.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.bias = nn.Parameter(linear.bias.detach().clone())
        self.weight_g = nn.Parameter(weight.norm(dim=1, keepdim=True))
        self.weight_v = nn.Parameter(weight.clone())

    @property
    def weight(self) -> Tensor:
        """W (out, in); gradients flow to both parts."""
        return torch._weight_norm(self.weight_v, self.weight_g, 0)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


def legacy_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state under the names of torch's new weight normalisation, under the old ones (which are ours)."""
    return {key.replace(LENGTH, "weight_g").replace(DIRECTION, "weight_v"): value for key, value in state.items()}


def parametrized_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `legacy_keys`."""
    renamed = ((re.sub(r"\bweight_g$", LENGTH, key), value) for key, value in state.items())
    return {re.sub(r"\bweight_v$", DIRECTION, key): value for key, value in renamed}
