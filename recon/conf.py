"""Where the yaml files are."""

from __future__ import annotations

from pathlib import Path


def conf_folder() -> Path:
    """A checkout's `conf/` if there is one, else the one in the installed package."""
    package = Path(__file__).parent
    checkout = package.parent / "conf"
    return checkout if (checkout / "config.yaml").is_file() else package / "conf"


def choices(group: str) -> list[str]:
    """Names that a group offers, sorted; files that start with ``_`` are for others to inherit."""
    return sorted(path.stem for path in (conf_folder() / group).glob("[!_]*.yaml"))
