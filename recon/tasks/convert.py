"""`convert`: weights of the authors, or a checkpoint of a training, to a file of weights and options, ours alone."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from recon.errors import ConfigError
from recon.io.checkpoints import save_weights
from recon.tasks import build
from recon.tasks.folder import RunFolder
from recon.tasks.start import console


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Write ``weights`` anew as ``output``: the network and its options, without optimiser and dead parameters."""
    if cfg.output is None or Path(cfg.output).suffix != ".ckpt":
        raise ConfigError("convert: output= names no checkpoint.", "Give output=NAME.ckpt.")
    if cfg.method is None:
        raise ConfigError("convert: no method is named.", "Add method=NAME, as for reconstruct.")
    method = build.build_from_weights(cfg, folder.asked("method"))
    file = Path(cfg.output).expanduser()
    save_weights(file, method.state_dict(), dict(method.hparams))
    console().print(f"weights  {file}: use it as weights={file}")
