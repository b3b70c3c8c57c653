"""The schema of the fixed parts of a configuration, and the check of the free parts against typed signatures.

The groups `method`, `data`, ... are free: whatever ``_target_`` they name has a typed signature, and that is their
schema. So a new method needs no second description, and a wrong type is found before any work is done.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints

from hydra.core.config_store import ConfigStore
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from recon.errors import ConfigError, did_you_mean


@dataclass
class Task:
    """The verb, and what it alone wants."""

    name: str = "train"


@dataclass
class Settings:
    """Everything on the command line that is not in a group of its own; each is explained in conf/config.yaml."""

    task: Task = field(default_factory=Task)
    run: str | None = None
    input: str | None = None
    output: str | None = None
    source: str | None = None
    kind: str | None = None
    only: Any = None
    accept: bool = False
    pred: str | None = None
    truth: str | None = None
    weights: str | None = None
    methods: list[str] = field(default_factory=list)
    protocol: str = "recon"
    resolution: int = 256
    seed: int = 0
    preview: bool = False
    gpu: bool = False
    claim: Any = None
    report: bool = True
    label: str = ""
    method: Any = None
    data: Any = None
    prepare: Any = None
    trainer: Any = None
    mesh: Any = None
    checkpoint: Any = None
    logger: Any = None
    callbacks: Any = None


def register() -> None:
    """Make the schema known to Hydra as `schema`."""
    ConfigStore.instance().store(name="schema", node=Settings)


def check(node: DictConfig, where: str) -> None:
    """Check the values of a config that has a ``_target_`` against the typed signature of that target.

    Args:
        node: the config of one group, e.g. ``cfg.method``.
        where: its name in messages, e.g. ``"method"``.

    Raises:
        ConfigError: naming the option, what it is and what it should be.
    """
    target = get_object(node["_target_"])
    hints = options(target)
    known = _accepted(target)
    for key, value in OmegaConf.to_container(node, resolve=True).items():  # type: ignore[union-attr]
        name = str(key)
        if name.startswith("_"):
            continue
        if known is not None and name not in known:
            raise ConfigError(f"{where}.{name}: there is no such option.", did_you_mean(name, known))
        if isinstance(value, Mapping) and "_target_" in value:
            continue
        if name in hints and not _fits(value, hints[name]):
            raise ConfigError(
                f"{where}.{name}={value!r}: this should be {_spelled(hints[name])}.",
                f"Give {where}.{name} a value of that type.",
            )


def options(target: Any) -> dict[str, Any]:
    """Types of the options a target takes, those of ``**shared: Unpack[Shared]`` among them."""
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    shared = [name for name, hint in hints.items() if get_origin(hint) is Unpack]
    for name in shared:
        hints |= get_type_hints(get_args(hints.pop(name))[0])
    return hints


def _accepted(target: Any) -> set[str] | None:
    """Names of the options a target takes, or None if it takes any."""
    parameters = inspect.signature(target).parameters.values()
    known = options(target)
    if any(p.kind is p.VAR_KEYWORD and p.name in known for p in parameters):
        return None
    named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        named |= set(known) - {"return"}
    return named - {"self"}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from yaml is of an annotated type; an int is also a float."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, str):
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin in (Union, types.UnionType):
        return any(_fits(value, a) for a in args)
    if origin is Literal:
        return value in args and type(value) in {type(a) for a in args}
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin in (list, tuple, Sequence) or hint in (list, tuple):
        return isinstance(value, (list, tuple)) and all(_fits(v, h) for v, h in _paired(value, origin, args))
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    return not inspect.isclass(hint) or hint not in (bool, str, dict) or isinstance(value, hint)


def _paired(value: Sequence[Any], origin: Any, args: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    if not args:
        return []
    if origin is tuple and args[-1] is not Ellipsis:
        return list(zip(value, args, strict=True)) if len(value) == len(args) else [(None, int)]
    return [(v, args[0]) for v in value]


def _spelled(hint: Any) -> str:
    """A type as a user would say it."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_spelled(a) for a in get_args(hint))
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(a) for a in get_args(hint))
    if get_origin(hint) in (list, tuple, Sequence):
        return "a list, as in [1,2]"
    return names.get(hint, str(hint).replace("typing.", ""))
