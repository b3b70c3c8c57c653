"""`doctor`: what is installed, on what it would run, which data are at hand, and which known traps lie here.

Every finding is a `Check`; `report` gathers them and prints nothing, `run` shows them.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from omegaconf import DictConfig, OmegaConf
from packaging.requirements import Requirement

from recon.tasks.installation import import_fault, requirements, unmet, version

if TYPE_CHECKING:
    from recon.tasks.folder import RunFolder

State = Literal["ok", "note", "trap"]

_NOT_FOR_USERS = ("dev", "docs")
# Not ours, but known to break what is ours when they do not match it.
_TROUBLEMAKERS = ("torchvision", "hydra-core", "hydra-optuna-sweeper", "pytorch-lightning", "torchmetrics")


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        group: the table it stands in.
        name: what was looked at.
        found: what was found, in a few words.
        state: ``"ok"``; ``"note"``: worth knowing; ``"trap"``: this will hurt.
        mend: what to do about it.
    """

    group: str
    name: str
    found: str
    state: State = "ok"
    mend: str = ""


def run(cfg: DictConfig, folder: RunFolder | None = None) -> None:
    """Print all findings, one table a group, and close with the traps."""
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console
    from rich.table import Table

    sources = [Path(s.path) for s in HydraConfig.get().runtime.config_sources if s.provider == "main"]
    checks = report(sources[0] if sources else None)
    colors = {"ok": "green", "note": "yellow", "trap": "bold red"}
    console = Console()
    for group in dict.fromkeys(c.group for c in checks):
        table = Table("", "found", "what to do", title=group, title_justify="left", box=None, pad_edge=False)
        for c in (c for c in checks if c.group == group):
            table.add_row(c.name, f"[{colors[c.state]}]{_plain(c.found)}[/]", _plain(c.mend))
        console.print(table, "")
    traps = sum(c.state == "trap" for c in checks)
    console.print(f"{traps} trap{'s' * (traps != 1)} found." if traps else "No traps found.")


def report(conf: Path | None = None) -> list[Check]:
    """All findings about this machine and installation.

    Args:
        conf: the folder of the configuration, whose data sets are looked for; None leaves them out.
    """
    return [*versions(), *devices(), *threads(), *extras(), *(datasets(conf) if conf else ()), *traps()]


def versions() -> Iterator[Check]:
    """Python and every core dependency: in the range that we ask for, and does it import?"""
    group = "Versions"
    yield Check(group, "python", f"{platform.python_version()} ({platform.platform()})")
    for requirement in requirements()[""]:
        yield _installed(group, requirement)


def devices() -> Iterator[Check]:
    """What torch can compute on."""
    import torch

    group = "Devices"
    features = sorted(_cpu_flags() & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"})
    found = ", ".join([torch.backends.cpu.get_cpu_capability(), *features])
    fast = {"avx512_bf16", "amx_bf16"} & set(features)
    yield Check(group, "cpu", found, *_note(not fast and bool(features), "bfloat16 is emulated here: keep to float32"))
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        memory = device.total_memory / 2**30
        yield Check(group, f"cuda:{index}", f"{device.name}, {memory:.0f} GiB, sm_{device.major}{device.minor}")
    if torch.backends.mps.is_available():
        yield Check(group, "mps", "available", "note", "Not tested by us: trainer=cpu if something is off.")
    has_driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    if torch.version.cuda and not torch.cuda.is_available():
        mend = "Update the NVIDIA driver, or install the CPU build of torch (README, Installing)."
        yield Check(group, "cuda", f"torch is built for CUDA {torch.version.cuda}, but sees no device", "trap", mend)
    elif has_driver and not torch.version.cuda:
        mend = "Install the CUDA build of torch (README, Installing)."
        yield Check(group, "cuda", "an NVIDIA driver is here, but this torch is a CPU build", "trap", mend)
    elif not torch.cuda.is_available():
        yield Check(group, "cuda", "no device", "note")


def threads() -> Iterator[Check]:
    """Whether torch uses the cores that this process may use: no fewer, and no more."""
    import torch

    group, cores = "Threads", usable_cores()
    used, asked = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    found = f"{used} torch threads on {cores:g} usable cores (OMP_NUM_THREADS {asked or 'not set'})"
    if used > cores + 0.5:
        mend = f"Threads wait for each other: set OMP_NUM_THREADS={max(int(cores), 1)}."
        yield Check(group, "torch", found, "trap", mend)
    else:
        idle = used < cores / 2 and asked is not None
        yield Check(group, "torch", found, *_note(idle, "Cores stay idle: unset or raise OMP_NUM_THREADS."))


def extras() -> Iterator[Check]:
    """The optional parts: which are there, and how to get the others."""
    for extra, wanted in requirements().items():
        if not extra or extra in _NOT_FOR_USERS:
            continue
        missing = [r.name for r in wanted if version(r.name) is None]
        isolation = "--no-build-isolation " if extra == "scatter" else ""
        if missing:
            mend = f"pip install {isolation}'recon[{extra}]'"
            yield Check("Optional extras", extra, f"without {', '.join(missing)}", "note", mend)
        else:
            yield from (_installed("Optional extras", r, extra) for r in wanted)


def datasets(conf: Path) -> Iterator[Check]:
    """Which of the data sets that lie in folders are there."""
    for file in sorted((conf / "data").glob("*.yaml")):
        node = OmegaConf.load(file)
        path = node.get("path") if isinstance(node, DictConfig) else None
        if not path:
            continue
        there = Path(str(path)).expanduser()
        ways = ["name its folder (data.path=FOLDER)"]
        ways += (
            [f"download or make it (recon prepare data={file.stem})"]
            if (conf / "prepare" / file.name).is_file()
            else []
        )
        mend = f"If you want it, {', or '.join(ways)}."
        found = str(there) if there.exists() else f"{there} is not here"
        yield Check("Data", file.stem, found, *_note(not there.exists(), mend))


def traps() -> Iterator[Check]:
    """Combinations that are known to break, each with the way out."""
    for name in _TROUBLEMAKERS:
        for text in unmet(name):
            mend = f"pip install '{text.split(',')[0].split(' wants ')[1]}', or pip uninstall {name}"
            yield Check("Traps", name, text, "trap", mend)
    if version("open3d") and platform.system() == "Linux" and not list(Path("/usr/lib").glob("*/libusb-1.0.so*")):
        yield Check("Traps", "open3d", "libusb is not here, which its import wants", "trap", "apt install libusb-1.0-0")


def usable_cores() -> float:
    """Cores that this process may use: its affinity, and a container's quota where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = Path("/sys/fs/cgroup/cpu.max")
    quota = limit.read_text().split() if limit.is_file() else ["max"]
    return float(cores) if quota[0] == "max" else min(float(cores), int(quota[0]) / int(quota[1]))


def _installed(group: str, requirement: Requirement, name: str = "") -> Check:
    """Whether a requirement is there, in range, and importable; the last finds what was built for another numpy."""
    label = f"{name}: {requirement.name}" if name else requirement.name
    found, mend = version(requirement.name), f"pip install '{requirement}'"
    if found is None:
        return Check(group, label, "not installed", "trap", mend)
    if not requirement.specifier.contains(found, prereleases=True):
        return Check(group, label, f"{found}, not {requirement.specifier}", "trap", mend)
    fault = import_fault(requirement)
    if fault:
        mend = f"pip install --force-reinstall --no-deps '{requirement}'"
        return Check(group, label, f"{found}, but it does not import: {fault}", "trap", mend)
    return Check(group, label, found)


def _cpu_flags() -> set[str]:
    """The processor's features by Linux's names; empty elsewhere."""
    page = Path("/proc/cpuinfo")
    lines = page.read_text().splitlines() if page.is_file() else []
    return set(next((line.split(":")[1] for line in lines if line.startswith("flags")), "").split())


def _note(is_one: bool, mend: str) -> tuple[State, str]:
    return ("note", mend) if is_one else ("ok", "")


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
