from __future__ import annotations

import errno
import gzip
import io
import logging
import tarfile
from dataclasses import replace
from types import SimpleNamespace

import pytest

from recon.data.solids import solid_mesh
from recon.errors import DataError
from recon.io.download import Source, fetch
from recon.io.meshes import read_mesh, write_mesh


def source(url: str, name: str, member: str = "") -> Source:
    return Source(f"{url}/{name}", name, member, "to be asked for.", "somebody, 1996.")


@pytest.fixture
def mesh_bytes(tmp_path):
    write_mesh(tmp_path / "m.ply", solid_mesh("star", 32))
    return (tmp_path / "m.ply").read_bytes()


def test_size_licence_and_citation_come_first_and_the_second_time_nothing(served, tmp_path, caplog, mesh_bytes):
    folder, url = served
    (folder / "m.ply.gz").write_bytes(gzip.compress(mesh_bytes))
    target = tmp_path / "new {folder}/ü m.ply"
    with caplog.at_level(logging.WARNING, "recon"):
        assert fetch(source(url, "m.ply.gz"), target) == target
    assert "MB). Licence: to be asked for. Cite: somebody, 1996." in caplog.text
    assert len(read_mesh(target).faces) == len(solid_mesh("star", 32).faces)
    (folder / "m.ply.gz").unlink()
    caplog.clear()
    fetch(source(url, "m.ply.gz"), target)
    assert not caplog.records


def test_one_archive_serves_two_members_and_nothing_else_is_unpacked(served, tmp_path, mesh_bytes):
    folder, url = served
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        for name in ("x/one.ply", "x/two.ply", "../../evil.ply"):
            info = tarfile.TarInfo(name)
            info.size = len(mesh_bytes)
            tar.addfile(info, io.BytesIO(mesh_bytes))
    got = tmp_path / "got"
    fetch(source(url, "a.tar.gz", "x/one.ply"), got / "one.ply")
    (folder / "a.tar.gz").unlink()
    fetch(source(url, "a.tar.gz", "two.ply"), got / "two.ply")
    assert sorted(p.name for p in got.rglob("*.ply")) == ["one.ply", "two.ply"]
    assert not list(tmp_path.rglob("evil.ply"))


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("m.ply.gz", b"<!DOCTYPE html><p>Are you a robot?", "a web page came"),
        ("m.ply.gz", gzip.compress(b"ply, or is it?"), "header"),
        ("m.ply.gz", gzip.compress(b"x" * 9999)[:-20], "."),
        ("m.zip", b"PK\x03\x04 and then nothing", "zip"),
        ("m.tar.gz", gzip.compress(b""), "."),
    ],
)
def test_what_is_not_the_file_is_refused_and_not_kept(served, tmp_path, name, content, match):
    folder, url = served
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"(?s){name} did not give.*{match}.*put the archive at"):
        fetch(source(url, name, "x.ply"), tmp_path / "got/x.ply")
    assert not [p for p in (tmp_path / "got").rglob("*") if p.is_file()]


def test_an_archive_that_was_there_is_never_removed(served, tmp_path, mesh_bytes):
    _, url = served
    archive = tmp_path / "got/archives/m.ply.gz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(gzip.compress(b"ply, or is it?"))
    with pytest.raises(DataError, match=r"(?s)m.ply.gz'.*header.*Replace it"):
        fetch(source(url, "m.ply.gz"), tmp_path / "got/x.ply")
    assert archive.exists()
    archive.write_bytes(gzip.compress(mesh_bytes))
    assert len(read_mesh(fetch(source(url, "m.ply.gz"), tmp_path / "got/x.ply")).faces) > 0


def test_a_download_stays_where_only_the_target_fails(served, tmp_path, mesh_bytes, monkeypatch):
    folder, url = served
    (folder / "m.ply.gz").write_bytes(gzip.compress(mesh_bytes))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(DataError, match="Cannot write"):
        patch.setattr("recon.io.download.shutil", SimpleNamespace(copyfileobj=full))
        fetch(source(url, "m.ply.gz"), tmp_path / "got/x.ply")
    (folder / "m.ply.gz").unlink()
    assert fetch(source(url, "m.ply.gz"), tmp_path / "got/x.ply").exists()


def test_another_hash_than_expected_is_refused(served, tmp_path, mesh_bytes):
    folder, url = served
    (folder / "m.ply.gz").write_bytes(gzip.compress(mesh_bytes))
    with pytest.raises(DataError, match="its hash is"):
        fetch(replace(source(url, "m.ply.gz"), sha256="0" * 64), tmp_path / "got/x.ply")
    assert not [p for p in (tmp_path / "got").rglob("*") if p.is_file()]


def test_no_such_file_and_no_server(served, tmp_path):
    _, url = served
    with pytest.raises(DataError, match="404"):
        fetch(source(url, "none.gz"), tmp_path / "x.ply")
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch(source("http://127.0.0.1:9", "none.gz"), tmp_path / "x.ply")
