"""What a user gets wrong: status 2, the culprit named, the way out, no traceback, nothing half-written."""

import numpy as np
import pytest

from recon.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    sphere = rng.normal(size=(500, 3))
    np.savetxt("scan.xyz", sphere / np.linalg.norm(sphere, axis=1, keepdims=True))
    np.savetxt("few.xyz", sphere[:31])
    np.save("nan.npy", np.vstack([sphere, [[np.nan, 0, 0]]]))
    (tmp_path / "empty.xyz").write_text("")
    (tmp_path / "broken.ply").write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 1000000000000\n")
    np.savetxt("same.xyz", np.ones((100, 3)))
    return tmp_path


CASES = {
    "unknown verb": (["reconstrct", "input=scan.xyz"], ["reconstrct", "reconstruct"]),
    "unknown option of a method": (
        ["reconstruct", "method=igr", "input=scan.xyz", "method.widht=64"],
        ["method.widht", "width"],
    ),
    "unknown setting": (["reconstruct", "input=scan.xyz", "resolutoin=64"], ["resolutoin", "resolution"]),
    "unknown method": (["reconstruct", "method=igrr", "input=scan.xyz"], ["method=igrr", "igr"]),
    "unknown dataset": (["train", "method=igr", "data=shape"], ["data=shape", "shapes"]),
    "data called like a method": (["prepare", "data=igr"], ["data=igr", "Known: dtu"]),
    "wrong type of a setting": (
        ["reconstruct", "input=scan.xyz", "resolution=abc"],
        ["resolution=abc", "whole number"],
    ),
    "wrong type of a method's option": (
        ["reconstruct", "method=igr", "input=scan.xyz", "method.width=wide"],
        ["method.width"],
    ),
    "value outside a choice": (
        ["reconstruct", "method=igr", "input=scan.xyz", "method.normals=maybe"],
        ["given", "estimate"],
    ),
    "missing file": (["reconstruct", "input=nowhere.ply"], ["nowhere.ply"]),
    "missing prediction": (["evaluate", "pred=nowhere.ply", "truth=scan.xyz"], ["pred=nowhere.ply"]),
    "no prediction": (["evaluate", "truth=scan.xyz"], ["pred="]),
    "unknown protocol": (["evaluate", "pred=scan.xyz", "truth=scan.xyz", "protocol=onnet"], ["onnet", "onet"]),
    "no method": (["train", "data=shapes"], ["No method", "igr"]),
    "no data": (["train", "method=igr"], ["No data", "shapes"]),
    "a solver is not trained": (["train", "method=poisson", "data=shapes"], ["reconstruct"]),
    "device not there": (["reconstruct", "input=scan.xyz", "trainer=gpu"], ["gpu", "doctor"]),
    "empty cloud": (["reconstruct", "input=empty.xyz"], ["empty.xyz"]),
    "huge header": (["reconstruct", "input=broken.ply"], ["broken.ply"]),
    "points that are not finite": (["reconstruct", "input=nan.npy"], ["nan", "not finite"]),
    "too few points": (["reconstruct", "input=few.xyz"], ["31 points", "32"]),
    "one repeated point": (["reconstruct", "input=same.xyz"], ["extent"]),
    "output of unknown format": (["reconstruct", "input=scan.xyz", "output=mesh.docx"], [".docx", ".ply"]),
    "unknown scene": (["train", "method=igr", "data=shapes", "data.scene=toruss"], ["toruss", "torus"]),
    "unknown method in a comparison": (["compare", "methods=[poison]", "data=shapes"], ["poison", "poisson"]),
    "nothing to compare": (["compare", "data=shapes"], ["methods"]),
    "one method that is no list": (["compare", "methods=poisson", "data=shapes"], ["methods=[poisson]"]),
    "nothing to reconstruct": (["reconstruct"], ["input=FILE"]),
    "input beside data that have their own": (
        ["reconstruct", "method=poisson", "input=scan.xyz", "data=shapes", "data.scene=sphere"],
        ["input=scan.xyz", "data=own"],
    ),
    "truth beside data that have their own": (
        ["test", "method=poisson", "truth=scan.xyz", "data=shapes", "data.scene=sphere"],
        ["truth=scan.xyz", "data=own"],
    ),
    "unknown protocol before any work": (
        ["reconstruct", "method=poisson", "input=scan.xyz", "protocol=onnet"],
        ["onnet", "onet"],
    ),
    "output below a file": (
        ["reconstruct", "method=poisson", "input=scan.xyz", "output=few.xyz/mesh.ply"],
        ["output=few.xyz/mesh.ply", "few.xyz'"],
    ),
    "no run folder": (["test", "run=nowhere"], ["nowhere"]),
    "a sweeper that is not installed": (
        ["-m", "method=igr", "data=shapes", "sweep=optuna"],
        ["optuna", "recon[sweep]"],
    ),
    "a later verb": (["view", "method=poisson", "data=shapes"], ["not in this release"]),
    "data that nothing downloads": (["prepare", "data=own"], ["nothing is downloaded for data=own"]),
}


@pytest.mark.parametrize("name", CASES)
def test_mistakes_are_named(name, here, capsys):
    words, expected = CASES[name]
    before = sorted(p.name for p in here.iterdir())
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for text in expected:
        assert text in error, error
    assert len(error.strip().splitlines()) <= 3, error
    assert sorted(p.name for p in here.iterdir()) == before, "nothing may stay behind"


def test_a_method_that_the_data_do_not_suit_is_refused_before_any_work(here, capsys, monkeypatch):
    from recon.data.shapes import Shapes
    from recon.observations import PosedViews

    monkeypatch.setattr(Shapes, "may_give", (PosedViews,))
    monkeypatch.setattr(Shapes, "gives", (PosedViews,))
    assert main(["train", "method=igr", "data=shapes"]) == 2
    error = capsys.readouterr().err
    assert "igr needs oriented points or points; shapes gives posed views" in error
    assert "So does" not in error
    assert "stanford" in error


def test_data_that_would_suit_with_other_files_say_so(here, capsys, monkeypatch):
    from recon.data.shapes import Shapes
    from recon.observations import PosedViews

    monkeypatch.setattr(Shapes, "gives", (PosedViews,))
    assert main(["train", "method=igr", "data=shapes"]) == 2
    assert "stanford. So does shapes, of other files: see --help data=shapes" in capsys.readouterr().err
