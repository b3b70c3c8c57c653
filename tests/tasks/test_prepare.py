"""`recon prepare` from the command line: what it makes, what it says, and that a kill costs one item at most."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh

from recon.arguments import parse, with_defaults
from recon.cli import main
from recon.io.meshes import write_mesh
from recon.io.types import Mesh

SMALL = ["prepare.points=500", "prepare.queries=1000", "prepare.views=1", "prepare.workers=0"]


def write_balls(folder: Path, count: int, subdivisions: int = 2) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        ball = trimesh.creation.icosphere(subdivisions)
        mesh = Mesh(np.asarray(ball.vertices) * [1, 1, 0.5 + 0.1 * number], np.asarray(ball.faces, dtype=np.int64))
        write_mesh(folder / f"{number}.off", mesh)


def tree(path: Path) -> dict[str, bytes]:
    files = [f for f in sorted(path.rglob("*")) if f.suffix in (".npz", ".png", ".binvox", ".txt", ".lst")]
    return {f.relative_to(path).as_posix(): f.read_bytes() for f in files}


def test_data_name_their_factory():
    assert "prepare=shapenet" in with_defaults(parse(["prepare", "data=shapenet"])).overrides
    assert "prepare=shapenet" not in with_defaults(parse(["train", "data=shapenet"])).overrides
    asked = with_defaults(parse(["prepare", "data=shapenet", "prepare=rooms"])).overrides
    assert [o for o in asked if o.startswith("prepare=")] == ["prepare=rooms"]
    assert not any(o.startswith("prepare=") for o in with_defaults(parse(["prepare", "data=own"])).overrides)


def test_meshes_become_data_that_are_told_of(workdir, capsys):
    write_balls(workdir / "my {balls}, (old)" / "round", 3)
    (workdir / "my {balls}, (old)" / "round" / "bad.off").write_text("OFF\nno")
    command = ["prepare", "data=shapenet", "data.path=made here", "source=my {balls}, (old)", *SMALL]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "rejected round/bad: " in said.out
    assert "3 made, 1 rejected" in said.out
    assert "data.path=made here" in said.out
    assert "prepare: done" in said.err
    assert sorted(p.name for p in workdir.iterdir()) == ["made here", "my {balls}, (old)"], "no run folder stays"
    assert (workdir / "made here/round/0/points.npz").is_file()
    assert (workdir / "made here/summary.html").is_file()
    assert main([*command, "seed=1"]) == 2
    assert "seed=0, not seed=1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["prepare"], ["data=NAME", "shapenet"]),
        (["prepare", "source=x.ply"], ["data=NAME"]),
        (["prepare", "data=own", "source=x.ply"], ["data=own", "shapenet"]),
        (["prepare", "data=shapenet", "source=none/**/*.{obj,ply}"], ["names no mesh", ".obj"]),
        (["prepare", "data=shapenet", "source=.", "kind=odd"], ["kind=odd", "views"]),
        (["prepare", "data=shapenet", "source=.", "prepare.vews=3"], ["prepare.vews", "prepare.views"]),
        (["prepare", "data=shapenet", "source=.", "prepare.views=three"], ["prepare.views='three'"]),
    ],
    ids=lambda part: " ".join(part),
)
def test_mistakes_are_named_and_leave_nothing(words, expected, workdir, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    for text in expected:
        assert text in error, error
    assert list(workdir.iterdir()) == []


def _start(root: Path, here: Path, path: str) -> subprocess.Popen:
    words = ["prepare", "data=shapenet", f"data.path={path}", "source=balls/**/*.off", "prepare.workers=2"]
    command = [sys.executable, str(root / "run.py"), *words, "prepare.views=2"]
    # A session of its own, as a terminal gives: Ctrl-C reaches all of its processes.
    return subprocess.Popen(command, cwd=here, start_new_session=True, stderr=subprocess.PIPE, text=True)


def _wait_for_records(folder: Path, count: int, process: subprocess.Popen) -> list[Path]:
    for _ in range(3000):
        records = sorted(folder.rglob("*.json")) if folder.is_dir() else []
        if len(records) >= count:
            return records
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    raise AssertionError("nothing was made within a minute")


def _gone(group: int) -> bool:
    for _ in range(250):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT], ids=["killed", "ctrl-c"])
def test_a_run_that_was_stopped_goes_on(stop, root, workdir):
    write_balls(workdir / "balls" / "round", 5, subdivisions=5)
    process = _start(root, workdir, "broken")
    items = workdir / "broken/.prepare/items"
    _wait_for_records(items, 1, process)
    os.killpg(process.pid, stop) if stop == signal.SIGINT else process.kill()
    said = process.communicate(timeout=60)[1]
    assert _gone(process.pid), "a worker lives on"
    records = sorted(items.rglob("*.json"))
    assert 1 <= len(records) < 5, "it was to be stopped midway"
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert "Interrupted." in said
        assert "the same command goes on" in said
        assert "Traceback" not in said
        assert not (workdir / "broken/.prepare/scratch").exists()
    before = {r.stem: (workdir / f"broken/round/{r.stem}/points.npz").stat().st_mtime_ns for r in records}
    for path in ("broken", "whole"):
        done = _start(root, workdir, path)
        error = done.communicate(timeout=120)[1]
        assert done.returncode == 0, error
    for name, moment in before.items():
        assert (workdir / f"broken/round/{name}/points.npz").stat().st_mtime_ns == moment, "made twice"
    assert tree(workdir / "broken") == tree(workdir / "whole")
    assert len(list((workdir / "broken/round").iterdir())) == 5 + 3  # and three lists
