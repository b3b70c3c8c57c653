"""Weights of the authors' program: a pickled list of arrays without names, in the order in which it made its layers.

Its convolutions turn their kernels around, its grids are (N, D, C, H, W), and every gate has arrays of its own.
Files are read with recon's own small pickle machine, which runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recon.errors import CheckpointError, ConfigError
from recon.io.files import atomic
from recon.io.pickles import read_pickled_npy
from recon.nets.convrnn import R2N2, ConvRNN
from recon.nets.r2n2_encoder import SKIPS
from recon.nets.r2n2_layout import LAYOUTS, image_side

ORDER = re.compile(r"(?P<encoder>(?:41)+)21(?:521){3}(?:51)+")
"""Dimensions of the arrays: convolutions, a linear layer, three gates (neighbours, features, bias), and
convolutions."""


def read_original(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments of `recon.nets.convrnn.R2N2` but ``cell``, and its ``state_dict``, from the authors' ``.npy``.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
        DataError: if it is damaged or holds anything but arrays.
    """
    arrays = read_pickled_npy(path)
    if not isinstance(arrays, list) or not all(isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in arrays):
        raise CheckpointError(f"'{path}' is no list of arrays of numbers.", "Give the authors' weights.npy.")
    return import_original(arrays, path)


def import_original(arrays: Sequence[np.ndarray], path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same from the arrays themselves; `path` is where they are from, for messages.

    Raises:
        CheckpointError: if they are not those of a network of the authors'.
    """
    options = _options(arrays, path)
    with torch.device("meta"):
        net = R2N2(**options)
    state: dict[str, Tensor] = {}
    rest = [torch.tensor(array) for array in arrays]
    for name, layer in _layers(net):
        if isinstance(layer, ConvRNN):
            gates = [rest[3 * gate : 3 * gate + 3] for gate in range(3)]
            rest = rest[9:]
            state[f"{name}.inputs.weight"] = torch.cat([_features(gate[1], layer) for gate in gates])
            state[f"{name}.neighbours.weight"] = torch.cat([_kernel(gate[0]) for gate in gates])
            state[f"{name}.neighbours.bias"] = torch.cat([gate[2] for gate in gates])
        else:
            weight, bias, *rest = rest
            state[f"{name}.weight"], state[f"{name}.bias"] = _kernel(weight), bias
    for key, value in net.state_dict().items():
        if state[key].shape != value.shape:
            raise CheckpointError(
                f"'{path}': its arrays for '{key}' give {tuple(state[key].shape)}, not {tuple(value.shape)}.",
                "Known are the authors' plain and residual networks.",
            )
    return options, state


def export_original(net: R2N2) -> list[np.ndarray]:
    """The authors' arrays of a network, in their order and layout.

    Raises:
        ConfigError: if it is not of their family.
    """
    if net.family != "original":
        raise ConfigError("The authors' files hold networks of their own family only.", "Use family=original.")
    found: list[Tensor] = []
    for _, layer in _layers(net):
        if isinstance(layer, ConvRNN):
            assert layer.neighbours.bias is not None
            parts = (layer.neighbours.weight, layer.inputs.weight, layer.neighbours.bias)
            for kernel, features, bias in zip(*(part.chunk(3) for part in parts), strict=True):
                found += [_kernel_back(kernel), _features_back(features, layer), bias]
        else:
            found += [_kernel_back(layer.weight), layer.bias]
    return [tensor.detach().cpu().contiguous().numpy().copy() for tensor in found]


def write_original(path: str | Path, net: R2N2) -> None:
    """Write the authors' ``weights.npy``, whole or not at all.

    Raises:
        ConfigError: if the network is not of their family.
        DataError: if the file cannot be written.
    """
    arrays = export_original(net)
    listed = np.empty(len(arrays), dtype=object)
    listed[:] = arrays
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, listed, allow_pickle=True)


def _layers(net: R2N2) -> list[tuple[str, Any]]:
    """Layers in the order in which both programs make them; the recurrent grid counts as one."""
    found = [(name, m) for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Conv3d | nn.Linear | ConvRNN)]
    return [(name, m) for name, m in found if not name.startswith("recurrence.")]


def _kernel(weight: Tensor) -> Tensor:
    """Theirs (O, I, h, w), (O, d, I, h, w) or (in, out) to ours (O, I, h, w), (O, I, d, h, w) or (out, in)."""
    if weight.ndim == 2:
        return weight.t().contiguous()
    return weight.flip(2, 3) if weight.ndim == 4 else weight.permute(0, 2, 1, 3, 4).flip(2, 3, 4)


def _kernel_back(weight: Tensor) -> Tensor:
    if weight.ndim == 2:
        return weight.t()
    return weight.flip(2, 3) if weight.ndim == 4 else weight.flip(2, 3, 4).permute(0, 2, 1, 3, 4)


def _features(weight: Tensor, cells: ConvRNN) -> Tensor:
    """Theirs (feature, D C H W) to ours (C D H W, feature)."""
    if weight.shape[1] != cells.hidden * cells.grid**3:
        return weight.t()  # of a shape that is reported
    theirs = weight.unflatten(1, (cells.grid, cells.hidden, cells.grid, cells.grid))
    return theirs.transpose(1, 2).flatten(1).t().contiguous()


def _features_back(weight: Tensor, cells: ConvRNN) -> Tensor:
    ours = weight.t().unflatten(1, (cells.hidden, cells.grid, cells.grid, cells.grid))
    return ours.transpose(1, 2).flatten(1)


def _options(arrays: Sequence[np.ndarray], path: str | Path) -> dict[str, Any]:
    """What the shapes of the arrays tell."""
    match = ORDER.fullmatch("".join(str(array.ndim) for array in arrays))
    if match is None:
        raise CheckpointError(
            f"'{path}': {len(arrays)} arrays in this order are no network of the authors'.",
            "Known are their shallow (33 arrays) and residual (63 arrays) networks.",
        )
    convolutions = len(match["encoder"]) // 2
    weights = [array for array in arrays if array.ndim != 1]
    images, fc, first = weights[:convolutions], weights[convolutions], weights[convolutions + 1 :]
    residual = any(weight.shape[-1] == 1 for weight in images)
    encoder = [len(w) for w in (_firsts(images) if residual else images)]
    kernel, features, volumes = first[0], first[1], first[6:]
    hidden = len(kernel)
    grid, side = round((features.shape[1] / hidden) ** (1 / 3)), round((fc.shape[0] / encoder[-1]) ** 0.5)
    decoder = _decoder(hidden, [len(w) for w in volumes], residual)
    return {
        "family": "original",
        "kernel": kernel.shape[-1],
        "residual": residual,
        "image": image_side(LAYOUTS["original"], side, len(encoder)),
        "encoder": encoder,
        "feature": fc.shape[1],
        "hidden": hidden,
        "grid": grid,
        "decoder": decoder,
        "resolution": grid << (len(decoder) - 1),
    }


def _firsts(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first convolution of every residual block."""
    starts: list[np.ndarray] = []
    at = 0
    while at < len(images):
        skip = SKIPS[len(starts)] if len(starts) < len(SKIPS) else "identity"
        starts.append(images[at])
        at += 3 if skip == "convolution" else 2
    return starts


def _decoder(inputs: int, outputs: list[int], residual: bool) -> list[int]:
    """Widths of the stages, from the outputs of all convolutions."""
    if not residual:
        return outputs[:-1]
    widths, last = [], len(outputs) - 4  # the last stage has three convolutions, and one follows
    at = 0
    while at < last:
        widths.append(outputs[at])
        at += 2 if outputs[at] == inputs else 3
        inputs = widths[-1]
    return [*widths, outputs[last]]
