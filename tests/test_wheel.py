"""The wheel is whole: installed elsewhere, in an empty folder, it answers and reconstructs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but our wheel, built and installed without a network."""
    pytest.importorskip("hatchling", reason="the wheel is built without a network, so hatchling must be installed")
    place = tmp_path_factory.mktemp("wheel")
    quiet = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*quiet, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(place), str(root)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = place.glob("recon-*.whl")
    target = place / "site"
    subprocess.run([*quiet, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)], check=True)
    return target


def run(installed: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The console script, finding our package in `installed` and all others where they are."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, str(installed / "bin" / "recon"), *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_help_lists_verbs_and_the_methods_in_the_wheel(installed: Path, tmp_path: Path, root: Path) -> None:
    done = run(installed, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    methods = [p.stem for p in (root / "conf" / "method").glob("*.yaml")]
    assert methods
    for word in ["reconstruct", "compare", *methods]:
        assert word in done.stdout


def test_the_wheel_reconstructs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    directions = np.random.default_rng(0).normal(size=(2000, 3))
    normals = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    cloud = np.concatenate([5.0 + 3.0 * normals, normals], axis=1)
    np.savetxt(tmp_path / "ball.xyzn", cloud)
    done = run(
        installed, "reconstruct", "method=poisson", "input=ball.xyzn", "output=ball.ply", "resolution=48", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr

    import trimesh

    ball = trimesh.load(tmp_path / "ball.ply")
    assert isinstance(ball, trimesh.Trimesh)
    assert ball.is_watertight
    np.testing.assert_allclose(ball.bounds, [[2, 2, 2], [8, 8, 8]], atol=0.25)
    assert list((tmp_path / "outputs").rglob("config.yaml"))


def test_the_wheel_carries_the_checkouts_configuration(installed: Path, root: Path) -> None:
    ours = {p.relative_to(root / "conf"): p.read_bytes() for p in (root / "conf").rglob("*.yaml")}
    theirs = {p.relative_to(installed / "recon" / "conf"): p.read_bytes() for p in installed.rglob("conf/**/*.yaml")}
    assert ours == theirs
