"""A fit that was interrupted and resumed ends at the weights of an unbroken one, bit for bit on a CPU."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from recon.cli import main
from recon.methods.igr import IGR

FIT = ["train", "method=igr", "tiny=igr", "data=shapes", "data.scene=torus", "trainer=cpu", "report=false"]
FIT += ["trainer.max_steps=12", "checkpoint.every=4", "method.holdout=0.2", "trainer.val_check_interval=3"]


def weights(folder: Path, name: str = "last.ckpt") -> dict:
    (file,) = folder.glob(f"scenes/*/checkpoints/{name}")
    return torch.load(file, weights_only=True)


def assert_same(a: dict, b: dict) -> None:
    assert a["global_step"] == b["global_step"] == 12
    assert a["state_dict"].keys() == b["state_dict"].keys()
    for key, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][key]), key


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    assert main([*FIT, f"hydra.run.dir={folder}"]) == 0
    return folder


def test_interrupted_and_resumed_equals_unbroken(unbroken, tmp_path, monkeypatch, capsys):
    step = IGR.training_step

    def interrupted(self, batch, batch_idx):
        if int(batch) == 7:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    monkeypatch.setattr(IGR, "training_step", interrupted)
    assert main([*FIT, f"hydra.run.dir={tmp_path}"]) == 130
    said = capsys.readouterr().err
    assert f"train run={tmp_path}" in said
    assert "torus: fit: stopped at 7" in said
    assert weights(tmp_path)["global_step"] == 4
    monkeypatch.undo()
    assert main(["reconstruct", f"run={tmp_path}", "report=false"]) == 0
    assert "stopped at 4 of 12 steps" in capsys.readouterr().err
    recorded = (tmp_path / "config.yaml").read_text()
    assert main(["train", f"run={tmp_path}"]) == 0
    assert_same(weights(tmp_path), weights(unbroken))
    assert_same_best(tmp_path, unbroken)
    assert (tmp_path / "config.yaml").read_text() == recorded


def assert_same_best(a: Path, b: Path) -> None:
    first, second = weights(a, "best.ckpt"), weights(b, "best.ckpt")
    assert first["global_step"] == second["global_step"]
    assert all(torch.equal(v, second["state_dict"][k]) for k, v in first["state_dict"].items())


def test_a_finished_run_resumed_is_left_as_it_is(unbroken):
    before = weights(unbroken)
    assert main(["train", f"run={unbroken}"]) == 0
    assert_same(weights(unbroken), before)


def test_a_run_made_with_other_values_is_not_resumed_unasked(unbroken, tmp_path, capsys):
    shutil.copytree(unbroken, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("neighbours: 50", "neighbours: 40"))
    assert main(["train", f"run={tmp_path}/run"]) == 2
    assert "method.neighbours=40" in capsys.readouterr().err
    assert main(["train", f"run={tmp_path}/run", "method.neighbours=50"]) == 0


def test_a_moved_folder_remembers_its_best_checkpoint(unbroken, tmp_path, recwarn):
    shutil.copytree(unbroken, tmp_path / "run")
    assert main(["train", f"run={tmp_path}/run"]) == 0
    states = weights(tmp_path / "run")["callbacks"].values()
    (best,) = [state for state in states if state.get("monitor")]
    (file,) = best["best_k_models"]
    assert Path(file) == tmp_path / "run" / "scenes" / "torus" / "checkpoints" / "best.ckpt"
    assert best["best_model_path"] == file
    assert not [w for w in recwarn if "dirpath has changed" in str(w.message)]


def test_a_resume_says_where_it_goes_on_and_nothing_else(unbroken, tmp_path, capsys, recwarn):
    shutil.copytree(unbroken, tmp_path / "run")
    assert main(["train", f"run={tmp_path}/run"]) == 0
    assert "all 12 steps are done" in capsys.readouterr().err
    assert main(["train", f"run={tmp_path}/run", "trainer.max_steps=13"]) == 0
    assert "goes on from step 12" in capsys.readouterr().err
    assert not [w for w in recwarn if "resuming" in str(w.message)]


def test_a_resume_that_cannot_be_is_a_mistake_and_no_crash(unbroken, tmp_path, capsys):
    shutil.copytree(unbroken, tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    assert main(["train", f"run={tmp_path}/run", "method.width=16"]) == 2
    assert "do not fit this method" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
    (file,) = tmp_path.glob("run/scenes/*/checkpoints/last.ckpt")
    file.write_bytes(file.read_bytes()[:1000])
    assert main(["train", f"run={tmp_path}/run"]) == 2
    assert "last.ckpt' cannot be read" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_and_resumed_equals_unbroken(unbroken, tmp_path):
    root = Path(__file__).parents[2]
    slow = "import time, recon.methods.igr as m; s = m.IGR.training_step\n"
    slow += "m.IGR.training_step = lambda self, b, i: (time.sleep(0.4), s(self, b, i))[1]\n"
    code = slow + f"from recon.cli import main; main({[*FIT, f'hydra.run.dir={tmp_path}']!r})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root)
    while not list(tmp_path.glob("scenes/*/checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert weights(tmp_path)["global_step"] < 12
    assert main(["train", f"run={tmp_path}"]) == 0
    assert_same(weights(tmp_path), weights(unbroken))
