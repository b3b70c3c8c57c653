"""What the documentation says is so: its links lead somewhere, its tables are complete, its examples run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from recon.arguments import VERBS
from recon.data.base import ReconDataModule
from recon.io.types import Cloud
from recon.methods.base import Method
from recon.observations import Points, Scene, Truth

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def example(page: str, base: type) -> type:
    """The class of a given base in the first Python block of a page that has one, executed as it stands there."""
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.S):
        names: dict[str, object] = {}
        exec(compile(block, page, "exec"), names)
        found = [v for v in names.values() if isinstance(v, type) and issubclass(v, base) and v is not base]
        if found:
            return found[-1]
    raise AssertionError(f"{page} has no example of a {base.__name__}")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("http") and not (page.parent / link).exists()] == []


def test_readme_says_what_every_dependency_and_extra_is_for() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(
        re.findall(r"[\w-]+", " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|")))
    )
    wanted = {re.match(r"[\w-]+", d)[0] for d in project["dependencies"]} | set(project["optional-dependencies"])  # type: ignore[index]
    assert wanted - named == set()


def test_readme_names_every_verb_and_method() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    methods = [p.stem for p in (ROOT / "conf" / "method").glob("*.yaml")]
    assert [word for word in [*VERBS, *methods] if f"`{word}`" not in text] == []


def test_constraints_pin_every_dependency_inside_its_range() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    for requirement in map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["dev"]]):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement


def test_the_options_that_pages_name_exist() -> None:
    files = sorted((ROOT / "conf" / "method").glob("*.yaml"))
    options = set().union(*(yaml.safe_load(file.read_text(encoding="utf-8")) for file in files))
    for page in PAGES:
        named = set(re.findall(r"\bmethod\.(\w+)=", page.read_text(encoding="utf-8"))) - {"sise"}
        assert named - options == set(), page.name


def test_the_example_of_a_method_reconstructs_a_ball() -> None:
    method = example("new_method.md", Method)()
    normals = np.random.default_rng(0).normal(size=(3000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    observation = Points.from_cloud(Cloud(100.0 + 5.0 * normals, normals), "ball")
    mesh = method.reconstruct(observation).mesh(resolution=40).mesh
    distance = np.linalg.norm(mesh.vertices - 100.0, axis=1)
    assert len(mesh.faces) > 1000
    np.testing.assert_allclose(distance, 5.0, atol=0.1)


def test_the_example_of_a_dataset_reads_a_folder(tmp_path: Path) -> None:
    from recon.io.clouds import write_cloud

    points = np.random.default_rng(0).normal(size=(100, 3))
    for name in ("urn", "bowl"):
        (tmp_path / name).mkdir()
        write_cloud(tmp_path / name / "scan.ply", Cloud(points))
    write_cloud(tmp_path / "urn" / "truth.ply", Cloud(points))
    data = example("custom_data.md", ReconDataModule)(str(tmp_path))
    assert data.names() == ["bowl", "urn"]
    urn, bowl = data.load("urn"), data.load("bowl")
    assert isinstance(urn, Scene)
    assert isinstance(urn.target, Truth)
    assert bowl.target is None
    np.testing.assert_array_equal(urn.observation.points.numpy(), points)
