"""Weights of the authors of ALTO and of "Convolutional Occupancy Networks", brought under our names.

Their files hold plain tensors and a few numbers beside them, some of NumPy's type; nothing in a file is executed. What
no output depends on is left out and reported. The resolution is in no file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.errors import CheckpointError
from recon.io.checkpoints import read_torch
from recon.nets.occupancy_net import OccupancyNet

POINTS = {"lift": "fc_pos", "first": "fc_0", "second": "fc_1", "out": "fc_c"}
EXCHANGE = {"exchange.hidden": "fc_comm.0", "exchange.out": "fc_comm.2", "exchange.carry": "fc_c"}
ATTENTION = {
    "query": "fc_q{}",
    "key": "fc_k{}",
    "value": "fc_v{}",
    "offset.0": "fc_di{}.0",
    "offset.1": "fc_di{}.2",
    "attention.0": "attention{}.attention_mlp.0",
    "attention.1": "attention{}.attention_mlp.2",
}
HEAD = {"position": "fc_p", "head.mix": "fc_c", "head.blocks": "blocks", "head.out": "fc_out"}
DEAD = (
    re.compile(r"decoder\.fc_interpolated_fea\..+"),
    re.compile(r"decoder\.attention\d?\.attention_mlp\.2\.bias"),  # a softmax does not see it
    re.compile(r"encoder\.unet3d\.encoders\.0\.conv1x1\..+"),
)
DEAD_IN_LAST = {
    "encoder.unet.up_convs": re.compile(r"(upconv|fc_comm\.\d|fc_c)\..+"),
    "encoder.unet3d.decoders": re.compile(r"(fc_comm\.\d|fc_c)\..+"),
}


@dataclass(frozen=True)
class AuthorWeights:
    """A network as a file of the authors tells it.

    Attributes:
        path: of the file.
        options: arguments of `OccupancyNet`, all but the resolution.
        tensors: by their names, less the path components ``module`` that nested DataParallel left in them.
    """

    path: Path
    options: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def is_alto(self) -> bool:
        """Whether they are ALTO's; if not, ConvONet's."""
        return bool(self.options["alternating"])

    def net(self, resolution: int | None, **changes: Any) -> tuple[OccupancyNet, tuple[str, ...]]:
        """The network, and their names of what no output depends on.

        Args:
            resolution: cells a side that it was trained with.
            changes: further arguments of `OccupancyNet`.

        Raises:
            CheckpointError: if no resolution is given, or a tensor is missing, unknown or of another shape.
        """
        if resolution is None:
            raise CheckpointError(
                f"'{self.path}' does not tell the resolution of its grids.",
                "Give method.resolution=64 (ShapeNet planes, and volumes) or 128 (planes of rooms).",
            )
        net = OccupancyNet(**{**self.options, "resolution": resolution, **changes})
        names = author_names(net)
        net.load_state_dict(
            {key: self._tensor(key, value.shape, names[key]) for key, value in net.state_dict().items()}
        )
        return net, self._unused({name for group in names.values() for name in group})

    def _tensor(self, key: str, shape: torch.Size, names: tuple[str, ...]) -> Tensor:
        """One of our tensors from theirs, of which several may be stacked."""
        single = shape if not is_stacked(key) else shape[1:]
        if is_stacked(key) and key.endswith("bias"):
            single = single[1:]
        for name in names:
            if name not in self.tensors:
                raise CheckpointError(f"'{self.path}' lacks '{name}'.", "The file is incomplete. Download it again.")
            if self.tensors[name].shape != single:
                raise CheckpointError(
                    f"'{self.path}': '{name}' has shape {tuple(self.tensors[name].shape)}, not {tuple(single)}.",
                    "Give the options that the weights were made with, or the file of another method.",
                )
        found = [self.tensors[name].float() for name in names]
        return torch.stack(found).view(shape) if is_stacked(key) else found[0]

    def _unused(self, used: set[str]) -> tuple[str, ...]:
        rest = tuple(name for name in self.tensors if name not in used)
        strange = [name for name in rest if not _is_dead(name, self.tensors)]
        if strange:
            raise CheckpointError(
                f"'{self.path}' has the unknown key '{strange[0]}' {tuple(self.tensors[strange[0]].shape)}.",
                "Known are ALTO's and ConvONet's networks of three planes or one volume.",
            )
        return rest


def read_authors(path: str | Path) -> AuthorWeights:
    """Read a checkpoint of ALTO's or ConvONet's authors.

    Raises:
        CheckpointError: if the file is damaged, holds code, or is none of theirs.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(f"There is no file of weights '{path}'.", "Check the path given as weights=.")
    with torch.serialization.safe_globals(_numpy_scalars()):
        content = read_torch(path)
    state = content.get("model", content)
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(
            f"'{path}' holds no weights under 'model' (its keys: {', '.join(map(str, content))[:200]}).",
            "Give the authors' model.pt or model_best.pt.",
        )
    tensors = canonical(state)
    return AuthorWeights(path, _options(path, tensors), tensors)


def canonical(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors by names without the path components that are exactly ``module``."""
    return {".".join(part for part in str(key).split(".") if part != "module"): value for key, value in state.items()}


def author_names(net: OccupancyNet) -> dict[str, tuple[str, ...]]:
    """For each of our tensors their names of it: three for one that is stacked by planes, else one."""
    keys = list(net.state_dict())
    last = [key.removeprefix("unet.") for key in keys if key.startswith("unet.up.")][-1]
    stage = ".".join(last.split(".")[:2]) + "."
    return {key: _author_names(key, net.kind == "volume", net.alternating, stage) for key in keys}


def is_stacked(key: str) -> bool:
    """Whether our tensor has one row for each grid."""
    return key.startswith(("decoder.query", "decoder.key", "decoder.value", "decoder.offset", "decoder.attention"))


def _author_names(key: str, volume: bool, alternating: bool, last: str) -> tuple[str, ...]:
    part, _, rest = key.partition(".")
    if part == "points":
        return ("encoder." + _renamed(rest, POINTS),)
    if part == "decoder":
        theirs = "decoder." + _renamed(_renamed(rest, {**ATTENTION, **HEAD}), {"first": "fc_0", "second": "fc_1"})
        if not is_stacked(key):
            return (theirs,)
        return (theirs.format(""),) if volume else tuple(theirs.format(number) for number in (1, 2, 3))
    rest = _renamed(rest, {**EXCHANGE, "residual": "conv1x1"})
    if volume:
        rest = re.sub(r"(?<=\d)(\.convs)?\.([01])\.(norm|conv)\b", _single_conv, rest)
        return ("encoder.unet3d." + _renamed(rest, {"down": "encoders", "up": "decoders", "final": "final_conv"}),)
    rise = "upconv_noup" if alternating and rest.startswith(last) else "upconv"
    return (
        "encoder.unet." + _renamed(rest, {"rise": rise, "down": "down_convs", "up": "up_convs", "final": "conv_final"}),
    )


def _single_conv(match: re.Match[str]) -> str:
    layer = "groupnorm" if match[3] == "norm" else "conv"
    return f".basic_module.SingleConv{int(match[2]) + 1}.{layer}"


def _renamed(key: str, table: Mapping[str, str]) -> str:
    """The key with the first whole run of path components that the table knows replaced."""
    for ours, theirs in table.items():
        changed = re.sub(rf"(?<![^.]){re.escape(ours)}(?![^.])", theirs, key, count=1)
        if changed != key:
            key = changed
    return key


def _is_dead(name: str, tensors: Mapping[str, Tensor]) -> bool:
    if any(pattern.fullmatch(name) for pattern in DEAD):
        return True
    for prefix, pattern in DEAD_IN_LAST.items():
        last = f"{prefix}.{_count(tensors, prefix) - 1}."
        if name.startswith(last) and pattern.fullmatch(name.removeprefix(last)):
            return True
    return False


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered modules there are below a name."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return max((int(match[1]) + 1 for name in tensors if (match := pattern.match(name))), default=0)


def _options(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The architecture, from names and shapes."""
    volume = any(name.startswith("encoder.unet3d.") for name in tensors)
    attention = "decoder.fc_q.weight" in tensors or "decoder.fc_q1.weight" in tensors
    asked = "decoder.fc_q.weight" if volume else "decoder.fc_q1.weight" if attention else ""
    first = asked if attention else "decoder.fc_p.weight"
    mixer = f"decoder.attention{'' if volume else 1}.attention_mlp.2.weight"
    for name in ("encoder.fc_c.weight", first, *([mixer] if attention else [])):
        if name not in tensors or tensors[name].ndim != 2 or not len(tensors[name]):
            raise CheckpointError(
                f"'{path}' is no checkpoint of ALTO or ConvONet: it has no '{name}' (its keys: "
                f"{', '.join(list(tensors)[:6]) or 'none'}).",
                "Known are their networks of three planes or one volume with a U-Net.",
            )
    hidden = len(tensors[mixer]) if attention else len(tensors[first])
    stages = _count(tensors, "encoder.unet3d.encoders" if volume else "encoder.unet.down_convs")
    return {
        "latent": "volume" if volume else "triplane",
        "width": len(tensors["encoder.fc_c.weight"]),
        "hidden": hidden,
        "heads": len(tensors[first]) // hidden,
        "levels": stages,
        "decoder": "attention" if attention else "simple",
        "alternating": any(".fc_comm." in name for name in tensors),
        "neighbor_layout": "legacy",
        "legacy": True,
    }


def _numpy_scalars() -> list[Any]:
    """What a NumPy number in a pickle is made of, by the names of old and new versions."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    names = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*names, np.dtype, *(type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8", "?"))]
