"""`reconstruct`: the meshes go where the user said, and the terminal says where."""

import numpy as np
import pytest

from recon.cli import main

SOLVE = ["reconstruct", "method=poisson", "trainer=cpu", "resolution=24", "report=false"]


@pytest.fixture
def scans(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        ball = rng.normal(size=(400, 3))
        ball /= np.linalg.norm(ball, axis=1, keepdims=True)
        np.savetxt(f"{name}.xyz", np.hstack([ball, ball]))
    return tmp_path


def test_several_inputs_go_to_a_folder_that_is_named(scans, capsys):
    assert main([*SOLVE, "input=*.xyz", "output=meshes/"]) == 0
    shown = capsys.readouterr().out
    for name in ("one", "two"):
        assert (scans / "meshes" / f"{name}.ply").is_file()
        assert f"mesh     meshes/{name}.ply" in shown


def test_one_input_may_go_to_a_folder_too_whatever_its_name(scans, capsys):
    assert main([*SOLVE, "input=one.xyz", "output=new.d/"]) == 0
    assert (scans / "new.d" / "one.ply").is_file()
    assert "mesh     new.d/one.ply" in capsys.readouterr().out
