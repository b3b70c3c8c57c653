"""Work buffers that outlive a training step.

The tensors of a step are large, and the system's allocator hands them back between steps: each would be paid for
again, page by page, which costs as much as an elementwise pass over it. Accelerators have allocators that keep what
they own, so only host memory is pooled here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

Pool = defaultdict[Hashable, list[Tensor]]


class Scratch:
    """The free buffers of one module, all of them for batches of one kind. Copies and pickles of it are empty."""

    def __init__(self) -> None:
        self._batch: Hashable = None
        self._free: Pool = defaultdict(list)

    def __reduce__(self) -> tuple[Callable[[], Scratch], tuple[()]]:
        return Scratch, ()

    def lease(self, batch: Hashable, device: torch.device) -> Lease:
        """A lease for a batch like `batch`; buffers of batches unlike it are forgotten, also those still lent."""
        batch = batch, torch.is_inference_mode_enabled()  # what is made in that mode may not be saved for a gradient
        if batch != self._batch:
            self._batch, self._free = batch, defaultdict(list)
        return Lease(self._free, device)


class Lease:
    """Buffers in use; they become free when the lease dies, so it has to live as long as what is computed in them."""

    def __init__(self, free: Pool, device: torch.device) -> None:
        self._free, self._device = free, device
        self._taken: dict[int, Tensor] = {}

    def take(self, size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A contiguous tensor with any contents."""
        if self._device.type != "cpu":
            return torch.empty(size, dtype=dtype, device=self._device)
        free = self._free[*size, dtype]
        buffer = free.pop() if free else torch.empty(size, dtype=dtype)
        self._taken[id(buffer)] = buffer
        return buffer

    def give(self, buffer: Tensor) -> None:
        """Free a buffer early; a tensor that is not of this lease is left alone."""
        if self._taken.pop(id(buffer), None) is not None:
            self._free[*buffer.shape, buffer.dtype].append(buffer)

    def __del__(self) -> None:
        for buffer in self._taken.values():
            self._free[*buffer.shape, buffer.dtype].append(buffer)
