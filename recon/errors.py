"""What a user did wrong, in two lines: what is wrong and where, then how to mend it.

Everything a user can cause is a `ReconError`; the command line prints it without a traceback and exits with
status 2. Any other exception is a fault of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class ReconError(Exception):
    """A mistake the user can mend.

    Args:
        what: one line: what is wrong, naming the culprit (option, file, field).
        mend: one line: how to put it right.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what, mend)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what}\n{self.mend}" if self.mend else self.what


class ConfigError(ReconError):
    """An option, a value or a combination of options that cannot be run."""


class DataError(ReconError):
    """A file or a folder that is missing, damaged or not what its name says."""


class CheckpointError(ReconError):
    """A checkpoint or a file of weights that cannot be used."""


class TrainingError(ReconError):
    """A training that came to nothing and would go on for nothing."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """One line for an error about `word`: the nearest known word, and all of them when they are few."""
    words = sorted(set(known))
    near = get_close_matches(word, words, n=1, cutoff=0.5)
    guess = f"did you mean '{near[0]}'? " if near else ""
    listed = f"Known: {', '.join(words)}." if words and len(words) <= 40 else ""
    return (guess + listed).strip().capitalize() if not guess else f"D{guess[1:]}{listed}".strip()


def need(module: str, extra: str) -> ModuleType:
    """Import an optional library, or say which pip command brings it.

    Args:
        module: the module's import name, e.g. ``"viser"``.
        extra: the extra of this package that installs it, e.g. ``"view"``.

    Raises:
        ConfigError: if the module is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0]:
            raise
        raise ConfigError(
            f"This needs the optional library '{module}', which is not installed.",
            f"Install it with: pip install 'recon[{extra}]'",
        ) from error
