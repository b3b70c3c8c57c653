"""Sliding windows: scenes larger than what a network was trained on, as one field without seams.

A network knows objects or rooms in a unit cube. Here overlapping cubes cover the scene, each is encoded by itself from
the points in it, and where cubes overlap their values are blended by smooth weights that add up to one. So the whole
is one continuous field, which is meshed as any other: there is nothing to stitch. What the authors of Convolutional
Occupancy Networks do instead, decoding crops side by side, leaves steps between crops.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import binary_dilation, generate_binary_structure, label
from torch import Tensor

from recon.errors import ConfigError, DataError
from recon.geometry.evaluation import CHUNK, GPU_CHUNK
from recon.geometry.frames import Frame
from recon.geometry.surface import Kind, Surface
from recon.geometry.voxels import places_of
from recon.geometry.window_lattice import WindowCloud, WindowLattice

Field = Callable[[Tensor], Tensor]
Encode = Callable[[Tensor], Field]
"""(N, 3) float32 points in a window's unit cube to a field over that cube, (Q, 3) to (Q,)."""

FIRST_CELLS = 32
"""Cells along a window when the search for the surface begins, as published for one object."""

MEMORY = 4e9
USUAL_SIZE = 1 << 24
"""Bytes that a field is taken to have which does not tell: a network's features about one object."""

VOTERS = 16
"""Neighbours that are asked whether a cavity without points is inside."""


class Recent:
    """Encoded windows, of which those asked last are held.

    Args:
        encode: number of a window to its field. A field may tell its size in bytes as `nbytes`.
        memory: bytes that may be held; one window always is.
    """

    def __init__(self, encode: Callable[[int], Field], memory: float) -> None:
        self.encode, self.memory = encode, memory
        self.encodings = 0
        self._held: OrderedDict[int, Field] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, window: int) -> Field:
        if window not in self._held:
            self._held[window] = self.encode(window)
            self._bytes += _size(self._held[window])
            self.encodings += 1
        self._held.move_to_end(window)
        while self._bytes > self.memory and len(self._held) > 1:
            self._bytes -= _size(self._held.popitem(last=False)[1])
        return self._held[window]


class WindowedField:
    """A field over a scene, blended from the fields of overlapping windows; lengths are in windows.

    Windows are encoded when they are first asked, and forgotten when memory is needed for others. Those with fewer
    than `least` points are empty and constant: outside, unless they form a cavity that is closed off by other windows
    and these say that it is inside.

    Args:
        encode: (N, 3) float32 points in [-0.5, 0.5]^3 and `context` beyond to a field over that cube.
        points: (N, 3) float32.
        lattice: of the windows.
        level: the value on the surface.
        outside: the value of empty space; that of solid cavities is as far on the other side of the level.
        context: how far beyond its window a field still sees points.
        least: points a window needs in order to be encoded.
        memory: bytes of encoded windows that may be held at a time.
        device: where `encode` and its fields want their points.

    Raises:
        DataError: if no window holds enough points.
    """

    chunk = 1 << 20
    coarsest = 1 / FIRST_CELLS

    def __init__(
        self,
        encode: Encode,
        points: np.ndarray,
        lattice: WindowLattice,
        level: float,
        outside: float,
        context: float = 0.05,
        least: int = 32,
        memory: float = MEMORY,
        device: str = "cpu",
    ) -> None:
        self.lattice, self.level, self.outside, self.device = lattice, level, outside, device
        self.encode = encode
        self.fields = Recent(self._encoded, memory)
        self._cloud = WindowCloud(lattice, points, context)
        self.empty = lattice.occupied(points) < least
        if self.empty.all():
            raise DataError(
                f"No window holds {least} of the {len(points)} points.", "Make windows larger, or give more points."
            )
        self._constants = torch.from_numpy(self._emptiness()).to(device)

    def __call__(self, points: Tensor) -> Tensor:
        """(N, 3) points to (N,) values."""
        points = points.to(self.device)
        rows, windows, weights = self.lattice.covering(points)
        constant = self._constants[windows]
        total = points.new_zeros(len(points))
        known = ~constant.isnan()
        total.index_add_(0, rows[known], (weights * constant)[known])
        rows, windows, weights = rows[~known], windows[~known], weights[~known]
        order = torch.argsort(windows, stable=True)
        for window, part in _runs(windows[order], order):
            own = rows[part]  # each point once, so that the sum over windows is always in the same order
            total[own] += weights[part] * self._at(window, points[own])
        return total

    def _at(self, window: int, points: Tensor) -> Tensor:
        """One window's own field at (N, 3) points of the scene."""
        place = places_of(np.array([window]), np.array(self.lattice.shape))[0]
        local = points - points.new_tensor(self.lattice.centres(place))
        size = CHUNK.get(points.device.type, GPU_CHUNK)
        return torch.cat([self.fields[window](part).reshape(-1).float() for part in local.split(size)])

    def _encoded(self, window: int) -> Field:
        place = places_of(np.array([window]), np.array(self.lattice.shape))[0]
        return self.encode(torch.from_numpy(self._cloud.within(place)).to(self.device))

    def _emptiness(self) -> np.ndarray:
        """(windows,) float32: the value of each empty window, NaN for the others."""
        values = np.where(self.empty, self.outside, np.nan).astype(np.float32)
        parts, count = label(self.empty)
        rim = np.pad(np.zeros([max(n - 2, 0) for n in self.empty.shape], dtype=bool), 1, constant_values=True)
        open_parts = np.unique(parts[rim[tuple(slice(n) for n in parts.shape)]])
        for number in np.setdiff1d(np.arange(1, count + 1), open_parts):
            if self._vote(parts == number) * (self.outside - self.level) < 0:
                values[parts == number] = 2 * self.level - self.outside
        return values.reshape(-1)

    def _vote(self, cavity: np.ndarray) -> float:
        """The mean of sign(value - level) where a cavity overlaps the windows beside it."""
        beside = np.argwhere(binary_dilation(cavity, generate_binary_structure(3, 1)) & ~cavity)
        chosen = beside[np.unique(np.linspace(0, len(beside) - 1, VOTERS).round().astype(int))]
        signs = []
        for place in chosen:
            window = int(np.ravel_multi_index(place, self.lattice.shape))
            points = torch.from_numpy(self._shared(place, cavity)).to(self.device)
            signs.append(torch.sign(self._at(window, points) - self.level).mean().item())
        return float(np.mean(signs))

    def _shared(self, place: np.ndarray, cavity: np.ndarray) -> np.ndarray:
        """(N, 3) float32 points in a window and in the windows of a cavity that share a face's width with it."""
        steps = np.concatenate([np.eye(3, dtype=np.int64), -np.eye(3, dtype=np.int64)])
        inner = np.stack(np.meshgrid(*[[-0.25, 0.0, 0.25]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        found = []
        for step in steps:
            beyond = place + step
            if ((beyond >= 0) & (beyond < self.lattice.shape)).all() and cavity[tuple(beyond)]:
                depth = np.where(step != 0, self.lattice.overlap, 1.0)
                found.append(inner * depth + step * (1 - self.lattice.overlap) / 2)
        return (np.concatenate(found) + self.lattice.centres(place)).astype(np.float32)


def _size(field: Field) -> int:
    return int(getattr(field, "nbytes", USUAL_SIZE))


def _runs(numbers: Tensor, order: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each distinct number of a sorted (P,) tensor with the part of `order` beside it."""
    distinct, counts = torch.unique_consecutive(numbers, return_counts=True)
    yield from zip(distinct.tolist(), order.split(counts.tolist()), strict=True)


def windowed_surface(
    encode: Encode,
    points: np.ndarray | Tensor,
    frame: Frame,
    window: float,
    overlap: float = 0.25,
    *,
    level: float = 0.0,
    certain: float = 5.0,
    kind: Kind = "occupancy",
    inside: Literal["below", "above"] = "above",
    context: float = 0.05,
    least: int = 32,
    memory: float = MEMORY,
    device: str = "cpu",
) -> Surface:
    """The surface of a scene of any size through a network that knows unit cubes.

    Args:
        encode: (N, 3) float32 points in a window's unit cube, [-0.5, 0.5]^3 and `context` beyond, on `device`, to a
            field over that cube. The fields of neighbours should agree where they overlap.
        points: (N, 3) points in the coordinates of `frame`.
        frame: from those to the world.
        window: side of a window in world units.
        overlap: share of its side that a window has in common with the next, in (0, 0.5].
        level: the fields' value on the surface.
        certain: how far from the level empty space counts, in the fields' unit (5 is 99.3 % where they are logits).
        kind: of the fields, see `Surface`.
        inside: whether values below or above the level are inside.
        context: share of a window's side by which a field sees beyond its window.
        least: points a window needs in order to be encoded; space with fewer is empty.
        memory: bytes of encoded windows that may be held at a time, as far as fields tell their size (`nbytes`).
        device: where `encode` and its fields want their points.

    Raises:
        ConfigError: if `window` is not positive or `overlap` not in (0, 0.5].
        DataError: if no window holds enough points.
    """
    if window <= 0:
        raise ConfigError(f"method.window={window}: a window has a size.", "Give its side in the units of the cloud.")
    cloud = points.detach().cpu().numpy() if isinstance(points, Tensor) else np.asarray(points)
    low, high = cloud.min(axis=0).astype(np.float64), cloud.max(axis=0).astype(np.float64)
    inner = Frame(window / frame.scale, translation=(low + high) / 2)
    half = (high - low) / (2 * inner.scale) + context
    local = np.empty(cloud.shape, dtype=np.float32)
    np.divide(cloud - inner.translation, inner.scale, out=local, casting="same_kind")
    outside = level - certain if inside == "above" else level + certain
    lattice = WindowLattice.over(-half, half, overlap)
    field = WindowedField(encode, local, lattice, level, outside, context, least, memory, device)
    x, y, z = half.tolist()
    return Surface(
        field,
        (-x, -y, -z),
        (x, y, z),
        kind=kind,
        level=level,
        inside=inside,
        frame=frame.then(inner),
        support=torch.from_numpy(local),
        device=device,
    )
