"""`reconstruct`: one input, one mesh, in the input's own coordinates; several inputs, several meshes."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from recon.errors import ConfigError
from recon.io.meshes import WRITERS, write_mesh
from recon.tasks.finish import finish
from recon.tasks.folder import RunFolder
from recon.tasks.scenes import Result, process
from recon.tasks.start import begin


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Reconstruct every scene the data selects, and put the mesh where `output` says."""
    data = begin(cfg, folder)
    names = data.selected("test")
    output = _checked_output(cfg.output, len(names))
    results = process(cfg, folder, data, names)
    for result in results:
        if output is not None:
            write_mesh(_place(output, result, len(results)), result.extraction.mesh)
    finish(cfg, folder, results, output)


def _checked_output(output: str | None, count: int) -> Path | None:
    """Find a bad `output` before the work, not after it."""
    if output is None:
        return None
    path = Path(output).expanduser()
    if count > 1 and path.suffix:
        raise ConfigError(
            f"output={output}: there are {count} inputs, but this names one file.", "Name a folder: output=meshes/"
        )
    if (count == 1 and path.suffix.lower() not in WRITERS) and not path.is_dir():
        raise ConfigError(
            f"output={output}: '{path.suffix}' is no mesh format that can be written.",
            f"Known: {', '.join(sorted(WRITERS))}.",
        )
    return path


def _place(output: Path, result: Result, count: int) -> Path:
    return output if count == 1 and not output.is_dir() else output / result.file.name
