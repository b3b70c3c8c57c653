"""The words of a command line, made fit for Hydra: the verb, people's paths, and a run folder's own settings.

Hydra's grammar gives meaning to braces, parentheses, quotes, ``~``, ``=``, ``#`` and commas, and knows no letters
beyond ASCII; people's paths have all of them. Values that are paths are therefore quoted before Hydra parses.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from recon.conf import choices, conf_folder
from recon.errors import CheckpointError, ConfigError, did_you_mean

VERBS = {
    "train": "fit a method to data, or go on with a run (run=FOLDER)",
    "test": "mesh and score every test scene of a run",
    "reconstruct": "one input, one mesh, in the input's own coordinates",
    "evaluate": "score any mesh or cloud against another (pred=, truth=)",
    "compare": "several methods on the same scenes, one table",
    "claim": "test a paper's claim, as experiment=claim_NAME says",
    "convert": "the authors' weights to a checkpoint of ours (weights=, output=)",
    "prepare": "make or download training data",
    "view": "look at a run in the browser",
    "doctor": "versions, devices, data found, known traps",
}
PATH_KEYS = {"input", "output", "source", "pred", "truth", "run", "weights"}
PATH_KEYS |= {"data.path", "data.input", "data.truth", "data.masks", "prepare.path"}
OVERRIDES_FILE = "overrides.json"
_NOT_A_RUNS_OWN = ("hydra", "task", "run", "output", "pred", "methods", "report")


@dataclass
class CommandLine:
    """A verb, Hydra's flags, and overrides that Hydra can parse.

    Attributes:
        verb: one of `VERBS`.
        flags: words that start with a dash, with their values, e.g. ``["-m"]``.
        overrides: ``key=value`` words, paths quoted.
    """

    verb: str
    flags: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)

    def value(self, key: str) -> str | None:
        """The last value given for a key, unquoted, or None."""
        found = [o.split("=", 1)[1] for o in self.overrides if key_of(o) == key and "=" in o]
        return unquoted(found[-1]) if found else None

    def words(self) -> list[str]:
        """What Hydra sees."""
        return [*self.flags, f"task={self.verb}", *self.overrides]


def parse(argv: list[str]) -> CommandLine:
    """Split a command line into verb, flags and overrides, quoting the paths.

    Raises:
        ConfigError: for a word that is neither a verb nor ``key=value``.
    """
    flags, words = _split_flags(argv)
    bare = [w for w in words if "=" not in w and not w.startswith("~")]
    for word in bare[1:] if bare and bare[0] in VERBS else bare:
        raise ConfigError(f"'{word}' is neither a verb nor key=value.", did_you_mean(word, VERBS))
    verb = bare[0] if bare else "train"
    overrides = [quoted_override(w) for w in words if w not in bare]
    return CommandLine(verb, flags, [o for o in overrides if key_of(o) != "task"])


def _split_flags(argv: list[str]) -> tuple[list[str], list[str]]:
    takes_value = {"-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name"}
    takes_value |= {"-cd", "--config-dir", "--experimental-rerun", "-i", "--info"}
    flags, words, rest = [], [], list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        flags.append(word)
        if word in takes_value and rest and "=" not in rest[0]:
            flags.append(rest.pop(0))
    return flags, words


def key_of(override: str) -> str:
    """``"+data.path"`` and ``"data.path=x"`` are about ``data.path``; ``"method@x=y"`` about ``method``."""
    return override.split("=", 1)[0].lstrip("+~").split("@")[0]


def quoted_override(word: str) -> str:
    """The same ``key=value``, its value quoted if it is a path or would not parse."""
    key, mark, value = word.partition("=")
    if not mark:
        return word
    if key.lstrip("+") in PATH_KEYS:
        return f"{key}={quoted(expanded(value))}" if value not in ("", "null") else word
    return word if _parses(word) else f"{key}={quoted(value, interpolated=key.startswith('hydra.'))}"


def _parses(word: str) -> bool:
    """Whether Hydra's grammar takes a word as it is, and sees one value in a folder of its own."""
    if re.fullmatch(r"[\w.+~@/-]*=[\w.+,:/-]*", word, re.ASCII):
        return True
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


def expanded(path: str) -> str:
    """``~`` at the start becomes the home folder; a path that is already quoted loses its quotes."""
    if _is_quoted(path) and not Path(path).exists():
        path = unquoted(path)
    return os.path.expanduser(path)


def quoted(text: str, interpolated: bool = False) -> str:
    """A Hydra string that means just this text: quotes escaped, and no interpolation unless it is wanted."""
    text = text if interpolated else text.replace("${", "\\${")
    text = re.sub(r"(\\*)'", lambda m: m.group(1) * 2 + "\\'", text)
    tail = len(text) - len(text.rstrip("\\"))
    return f"'{text}{chr(92) * tail}'"


def unquoted(text: str) -> str:
    """The inverse of `quoted`."""
    if not _is_quoted(text):
        return text
    body = text[1:-1]
    body = re.sub(r"(\\*)\\'", lambda m: m.group(1)[: len(m.group(1)) // 2] + "'", body)
    tail = len(body) - len(body.rstrip("\\"))
    body = body[: len(body) - tail // 2] if tail else body
    return body.replace("\\${", "${")


def _is_quoted(text: str) -> bool:
    return len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""


def with_recorded(line: CommandLine) -> CommandLine:
    """Put the overrides that a run folder recorded before the user's own, where ``run=FOLDER`` is given.

    What belonged to the recorded verb alone is left out, and so are the recorded settings of a method or a dataset
    that the user now replaces by another.

    Raises:
        CheckpointError: if the folder is no run folder.
    """
    folder = line.value("run")
    if folder is None:
        return line
    recorded = read_recorded(Path(folder))
    asked = {key_of(o) for o in line.overrides}
    replaced: set[str] = {group for group in ("method", "data") if group in asked}
    if "data" in replaced or "input" in asked:
        replaced |= {"data", "input", "truth"}
    kept = [o for o in recorded if key_of(o) not in asked and not _dropped(key_of(o), replaced)]
    if "data" in replaced:
        kept += _without_strange(kept, line.value("data") or "own")
    pinned = [f"hydra.run.dir={quoted(str(Path(folder)))}"] if "hydra.run.dir" not in asked else []
    return CommandLine(line.verb, line.flags, [*kept, *line.overrides, *pinned])


def _without_strange(recorded: list[str], data: str) -> list[str]:
    """Overrides that take out what a run's experiment sets of its dataset and the one that replaces it has not."""
    from omegaconf import OmegaConf

    files = [conf_folder() / "data" / f"{name}.yaml" for name in (data, "_shared")]
    known = {str(key) for file in files if file.is_file() for key in OmegaConf.load(file)}
    words = []
    for override in recorded:
        group, _, name = override.partition("=")
        file = conf_folder() / group / f"{name}.yaml"
        if group in ("experiment", "tiny", "debug") and file.is_file():
            strange = [key for key in OmegaConf.select(OmegaConf.load(file), "data") or () if key not in known]
            # Hydra cannot delete what is null.
            words += [word for key in strange for word in (f"++data.{key}=0", f"~data.{key}")]
    return words


def rooted(override: str) -> str:
    """The same override with a relative path made absolute, so that it means the same from another folder."""
    key, _, value = override.partition("=")
    text = unquoted(value)
    if key not in PATH_KEYS or text in ("", "null"):
        return override
    mark = "@" if text.startswith("@") and not Path(text).exists() else ""
    return f"{key}={quoted(mark + os.path.abspath(text.removeprefix(mark)))}"


def _dropped(key: str, replaced: set[str]) -> bool:
    group = key.split(".", 1)[0]
    return group in _NOT_A_RUNS_OWN or group in replaced


def read_recorded(folder: Path) -> list[str]:
    """The overrides a run was started with.

    Raises:
        CheckpointError: if the folder is no run folder.
    """
    if not folder.is_dir():
        raise CheckpointError(f"run={folder}: this folder is not there.", "Runs lie in outputs/<method>-<data>/<time>.")
    path = folder / OVERRIDES_FILE
    if not path.is_file():
        raise CheckpointError(
            f"run={folder}: this is no run folder, it has no {OVERRIDES_FILE}.",
            "Name the folder of one run: outputs/<method>-<data>/<time>.",
        )
    return [str(o) for o in json.loads(path.read_text(encoding="utf-8"))]


def with_defaults(line: CommandLine) -> CommandLine:
    """What a verb implies: ``input=`` means one's own data, and `reconstruct` without a method means `spline`.

    An experiment that is a claim has a verb of its own, which nobody need name.

    Data that can be made are made by the factory of their own name: `prepare data=NAME` means ``prepare=NAME`` too.
    """
    asked = {key_of(o) for o in line.overrides}
    data = line.value("data")
    if line.verb == "prepare" and "prepare" not in asked and data in choices("prepare"):
        line.overrides.insert(0, f"prepare={data}")
    experiment = line.value("experiment")
    if experiment is not None:
        if line.verb == "train" and experiment.startswith("claim_"):
            line.verb = "claim"
        return line
    if "input" in asked and "data" not in asked and line.verb in ("reconstruct", "train", "compare"):
        line.overrides.insert(0, "data=own")
    if line.verb == "reconstruct" and not asked & {"method", "run", "weights"}:
        line.overrides.insert(0, "method=spline")
    return line
