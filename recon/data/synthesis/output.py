"""Small things that several factories write: plain arrays, and sheets of pictures for the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recon.io.files import atomic


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write plain arrays whole or not at all, not compressed, so that they can be mapped."""
    with atomic(path) as temporary:
        np.savez(temporary, allow_pickle=False, **{name: np.asarray(value) for name, value in arrays.items()})


def contact_sheet(pictures: Sequence[np.ndarray], columns: int = 4, rows: int = 3, width: int = 48) -> np.ndarray:
    """(rows * h, columns * width, 3) uint8: pictures spread evenly over the list, made small."""
    first = pictures[0]
    height = round(width * first.shape[0] / first.shape[1])
    v, u = (
        ((np.arange(n) + 0.5) * side / n).astype(int) for n, side in zip((height, width), first.shape, strict=False)
    )
    shown = np.linspace(0, len(pictures) - 1, rows * columns).round().astype(int)
    small = np.stack([pictures[index][v][:, u] for index in shown])
    return small.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)
