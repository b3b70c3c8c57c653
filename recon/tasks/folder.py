"""The run folder: config, overrides, checkpoints, metrics, meshes, report. Alone it is all that later verbs need."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from recon.arguments import OVERRIDES_FILE, PATH_KEYS, CommandLine, key_of, quoted, read_recorded, rooted, unquoted
from recon.conf import conf_folder
from recon.errors import ConfigError, ReconError
from recon.io.files import write_text

CONFIG_FILE = "config.yaml"


class RunFolder:
    """One run's folder, held under a lock while a job works in it.

    Attributes:
        path: the folder.
        verb: what the user asked for.
        overrides: the job's own overrides, as Hydra sees them.
        resumed: whether it is the folder of an earlier command (``run=FOLDER``).
    """

    def __init__(self, path: Path, verb: str, overrides: list[str], resumed: bool = False) -> None:
        self.path, self.verb, self.overrides, self.resumed = path, verb, overrides, resumed
        self._lock: IO[str] | None = None

    @classmethod
    def here(cls, line: CommandLine) -> RunFolder:
        """The folder Hydra made, or was told to use, for the job it is running now."""
        hydra = HydraConfig.get()
        overrides = [o for o in hydra.overrides.task if key_of(o) != "task"]
        return cls(Path(hydra.runtime.output_dir), line.verb, overrides, resumed=line.value("run") is not None)

    def __enter__(self) -> Self:
        if is_first_process():
            self._take_lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            (self.path / ".lock").unlink(missing_ok=True)
        if is_first_process() and not self.resumed and (isinstance(error, ReconError) or self._is_empty()):
            self._remove_if_unused()

    def record(self, cfg: DictConfig) -> None:
        """Write the config and the overrides, once: a resumed run keeps what it was started with.

        Raises:
            ConfigError: if the run was made with another method or dataset than is asked for now.
        """
        if not is_first_process():
            return
        if self.resumed:
            self._check_same(cfg)
            return
        recorded = [rooted(o) for o in self.overrides]
        saved = cfg.copy()
        for override in recorded:  # paths as a later job will see them
            if key_of(override) in PATH_KEYS:
                OmegaConf.update(saved, key_of(override), unquoted(override.partition("=")[2]))
        write_text(self.path / CONFIG_FILE, OmegaConf.to_yaml(saved))
        write_text(self.path / OVERRIDES_FILE, json.dumps(recorded, indent=1, ensure_ascii=False))

    def _check_same(self, cfg: DictConfig) -> None:
        """Stop where method or data have other values than the run was made with, and nobody asked for that."""
        saved = OmegaConf.create(OmegaConf.load(self.path / CONFIG_FILE))
        recorded = read_recorded(self.path)
        asked = {key_of(o) for o in self.overrides if o not in recorded}
        groups = [g for g in ("method", "data") if g not in asked and not (g == "data" and "input" in asked)]
        for group in groups:
            was, now = _values(saved, group), _values(cfg, group)
            changed = [k for k in sorted({*was, *now}) if was.get(k) != now.get(k) and f"{group}.{k}" not in asked]
            if changed:
                key = changed[0]
                raise ConfigError(
                    f"run={self.path}: it was made with {group}.{key}={was.get(key)}, but now this is {now.get(key)}"
                    + (f" (and {len(changed) - 1} more differ)." if len(changed) > 1 else "."),
                    f"Give {group}.{key}={was.get(key)} to go on as before, or {now.get(key)} to change it.",
                )

    def child_overrides(self) -> list[str]:
        """What a process that repeats this job must be told: its overrides, and this very folder."""
        kept = [o for o in self.overrides if key_of(o) != "hydra.run.dir"]
        return [*kept, f"hydra.run.dir={quoted(str(self.path))}"]

    def asked(self, group: str) -> set[str]:
        """Names of a group's options that were given on the command line, or by the experiment named there."""
        keys = [key_of(o) for o in self.overrides]
        named = [o.split("=", 1)[1] for o in self.overrides if key_of(o) == "experiment" and "=" in o]
        files = [conf_folder() / "experiment" / f"{name}.yaml" for name in named]
        given = [OmegaConf.select(OmegaConf.load(f), group) or {} for f in files if f.is_file()]
        return {k.split(".")[1] for k in keys if k.startswith(f"{group}.")}.union(*(map(str, g) for g in given))

    def command(self) -> str:
        """The command line that repeats this job, fit for a shell: paths as the user wrote them."""
        words = [o.split("=", 1) for o in self.overrides if not key_of(o).startswith("hydra.")]
        return shlex.join(["python", "run.py", self.verb, *("=".join([k, *map(unquoted, v)]) for k, *v in words)])

    def sub(self, *parts: str) -> Path:
        """A folder inside the run folder, made if need be."""
        path = self.path.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _take_lock(self) -> None:
        import fcntl

        self.path.mkdir(parents=True, exist_ok=True)
        lock = open(self.path / ".lock", "w")  # noqa: SIM115 - held until the job ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise ConfigError(
                f"run={self.path}: another process is working in this folder.",
                "Wait until it ends, or start a run of its own.",
            ) from error
        self._lock = lock

    def _is_empty(self) -> bool:
        return self.path.is_dir() and not any(self.path.iterdir())

    def _remove_if_unused(self) -> None:
        """After a user's mistake, or where nothing was written, no folder stays; what was fitted before it does."""
        worth_keeping = [p for p in self.path.rglob("*") if p.suffix in (".ckpt", ".ply", ".obj", ".glb", ".csv")]
        if not worth_keeping:
            shutil.rmtree(self.path)
            for parent in list(self.path.parents)[:2]:
                if parent.name and parent != Path.cwd() and not any(parent.iterdir()):
                    parent.rmdir()


def _values(cfg: Any, group: str) -> dict[str, Any]:
    """A group's values as written, interpolations unresolved."""
    node = OmegaConf.select(cfg, group)
    values = {} if node is None else OmegaConf.to_container(node)
    assert isinstance(values, dict)
    return {str(k): v for k, v in values.items()}


def is_first_process() -> bool:
    """Whether this is the process that writes files: rank 0, or the only one."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0 and int(os.environ.get("NODE_RANK", 0)) == 0
