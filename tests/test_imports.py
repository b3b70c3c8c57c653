"""Which way imports run (docs/architecture.md): each layer knows only those to its right."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (
    {"cli"},
    {"tasks"},
    {"methods", "data", "metrics", "report"},
    {"nets", "losses", "rendering", "priors", "observations"},
    {"geometry"},
    {"io"},
    {"errors"},
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
SIDES = {"methods": {"methods", "metrics"}, "data": {"data"}, "metrics": {"metrics"}, "report": {"report", "metrics"}}
BELOW_LIGHTNING = ("geometry", "nets", "losses", "rendering", "metrics.functional", "io", "errors", "observations")
HEAVY = {"torch", "pytorch_lightning", "torchmetrics", "scipy", "skimage", "trimesh", "wandb", "matplotlib"}
FILES = sorted((ROOT / "recon").rglob("*.py"))


def imported(path: Path) -> list[str]:
    """Absolute names of all that a file imports, inside functions too."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / "recon").with_suffix("").parts)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_run_one_way(path: Path) -> None:
    module, names = module_of(path), imported(path)
    layer = module.split(".")[0]
    ours = {n.split(".")[1] for n in names if n.startswith("recon.")} & set(RANK)
    if layer in RANK:
        beside = SIDES.get(layer, LAYERS[RANK[layer]])
        wrong = {n for n in ours if RANK[n] < RANK[layer] or (RANK[n] == RANK[layer] and n not in beside)}
        assert not wrong, f"recon.{module} may not import {wrong}"
    if module.startswith(BELOW_LIGHTNING):
        outside = {n.split(".")[0] for n in names}
        assert not outside & {"pytorch_lightning", "lightning", "hydra", "omegaconf"}, f"recon.{module}: {outside}"


def test_a_method_knows_no_other_method() -> None:
    methods = {p.stem for p in (ROOT / "conf" / "method").glob("*.yaml")}
    for path in (ROOT / "recon" / "methods").glob("*.py"):
        others = {n.split(".")[2] for n in imported(path) if n.startswith("recon.methods.")}
        assert not (others - {path.stem}) & methods, f"{path.name} imports {others}"


def test_the_command_line_answers_before_torch_is_loaded() -> None:
    code = "import sys, recon.cli; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
