"""What ``--help`` prints, read off `conf/`, so that a new method or dataset is listed by being there."""

from __future__ import annotations

from pathlib import Path

from recon.arguments import VERBS

_GROUPS = ("method", "data", "prepare", "experiment", "trainer", "logger", "tiny", "debug", "sweep", "launcher")

_EXAMPLES = """\
Examples
  recon reconstruct input=scan.ply output=mesh.glb       a mesh in the scan's own coordinates
  recon train method=igr data=stanford data.scene=bunny  fit a network to one scan
  recon train run=outputs/igr-stanford/TIME              go on where it stopped
  recon test run=... | reconstruct run=... resolution=512
  recon prepare data=shapenet source='meshes/**/*.obj'   your own meshes to training data
  recon compare methods=[poisson,spline,igr] data=shapes
  recon -m method=igr,siren data=shapes method.lr=1e-4,1e-3
  recon --help method=igr                                every option of a method, a dataset, ..."""


def help_text(words: list[str], conf: Path) -> str:
    """The page for ``--help``, or the commented yaml of each ``group=name`` that is asked about.

    Of ``prepare data=NAME`` it is that of what makes the data, where something does.
    """
    asked = [w.split("=", 1) for w in words if "=" in w]
    if "prepare" in words:
        made = [group == "data" and (conf / "prepare" / f"{name}.yaml").is_file() for group, name in asked]
        asked = [["prepare", pair[1]] if yes else pair for pair, yes in zip(asked, made, strict=True)]
    files = [conf / group / f"{name}.yaml" for group, name in asked if (conf / group / f"{name}.yaml").is_file()]
    if files:
        return "\n\n".join(_options(f) for f in files)
    return "\n\n".join([_head(), _verbs(), _groups(conf), _settings(conf), _EXAMPLES])


def _head() -> str:
    return "recon: observations (points, photographs, RGB-D) in, a triangle mesh out.\n\nrecon VERB key=value ..."


def _verbs() -> str:
    return "Verbs\n" + "\n".join(f"  {verb:<12} {what}" for verb, what in VERBS.items())


def _groups(conf: Path) -> str:
    rows = [(g, sorted(p.stem for p in (conf / g).glob("[!_]*.yaml"))) for g in _GROUPS]
    return "Groups: GROUP=NAME\n" + "\n".join(f"  {g:<12} {' '.join(names)}" for g, names in rows if names)


def _settings(conf: Path) -> str:
    text = (conf / "config.yaml").read_text(encoding="utf-8")
    body = text.split("\nhydra:")[0].split("\nrun:", 1)[1]
    return "Settings: KEY=VALUE\n" + "\n".join(f"  {line}" if line else "" for line in ("run:" + body).splitlines())


def _options(file: Path) -> str:
    name = f"{file.parent.name}={file.stem}"
    text = file.read_text(encoding="utf-8").rstrip()
    shared = file.with_name("_shared.yaml")
    if "_shared" in text and shared.is_file():
        own = {line.partition(":")[0] for line in text.splitlines()}
        rest = shared.read_text(encoding="utf-8").rstrip().splitlines()
        text = "\n".join([text, *(line for line in rest if line.partition(":")[0] not in own)])
    return f"{name}\n{'-' * len(name)}\n{text}"
