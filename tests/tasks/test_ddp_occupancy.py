"""ALTO in two processes on what the factory makes: trained, resumed, tested, meshed; and four where no GPU is."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from recon.cli import main
from recon.data.solids import solid_mesh
from recon.io.meshes import write_mesh

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PLAIN = ["report=false", "logger=none", "callbacks=none"]
SMALL = ["tiny=alto", "data.points=300", "data.val_queries=500", "data.batch_size=2"]


def run(*words: str) -> str:
    done = subprocess.run([sys.executable, ROOT / "run.py", *words], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def weights(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def objects(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("meshes")
    for number in range(10):
        write_mesh(folder / "chair" / f"{number}.ply", solid_mesh(f"chair_{number:03d}", 48))
    made = folder / "shapenet"
    few = ["prepare.points=2000", "prepare.queries=2000", "prepare.workers=0", "kind=points"]
    assert main(["prepare", "data=shapenet", f"data.path={made}", f"source={folder}/chair/*.ply", *few]) == 0
    return str(made)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory) -> str:
    made = tmp_path_factory.mktemp("rooms") / "rooms"
    few = ["prepare.rooms=10", "prepare.numbers=[4]", "prepare.files=2", "prepare.surface_points=2000"]
    few += ["prepare.queries=2000", "prepare.workers=0", "source=shapes", "prepare.shares=[0.6,0.2,0.2]"]
    assert main(["prepare", "data=rooms", f"data.path={made}", *few]) == 0
    return str(made)


@pytest.mark.parametrize("name", ["shapenet", "rooms"])
def test_two_processes_train_as_one_resume_test_and_mesh(name, request, tmp_path):
    path = request.getfixturevalue({"shapenet": "objects", "rooms": "rooms"}[name])
    fit = ["train", "method=alto", f"data={name}", f"data.path={path}", *SMALL, *PLAIN, "trainer=cpu"]
    fit += ["trainer.max_steps=4", "checkpoint.every=2", "trainer.val_check_interval=2"]
    one, two = tmp_path / "one", tmp_path / "two"
    run(*fit, f"hydra.run.dir={one}")
    run(*fit, f"hydra.run.dir={two}", "trainer.devices=2")
    for key, value in weights(one)["state_dict"].items():
        # Sums are taken in another order, and Adam's first steps magnify what is left of that.
        torch.testing.assert_close(weights(two)["state_dict"][key], value, rtol=0, atol=2e-3)
    best = [
        next(s for s in weights(f)["callbacks"].values() if s.get("monitor"))["best_model_score"] for f in (one, two)
    ]
    assert float(best[0]) == pytest.approx(float(best[1]), abs=0.02)
    run("train", f"run={two}", "trainer.max_steps=6")
    assert weights(two)["global_step"] == 6
    run("test", f"run={two}", "trainer.devices=1", "protocol=onet", "report=false")
    assert (two / "metrics.csv").is_file()
    run("reconstruct", f"run={two}", "trainer.devices=1", f"output={tmp_path}/meshes/", "report=false")
    assert list((tmp_path / "meshes").glob("*.ply"))


def test_four_devices_are_gpus_or_processes(objects, tmp_path):
    """The command line of the documentation, word for word, but for the path and the steps."""
    words = ["method=alto", "data=shapenet", "trainer.devices=4", f"data.path={objects}", "trainer.max_steps=2"]
    small = ["data.batch_size=4", "method.resolution=8", "method.width=8"]
    said = run(*words, *small, "report=false", f"hydra.run.dir={tmp_path}")
    assert weights(tmp_path)["global_step"] == 2
    if torch.cuda.device_count() < 4:
        assert said.count("4 processes work on the CPU, with one thread each") == 1
