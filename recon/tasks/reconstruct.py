"""`reconstruct`: one input, one mesh, in the input's own coordinates; several inputs, several meshes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from recon.errors import ConfigError
from recon.geometry.voxel_surface import VOXEL_FILES, write_voxels
from recon.io.meshes import WRITERS, write_mesh
from recon.observations import Voxels
from recon.tasks import build
from recon.tasks.finish import finish
from recon.tasks.folder import RunFolder
from recon.tasks.scenes import process
from recon.tasks.start import begin


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Reconstruct every scene the data selects, and put the mesh where `output` says."""
    if cfg.data is None:
        raise ConfigError("reconstruct: no input is named.", "Add input=FILE (or data=NAME, or run=FOLDER).")
    data = begin(cfg, folder)
    names = data.selected("test")
    places = _places(cfg.output, names, voxels=build.build_method(cfg).learns is Voxels)
    results = process(cfg, folder, data, names)
    places = [place for name, place in zip(names, places, strict=False) if name not in data.skipped]
    for place, result in zip(places, results, strict=False):
        if place.suffix.lower() in VOXEL_FILES and result.voxels is not None:
            write_voxels(place, result.voxels)
        else:
            write_mesh(place, result.extraction.mesh)
    finish(cfg, folder, results, places, data.skipped)


def _places(output: str | None, names: Sequence[str], voxels: bool) -> list[Path]:
    """Where the meshes shall go besides the run folder; what is wrong with that is found before the work."""
    if output is None:
        return []
    path = Path(output).expanduser()
    is_folder = path.is_dir() or output.endswith("/") or (len(names) > 1 and not path.suffix)
    if len(names) > 1 and not is_folder:
        raise ConfigError(
            f"output={output}: there are {len(names)} inputs, but this names one file.", "Name a folder: output=meshes/"
        )
    known = {*WRITERS, *VOXEL_FILES} if voxels else set(WRITERS)
    if not is_folder and path.suffix.lower() not in known:
        raise ConfigError(
            f"output={output}: '{path.suffix}' is no {'format' if voxels else 'mesh format'} that can be written.",
            f"Known: {', '.join(sorted(known))}. A folder ends in '/'.",
        )
    _check_writable(output, path if is_folder else path.parent)
    return [path / f"{name}.ply" for name in names] if is_folder else [path]


def _check_writable(output: str, folder: Path) -> None:
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ConfigError(f"output={output}: nothing can be written in '{there}'.", "Name a folder of your own.")
