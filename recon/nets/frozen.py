"""A field's values alone, as fast as they come, while its weights stand still: what tracing and meshing ask for."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.nets.sweeps import Layer, aligned
from recon.nets.value_gradient import Field

CPU_CHUNK, GPU_CHUNK = 4096, 1 << 18  # points whose features stay in a processor's cache; that fill a GPU


class Frozen:
    """The function (N, 3) -> (N,) that a field is now, without gradients; later changes of the weights are not seen.

    Weights are composed and aligned once, and no feature but the value leaves the top layer.

    Args:
        field: a field without codes.
    """

    def __init__(self, field: Field) -> None:
        self.field = field
        with torch.no_grad():
            *below, top = (_copied(layer) for layer in aligned(field.layers()))
        assert top.hidden is not None
        self.below, self.row, self.bias = below, top.hidden[:1].t().contiguous(), top.bias[0, :1]

    def __call__(self, x: Tensor) -> Tensor:
        """Values (N,) at (N, 3)."""
        chunk = GPU_CHUNK if x.is_cuda else CPU_CHUNK
        with torch.no_grad():
            if len(x) <= chunk:
                return self._values(x)
            return torch.cat([self._values(part) for part in x.split(chunk)])

    def _values(self, x: Tensor) -> Tensor:
        x = self.field.encoded(x)
        h = x
        for layer in self.below:
            if layer.hidden is None:
                assert layer.position is not None
                a = torch.addmm(layer.bias[0], x, layer.position.t())
            else:
                a = torch.addmm(layer.bias[0], h, layer.hidden.t())
                if layer.position is not None:
                    a.addmm_(x, layer.position.t())
            h = self.field.activation(a)
        return self.field.bounded(torch.addmm(self.bias, h, self.row))[:, 0]


def _copied(layer: Layer) -> Layer:
    parts = (layer.hidden, layer.position, layer.bias)
    hidden, position, bias = (part if part is None else part.detach().clone() for part in parts)
    assert bias is not None
    return Layer(hidden, position, bias)
