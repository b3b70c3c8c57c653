"""What the documentation says is so: its links lead somewhere, its tables are complete, its examples run."""

from __future__ import annotations

import re
import runpy
import shlex
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from recon.arguments import VERBS, parse, with_defaults
from recon.conf import choices, conf_folder
from recon.data.base import ReconDataModule
from recon.errors import ReconError
from recon.io.types import Cloud
from recon.methods.base import Method
from recon.observations import Points, Scene, Truth

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def blocks(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.S)


def commands() -> Iterator[str]:
    """The command lines of all pages that can be composed as they stand, each once: no run folders, no new methods."""
    found: dict[str, None] = {}
    for page in PAGES:
        if page.name == "new_method.md":
            continue
        text = page.read_text(encoding="utf-8")
        lines = [line for block in re.findall(r"```\w*\n(.*?)```", text, re.S) for line in block.splitlines()]
        spans = [
            " ".join(span.split()) for span in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
        ]
        for line in [*lines, *spans]:
            words = line.split(" #")[0].strip()
            if re.match(r"(python run\.py|recon) \w", words) and not re.search(r"\brun=|=NAME|\.\.\.", words):
                found[words] = None
    yield from found


def example(page: str, base: type) -> type:
    """The class of a given base in the first Python block of a page that has one, executed as it stands there."""
    for block in blocks(page):
        if not re.search(rf"^class \w+\({base.__name__}\)", block, re.M):
            continue
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


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_into_pages_meet_a_heading(page: Path) -> None:
    def anchors(other: Path) -> set[str]:
        headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.M)
        return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    assert [
        f"{file}#{place}" for file, place in links if place not in anchors(page.parent / file if file else page)
    ] == []


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


@pytest.mark.parametrize("group", ["method", "data", "prepare", "mesh"])
def test_the_options_that_pages_name_exist(group: str) -> None:
    files = sorted((ROOT / "conf" / group).glob("*.yaml"))
    options = set().union(*(yaml.safe_load(file.read_text(encoding="utf-8")) for file in files))
    for page in PAGES:
        named = set(re.findall(rf"\b{group}\.([a-z]\w*)=", page.read_text(encoding="utf-8"))) - {"sise"}
        assert named - options == set(), page.name


def test_the_commands_that_pages_name_compose() -> None:
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from recon.config import check, register

    register()
    lines, wrong = list(commands()), []
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        for text in lines:
            line = with_defaults(parse(shlex.split(text.removeprefix("python run.py").removeprefix("recon"))))
            try:
                config = compose("config", [word for word in line.words() if not word.startswith("-")])
                for part in ("method", "data", "prepare"):
                    if config[part] is not None:
                        check(config[part], part)
            except (HydraException, OmegaConfBaseException, ReconError) as error:
                wrong.append(f"{text}: {error}")
    assert wrong == []
    assert len(lines) > 30


def test_pages_name_every_dataset_and_every_kind_that_is_made() -> None:
    from hydra.utils import get_object

    readme, page = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/data.md"))
    assert [name for name in choices("data") if f"| `{name}` |" not in readme or f"[`{name}`](" not in page] == []
    for name in choices("prepare"):
        options = yaml.safe_load((conf_folder() / "prepare" / f"{name}.yaml").read_text(encoding="utf-8"))
        kinds = get_object(options["_target_"]).kinds
        assert [
            word for word in (name, *kinds) if f"`{word}`" not in page.split("## Making")[1].split("\n## ")[0]
        ] == []


def labels(file: Path) -> list[str]:
    """The words of a drawing."""
    return ["".join(text.itertext()) for text in ET.parse(file).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize(("name", "word"), [("conventions", "(0.5, 0.5)"), ("alto_alternation", "256 x 16²")])
def test_pictures_are_what_their_scripts_draw(name: str, word: str, tmp_path: Path) -> None:
    figures = ROOT / "docs" / "figures"
    runpy.run_path(str(figures / f"{name}.py"))["draw"](tmp_path / "drawn.svg")
    assert labels(tmp_path / "drawn.svg") == labels(figures / f"{name}.svg")
    assert word in labels(figures / f"{name}.svg")


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


def test_the_example_of_posed_photographs_reads_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.data import recordings

    recordings.colmap(tmp_path / "statue")
    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in blocks("custom_data.md") if "Own(" in block)
    exec(compile(block, "custom_data.md", "exec"), {})
    height, width = (side // 2 for side in recordings.SIZE)
    assert f"torch.Size([{recordings.VIEWS}, 3, {height}, {width}])" in capsys.readouterr().out
