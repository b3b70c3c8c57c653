"""A field's value and its gradient by position, with a hand-written backward pass through both.

Eikonal and normal losses need the derivative, by the weights, of a derivative by the input. Autograd does that by
recording the backward pass of the network and walking back through the record. For a perceptron all four sweeps
are short formulas (`recon.nets.sweeps`). Written out they keep four tensors a layer, take the least number of matrix
products (six times the forward pass), and let every wide product run in bfloat16, while weights, positions, the value
and the gradient stay in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from recon.nets.activations import Activation
from recon.nets.scratch import Scratch
from recon.nets.sweeps import Layer, Sums, Tape, Work, aligned, gradient_down, gradient_up, values_down, values_up


class Field(nn.Module):
    """A perceptron of positions, f: R^d -> R, whose structure is a list of `Layer`.

    It may have more outputs (features), of which the first is f. Subclasses set `activation` and give `layers`.
    """

    activation: Activation

    def __init__(self) -> None:
        super().__init__()
        self._scratch = Scratch()

    def layers(self, codes: Tensor | None = None) -> list[Layer]:
        """The affine maps in order; latent `codes` (B, C) act through the biases alone."""
        raise NotImplementedError

    def encoded(self, x: Tensor) -> Tensor:
        """What the layers see as positions: (..., N, d) to (..., N, e)."""
        return x

    def bounded(self, outputs: Tensor) -> Tensor:
        """The last step, after the top layer."""
        return outputs

    def forward(self, x: Tensor, codes: Tensor | None = None) -> Tensor:
        """Values by plain operations, which autograd can differentiate any number of times.

        Args:
            x: (N, d) positions; with codes (B, N, d).
            codes: (B, C) latent codes, or None.

        Returns:
            (N,) values; with codes (B, N).
        """
        return self.outputs(x, codes)[..., 0]

    def outputs(self, x: Tensor, codes: Tensor | None = None) -> Tensor:
        """As `forward`, all outputs (..., N, K)."""
        layers, x = self.layers(codes), self.encoded(x)
        h = x
        for number, layer in enumerate(layers):
            a = layer.bias if codes is None else layer.bias[:, None]
            if layer.position is not None:
                a = a + x @ layer.position.t()
            if layer.hidden is not None:
                a = a + h @ layer.hidden.t()
            h = a if number == len(layers) - 1 else self.activation(a)
        return self.bounded(h)

    def value_and_gradient(
        self, x: Tensor, codes: Tensor | None = None, start: int = 0, dtype: torch.dtype | None = None
    ) -> tuple[Tensor, Tensor]:
        """Values, and gradients by position, both differentiable once by weights, codes and positions.

        Args:
            x: (N, d) positions; with codes (B, N, d).
            codes: (B, C) latent codes, or None.
            start: rows before this one (of N) get no gradient, which saves its cost.
            dtype: of hidden features and matrix products; by default bfloat16 under autocast, else that of `x`.

        Returns:
            (N,) values and (N - start, d) gradients; with codes (B, N) and (B, N - start, d).
        """
        outputs, gradient = self.outputs_and_gradient(x, codes, start, dtype)
        return outputs[..., 0], gradient

    def outputs_and_gradient(
        self, x: Tensor, codes: Tensor | None = None, start: int = 0, dtype: torch.dtype | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `value_and_gradient`, with all outputs (..., N, K); the gradient is that of the first."""
        if dtype is None:
            dtype = torch.bfloat16 if torch.is_autocast_enabled(x.device.type) else x.dtype
        with torch.autocast(x.device.type, enabled=False):
            plain = self.layers(codes)
            parts = [part for layer in aligned(plain) for part in (layer.hidden, layer.position, layer.bias)]
            batched = x if codes is not None else x[None]
            outputs, gradient = _ValueGradient.apply(batched, self.activation, self._scratch, dtype, start, *parts)
        outputs = outputs[..., : plain[-1].bias.shape[1]]
        return (outputs, gradient) if codes is not None else (outputs[0], gradient[0])


class _ValueGradient(torch.autograd.Function):
    """The four sweeps. Points are ordered (row, code), so that rows without gradient come first."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, act: Activation, scratch: Scratch, dtype: torch.dtype, start: int, *parts: Tensor
    ) -> Any:
        codes, _, dim = x.shape
        flat = x.transpose(0, 1).reshape(-1, dim)
        first = start * codes
        ctx.new_lease = partial(scratch.lease, (x.shape, first, dtype), x.device)
        ctx.lease = ctx.new_lease()  # what is saved below lives in it, and dies with the graph
        work = Work.on(_regroup(parts), act, dtype, ctx.lease)
        tape = Tape.empty(work, len(flat), first)
        outputs = values_up(work, tape, flat)
        gradient = gradient_down(work, tape.beyond(first), flat[first:])
        ctx.act, ctx.dtype, ctx.first, ctx.shape = act, dtype, first, x.shape
        ctx.save_for_backward(flat, *parts, *tape.flat())
        return tuple(part.view(-1, codes, part.shape[1]).transpose(0, 1) for part in (outputs, gradient))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_gradient: Tensor) -> Any:
        codes, rows, dim = ctx.shape
        given = len(ctx.needs_input_grad) - 5  # the parts
        flat, *saved = ctx.saved_tensors
        layers, tape = _regroup(saved[:given]), Tape.of(saved[given:])
        work, sums = Work.on(layers, ctx.act, ctx.dtype, ctx.new_lease()), Sums(layers, ctx.needs_input_grad[5:])
        d_x = torch.zeros_like(flat) if ctx.needs_input_grad[0] else None
        bends = gradient_up(work, sums, tape.beyond(ctx.first), d_gradient.transpose(0, 1).reshape(-1, dim))
        values_down(work, sums, tape, flat, bends, d_outputs.transpose(0, 1).reshape(-1, d_outputs.shape[2]), d_x)
        d_x = None if d_x is None else d_x.view(rows, codes, dim).transpose(0, 1)
        return d_x, None, None, None, None, *sums.flat()


def _regroup(parts: Sequence[Tensor]) -> list[Layer]:
    return [Layer(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
