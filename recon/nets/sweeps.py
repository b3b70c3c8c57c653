"""The four sweeps through a perceptron that give its value, its gradient by position, and the derivatives of both.

With pre-activations ``a_l = h_l W_l^T + x P_l^T + b_l`` and ``h_{l+1} = act(a_l)`` they are

1. up:       h_{l+1} and the slope s_l = act'(a_l);  the outputs are h_L W_L^T + b, the first of them is f
2. down:     u_l = v_{l+1} s_l,  v_l = u_l W_l,  with v_L = w, W_L's first row;  f's gradient is g = sum_l u_l P_l
3. up:       the loss's derivatives by u_l and v_l, starting from those by g
4. down:     its derivatives by a_l and h_l, starting from those by the outputs

Away from the products time is memory traffic, so passes are merged, types are converted into buffers that exist, and
what nobody reads again is overwritten. Smaller blocks of points would stay in a core's cache, but two threads lose more
on products of few rows than they gain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recon.nets.activations import Activation, Bend
from recon.nets.scratch import Lease

PARTS = ("hidden", "position", "bias")
ALIGNMENT = 32  # features: products of 509 columns take up to three times as long as of 512


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


def aligned(layers: Sequence[Layer]) -> list[Layer]:
    """Layers of the same field, wide ones filled up with features that nobody reads, where a skip made them odd."""
    filled: list[Layer] = []
    below = 0
    for layer in layers:
        width = layer.bias.shape[1]
        extra = -width % ALIGNMENT if width > 4 * ALIGNMENT else 0
        hidden = layer.hidden if layer.hidden is None else _filled(layer.hidden, below, extra)
        position = layer.position if layer.position is None else _filled(layer.position, 0, extra)
        filled.append(Layer(hidden, position, _filled(layer.bias, extra, 0)))
        below = extra
    return filled


def _filled(weight: Tensor, columns: int, rows: int) -> Tensor:
    return torch.nn.functional.pad(weight, (0, columns, 0, rows)) if columns or rows else weight


@dataclass(frozen=True)
class Work:
    """What the sweeps share.

    Attributes:
        layers: of the field; W is in the type of the products, but for the top layer's.
        act: the activation of all but the top layer.
        dtype: of features and products.
        lease: gives the buffers.
    """

    layers: list[Layer]
    act: Activation
    dtype: torch.dtype
    lease: Lease

    @classmethod
    def on(cls, layers: Sequence[Layer], act: Activation, dtype: torch.dtype, lease: Lease) -> Work:
        """The same with all but the top layer's W brought to `dtype` once."""
        cast = [layer if layer.hidden is None else replace(layer, hidden=layer.hidden.to(dtype)) for layer in layers]
        return cls([*cast[:-1], layers[-1]], act, dtype, lease)

    @property
    def top(self) -> Tensor:
        """W of the top layer, in its own type; its first row makes the value that has a gradient."""
        rows = self.layers[-1].hidden
        assert rows is not None
        return rows

    def like(self, a: Tensor) -> Tensor:
        """A buffer of the size and type of `a`."""
        return self.lease.take(tuple(a.shape), a.dtype)

    def cast(self, a: Tensor, dtype: torch.dtype) -> Tensor:
        """`a` in another type, in a buffer: fresh memory costs several times the conversion."""
        return a if a.dtype == dtype else self.lease.take(tuple(a.shape), dtype).copy_(a)

    def done(self, cast: Tensor, a: Tensor) -> None:
        """Free what `cast` made of `a`."""
        if cast is not a:
            self.lease.give(cast)

    def exactly(self, product: Callable[..., Tensor], *factors: Tensor, out: Tensor) -> None:
        """A product in the factors' own type, brought to that of `out`."""
        exact = out if factors[-1].dtype == out.dtype else self.lease.take(tuple(out.shape), factors[-1].dtype)
        product(*factors, out=exact)
        if exact is not out:
            out.copy_(exact)
            self.lease.give(exact)


@dataclass(frozen=True)
class Tape:
    """What the first two sweeps leave in every hidden layer: h_{l+1} and s_l, v_{l+1} and u_l.

    The latter two are there for the rows that get a gradient. Where the activation does not look back at v, its
    layers take turns in two buffers.
    """

    values: list[Tensor]
    slopes: list[Tensor]
    above: list[Tensor]
    through: list[Tensor]

    @classmethod
    def empty(cls, work: Work, count: int, first: int) -> Tape:
        """With room for `count` rows, of which those from `first` on get a gradient."""
        take = work.lease.take
        widths = [layer.bias.shape[1] for layer in work.layers[:-1]]
        values, slopes = ([take((count, width), work.dtype) for width in widths] for _ in range(2))
        through = [take((count - first, width), work.dtype) for width in widths]
        shared: dict[tuple[int, int], Tensor] = {}
        for number, width in enumerate(widths[:-1]):
            place = (number if work.act.looks_back else number % 2), width
            shared[place] = shared[place] if place in shared else take((count - first, width), work.dtype)
        above = [shared[(n if work.act.looks_back else n % 2), width] for n, width in enumerate(widths[:-1])]
        return cls(values, slopes, [*above, work.top[:1].to(work.dtype).expand(count - first, -1)], through)

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Tape:
        """From `tensors` as `flat` gave them."""
        depth = len(tensors) // 4
        values, slopes, above, through = (list(tensors[i * depth : (i + 1) * depth]) for i in range(4))
        return cls(values, slopes, above, through)

    def flat(self) -> list[Tensor]:
        """All tensors in one list."""
        return [*self.values, *self.slopes, *self.above, *self.through]

    def beyond(self, first: int) -> Tape:
        """The rows that get a gradient."""
        values, slopes = [h[first:] for h in self.values], [s[first:] for s in self.slopes]
        return replace(self, values=values, slopes=slopes)


class Sums:
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
        elif right.shape[1] < left.shape[1]:  # the narrow one is turned, for that takes a copy
            self._add(layer, part, (right.t() @ left).t())
        else:
            self._add(layer, part, left.t() @ right)

    def rows(self, layer: int, part: str, amount: Tensor, groups: int = 1) -> None:
        """Add the sum of the rows of `amount`, of each of `groups` interleaved groups, to the part's first rows."""
        if self.wanted[layer][part]:
            missing = len(getattr(self.layers[layer], part)) - groups
            total = amount.view(-1, groups, amount.shape[1]).sum(0)
            self._add(layer, part, _filled(total, 0, missing))

    def _add(self, layer: int, part: str, amount: Tensor) -> None:
        sums = self.sums[layer]
        if part in sums:
            sums[part] += amount
        else:
            sums[part] = amount.to(self.layers[layer].bias.dtype)

    def flat(self) -> list[Tensor | None]:
        """In the order in which the parts were given."""
        return [sums.get(part) for sums in self.sums for part in PARTS]


def values_up(work: Work, tape: Tape, x: Tensor) -> Tensor:
    """Sweep 1; returns the outputs (N, K)."""
    below = x
    for number, layer in enumerate(work.layers[:-1]):
        a, bias = tape.values[number], _bias(layer.bias, len(x))
        if layer.position is not None:
            work.exactly(torch.addmm, bias, x, layer.position.t(), out=a)
            if layer.hidden is not None:
                a.addmm_(below, layer.hidden.t())
        elif layer.hidden is not None:
            torch.mm(below, layer.hidden.t(), out=a).add_(bias.to(work.dtype))
        below, _ = work.act.with_slope(a, tape.slopes[number])
    exact = work.cast(below, x.dtype)
    value = torch.addmm(_bias(work.layers[-1].bias, len(x)), exact, work.top.t())
    work.done(exact, below)
    return value


def _bias(bias: Tensor, count: int) -> Tensor:
    """(B, out) biases for `count` points ordered (row, code); a single one is left to broadcasting."""
    return bias[0] if len(bias) == 1 else bias.repeat(count // len(bias), 1)


def gradient_down(work: Work, tape: Tape, x: Tensor) -> Tensor:
    """Sweep 2; returns the gradient (N, d)."""
    gradient = torch.zeros_like(x)
    for number in reversed(range(len(work.layers) - 1)):
        layer = work.layers[number]
        u = torch.mul(tape.above[number], tape.slopes[number], out=tape.through[number])
        if layer.position is not None:
            exact = work.cast(u, x.dtype)
            gradient.addmm_(exact, layer.position)
            work.done(exact, u)
        if layer.hidden is not None:
            torch.mm(u, layer.hidden, out=tape.above[number - 1])
    return gradient


def gradient_up(work: Work, sums: Sums, tape: Tape, d_gradient: Tensor) -> list[Bend | None]:
    """Sweep 3, from the derivative by the gradient.

    Returns:
        Its shares of the derivatives by the a_l, as factors.
    """
    bends: list[Bend | None] = []
    short = d_gradient.to(work.dtype)
    d_v = d_gradient
    for number, layer in enumerate(work.layers[:-1]):
        u = tape.through[number]
        d_u = work.like(u)
        if layer.position is not None:
            sums.product(number, "position", u, short)
            work.exactly(torch.mm, d_gradient, layer.position.t(), out=d_u)
        if layer.hidden is not None:
            sums.product(number, "hidden", u, d_v)
            if layer.position is None:
                torch.mm(d_v, layer.hidden.t(), out=d_u)
            else:
                d_u.addmm_(d_v, layer.hidden.t())
            work.lease.give(d_v)
        d_v = torch.mul(d_u, tape.slopes[number], out=work.like(u))
        bends.append(work.act.bend(tape.values[number], tape.above[number], u, d_u, d_v))
        if bends[-1] is None:
            work.lease.give(d_u)
    sums.rows(len(work.layers) - 1, "hidden", d_v)
    work.lease.give(d_v)
    return bends


def values_down(
    work: Work, sums: Sums, tape: Tape, x: Tensor, bends: Sequence[Bend | None], d_value: Tensor, d_x: Tensor | None
) -> None:
    """Sweep 4, from the derivative by the outputs; adds up that by the positions, where it is wanted."""
    top = len(work.layers) - 1
    exact = work.cast(tape.values[-1], d_value.dtype)
    sums.product(top, "hidden", d_value, exact)
    work.done(exact, tape.values[-1])
    sums.rows(top, "bias", d_value, len(work.layers[top].bias))
    short = x.to(work.dtype)
    d_h = torch.mm(d_value.to(work.dtype), work.top.to(work.dtype), out=work.like(tape.values[-1]))
    for number in reversed(range(top)):
        layer, bend = work.layers[number], bends[number]
        d_a = d_h.mul_(tape.slopes[number])
        if bend is not None:
            scale, left, right = bend
            d_a[len(d_a) - len(left) :].addcmul_(left, right, value=scale)
            work.lease.give(left)
        sums.rows(number, "bias", d_a, len(layer.bias))
        if layer.position is not None:
            sums.product(number, "position", d_a, short)
            if d_x is not None:
                d_x.addmm_(d_a.to(x.dtype), layer.position)
        if layer.hidden is not None:
            sums.product(number, "hidden", d_a, tape.values[number - 1])
            d_h = torch.mm(d_a, layer.hidden, out=work.like(tape.values[number - 1]))
        work.lease.give(d_a)
