"""Hydra's and OmegaConf's complaints, in two lines that name the culprit and the nearest thing that would do."""

from __future__ import annotations

import re
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf

from recon.arguments import CommandLine, key_of
from recon.errors import ConfigError, ReconError, did_you_mean

_HELP = "See `--help`, and `--help method=NAME` for the options of a method."

_PLUGINS = {
    "hydra/sweeper=optuna": "sweep",
    "hydra/launcher=joblib": "sweep",
    "hydra/launcher=submitit_slurm": "slurm",
}


def explained(error: Exception, line: CommandLine, conf: str) -> ReconError:
    """The error a user sees for one that Hydra or OmegaConf raised."""
    chain = _chain(error)
    for link in chain:
        if isinstance(link, ReconError):
            return link
        if isinstance(link, MissingConfigException) and link.options is not None:
            return _unknown_choice(link)
    text = " ".join(str(link) for link in chain)
    unknown = re.search(r"Could not override '([^']+)'", text) or re.search(r"Key '([^']+)' is not in struct", text)
    if unknown:
        return _unknown_key(unknown.group(1), line, conf)
    wrong = re.search(r"Value '(.*?)' of type '\w+' could not be converted to (\w+)", text)
    if wrong:
        key = re.search(r"full_key: (\S+)", text)
        kind = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}.get(
            wrong.group(2), "text"
        )
        return ConfigError(f"{key.group(1) if key else 'an option'}={wrong.group(1)}: this should be {kind}.", _HELP)
    single = re.search(r"Error merging override (\w+)=(\w+)\n", f"{error}\n")
    if single and single.group(1) == "methods":
        return ConfigError(f"methods={single.group(2)}: this should be a list.", f"Write methods=[{single.group(2)}].")
    group = re.search(r"Could not override '([^']+)'\.\s+No match in the defaults list", text)
    return ConfigError(_first_line(str(error)), f"{group.group(1)} is no group. {_HELP}" if group else _HELP)


def _chain(error: BaseException | None) -> list[BaseException]:
    links: list[BaseException] = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__ or error.__context__
    return links


def _unknown_choice(error: MissingConfigException) -> ConfigError:
    group, _, name = (error.missing_cfg_file or "").replace(".yaml", "").rpartition("/")
    plugin = _PLUGINS.get(f"{group}={name}")
    if plugin:
        return ConfigError(f"{name} is an optional part that is not installed.", f"pip install 'recon[{plugin}]'")
    group = group.split("/")[0]
    known = [option for option in error.options or () if not option.startswith("_")]  # those are for files to inherit
    return ConfigError(f"{group}={name}: there is no such {group}.", did_you_mean(name, known))


def _unknown_key(key: str, line: CommandLine, conf: str) -> ConfigError:
    sound = [o for o in line.overrides if key_of(o).split("@")[0] not in (key, key.split(".", 1)[-1])]
    known = _known_keys([f"task={line.verb}", *sound], conf)
    full = next((key_of(o) for o in line.overrides if key_of(o).endswith(key)), key)
    group = full.rpartition(".")[0]
    nearby = [k for k in known if k.rpartition(".")[0] == group and not k.endswith("_")] if group else []
    return ConfigError(f"{full}: there is no such option.", did_you_mean(full, nearby or known))


def _known_keys(overrides: list[str], conf: str) -> list[str]:
    """Every option that the rest of the command line offers; none where that does not compose either."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(conf, version_base="1.3"):
            plain = [o for o in overrides if not o.startswith("hydra.") and "," not in o]
            return _flat(compose("config", plain))
    except HydraException:
        return []


def _flat(cfg: Any, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key in cfg:
        keys.append(f"{prefix}{key}")
        child = None if OmegaConf.is_missing(cfg, key) or OmegaConf.is_interpolation(cfg, key) else cfg[key]
        if isinstance(child, DictConfig):
            keys += _flat(child, f"{prefix}{key}.")
    return keys


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "The configuration cannot be composed.")
