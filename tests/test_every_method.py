"""Every file in conf/method, conf/data and conf/experiment is run whole, by being there."""

import csv
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf

from recon.cli import main
from recon.conf import choices, conf_folder
from recon.data.base import DEFAULTS
from recon.data.shapes import Shapes
from recon.data.solids import solid_mesh
from recon.io.meshes import read_mesh, write_mesh
from tests.data import scannet_trees as trees

pytestmark = pytest.mark.usefixtures("quick_scores")
COMMON = ["trainer=cpu", "report=false", "logger=none", "callbacks=none"]
SHAPE = ["data=shapes", "data.scene=torus", "data.samples=1500", "data.resolution=48"]
MANY = ["data=shapes", "data.train_scenes=2", "data.val_scenes=1", "data.test_scenes=1", *SHAPE[2:]]
SHAPES_OPTIONS = inspect.signature(Shapes).parameters.keys() | DEFAULTS.keys()
NEEDS_MORE = {"screened_poisson": "open3d"}


def target_of(name: str) -> type:
    """The class behind a method file, through the files it inherits from."""
    node = OmegaConf.load(conf_folder() / "method" / f"{name}.yaml")
    if "_target_" in node:
        return get_object(node["_target_"])
    return target_of(next(d for d in node["defaults"] if isinstance(d, str) and d != "_self_"))


@pytest.mark.parametrize("name", choices("method"))
def test_method_from_data_to_mesh(name, tmp_path):
    if name in NEEDS_MORE:
        pytest.importorskip(NEEDS_MORE[name])
    method = target_of(name)
    base = [f"method={name}", f"tiny={name}", *COMMON, f"hydra.run.dir={tmp_path}/run"]
    if method.fit_free:
        assert main(["reconstruct", *base, *SHAPE, f"output={tmp_path}/mesh.glb", "report=false"]) == 0
    else:
        scenes = SHAPE if method.per_scene else MANY
        assert main(["train", *base, *scenes, "trainer.max_steps=2", "checkpoint.every=1"]) == 0
        assert main(["train", f"run={tmp_path}/run", "trainer.max_steps=3", "report=false"]) == 0
        (last,) = (tmp_path / "run").rglob("last.ckpt")
        assert torch.load(last, weights_only=True)["global_step"] == 3
        assert main(["reconstruct", f"run={tmp_path}/run", f"output={tmp_path}/mesh.glb", "report=false"]) == 0
    assert main(["test", f"run={tmp_path}/run", "report=false"]) == 0
    (row,) = rows_of(tmp_path / "run" / "metrics.csv")
    assert float(row["chamfer_l1"]) > 0
    # Three steps of a network need not make a surface; then the row must say so.
    assert (
        float(row["faces"]) == len(read_mesh(tmp_path / "mesh.glb").faces)
        if row["status"] == "ok"
        else float(row["faces"]) == 0
    )


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_method_has_a_tiny_override():
    assert set(choices("method")) == set(choices("tiny"))


def made(folder: Path, name: str, *words: str) -> list[str]:
    """Words for a dataset whose files the factory has just made, small."""
    path = folder / name
    assert main(["prepare", f"data={name}", f"data.path={path}", "prepare.workers=0", *words]) == 0
    return [f"data={name}", f"data.path={path}"]


def chairs(folder: Path, count: int) -> str:
    """Meshes that are no dataset yet."""
    for number in range(count):
        write_mesh(folder / "chair" / f"{number}.ply", solid_mesh("chair_001", 64))
    return f"source={folder}/chair/*.ply"


def words_of(name: str, tmp_path: Path, data_dir: Path) -> list[str]:
    few = ["prepare.points=2000", "prepare.queries=2000"]
    if name == "shapes":
        return ["data=shapes", "data.scene=sphere", "data.samples=1500"]
    if name == "own":
        return [f"input={data_dir}/cgal/kitten.xyz"]
    if name == "stanford":
        return ["data=stanford", f"data.path={data_dir}/stanford", "data.scene=bunny"]
    if name == "shapenet":
        return [*made(tmp_path, name, chairs(tmp_path, 3), "kind=points", *few), "data.points=2000"]
    if name == "rooms":
        small = ["prepare.rooms=3", "prepare.files=1", "prepare.numbers=[4]", "prepare.queries=2000"]
        return [*made(tmp_path, name, "source=shapes", *small, "prepare.surface_points=2000"), "data.points=2000"]
    if name == "scannet":
        trees.write_scan(tmp_path / "scans" / "scene0000_00")
        return ["data=scannet", f"data.path={tmp_path}/scans"]
    if name == "dtu":
        scan = made(tmp_path, name, chairs(tmp_path, 1), "kind=idr", "prepare.views=4", "prepare.size=[48,48]")
        (tmp_path / "clouds").mkdir()
        mesh = solid_mesh("chair_001", 64)
        write_mesh(tmp_path / "clouds" / "0.ply", replace(mesh, faces=mesh.faces[:0]))
        return [*scan, f"data.clouds={tmp_path}/clouds"]
    raise AssertionError(f"conf/data/{name}.yaml is new: say here how to come by a little of it.")


@pytest.mark.parametrize("name", choices("data"))
def test_dataset_from_file_to_mesh(name, tmp_path, data_dir):
    words = words_of(name, tmp_path, data_dir)
    run = ["method=poisson", "method.resolution=64", "resolution=48", *COMMON, f"hydra.run.dir={tmp_path}/run"]
    assert main(["reconstruct", *words, *run]) == 0
    meshes = list((tmp_path / "run" / "meshes").glob("*.ply"))
    assert meshes
    assert all(len(read_mesh(mesh).faces) > 1000 for mesh in meshes)


@pytest.mark.parametrize("name", [n for n in choices("experiment") if not n.startswith("claim_")])
def test_experiment_composes_and_starts(name, tmp_path):
    words = [f"experiment={name}", "debug=fast", *COMMON, "data=shapes", "data.scene=torus", "data.samples=1500"]
    file = (conf_folder() / "experiment" / f"{name}.yaml").read_text()
    strange = [key for key in OmegaConf.create(file).get("data", {}) if key not in SHAPES_OPTIONS]
    words += [word for key in strange for word in (f"++data.{key}=0", f"~data.{key}")]  # Hydra cannot delete a null
    method = next(line.split(":")[1].strip() for line in file.splitlines() if "override /method" in line)
    words += [f"tiny={method}", f"hydra.run.dir={tmp_path}", "trainer.max_steps=2"]
    verb = "reconstruct" if target_of(method).fit_free else "train"
    assert main([verb, *words]) == 0
    assert Path(tmp_path, "config.yaml").is_file()
