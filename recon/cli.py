"""The command line: a verb and ``key=value`` words in, an exit status out.

0: done; 2: the user can mend it (two lines, no traceback); 130: interrupted. Anything else is our fault and keeps
its traceback. torch and Lightning are imported inside the tasks only, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from recon import arguments
from recon.arguments import CommandLine
from recon.conf import conf_folder
from recon.errors import ReconError
from recon.help import help_text

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from recon.tasks.folder import RunFolder

_PROCESS_GROUP_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")


def main(argv: list[str] | None = None) -> int:
    """Run one command line (default: `sys.argv`) and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if "--version" in words:
        print(import_module("recon").__version__)
        return 0
    if not words or {"-h", "--help"} & set(words):
        print(help_text(words, conf_folder()))
        return 0
    # Threads that wait by spinning cost a shared machine several times the work itself; asleep they cost microseconds.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _run(arguments.with_defaults(arguments.with_recorded(arguments.parse(words))))
    except ReconError as error:
        _say(error)
        return 2
    except KeyboardInterrupt as stop:
        print(" ".join(["\nInterrupted.", *map(str, stop.args)]), file=sys.stderr)
        return 130
    return 0


def _say(error: ReconError) -> None:
    print(f"error: {error.what}", file=sys.stderr)
    if error.mend:
        print(f"       {error.mend}", file=sys.stderr)


def _run(line: CommandLine) -> None:
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from recon.config import register
    from recon.config_errors import explained

    register()
    GlobalHydra.instance().clear()
    conf = str(conf_folder())
    mistakes: list[ReconError] = []
    entry = hydra.main(version_base="1.3", config_path=conf, config_name="config")(_job(line, mistakes))
    with _argv(line.words()), _environment(HYDRA_FULL_ERROR="1"):
        try:
            entry()
        except (HydraException, OmegaConfBaseException) as error:
            raise explained(error, line, conf) from error
    for mistake in mistakes[:-1]:
        _say(mistake)
    if mistakes:
        raise mistakes[-1]


def _job(line: CommandLine, mistakes: list[ReconError]) -> Callable[[DictConfig], Any]:
    """The function Hydra calls. Mistakes are collected, not raised: the other jobs of a sweep go on."""

    def job(cfg: DictConfig) -> Any:
        from recon.tasks.folder import RunFolder

        task = import_module(f"recon.tasks.{cfg.task.name}")
        folder = RunFolder.here(line)
        try:
            with _argv([line.verb, *folder.child_overrides()]), _process_group(), folder:
                return task.run(cfg, folder)
        except ReconError as error:
            mistakes.append(error)
            return None
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(*_way_on(folder)) from stop

    return job


def _way_on(folder: RunFolder) -> list[str]:
    """What an interrupted fit left, and how to go on with it."""
    left = folder.verb != "compare" and any(folder.path.rglob("*.ckpt"))
    words = shlex.join(["train", f"run={folder.path}"])
    return [f"What was saved is kept: `{words}` goes on from there."] if left else []


@contextmanager
def _argv(words: list[str]) -> Iterator[None]:
    """Show Hydra, and the processes that Lightning starts by repeating it, a command line of our making."""
    saved, sys.argv[1:] = sys.argv[1:], words
    try:
        yield
    finally:
        sys.argv[1:] = saved


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    saved = {k: os.environ.get(k) for k in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in saved.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


@contextmanager
def _process_group() -> Iterator[None]:
    """Leave no process group behind: the next job of a sweep makes its own."""
    inherited = {k for k in _PROCESS_GROUP_VARIABLES if k in os.environ}
    try:
        yield
    finally:
        distributed = sys.modules.get("torch.distributed")
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
        for key in set(_PROCESS_GROUP_VARIABLES) - inherited:
            os.environ.pop(key, None)
