"""From a config to objects: the method, the dataset, what they have in common, and the device they run on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from recon.conf import choices, conf_folder
from recon.config import check
from recon.errors import ConfigError
from recon.geometry.surface import MeshOptions
from recon.observations import first_common

if TYPE_CHECKING:
    from recon.data.base import ReconDataModule
    from recon.methods.base import Method

TARGETS = {"Occupancies": "occupancies", "Voxels": "voxels", "SurfaceSamples": "samples of the surface"}


def build(node: DictConfig | None, group: str) -> Any:
    """The object that a group's config describes, its values checked against the target's signature.

    Raises:
        ConfigError: if the group was left out, or a value is wrong.
    """
    if node is None:
        raise ConfigError(f"No {group} is named.", f"Add {group}=NAME. Known: {', '.join(choices(group))}.")
    check(node, group)
    arguments = OmegaConf.to_container(node, resolve=True)
    return get_object(node["_target_"])(**{k: v for k, v in arguments.items() if not k.startswith("_")})  # type: ignore


def build_method(cfg: DictConfig) -> Method:
    """The method, untrained."""
    method: Method = build(cfg.method, "method")
    return method


def build_from_weights(cfg: DictConfig, asked: set[str]) -> Method:
    """The method around the authors' weights in ``cfg.weights``.

    Args:
        cfg: the whole configuration.
        asked: names of the method's options that the user gave; the others are as the file wants them.
    """
    check(cfg.method, "method")
    values = OmegaConf.to_container(cfg.method, resolve=True)
    kind = get_object(cfg.method["_target_"])
    changes = {name: values[name] for name in asked.union(kind.untold)}  # type: ignore
    method: Method = kind.from_weights(existing(cfg.weights, "weights", folders=True), **changes)
    return method


def build_data(cfg: DictConfig) -> ReconDataModule:
    """The dataset; nothing is read yet."""
    data: ReconDataModule = build(cfg.data, "data")
    return data


def build_mesh_options(cfg: DictConfig) -> MeshOptions:
    """How meshes are to be made."""
    options: MeshOptions = build(cfg.mesh, "mesh")
    return options


def match(method: Method, data: ReconDataModule, cfg: DictConfig) -> type:
    """The observation type that both know, before any work is done; the dataset is told of it.

    Raises:
        ConfigError: if the dataset gives nothing that the method can use, or learn from where it is to be trained.
    """
    common = first_common(method.needs, data.gives)
    if common is None:
        names = _choices()
        wanted, given = _spelled(method.needs), _spelled(data.gives)
        able = _datasets_with(method.needs)
        raise ConfigError(
            f"{names['method']} needs {wanted}; {names['data']} gives {given}.",
            f"Data that gives {wanted}: {', '.join(name for name in able if name != names['data'])}."
            + (f" So does {names['data']}, of other files: see --help data={names['data']}." * (names["data"] in able)),
        )
    learns = method.learns if cfg.task.name == "train" else None
    if learns is not None and learns not in data.may_target:
        names = _choices()
        raise ConfigError(
            f"{names['method']} learns from {TARGETS[learns.__name__]}; {names['data']} has none.",
            f"Data that has them: {', '.join(_datasets_with(method.needs, learns))}.",
        )
    data.use(common, method.learns)
    return common


def device_of(cfg: DictConfig) -> torch.device:
    """Where methods that solve, and meshing, run: as `trainer.accelerator` says.

    Raises:
        ConfigError: if that device is not there.
    """
    wanted = str(cfg.trainer.accelerator)
    if wanted in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError(
            "trainer.accelerator=gpu: there is no CUDA device, or this torch was built without CUDA.",
            "Use trainer=cpu, or see `recon doctor`.",
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def existing(path: str | None, key: str, folders: bool = False) -> Path:
    """A file that an option names; or a folder, where that will do.

    Raises:
        ConfigError: if the option is missing or the file is not there.
    """
    if path is None:
        raise ConfigError(f"{key}= is missing.", f"Name a file: {key}=FILE.")
    found = Path(path).expanduser()
    if not (found.is_file() or (folders and found.is_dir())):
        raise ConfigError(f"{key}={path}: this file is not there.", f"Looked in {found.resolve().parent}.")
    return found


def _choices() -> dict[str, str]:
    from hydra.core.hydra_config import HydraConfig

    return dict(HydraConfig.get().runtime.choices)


def _spelled(types: tuple[type, ...]) -> str:
    words = {
        "Points": "points",
        "OrientedPoints": "oriented points",
        "Views": "views",
        "PosedViews": "posed views",
        "PosedRGBD": "posed RGB-D",
    }
    return " or ".join(words[t.__name__] for t in types)


def _datasets_with(needs: tuple[type, ...], learns: type | None = None) -> list[str]:
    """Names of the dataset files whose class may give one of the needed types, and what is to be learnt from."""
    names = []
    for name in choices("data"):
        node = OmegaConf.create(OmegaConf.load(conf_folder() / "data" / f"{name}.yaml"))
        data = get_object(str(OmegaConf.select(node, "_target_")))
        if first_common(needs, data.may_give) and (learns is None or learns in data.may_target):
            names.append(name)
    return names
