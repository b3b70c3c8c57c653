"""What all factories share: resume, rejects, options on record, the same bytes from any number of processes."""

import inspect
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from recon.conf import choices, conf_folder
from recon.data.synthesis.factory import DEFAULTS, Factory, Item, Made
from recon.data.synthesis.parallel import Failed, each
from recon.data.synthesis.records import HIDDEN
from recon.data.synthesis.splits import split
from recon.errors import ConfigError, DataError


class Numbers(Factory):
    """Writes a file of random numbers for each letter of a word; capitals are rejected, digits crash."""

    kinds = ("plain", "fancy")

    def __init__(self, word="abc", **shared):
        super().__init__(**shared)
        self.word = word

    def items(self):
        source = Path(self.source) if self.source else None
        return [Item(f"set/{c}", source, f"set/{c}", {"side": f"beside/{c}"}) for c in self.word]

    def make(self, item, folder):
        letter = item.name[-1]
        if letter.isupper():
            raise DataError(f"'{letter}' is <large>.", "Make it small.")
        if letter.isdigit():
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / "side").mkdir()
        (folder / "side" / "note.txt").write_text(letter)
        np.save(folder / "numbers.npy", self.rng(item).random(5))
        return Made(item.name, {"letter": letter, "count": 5, "fine": True}, np.full((200, 300, 3), 9, np.uint8))

    def finish(self, made):
        (self.path / "all.txt").write_text(" ".join(m.name for m in made))


def slow_square(number: int) -> int:
    time.sleep(0.01 * (5 - number))
    if number == 3:
        raise ValueError("three")
    return number**2


def tree(path: Path) -> dict[str, bytes]:
    files = [f for f in sorted(path.rglob("*")) if f.is_file() and f.name not in ("lock", "prepare.json")]
    return {f.relative_to(path).as_posix(): f.read_bytes() for f in files}


def test_all_items_are_made_recorded_and_closed(tmp_path):
    made, rejected = Numbers(path=tmp_path / "a", workers=0).run()
    assert [m.name for m in made] == ["set/a", "set/b", "set/c"]
    assert rejected == []
    assert made[0].facts == {"letter": "a", "count": 5, "fine": True}
    assert made[0].thumbnail.shape == (107, 160, 3)
    assert (tmp_path / "a/beside/b/note.txt").read_text() == "b"
    assert sorted(p.name for p in (tmp_path / "a/set/a").iterdir()) == ["numbers.npy"]
    assert (tmp_path / "a/all.txt").read_text() == "set/a set/b set/c"
    assert json.loads((tmp_path / "a/prepare.json").read_text())["word"] == "abc"


def test_the_same_bytes_from_any_number_of_processes(tmp_path):
    for workers in (0, 2):
        Numbers(word="abcD", path=tmp_path / str(workers) / "x", workers=workers).run()
    alone, together = tree(tmp_path / "0"), tree(tmp_path / "2")
    assert alone == together
    other = Numbers(word="ab", path=tmp_path / "other", seed=1, workers=0)
    other.run()
    assert tree(tmp_path / "other")["set/a/numbers.npy"] != alone["x/set/a/numbers.npy"]


def test_a_second_run_makes_only_what_is_missing(tmp_path, monkeypatch):
    first = Numbers(path=tmp_path / "a", workers=0)
    before = first.run()[0]
    times = {f: f.stat().st_mtime_ns for f in (tmp_path / "a/set").rglob("*.npy")}
    (tmp_path / "a" / HIDDEN / "items/set/b.json").unlink()  # broken off before it was recorded
    (tmp_path / "a" / HIDDEN / "scratch/half").mkdir(parents=True)
    again = Numbers(path=tmp_path / "a", workers=0)
    names = []
    monkeypatch.setattr(again, "make", lambda item, folder: names.append(item.name) or first.make(item, folder))
    after = again.run()[0]
    assert names == ["set/b"]
    assert [(m.name, m.facts, m.thumbnail.tolist()) for m in before] == [
        (m.name, m.facts, m.thumbnail.tolist()) for m in after
    ]
    assert not (tmp_path / "a" / HIDDEN / "scratch").exists()
    changed = [f.parent.name for f, t in times.items() if f.stat().st_mtime_ns != t]
    assert changed == ["b"]


def test_other_options_are_refused_once_something_is_made(tmp_path):
    with pytest.raises(DataError, match="None of 2"):
        Numbers(word="AB", path=tmp_path / "a", workers=0).run()
    Numbers(word="ab", path=tmp_path / "a", workers=0).run()
    assert json.loads((tmp_path / "a/prepare.json").read_text())["word"] == "ab"
    with pytest.raises(ConfigError, match="word=ab, not word=abc"):
        Numbers(path=tmp_path / "a", workers=0).run()


def test_a_file_is_no_folder_for_data(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(ConfigError, match=r"(?s)a' is a file.*data\.path=FOLDER"):
        Numbers(path=tmp_path / "a", workers=0).run()
    assert (tmp_path / "a").read_text() == "mine"


def test_a_changed_source_is_made_afresh_and_a_lost_folder_too(tmp_path, monkeypatch):
    source = tmp_path / "mesh.ply"
    source.write_text("one")
    factory = Numbers(path=tmp_path / "a", source=str(source), workers=0)
    factory.run()
    (tmp_path / "a/beside/c/note.txt").unlink()
    (tmp_path / "a/beside/c").rmdir()
    assert (factory.run(), (tmp_path / "a/beside/c/note.txt").read_text())[1] == "c"
    source.write_text("three")
    names, make = [], factory.make
    monkeypatch.setattr(factory, "make", lambda item, folder: names.append(item.name) or make(item, folder))
    factory.run()
    assert names == ["set/a", "set/b", "set/c"]


def test_rejected_items_are_told_with_their_reason_and_tried_again(tmp_path):
    factory = Numbers(word="aB", path=tmp_path / "a", workers=0)
    for _ in range(2):
        made, rejected = factory.run()
        assert ([m.name for m in made], [(r.name, r.reason) for r in rejected]) == (
            ["set/a"],
            [("set/B", "'B' is <large>.")],
        )
    page = (tmp_path / "a/summary.html").read_text()
    assert "1 made, 1 rejected" in page
    assert "&#x27;B&#x27; is &lt;large&gt;." in page
    assert "http" not in page.replace("http-equiv", "")
    assert not (tmp_path / "a/set/B").exists()
    with pytest.raises(DataError, match=r"(?s)None of 2.*summary\.html"):
        Numbers(word="AB", path=tmp_path / "b", workers=0).run()


@pytest.mark.slow
def test_an_item_that_kills_its_process_takes_no_other_along(tmp_path):
    made, rejected = Numbers(word="a1bcd", path=tmp_path / "a", workers=2).run()
    assert [m.name for m in made] == ["set/a", "set/b", "set/c", "set/d"]
    assert [r.name for r in rejected] == ["set/1"]
    assert "died (exit code -9)" in rejected[0].reason


def test_other_options_or_other_files_on_the_same_path_are_refused(tmp_path):
    Numbers(path=tmp_path / "a", workers=0).run()
    Numbers(path=tmp_path / "a", workers=1, kind="plain").run()
    with pytest.raises(ConfigError, match="made with word=abc, not word=abcd"):
        Numbers(word="abcd", path=tmp_path / "a", workers=0).run()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(ConfigError, match="did not make"):
        Numbers(path=tmp_path / "mine", workers=0).run()
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_two_runs_at_once_are_refused(tmp_path):
    factory = Numbers(path=tmp_path / "a", workers=0)

    class Nested(Numbers):
        def make(self, item, folder):
            factory.run()

    with pytest.raises(ConfigError, match="another `prepare`"):
        Nested(path=tmp_path / "a", workers=0).run()


@pytest.mark.parametrize(("options", "message"), [({"kind": "odd"}, "kind=odd"), ({"path": None}, "data.path")])
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        Numbers(**{"path": tmp_path, **options})


@pytest.mark.parametrize("folder", ["/abs", "../up", "a/../../b", ".prepare/x", ""])
def test_items_lie_below_the_path_or_are_a_fault_of_the_factory(tmp_path, folder):
    class Wrong(Numbers):
        def items(self):
            return [Item("x", None, folder)]

    with pytest.raises(ValueError, match="no folder below"):
        Wrong(path=tmp_path / "a", workers=0).run()


def test_splits_have_their_shares_and_hang_on_the_seed_alone():
    names = [f"m{i}" for i in range(100)]
    parts = split(names)
    assert [len(parts[k]) for k in ("train", "val", "test")] == [70, 10, 20]
    assert sorted(name for part in parts.values() for name in part) == sorted(names)
    assert parts == split(reversed(names))
    assert parts != split(names, 1)
    sizes = {n: [len(p) for p in split(names[:n]).values()] for n in range(5)}
    assert sizes == {0: [0, 0, 0], 1: [1, 0, 0], 2: [1, 0, 1], 3: [1, 1, 1], 4: [2, 1, 1]}


def test_work_in_this_process_is_in_order_and_raises():
    assert list(each(abs, [-1, 2, -3], 0)) == [(-1, 1), (2, 2), (-3, 3)]
    with pytest.raises(ValueError, match="three"):
        list(each(slow_square, [1, 2, 3], 0))


@pytest.mark.slow
def test_an_error_in_a_worker_ends_the_work_and_says_where():
    with pytest.raises(ValueError, match="three") as caught:
        list(each(slow_square, [1, 2, 3, 4], 2))
    assert "slow_square" in caught.value.__notes__[0]
    assert not any(isinstance(r, Failed) for _, r in each(slow_square, [1, 2, 4], 2))


@pytest.mark.parametrize("name", choices("prepare"))
def test_every_option_stands_in_the_yaml_with_the_default_of_the_class(name):
    values = OmegaConf.to_container(OmegaConf.load(conf_folder() / "prepare" / f"{name}.yaml"), resolve=False)
    parameters = dict(inspect.signature(get_object(values.pop("_target_")).__init__).parameters)
    assert values.pop("defaults") == ["_shared", "_self_"]
    assert parameters.pop("shared").kind is inspect.Parameter.VAR_KEYWORD
    own = {
        k: list(p.default) if isinstance(p.default, tuple) else p.default for k, p in parameters.items() if k != "self"
    }
    assert {k: v for k, v in values.items() if k not in DEFAULTS} == own


def test_options_of_all_factories_stand_in_one_file():
    values = OmegaConf.to_container(OmegaConf.load(conf_folder() / "prepare" / "_shared.yaml"), resolve=False)
    assert set(values) == set(DEFAULTS)
    assert values["workers"] is DEFAULTS["workers"]
