"""Safe reading of weights: our own checkpoints, the IGR authors' ``.pth`` and the nnabla example's ``.h5``.

The format is told by the content, never by the name. Nothing in a file is executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import h5py
import numpy as np
import torch
from torch import Tensor

from recon.errors import CheckpointError
from recon.io.arrays import DEFLATE_RATIO
from recon.io.files import atomic

Format = Literal["igr_authors", "igr_nnabla", "lightning"]
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def load_weights(path: str | Path) -> tuple[Format, dict[str, Tensor], dict[str, Any]]:
    """Read a file of network weights, whoever wrote it.

    Returns:
        The format; tensors under our own names (``lin0.weight`` ...; a Lightning checkpoint keeps its names); and
        the architecture read off the shapes (arguments of `recon.nets.sdf.MLP`), or a Lightning checkpoint's
        hyper-parameters.

    Raises:
        CheckpointError: naming the file, and where known the key and its shape.
    """
    path = existing_weights(path)
    with path.open("rb") as file:
        magic = file.read(8)
    if magic == HDF5_MAGIC:
        return _nnabla(path)
    content = read_torch(path)
    if "pytorch-lightning_version" in content:
        return "lightning", _tensors(path, content, "state_dict"), dict(content.get("hyper_parameters", {}))
    return _authors(path, content)


def existing_weights(path: str | Path) -> Path:
    """The path of a file that is there.

    Raises:
        CheckpointError: if it is not.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(f"There is no file of weights '{path}'.", "Check the path given as weights=.")
    return path


def load_state(module: torch.nn.Module, state: dict[str, Tensor], path: str | Path) -> None:
    """Give a module its weights.

    Raises:
        CheckpointError: naming the file, and the first key that is missing, strange or of another shape.
    """
    own = module.state_dict()
    for key in [*own, *state]:
        theirs, ours = state.get(key), own.get(key)
        if theirs is None or ours is None or theirs.shape != ours.shape:
            has = "is not in it" if theirs is None else f"has shape {tuple(theirs.shape)} in it"
            wants = "unknown here" if ours is None else f"{tuple(ours.shape)} here"
            raise CheckpointError(
                f"'{path}' does not fit this method: '{key}' {has}, and is {wants}.",
                "Give the options that the weights were made with.",
            )
    module.load_state_dict(state)


def read_torch(path: Path) -> dict[str, Any]:
    """A dictionary saved by torch, read with ``weights_only=True``; NumPy's numbers may be in it.

    Raises:
        CheckpointError: if it is damaged, holds more than plain data, or is no dictionary.
    """
    try:
        with torch.serialization.safe_globals(_numpy_numbers()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may fail in any way
        # Not torch's own words where it refuses a pickle: they tell people how to have it run.
        refused = isinstance(error, UnpicklingError)
        reason = "it is no plain data" if refused else (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"'{path}' cannot be read as weights: {reason}",
            "The file is damaged, of another format, or holds code, which is never run. Download or save it again.",
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"'{path}' holds a {type(content).__name__}, not a dictionary of weights.")
    return content


def save_weights(path: Path, state: Mapping[str, Tensor], options: Mapping[str, Any]) -> None:
    """Write weights and the arguments of the method they belong to, as a checkpoint that `load_weights` reads.

    Args:
        path: of the file.
        state: tensors by name.
        options: plain values by name.
    """
    content = {
        "pytorch-lightning_version": metadata.version("pytorch-lightning"),
        "state_dict": {key: value.detach().cpu().contiguous() for key, value in state.items()},
        "hyper_parameters": dict(options),
        "global_step": 0,
        "epoch": 0,
    }
    with atomic(path) as temporary:
        torch.save(content, temporary)


def _numpy_numbers() -> list[Any]:
    """What a NumPy number in a pickle is made of, under the names of old and of new versions."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    types = [type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "?")]
    return [*((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")), np.dtype, *types]


def _authors(path: Path, content: dict[str, Any]) -> tuple[Format, dict[str, Tensor], dict[str, Any]]:
    state = _tensors(path, content, "model_state_dict") if "model_state_dict" in content else _tensors(path, content)
    named = {key.removeprefix("module."): value for key, value in state.items()}
    depth = _depth(path, named, "lin{}.weight", "lin{}.bias")
    tensors = {key: named[key].float() for n in range(depth + 1) for key in (f"lin{n}.weight", f"lin{n}.bias")}
    _only(path, named, tensors)
    return "igr_authors", tensors, _architecture(path, tensors, depth, "features_first")


def _tensors(path: Path, content: Mapping[Any, Any], key: str = "") -> dict[str, Tensor]:
    """The tensors by name that a file holds, under `key` if one is given."""
    state = content.get(key) if key else content
    if not isinstance(state, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        under = f"no weights under '{key}'" if key else "no weights"
        raise CheckpointError(
            f"'{path}' holds {under} (its keys: {', '.join(map(str, content))[:200]}).",
            "Give the file from ModelParameters/, not the optimiser's or the latent codes'.",
        )
    return dict(state)


def _nnabla(path: Path) -> tuple[Format, dict[str, Tensor], dict[str, Any]]:
    found: dict[str, np.ndarray] = {}
    size = path.stat().st_size

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            # A header may announce an array that no machine holds, and chunks that are not there cost no bytes.
            if item.dtype.kind not in "fiu" or item.ndim not in (1, 2) or item.nbytes > size * DEFLATE_RATIO:
                raise CheckpointError(
                    f"'{path}': '{name}' holds no weights (it is {item.dtype} of shape {item.shape})."
                )
            found[name] = item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"'{path}' cannot be read as HDF5: {error}", "Download or copy it again.") from error
    depth = _depth(path, found, "fc{}/affine/W", "fc{}/affine/b")
    tensors = {}
    for n in range(depth + 1):
        tensors[f"lin{n}.weight"] = torch.from_numpy(found[f"fc{n}/affine/W"].T.copy()).float()
        tensors[f"lin{n}.bias"] = torch.from_numpy(found[f"fc{n}/affine/b"].copy()).float()
    _only(path, found, [f"fc{n}/affine/{part}" for n in range(depth + 1) for part in "Wb"])
    return "igr_nnabla", tensors, _architecture(path, tensors, depth, "position_first")


def _depth(path: Path, found: Mapping[str, Any], weight: str, bias: str) -> int:
    """Number of hidden layers; every layer from 0 on must have its two arrays."""
    pattern = re.escape(weight).replace(r"\{\}", r"(\d+)")
    numbers = [int(match[1]) for key in found if (match := re.fullmatch(pattern, key))]
    if not numbers:
        raise CheckpointError(
            f"'{path}' has no '{weight.format(0)}' (its keys: {', '.join(list(found)[:8]) or 'none'}).",
            "Known are the IGR authors' .pth, the nnabla example's .h5, and checkpoints of this program.",
        )
    for n in range(max(numbers) + 1):
        for key in (weight.format(n), bias.format(n)):
            if key not in found:
                raise CheckpointError(f"'{path}' lacks '{key}'.", "The file is incomplete. Download or save it again.")
    return max(numbers)


def _only(path: Path, found: Mapping[str, Any], known: Any) -> None:
    strange = [key for key in found if key not in known]
    if strange:
        raise CheckpointError(f"'{path}' has the unknown key '{strange[0]}' {tuple(found[strange[0]].shape)}.")


def _architecture(path: Path, tensors: dict[str, Tensor], depth: int, layout: str) -> dict[str, Any]:
    """Widths, skip layers, input and code length, from the shapes alone."""
    for n in range(depth + 1):
        weight, bias = tensors[f"lin{n}.weight"], tensors[f"lin{n}.bias"]
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or (n == depth and len(bias) != 1):
            raise CheckpointError(
                f"'{path}': layer {n} has weights {tuple(weight.shape)} and biases {tuple(bias.shape)}.",
                "Expected are (outputs, inputs) and (outputs,), and one output at the top.",
            )
    outputs = [tensors[f"lin{n}.weight"].shape[0] for n in range(depth)]
    inputs = [tensors[f"lin{n}.weight"].shape[1] for n in range(depth + 1)]
    skip = [n for n in range(1, depth + 1) if inputs[n] != outputs[n - 1]]
    extra = {n: inputs[n] - outputs[n - 1] for n in skip}
    whole = inputs[0] if layout == "features_first" else max([inputs[0], *extra.values()])
    wrong = next((n for n in skip if extra[n] != whole), None)
    if wrong is not None:
        raise CheckpointError(
            f"'{path}': layer {wrong} takes {inputs[wrong]} inputs after {outputs[wrong - 1]} outputs.",
            f"A skip connection adds {whole} inputs.",
        )
    d_in = inputs[0] if layout == "position_first" else (2 if whole == 2 else 3)
    widths = [wide + (whole if n + 1 in skip else 0) for n, wide in enumerate(outputs)]
    return {"d_in": d_in, "widths": widths, "skip": skip, "latent": whole - d_in, "layout": layout}
