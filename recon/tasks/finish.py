"""What every verb ends with: the table of metrics, the report, and where everything lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recon.io.files import write_csv
from recon.tasks.folder import RunFolder
from recon.tasks.scenes import Result
from recon.tasks.start import console
