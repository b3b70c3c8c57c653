"""Weights of the authors of IDR and of Iso-Points, read safely; the architecture is read off their shapes.

IDR writes ``model_state_dict`` with ``implicit_network.*`` and ``rendering_network.*``, and of learned cameras
``pose_vecs_state_dict``. Iso-Points writes ``model`` with ``decoder.*`` and, where colours are learned,
``texture.decoder.*``. Weight normalisation may have torch's old or new names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from recon.errors import CheckpointError
from recon.io.checkpoints import existing_weights, load_state, read_torch
from recon.nets.idr import ImplicitNetwork
from recon.nets.rendering_net import Layout, RenderingNetwork
from recon.nets.siren import Siren
from recon.nets.value_gradient import Field
from recon.nets.weight_norm import legacy_keys

SINE = re.compile(r"net\.(\d+)\.(?:linear\.)?(weight|bias)")


@dataclass(frozen=True)
class AuthorNetworks:
    """The networks of a file.

    Attributes:
        field: distances.
        colours: their rendering network, or None where there is none.
    """

    field: Field
    colours: RenderingNetwork | None


def load_networks(path: str | Path) -> AuthorNetworks:
    """The networks of a checkpoint of IDR or Iso-Points, with its weights.

    Raises:
        CheckpointError: naming the file, and the key or shape that is not as expected.
    """
    path = existing_weights(path)
    content = read_torch(path)
    isopoints = "model" in content
    state = legacy_keys(_state(path, content, "model" if isopoints else "model_state_dict"))
    heads = ("decoder.", "texture.decoder.") if isopoints else ("implicit_network.", "rendering_network.")
    below, above = (_under(state, head) for head in heads)
    if "net.0.linear.weight" in below:
        below = {SINE.sub(r"lin\1.\2", key): value for key, value in below.items()}
        field: Field = Siren(**siren_options(path, below))
    else:
        field = ImplicitNetwork(**implicit_options(path, below), squash=isopoints)
    load_state(field, below, path)
    if not above:
        return AuthorNetworks(field, None)
    layout: Layout = "isopoints" if isopoints else "idr"
    features = field.features if isinstance(field, ImplicitNetwork) else 0
    colours = RenderingNetwork(features, layout=layout, **rendering_options(path, above, features))
    load_state(colours, above, path)
    return AuthorNetworks(field, colours)


def load_poses(path: str | Path) -> Tensor:
    """(V, 7) quaternions w, x, y, z and centres of IDR's learned cameras (``CamParameters/2000.pth``).

    Raises:
        CheckpointError: naming the file, if it holds no such table.
    """
    path = existing_weights(path)
    rows = _state(path, read_torch(path), "pose_vecs_state_dict").get("weight")
    if rows is None or rows.ndim != 2 or rows.shape[1] != 7:
        raise CheckpointError(f"'{path}' holds no table of poses (V, 7).", "Give a file from IDR's CamParameters/.")
    if not (rows.isfinite().all() and (rows[:, :4].norm(dim=1) > 0).all()):
        raise CheckpointError(f"'{path}' holds poses that are none: not finite, or of no rotation.")
    return rows.float()


def implicit_options(path: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of `ImplicitNetwork` for weights."""
    inputs, outputs = _shapes(path, state)
    seen = inputs[0]
    skip = [n for n in range(1, len(inputs)) if inputs[n] != outputs[n - 1]]
    if (seen - 3) % 6 or any(inputs[n] != outputs[n - 1] + seen for n in skip):
        raise CheckpointError(f"'{path}': its layers, of {inputs} inputs and {outputs} outputs, are not IDR's.")
    widths = [out + (seen if n + 1 in skip else 0) for n, out in enumerate(outputs[:-1])]
    return {"features": outputs[-1] - 1, "widths": widths, "skip": skip, "frequencies": (seen - 3) // 6}


def rendering_options(path: Path, state: Mapping[str, Tensor], features: int) -> dict[str, Any]:
    """Arguments of `RenderingNetwork` for weights on so many features, all but the layout."""
    inputs, outputs = _shapes(path, state)
    rest = inputs[0] - features - 3  # normal and encoded view, each there or not
    if outputs[-1] != 3 or inputs[1:] != outputs[:-1] or rest < 3 or rest % 3:
        raise CheckpointError(
            f"'{path}': its rendering network, of {inputs} inputs and {outputs} outputs, does not fit "
            f"{features} features."
        )
    widths = outputs[:-1]
    if rest == 3:
        return {"mode": "no_view_dir", "widths": widths}
    mode = "idr" if rest % 6 == 0 else "no_normal"
    view = rest - 3 if mode == "idr" else rest
    return {"mode": mode, "widths": widths, "frequencies": (view - 3) // 6}


def siren_options(path: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of `Siren` for weights under its names."""
    weights = [state.get(f"lin{n}.weight") for n in range(max(len(state) // 2, 1))]
    shapes = [tuple(w.shape) for w in weights if w is not None]
    depth, width = len(shapes) - 1, (shapes or [(0,)])[0][0]
    if shapes != [(width, 3), *[(width, width)] * (depth - 1), (1, width)]:
        raise CheckpointError(f"'{path}': its layers {shapes} are not those of SIREN on positions.")
    return {"width": width, "depth": depth}


def _state(path: Path, content: Mapping[str, Any], key: str) -> dict[str, Tensor]:
    state = content.get(key)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            f"'{path}' holds no weights under '{key}' (its keys: {', '.join(map(str, content))[:200]}).",
            "Give IDR's ModelParameters/*.pth or CamParameters/*.pth, or Iso-Points' model.pt.",
        )
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _under(state: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    return {key.removeprefix(head): value for key, value in state.items() if key.startswith(head)}


def _shapes(path: Path, state: Mapping[str, Tensor]) -> tuple[list[int], list[int]]:
    """Inputs and outputs of the layers lin0, lin1, ..."""
    shapes = []
    for number in range(sum(key.endswith(".weight_v") for key in state)):
        weight = state.get(f"lin{number}.weight_v")
        if weight is None or weight.ndim != 2:
            raise CheckpointError(f"'{path}' lacks 'lin{number}.weight_v'.", "The file is incomplete, or not IDR's.")
        shapes.append(weight.shape)
    if not shapes:
        raise CheckpointError(f"'{path}' has no 'lin0.weight_v' (its keys: {', '.join(list(state)[:8]) or 'none'}).")
    return [shape[1] for shape in shapes], [shape[0] for shape in shapes]
