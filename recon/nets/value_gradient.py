"""A field's value and its gradient by position, with a hand-written backward pass through both.

Eikonal and normal losses need the derivative, by the weights, of a derivative by the input. Autograd does that by
recording the backward pass of the network and walking back through the record. For a perceptron all four sweeps
are short formulas. Written out they keep four tensors a layer, take the least number of matrix products (six times
the forward pass), and let every wide product run in bfloat16, while weights, positions, the value and the gradient stay
in float32.

With pre-activations ``a_l = h_l W_l^T + x P_l^T + b_l`` and ``h_{l+1} = act(a_l)`` the sweeps are

1. up:       h_{l+1} and the slope s_l = act'(a_l);  f = h_L w^T + b
2. down:     u_l = v_{l+1} s_l,  v_l = u_l W_l,  with v_L = w;  the gradient is g = sum_l u_l P_l
3. up:       the loss's derivatives by u_l and v_l, starting from those by g
4. down:     its derivatives by a_l and h_l, starting from those by f
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from recon.nets.activations import Activation, Bend
from recon.nets.scratch import Lease, Scratch

PARTS = ("hidden", "position", "bias")


@dataclass(frozen=True)
class Layer:
    """One affine map of a field: ``h W^T + x P^T + b``.

    Attributes:
        hidden: W (out, in), or None in a layer that sees no hidden features.
        position: P (out, d), or None in a layer that does not see the position.
        bias: b (B, out), one row a code; B is 1 for a field without codes.
    """

    hidden: Tensor | None
    position: Tensor | None
    bias: Tensor


class Field(nn.Module):
    """A perceptron of positions, f: R^d -> R, whose structure is a list of `Layer`.

    Subclasses set `activation` and give `layers`.
    """

    activation: Activation

    def __init__(self) -> None:
        super().__init__()
        self._scratch = Scratch()

    def layers(self, codes: Tensor | None = None) -> list[Layer]:
        """The affine maps in order; latent `codes` (B, C) act through the biases alone."""
        raise NotImplementedError

    def forward(self, x: Tensor, codes: Tensor | None = None) -> Tensor:
        """Values by plain operations, which autograd can differentiate any number of times.

        Args:
            x: (N, d) positions; with codes (B, N, d).
            codes: (B, C) latent codes, or None.

        Returns:
            (N,) values; with codes (B, N).
        """
        layers = self.layers(codes)
        h = x
        for number, layer in enumerate(layers):
            a = layer.bias if codes is None else layer.bias[:, None]
            if layer.position is not None:
                a = a + x @ layer.position.t()
            if layer.hidden is not None:
                a = a + h @ layer.hidden.t()
            h = a if number == len(layers) - 1 else self.activation(a)
        return h.squeeze(-1)

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
        if dtype is None:
            dtype = torch.bfloat16 if torch.is_autocast_enabled(x.device.type) else x.dtype
        with torch.autocast(x.device.type, enabled=False):
            layers = self.layers(codes)
            parts = [part for layer in layers for part in (layer.hidden, layer.position, layer.bias)]
            batched = x if codes is not None else x[None]
            value, gradient = _ValueGradient.apply(batched, self.activation, self._scratch, dtype, start, *parts)
        return (value, gradient) if codes is not None else (value[0], gradient[0])


class _ValueGradient(torch.autograd.Function):
    """The four sweeps. Points are ordered (row, code), so that rows without gradient come first."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, act: Activation, scratch: Scratch, dtype: torch.dtype, start: int, *parts: Tensor
    ) -> Any:
        codes, rows, dim = x.shape
        flat = x.transpose(0, 1).reshape(-1, dim)
        first = start * codes
        layers = _regroup(parts)
        ctx.new_lease = partial(scratch.lease, (x.shape, first, dtype), x.device)
        ctx.lease = lease = ctx.new_lease()  # what is saved below lives in it, and dies with the graph
        value, values, slopes = _sweep_one(lease, layers, act, dtype, flat)
        gradient, above, through = _sweep_two(lease, layers, dtype, [slope[first:] for slope in slopes], flat[first:])
        ctx.act, ctx.dtype, ctx.first, ctx.shape = act, dtype, first, x.shape
        ctx.save_for_backward(flat, *parts, *values, *slopes, *above, *through)
        return value.view(rows, codes).t(), gradient.view(rows - start, codes, dim).transpose(0, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_value: Tensor, d_gradient: Tensor) -> Any:
        codes, rows, dim = ctx.shape
        flat, *saved = ctx.saved_tensors
        depth = len(saved) // 7  # three parts a layer and four tensors a hidden layer; there is one layer more
        parts, saved = saved[: 3 * depth + 3], saved[3 * depth + 3 :]
        values, slopes, above, through = (saved[i * depth : (i + 1) * depth] for i in range(4))
        sums = _Sums(_regroup(parts), ctx.needs_input_grad[5:])
        d_g = d_gradient.transpose(0, 1).reshape(-1, dim)
        lease = ctx.new_lease()
        bends = _sweep_three(ctx, lease, sums, values, slopes, above, through, d_g)
        d_x = _sweep_four(ctx, lease, sums, flat, values, slopes, bends, d_value.t().reshape(-1, 1))
        d_x = None if d_x is None else d_x.view(rows, codes, dim).transpose(0, 1)
        return d_x, None, None, None, None, *sums.flat()


def _regroup(parts: Sequence[Tensor]) -> list[Layer]:
    return [Layer(*parts[i : i + 3]) for i in range(0, len(parts), 3)]


class _Sums:
    """The loss's derivatives by the parts of all layers, in the parts' own type; unwanted ones cost nothing."""

    def __init__(self, layers: list[Layer], wanted: Sequence[bool]) -> None:
        self.layers = layers
        self.wanted = [dict(zip(PARTS, wanted[i : i + 3], strict=True)) for i in range(0, len(wanted), 3)]
        self.sums: list[dict[str, Tensor]] = [{} for _ in layers]

    def product(self, layer: int, part: str, left: Tensor, right: Tensor) -> None:
        """Add ``left^T right``."""
        if not self.wanted[layer][part]:
            return
        total = self.sums[layer].get(part)
        if total is not None and total.dtype == left.dtype:
            total.addmm_(left.t(), right)
        else:
            self._add(layer, part, left.t() @ right)

    def rows(self, layer: int, part: str, amount: Tensor, groups: int = 1) -> None:
        """Add the sum of the rows of `amount`, of each of `groups` interleaved groups."""
        if self.wanted[layer][part]:
            self._add(layer, part, amount.view(-1, groups, amount.shape[1]).sum(0))

    def _add(self, layer: int, part: str, amount: Tensor) -> None:
        sums = self.sums[layer]
        amount = amount.to(self.layers[layer].bias.dtype)
        sums[part] = sums[part].add_(amount) if part in sums else amount

    def flat(self) -> list[Tensor | None]:
        """In the order in which the parts were given."""
        return [sums.get(part) for sums in self.sums for part in PARTS]


def _sweep_one(
    lease: Lease, layers: list[Layer], act: Activation, dtype: torch.dtype, x: Tensor
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The value (N, 1), and features and slopes of all hidden layers."""
    values: list[Tensor] = []
    slopes: list[Tensor] = []
    for layer in layers[:-1]:
        a, size = _bias(layer.bias, len(x)), (len(x), layer.bias.shape[1])
        if layer.position is not None:
            a = torch.addmm(a, x, layer.position.t(), out=lease.take(size, x.dtype))
        if layer.hidden is not None:
            a = torch.addmm(a.to(dtype), values[-1], layer.hidden.to(dtype).t(), out=lease.take(size, dtype))
        value, slope = act.with_slope(a.to(dtype), lease.take(size, dtype))
        values.append(value)
        slopes.append(slope)
    top = layers[-1]
    assert top.hidden is not None
    return torch.addmm(_bias(top.bias, len(x)), values[-1].to(x.dtype), top.hidden.t()), values, slopes


def _bias(bias: Tensor, count: int) -> Tensor:
    """(B, out) biases for `count` points ordered (row, code); a single one is left to broadcasting."""
    return bias[0] if len(bias) == 1 else bias.repeat(count // len(bias), 1)


def _sweep_two(
    lease: Lease, layers: list[Layer], dtype: torch.dtype, slopes: list[Tensor], x: Tensor
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The gradient (N, d), and the value's derivatives v_{l+1} by the features of all hidden layers, and u_l."""
    gradient = torch.zeros_like(x)
    top = layers[-1].hidden
    assert top is not None
    above = [top.to(dtype).expand(len(x), -1)]
    through: list[Tensor] = []
    for layer, slope in zip(reversed(layers[:-1]), reversed(slopes), strict=True):
        through.insert(0, u := torch.mul(above[0], slope, out=lease.take(slope.shape, dtype)))
        if layer.position is not None:
            gradient.addmm_(u.to(x.dtype), layer.position)
        if layer.hidden is not None:
            weight = layer.hidden.to(dtype)
            above.insert(0, torch.mm(u, weight, out=lease.take((len(x), weight.shape[1]), dtype)))
    return gradient, above, through


def _sweep_three(
    ctx: Any,
    lease: Lease,
    sums: _Sums,
    values: list[Tensor],
    slopes: list[Tensor],
    above: list[Tensor],
    through: list[Tensor],
    d_gradient: Tensor,
) -> list[Bend | None]:
    """Upwards from the derivative by the gradient; returns its shares of the derivatives by the a_l, as factors."""
    bends: list[Bend | None] = []
    d_v = d_gradient.new_zeros(0)
    for number, layer in enumerate(sums.layers[:-1]):
        u = through[number]
        if layer.position is not None:
            sums.product(number, "position", u, d_gradient.to(ctx.dtype))
            d_u = torch.mm(d_gradient, layer.position.t(), out=lease.take(u.shape, d_gradient.dtype)).to(ctx.dtype)
        if layer.hidden is not None:
            sums.product(number, "hidden", u, d_v)
            weight = layer.hidden.to(ctx.dtype).t()
            if layer.position is None:
                d_u = torch.mm(d_v, weight, out=lease.take(u.shape, ctx.dtype))
            else:
                d_u.addmm_(d_v, weight)
            lease.give(d_v)
        d_v = torch.mul(d_u, slopes[number][ctx.first :], out=lease.take(u.shape, ctx.dtype))
        bends.append(ctx.act.bend(values[number][ctx.first :], above[number], u, d_u, d_v))
    sums.rows(len(sums.layers) - 1, "hidden", d_v)
    return bends


def _sweep_four(
    ctx: Any,
    lease: Lease,
    sums: _Sums,
    x: Tensor,
    values: list[Tensor],
    slopes: list[Tensor],
    bends: list[Bend | None],
    d_value: Tensor,
) -> Tensor | None:
    """Downwards from the derivative by the value; returns the derivative by the positions, if it is wanted."""
    top = len(sums.layers) - 1
    sums.product(top, "hidden", d_value, values[-1].to(d_value.dtype))
    sums.rows(top, "bias", d_value, len(sums.layers[top].bias))
    weight = sums.layers[top].hidden
    assert weight is not None
    d_h = torch.mm(d_value.to(ctx.dtype), weight.to(ctx.dtype), out=lease.take((len(x), weight.shape[1]), ctx.dtype))
    d_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
    for number in reversed(range(top)):
        layer, bend = sums.layers[number], bends[number]
        d_a = d_h.mul_(slopes[number])
        if bend is not None:
            scale, left, right = bend
            d_a[ctx.first :].addcmul_(left, right, value=scale)
            lease.give(left)
        sums.rows(number, "bias", d_a, len(layer.bias))
        if layer.position is not None:
            sums.product(number, "position", d_a, x.to(ctx.dtype))
            if d_x is not None:
                d_x.addmm_(d_a.to(x.dtype), layer.position)
        if layer.hidden is not None:
            sums.product(number, "hidden", d_a, values[number - 1])
            weight = layer.hidden.to(ctx.dtype)
            d_h = torch.mm(d_a, weight, out=lease.take((len(x), weight.shape[1]), ctx.dtype))
            lease.give(d_a)
    return d_x
