"""Recorded runs of 3D-R2N2, read into one form whatever program they are from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.nets.convrnn import R2N2
from recon.nets.r2n2_original import export_original, import_original
from recon.nets.r2n2_weights import export_torch, import_torch


@dataclass(frozen=True)
class Recorded:
    """One run.

    Attributes:
        net: with the recorded weights.
        images: (B, V, 3, S, S) in [0, 1].
        occupied: (B, D, H, W) bool.
        data: all that was recorded, by key.
    """

    net: R2N2
    images: Tensor
    occupied: Tensor
    data: dict[str, np.ndarray]

    def by_views(self, pattern: str) -> Iterator[tuple[int, np.ndarray]]:
        """(views, value) of keys such as ``exp/prob_v{}``."""
        for views in range(1, self.images.shape[1] + 1):
            if pattern.format(views) in self.data:
                yield views, self.data[pattern.format(views)]


def images_of(recorded: np.ndarray) -> Tensor:
    """(V, B, 3, S, S) uint8 to (B, V, 3, S, S) in [0, 1]."""
    return torch.from_numpy(recorded).float().div(255).transpose(0, 1)


def port(weights: Path) -> Recorded:
    """A run of the PyTorch port: ``<name>_weights.npz`` and ``<name>_io.npz``."""
    with np.load(weights) as stored:
        merged = {key[2:]: torch.from_numpy(stored[key]) for key in stored.files if key.startswith("w/")}
        for key in (k for k in stored.files if k.startswith("q/")):  # codes of a few bits and their scale
            merged[key[2:]] = torch.from_numpy(stored[key].astype(np.float32) * stored[f"s/{key[2:]}"])
    with np.load(weights.with_name(weights.name.replace("_weights", "_io"))) as stored:
        data = {key: stored[key] for key in stored.files}
    options, state = import_torch(merged, weights)
    net = R2N2(**options)
    net.load_state_dict(state)
    assert all(torch.equal(merged[key], value) for key, value in export_torch(net).items())
    return Recorded(net, images_of(data["images"]), torch.from_numpy(data["target"]), data)


def authors(file: Path) -> Recorded:
    """A run of the Theano program: weights, inputs and outputs in one file."""
    with np.load(file) as stored:
        data = {key: stored[key] for key in stored.files}
    arrays = [data[f"w/{name}"] for name in data["names"]]
    options, state = import_original(arrays, file)
    # Names of layers say what their arrays do not.
    cell = "lstm" if any("forget" in name for name in data["names"]) else "gru"
    net = R2N2(cell=cell, **options)
    net.load_state_dict(state)
    for theirs, ours in zip(arrays, export_original(net), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    shape = tuple(data["target_shape"])
    bits = np.unpackbits(data["target_occ_bits"], count=int(np.prod(shape)))
    return Recorded(net, images_of(data["images"]), torch.from_numpy(bits.reshape(shape).astype(bool)), data)
