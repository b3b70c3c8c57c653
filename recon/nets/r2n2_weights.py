"""Weights of 3D-R2N2 that others trained, read and written: the port's, and by `recon.nets.r2n2_original` the authors'.

The port's are three dictionaries of tensors. A merged one has the prefixes ``encoder.``, ``convrnn.``, ``decoder.``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recon.errors import CheckpointError, ConfigError
from recon.io.checkpoints import read_torch
from recon.io.files import atomic
from recon.nets.convrnn import R2N2
from recon.nets.r2n2_layout import LAYOUTS, image_side
from recon.nets.r2n2_original import read_original

PARTS = ("encoder", "convrnn", "decoder")
NUMPY_MAGIC = b"\x93NUMPY"
RENAMED = {
    "encoder.fc1": "encoder.fc",
    "convrnn.convlstm.linear": "recurrence.inputs",
    "convrnn.convlstm.conv3d": "recurrence.neighbours",
}


def load_r2n2(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read weights of either family.

    Args:
        path: the authors' ``.npy``; a merged dictionary of the port; one of the port's three files, whose others lie
            beside it under the same ending; or a folder with just these three.

    Returns:
        Arguments of `recon.nets.convrnn.R2N2` (without ``cell`` for the authors' files, whose LSTM and GRU look the
        same), and its ``state_dict``.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        path = _only(path, sorted(path.glob("encoder*.pth")))
    if not path.is_file():
        raise CheckpointError(f"There is no file of weights '{path}'.", "Check the path given as weights=.")
    with path.open("rb") as file:
        if file.read(len(NUMPY_MAGIC)) == NUMPY_MAGIC:
            return read_original(path)
    part = next((part for part in PARTS if path.name.startswith(f"{part}_")), None)
    if part is None:
        return import_torch(read_torch(path), path)
    merged: dict[str, Any] = {}
    for other in PARTS:
        file_of = path.with_name(other + path.name.removeprefix(part))
        if not file_of.is_file():
            raise CheckpointError(f"'{path}' lacks its other part '{file_of.name}'.", "Put all three in one folder.")
        merged |= {f"{other}.{key}": value for key, value in read_torch(file_of).items()}
    return import_torch(merged, path)


def _only(folder: Path, found: list[Path]) -> Path:
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:5]) or "none"
        raise CheckpointError(f"'{folder}' should hold one encoder*.pth, and holds {names}.", "Name the file itself.")
    return found[0]


def import_torch(merged: Mapping[str, Any], path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments and ``state_dict`` of `recon.nets.convrnn.R2N2` from the port's merged dictionary.

    Args:
        merged: tensors by name; a ``module.`` that DataParallel put in is left out.
        path: where they are from, for messages.

    Raises:
        CheckpointError: naming the first key that is missing or of no use.
    """
    named = {".".join(word for word in key.split(".") if word != "module"): v for key, v in merged.items()}
    blocks = _count(named, r"encoder\.conv(\d+)\.weight", path)
    stages = _count(named, r"decoder\.conv3d(\d+)\.weight", path)
    state = {}
    for theirs, ours in _names(blocks, stages):
        for kind in ("weight", "bias"):
            value = named.pop(f"{theirs}.{kind}", None)
            if not isinstance(value, Tensor):
                raise CheckpointError(f"'{path}' lacks '{theirs}.{kind}'.", "Download or save it again.")
            state[f"{ours}.{kind}"] = value
    if named:
        raise CheckpointError(f"'{path}' has the unknown key '{min(named)}'.", "Known are those of the port's LSTM-3.")
    return {"family": "torch", "cell": "lstm", **_sizes(state, blocks, stages, path)}, state


def export_torch(net: R2N2) -> dict[str, Tensor]:
    """The port's merged dictionary of a network.

    Raises:
        ConfigError: if the port has no such network.
    """
    if net.family != "torch" or net.residual or net.recurrence.cell != "lstm":
        raise ConfigError(
            "The port's files hold plain LSTMs of its own family only.", "Use family=torch cell=lstm residual=false."
        )
    state = net.state_dict()
    names = _names(len(net.encoder.blocks), len(net.decoder.stages) + 1)
    return {f"{theirs}.{kind}": state[f"{ours}.{kind}"] for theirs, ours in names for kind in ("weight", "bias")}


def write_torch(folder: str | Path, net: R2N2, ending: str = "epoch_00000000") -> list[Path]:
    """Write the port's three files ``<part>_<ending>.pth``, each whole or not at all.

    Raises:
        ConfigError: if the port has no such network.
        DataError: if a file cannot be written.
    """
    merged, written = export_torch(net), []
    for part in PARTS:
        state = {key.removeprefix(f"{part}."): v for key, v in merged.items() if key.startswith(f"{part}.")}
        path = Path(folder) / f"{part}_{ending}.pth"
        with atomic(path) as temporary:
            torch.save(state, temporary)
        written.append(path)
    return written


def _names(blocks: int, stages: int) -> Iterable[tuple[str, str]]:
    """Their names of layers and ours, in order."""
    yield from ((f"encoder.conv{n + 1}", f"encoder.blocks.{n}.a") for n in range(blocks))
    yield from RENAMED.items()
    yield from ((f"decoder.conv3d{n + 1}", f"decoder.stages.{n}.a") for n in range(stages - 1))
    yield f"decoder.conv3d{stages}", "decoder.output"


def _count(named: Mapping[str, Any], pattern: str, path: str | Path) -> int:
    numbers = [int(match[1]) for key in named if (match := re.fullmatch(pattern, key))]
    if not numbers:
        raise CheckpointError(
            f"'{path}' holds no weights of 3D-R2N2 (its keys: {', '.join(list(named)[:6]) or 'none'}).",
            "Known are the authors' .npy, the port's three files, and these merged with encoder., convrnn., decoder.",
        )
    return max(numbers)


def _sizes(state: Mapping[str, Tensor], blocks: int, stages: int, path: str | Path) -> dict[str, Any]:
    """Sizes of a network from the shapes of its tensors."""
    encoder = [len(state[f"encoder.blocks.{n}.a.weight"]) for n in range(blocks)]
    decoder = [len(state[f"decoder.stages.{n}.a.weight"]) for n in range(stages - 1)]
    neighbours, inputs, fc = (
        state[f"{name}.weight"] for name in ("recurrence.neighbours", "recurrence.inputs", "encoder.fc")
    )
    if (neighbours.ndim, inputs.ndim, fc.ndim) != (5, 2, 2):
        raise CheckpointError(f"'{path}': its recurrent or last encoder layer has no shape of 3D-R2N2.")
    hidden = neighbours.shape[1]
    grid, side = round((len(inputs) / (3 * hidden)) ** (1 / 3)), round((fc.shape[1] / encoder[-1]) ** 0.5)
    return {
        "kernel": neighbours.shape[-1],
        "image": image_side(LAYOUTS["torch"], side, blocks),
        "encoder": encoder,
        "feature": len(fc),
        "hidden": hidden,
        "grid": grid,
        "decoder": decoder,
        "resolution": grid << (stages - 2),
    }
