"""What `prepare data=NAME` downloads: shown first, asked for, from servers on this machine, where datasets look."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import zipfile
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from recon.arguments import parse
from recon.cli import main
from recon.data import catalogue, catalogue_entries, stanford
from recon.data.catalogue import choose, download, parts_of
from recon.data.catalogue_entries import CATALOGUE, Part
from recon.data.solids import solid_mesh
from recon.errors import ConfigError, DataError
from recon.io import hub, transfer
from recon.io.meshes import write_mesh
from tests.io.web import Web, serve

PART = Part("points", "points of things", "https://page", "CC0.", "somebody, 1996.", default=True)


def zipped(names: list[str], data: bytes = b"data") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, data + name.encode())
    return packed.getvalue()


THINGS = [f"Things/{c}/{f}" for c in ("0001", "0002") for f in ("test.lst", "m1/points.npz", "m1/junk/0.jpg")]


@pytest.fixture
def web(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    with serve(Web({"things.zip": zipped(THINGS)})) as server:
        yield server


@pytest.fixture
def things(web, monkeypatch):
    """A dataset of classes `chair` (0001) and `lamp` (0002) in one .zip, and weights in files."""
    part = replace(
        PART,
        url=web.url("things.zip"),
        root="Things",
        skip="/junk/",
        group=r"\d{4}",
        names={"chair": "0001", "lamp": "0002"},
        expects=("Things/*/test.lst",),
    )
    web.files["a_1.pt"] = web.files["b_1.pt"] = b"weights"
    files = {name: web.url(name) for name in ("a_1.pt", "b_1.pt")}
    weights = replace(PART, key="weights", what="weights", default=False, files=files, where="weights", group="a|b")
    asked = replace(PART, key="asked", default=False, what="Things by request")
    monkeypatch.setitem(CATALOGUE, "things", (part, weights, asked))
    return part


def files(folder) -> set[str]:
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return found - {"downloads.json", ".downloads.lock"}


WHOLE = {"Things/0001/test.lst", "Things/0001/m1/points.npz", "Things/0002/test.lst", "Things/0002/m1/points.npz"}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_whole_archive_lands_once(things, web, tmp_path, ranges, capsys):
    web.ranges = ranges
    download("things", tmp_path / "d", None, accept=True)
    said = capsys.readouterr().err
    for text in ("points of things", "CC0.", "somebody, 1996.", "MB"):
        assert text in said
    assert files(tmp_path / "d") == WHOLE, "and the archive is gone"
    assert not (tmp_path / "d/archives").exists()
    note = json.loads((tmp_path / "d/downloads.json").read_text())["points/things.zip"]
    assert note["sha256"] == hashlib.sha256(web.files["things.zip"]).hexdigest()
    assert note["size"] == len(web.files["things.zip"])
    web.sent = 0
    download("things", tmp_path / "d", None, accept=True)
    download("things", tmp_path / "d", ["chair"], accept=True)
    assert "there already" in capsys.readouterr().err
    assert web.sent <= (0 if ranges else 2 * len(web.files["things.zip"]))


def test_a_class_alone_is_read_out_of_the_archive(things, web, tmp_path):
    download("things", tmp_path / "d", ["lamp"], accept=True)
    assert files(tmp_path / "d") == {name for name in WHOLE if "/0002/" in name}
    download("things", tmp_path / "d", ["0001"], accept=True)
    assert files(tmp_path / "d") == WHOLE
    note = json.loads((tmp_path / "d/downloads.json").read_text())["points/things.zip"]
    assert note["landed"] == ["0001", "0002"]


def test_without_ranges_the_whole_archive_comes_for_a_class(things, web, tmp_path, capsys):
    web.ranges = False
    download("things", tmp_path / "d", ["lamp"], accept=True)
    assert "(its server" in capsys.readouterr().err
    assert files(tmp_path / "d") == {name for name in WHOLE if "/0002/" in name}


def test_the_hash_of_the_first_download_is_enforced(things, web, tmp_path):
    download("things", tmp_path / "d", None, accept=True)
    (tmp_path / "d/Things/0001/test.lst").unlink()
    (tmp_path / "d/Things/0002/test.lst").unlink()
    web.files["things.zip"] = zipped(THINGS, b"other")
    with pytest.raises(DataError, match="another file than is known"):
        download("things", tmp_path / "d", None, accept=True)
    assert (tmp_path / "d/Things/0001/m1/points.npz").read_bytes().startswith(b"data")


def test_parts_of_another_archive_are_not_mixed(things, web, tmp_path):
    download("things", tmp_path / "d", ["lamp"], accept=True)
    web.files["things.zip"], web.tag = zipped(THINGS, b"other"), '"new"'
    with pytest.raises(DataError, match="another archive than at the first download"):
        download("things", tmp_path / "d", ["chair"], accept=True)


def test_an_archive_put_there_by_hand_is_opened_and_stays(things, web, tmp_path):
    place = tmp_path / "d/archives/points/things.zip"
    place.parent.mkdir(parents=True)
    place.write_bytes(web.files["things.zip"])
    download("things", tmp_path / "d", None, accept=True)
    assert files(tmp_path / "d") == WHOLE | {"archives/points/things.zip"}
    assert web.sent == 0


def test_single_files_land_in_their_folder(things, tmp_path):
    download("things", tmp_path / "d", ["weights", "a"], accept=True)
    assert files(tmp_path / "d") == {"weights/a_1.pt"}
    download("things", tmp_path / "d", ["weights"], accept=True)
    assert files(tmp_path / "d") == {"weights/a_1.pt", "weights/b_1.pt"}


def test_nobody_to_ask_and_a_no(things, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"(?s)nobody is here.*add accept=true"):
        download("things", tmp_path / "d", None, accept=False)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for answer in ("n\n", "\n", ""):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        with pytest.raises(ConfigError, match="nothing was downloaded"):
            download("things", tmp_path / "d", None, accept=False)
    assert not (tmp_path / "d").exists()
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    download("things", tmp_path / "d", None, accept=False)
    assert files(tmp_path / "d") == WHOLE


def test_unknown_words_and_what_must_be_asked_for(things):
    with pytest.raises(ConfigError, match=r"(?s)'chairs'.*Did you mean 'chair'"):
        choose("things", ["chairs"])
    with pytest.raises(ConfigError, match=r"(?s)Things by request cannot.*https://page"):
        choose("things", ["asked"])
    with pytest.raises(ConfigError, match="nothing is downloaded for data=own"):
        choose("own", None)


def test_other_sizes_and_pages_are_refused(things, web, tmp_path, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "things", (replace(things, gigabytes=73.4),))
    with pytest.raises(DataError, match=r"0\.00 GB, not 73\.4 GB as published"):
        download("things", tmp_path / "d", None, accept=True)
    monkeypatch.setitem(CATALOGUE, "things", (things,))
    web.types["things.zip"] = "text/html; charset=utf-8"
    with pytest.raises(DataError, match=r"(?s)a web page.*https://page"):
        download("things", tmp_path / "d", None, accept=True)
    web.types = {}
    web.files["things.zip"] = zipped(["Other/0001/x"])
    with pytest.raises(DataError, match="holds nothing of"):
        download("things", tmp_path / "d", None, accept=True)
    web.files["things.zip"] = zipped(["Things/0001/x"])
    with pytest.raises(DataError, match=r"no 'Things/\*/test\.lst'"):
        download("things", tmp_path / "e", None, accept=True)
    with pytest.raises(DataError, match="holds nothing of 0002"):
        download("things", tmp_path / "f", ["lamp"], accept=True)


def test_no_room_is_told_before_anything_is_downloaded(things, web, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("recon.io.archives.shutil.disk_usage", lambda _: usage)
    for only in (None, ["lamp"]):
        with pytest.raises(DataError, match=r"are needed.*are free"):
            download("things", tmp_path / "d", only, accept=True)
    assert files(tmp_path / "d") <= {"downloads.json"}


def test_a_mirror_is_asked_where_the_first_address_is_dead(things, web, tmp_path, monkeypatch):
    dead = replace(things, url=web.url("none/things.zip"), mirrors=(things.url,))
    monkeypatch.setitem(CATALOGUE, "things", (dead,))
    download("things", tmp_path / "d", None, accept=True)
    assert files(tmp_path / "d") == WHOLE
    monkeypatch.setitem(CATALOGUE, "things", (replace(dead, mirrors=()),))
    with pytest.raises(DataError, match=r"(?s)404.*https://page"):
        download("things", tmp_path / "e", None, accept=True)


def test_a_listing_on_the_hub(web, tmp_path, monkeypatch):
    """Files with published hashes; archives among them are opened, scenes chosen, foreign names refused."""
    monkeypatch.setattr(hub, "HUB", web.url().rstrip("/"))
    part = replace(PART, hub="me/set/in", group=r"scene\d{4}_\d\d")
    monkeypatch.setitem(CATALOGUE, "things", (part, replace(PART, key="one", default=False, hub="me/set/a.txt")))
    archive = zipped(["scene0001_00_obj_1/mask/0.png"])
    digest = hashlib.sha256(archive).hexdigest()
    rows = [
        {"type": "directory", "path": "in/more", "size": 0, "oid": "0"},
        {"type": "file", "path": "in/scene0001_00.zip", "size": 130, "lfs": {"oid": digest, "size": len(archive)}},
        {"type": "file", "path": "in/more/scene0002_00.ply", "size": 3, "oid": "git's own"},
    ]
    web.files["api/datasets/me/set/tree/main/in"] = json.dumps(rows).encode()
    web.files["api/datasets/me/set/tree/main/"] = json.dumps([{"type": "file", "path": "a.txt", "size": 1}]).encode()
    web.files["datasets/me/set/resolve/main/in/scene0001_00.zip"] = archive
    web.files["datasets/me/set/resolve/main/in/more/scene0002_00.ply"] = b"ply"
    web.files["datasets/me/set/resolve/main/a.txt"] = b"a"
    web.ranges = False
    download("things", tmp_path / "d", None, accept=True)
    assert files(tmp_path / "d") == {"scene0001_00_obj_1/mask/0.png", "more/scene0002_00.ply"}
    download("things", tmp_path / "e", ["scene0002_00_scannet_obj_3_inpainted"], accept=True)
    assert files(tmp_path / "e") == {"more/scene0002_00.ply"}
    download("things", tmp_path / "f", ["one"], accept=True)
    assert files(tmp_path / "f") == {"a.txt"}
    web.files["datasets/me/set/resolve/main/in/scene0001_00.zip"] = zipped(["x/y"])
    with pytest.raises(DataError, match="another file"):
        download("things", tmp_path / "g", ["scene0001_00"], accept=True)
    rows[1]["path"] = "in/../../evil.zip"
    web.files["api/datasets/me/set/tree/main/in"] = json.dumps(rows).encode()
    with pytest.raises(DataError):
        download("things", tmp_path / "h", None, accept=True)
    for text in (b"{}", b"[1]", b"<html>", b'[{"type": "file", "path": 3}]', b"[]"):
        web.files["api/datasets/me/set/tree/main/in"] = text
        with pytest.raises(DataError):
            download("things", tmp_path / "h", None, accept=True)


def test_scans_come_as_they_always_did(web, tmp_path, monkeypatch):
    monkeypatch.setattr(stanford, "STANFORD", web.url().rstrip("/"))
    monkeypatch.setattr(catalogue_entries, "NNABLA", web.url())
    write_mesh(tmp_path / "x.ply", solid_mesh("star", 32))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(tmp_path / "x.ply", "drill/reconstruction/drill_shaft_vrip.ply")
    web.files[stanford.SCANS["drill"].page] = packed.getvalue()
    download("stanford", tmp_path / "d", ["drill"], accept=True)
    assert stanford.Stanford(path=str(tmp_path / "d")).names() == ["drill"]


def test_the_real_catalogue_is_in_order():
    """Addresses are addresses, patterns compile, names of groups fit them, and no hash is made up."""
    for name in CATALOGUE:
        for part in parts_of(name):
            addresses = [part.url, *part.mirrors, *part.files.values(), part.page]
            assert all(urlsplit(a).scheme in ("http", "https") for a in addresses if a), part.what
            assert part.licence
            assert part.cite
            assert bool(part.url) + bool(part.files) + bool(part.hub) + (part.key == "scans") <= 1
            for pattern in (part.root, part.skip, part.group):
                re.compile(pattern)
            for word, group in part.names.items():
                assert part.group_in(word) == group
                assert re.fullmatch(part.group, group)
        assert any(part.default for part in parts_of(name))
    assert [c.part.key for c in choose("shapenet", ["views", "chair"])] == ["views", "views"]
    assert choose("shapenet", ["views", "chair"])[0].groups == {"03001627"}
    assert [c.part.where for c in choose("dtu", ["scan65"])] == [""]
    assert choose("stanford", ["weights", "dragon"])[0].groups == {"dragon"}
    assert [c.part.key for c in choose("stanford", None)] == ["scans"]
    weights = next(part for part in parts_of("stanford") if part.key == "weights")
    assert [f for f in weights.files if weights.group_in(f) == "dragon"] == ["dragon_param_00400.h5"]
    with pytest.raises(ConfigError, match=r"www\.scan-net\.org"):
        choose("scannet", ["sequence"])


def test_the_command_names_parts_and_classes(workdir, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(catalogue, "download", lambda *a: asked.append(a))
    assert parse(["prepare", "data=shapenet", "only=[views,03001627]"])
    base = ["prepare", "data=shapenet", "data.path=d"]
    assert main([*base, "only=[views,03001627]", "accept=true"]) == 0
    assert main([*base, "only=02691156", "data.classes=[lamp]", "kind=views"]) == 0
    assert main([*base]) == 0
    assert [(a[0], str(a[1]), a[2], a[3]) for a in asked] == [
        ("shapenet", "d", ["views", "03001627"], True),
        ("shapenet", "d", ["views", "02691156", "lamp"], False),
        ("shapenet", "d", None, False),
    ]
    assert list(workdir.iterdir()) == []
    assert capsys.readouterr().out == ""
