"""Paths as people have them, through every verb."""

import numpy as np
import pytest

from recon.cli import main

pytestmark = pytest.mark.usefixtures("quick_scores")
NAMES = ["a {b}=~c", """it's "x" """.strip(), "Müller(ü)#b,c"]


@pytest.fixture(scope="module")
def sphere():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2000, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("name", NAMES)
def test_awkward_paths_through_reconstruct_evaluate_and_test(name, sphere, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = tmp_path / name
    home.mkdir()
    np.savetxt(home / f"{name}.xyz", np.hstack([sphere, sphere]))
    mesh = f"{home}/{name}.obj"
    quiet = ["method=poisson", "resolution=32", "method.resolution=32", "report=false", "trainer=cpu"]
    assert main(["reconstruct", f"input={home}/{name}.xyz", f"output={mesh}", *quiet, f"hydra.run.dir={home}/run"]) == 0
    assert main(["evaluate", f"pred={mesh}", f"truth={mesh}", "report=false"]) == 0
    assert main(["test", f"run={home}/run", "report=false"]) == 0
    assert (home / "run" / "metrics.csv").is_file()
