"""What is installed, and what should be: facts for `doctor`, which judges them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

IMPORT_NAMES = {
    "hydra-core": "hydra",
    "scikit-image": "skimage",
    "pillow": "PIL",
    "libigl": "igl",
    "hydra-optuna-sweeper": "hydra_plugins.hydra_optuna_sweeper",
    "hydra-joblib-launcher": "hydra_plugins.hydra_joblib_launcher",
    "hydra-submitit-launcher": "hydra_plugins.hydra_submitit_launcher",
}


def requirements() -> dict[str, list[Requirement]]:
    """What we ask for, by extra (``""``: the core): from the installed package, else from the checkout's page."""
    page = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if page.is_file():
        project = tomllib.loads(page.read_text(encoding="utf-8"))["project"]
        groups = {"": project["dependencies"], **project["optional-dependencies"]}
        return {extra: [Requirement(text) for text in texts] for extra, texts in groups.items()}
    asked = [Requirement(text) for text in metadata.requires("recon") or ()]
    names = ["", *(metadata.metadata("recon").get_all("Provides-Extra") or ())]
    return {extra: [r for r in asked if _belongs(r, extra)] for extra in names}


def unmet(distribution: str) -> Iterator[str]:
    """Requirements of an installed distribution that the installation does not meet; nothing if it is absent."""
    if version(distribution) is None:
        return
    for requirement in map(Requirement, metadata.requires(distribution) or ()):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = version(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            yield f"{version(distribution)} wants {requirement.name}{requirement.specifier}, here is {found or 'none'}"


def import_fault(requirement: Requirement) -> str:
    """The first line of what goes wrong when a distribution is imported; empty if nothing does."""
    try:
        import_module(IMPORT_NAMES.get(requirement.name, requirement.name.replace("-", "_")))
    except Exception as error:  # whatever it is, it is the finding
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return ""


def version(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(canonicalize_name(distribution))
    except metadata.PackageNotFoundError:
        return None


def _belongs(requirement: Requirement, extra: str) -> bool:
    if requirement.marker is None:
        return extra == ""
    alone = requirement.marker.evaluate({"extra": ""})
    return alone if extra == "" else requirement.marker.evaluate({"extra": extra}) and not alone
