"""Downloads that break, go on, and are of another file than is known; parts of archives; hostile archives."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.errors import ConfigError, DataError
from recon.io import transfer
from recon.io.archives import Pick, room_for, unpack, unpack_remote
from recon.io.ledger import Ledger, claimed
from recon.io.transfer import probe, read_range, receive, sha256_of
from tests.io.web import Web, serve

DATA = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def web(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    with serve(Web({"a.bin": DATA})) as server:
        yield server


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_comes_whole(web, tmp_path, ranges):
    web.ranges = ranges
    remote = probe(web.url("a.bin"))
    assert (remote.size, remote.ranges, remote.page) == (len(DATA), ranges, False)
    counts = []
    digest = receive(remote, tmp_path / "x/a.bin", told=lambda done, total: counts.append(done))
    assert digest == hashlib.sha256(DATA).hexdigest()
    assert (tmp_path / "x/a.bin").read_bytes() == DATA
    assert counts[-1] == len(DATA)
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["a.bin"]


def test_a_cut_connection_goes_on_where_it_broke(web, tmp_path):
    web.cuts = [100_000, 50_000, 10_000]
    digest = receive(probe(web.url("a.bin")), tmp_path / "a.bin")
    assert digest == hashlib.sha256(DATA).hexdigest() == sha256_of(tmp_path / "a.bin")
    assert web.asked[2:] == ["bytes=100000-", "bytes=150000-", "bytes=160000-"]
    assert web.sent < 1.1 * len(DATA)


def test_without_ranges_a_cut_connection_starts_again(web, tmp_path):
    web.ranges, web.cuts = False, [100_000]
    assert receive(probe(web.url("a.bin")), tmp_path / "a.bin") == hashlib.sha256(DATA).hexdigest()


def test_what_came_is_kept_for_the_next_run(web, tmp_path):
    web.cuts = [100_000] + [0] * 20
    with pytest.raises(DataError, match=r"(?s)could not be downloaded.*What came is kept"):
        receive(probe(web.url("a.bin")), tmp_path / "a.bin")
    assert (tmp_path / ".a.bin.part").stat().st_size == 100_000
    web.cuts, web.sent = [], 0
    assert receive(probe(web.url("a.bin")), tmp_path / "a.bin") == hashlib.sha256(DATA).hexdigest()
    assert web.sent <= 200_001


def test_half_of_another_file_is_not_gone_on_with(web, tmp_path):
    web.cuts = [100_000] + [0] * 20
    with pytest.raises(DataError):
        receive(probe(web.url("a.bin")), tmp_path / "a.bin")
    other = DATA[::-1]
    web.files["a.bin"], web.tag, web.cuts = other, '"new"', []
    receive(probe(web.url("a.bin")), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == other


def test_a_file_that_changes_midway_is_refused(web, tmp_path):
    remote = probe(web.url("a.bin"))
    web.tag = '"new"'
    with pytest.raises(DataError, match="changed while"):
        receive(remote, tmp_path / "a.bin")
    with pytest.raises(DataError, match="changed while"):
        read_range(remote, 0, 10)
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("announced", [len(DATA) - 1000, len(DATA) + 1000])
def test_another_length_than_announced_is_refused(web, tmp_path, announced):
    web.ranges = False
    remote = probe(web.url("a.bin"))
    web.lie = True  # no length any more: only the count of bytes can tell
    with pytest.raises(DataError):
        receive(transfer.Remote(remote.url, announced, False, remote.tag, False), tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()


def test_another_hash_than_before_is_refused(web, tmp_path):
    with pytest.raises(DataError, match="another file than is known"):
        receive(probe(web.url("a.bin")), tmp_path / "a.bin", "0" * 64)
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".part"]


def test_errors_of_servers(web, tmp_path):
    with pytest.raises(DataError, match="404"):
        probe(web.url("none"))
    with pytest.raises(DataError, match="could not be downloaded"):
        probe("http://127.0.0.1:9/none")
    remote = probe(web.url("a.bin"))
    web.status = [503, 503]
    assert receive(remote, tmp_path / "a.bin")
    web.status = [403]
    with pytest.raises(DataError, match="403"):
        receive(remote, tmp_path / "b.bin")


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def tarred(members: dict[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, data in members.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = 0 if isinstance(data, tarfile.TarInfo) else len(data)
            archive.addfile(info, None if isinstance(data, tarfile.TarInfo) else io.BytesIO(data))
    return packed.getvalue()


CLASSES = {
    f"Top/{c}/{m}/{f}": f"{c}{m}{f}".encode() * 50 for c in ("111", "222") for m in "ab" for f in ("p", "junk/q")
}
PICK = Pick("Top", "junk", r"\d{3}", frozenset({"222"}))


@pytest.mark.parametrize("pack", [zipped, tarred, lambda m: tarred(m, "w"), lambda m: tarred(m, "w:xz")])
def test_wanted_members_land_below_the_folder(tmp_path, pack):
    members = {"wrap/" + name: data for name, data in CLASSES.items()} | {"wrap/Top/meta": b"x", "wrap/readme": b"no"}
    (tmp_path / "a").write_bytes(pack(members))
    places = unpack(tmp_path / "a", tmp_path / "out", PICK)
    expected = {"Top/222/a/p", "Top/222/b/p", "Top/meta"}
    assert set(map(str, places)) == expected
    there = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert set(there) == expected
    assert there["Top/222/a/p"].read_bytes() == CLASSES["Top/222/a/p"]
    moment = there["Top/222/a/p"].stat().st_mtime_ns
    there["Top/222/b/p"].write_bytes(b"half")
    assert unpack(tmp_path / "a", tmp_path / "out", PICK) == places
    assert there["Top/222/a/p"].stat().st_mtime_ns == moment, "what is whole is not written again"
    assert there["Top/222/b/p"].read_bytes() == CLASSES["Top/222/b/p"]


def test_only_wanted_members_are_read_from_the_web(web, tmp_path):
    """As much as is wanted and the directory, not the whole; and after a break only what is missing."""
    rng = np.random.default_rng(1)
    members = {f"Top/{c}/{m}/{f}": rng.bytes(60_000) for c in ("111", "222", "333") for m in range(12) for f in "pq"}
    web.files["a.zip"] = zipped(members, zipfile.ZIP_STORED)
    remote = probe(web.url("a.zip"))
    web.sent = 0
    needs: list[int] = []
    places, fetched = unpack_remote(remote, tmp_path, PICK, check=needs.append)
    assert len(places) == 24
    assert needs == [24 * 60_000]
    assert web.sent == fetched < 24 * 60_000 + 1_300_000 < 0.8 * remote.size
    for place in places:
        assert (tmp_path / place).read_bytes() == members[str(place)]
    for place in places[:3]:
        (tmp_path / place).unlink()
    assert len(unpack_remote(remote, tmp_path, PICK)[0]) == 24
    assert all((tmp_path / place).exists() for place in places)


def test_members_from_the_web_are_checked(web, tmp_path):
    packed = bytearray(zipped(CLASSES, zipfile.ZIP_STORED))
    at = packed.index(CLASSES["Top/222/a/p"])
    packed[at + 5] ^= 1
    web.files["a.zip"] = bytes(packed)
    with pytest.raises(DataError, match="CRC"):
        unpack_remote(probe(web.url("a.zip")), tmp_path, PICK)
    assert not (tmp_path / "Top/222/a/p").exists()


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("x")
    info.type, info.linkname = kind, target
    return info


EVIL = ["../evil", "/evil", "a/../../evil", "C:\\evil", "C:/evil", "..\\evil"]


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", EVIL)
def test_names_that_lead_outside_are_refused(tmp_path, pack, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_bytes(pack({"good": b"1", name: b"2"}))
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack(tmp_path / "in/a", tmp_path / "in/out", Pick())
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    (tmp_path / "a").write_bytes(tarred({"x": link(kind, "/etc/passwd"), "x/y": b"2"}))
    with pytest.raises(DataError, match="link or a device"):
        unpack(tmp_path / "a", tmp_path / "out", Pick())
    assert not (tmp_path / "out/x").exists()


def test_links_in_zips_and_links_that_were_there_are_refused(tmp_path):
    info = zipfile.ZipInfo("x")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr(info, "/etc")
    with pytest.raises(DataError, match="link or a device"):
        unpack(tmp_path / "a", tmp_path / "out", Pick())
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/x").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "b").write_bytes(zipped({"x/y": b"2"}))
    with pytest.raises(DataError, match="outside"):
        unpack(tmp_path / "b", tmp_path / "out", Pick())
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_bombs_are_refused_before_they_fill_the_disk(tmp_path, pack, monkeypatch):
    monkeypatch.setattr("recon.io.archives.FLOOR", 100_000)
    (tmp_path / "a").write_bytes(pack({str(i): bytes(400_000) for i in range(20)}))
    with pytest.raises(DataError, match="times its own size"):
        unpack(tmp_path / "a", tmp_path / "out", Pick())
    written = (
        sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file())
        if (tmp_path / "out").exists()
        else 0
    )
    assert written <= 400_000


def test_a_header_that_announces_gigabytes_takes_no_memory(tmp_path):
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 10**10
    (tmp_path / "a").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    with pytest.raises(DataError, match="announces"):
        unpack(tmp_path / "a", tmp_path / "out", Pick())


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_half_an_archive_is_an_error(tmp_path, pack):
    (tmp_path / "a").write_bytes(pack({"x": DATA, "y": DATA})[:350_000])
    with pytest.raises(DataError, match="damaged"):
        unpack(tmp_path / "a", tmp_path / "out", Pick())
    assert not (tmp_path / "out/y").exists()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_no_archive_does_harm(tmp_path_factory, data):
    """Random bytes, and good archives with some bytes changed."""
    folder = tmp_path_factory.mktemp("fuzz")
    good = data.draw(st.sampled_from([zipped(CLASSES), tarred(CLASSES), tarred(CLASSES, "w"), b"PK\x05\x06", b""]))
    changed = bytearray(good + data.draw(st.binary(max_size=30)))
    for _ in range(data.draw(st.integers(0, 6))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    (folder / "in").mkdir()
    (folder / "in/a").write_bytes(changed)
    with contextlib.suppress(DataError):
        unpack(folder / "in/a", folder / "in/out", Pick())
    assert sorted(p.name for p in folder.iterdir()) == ["in"]
    assert {p.name for p in (folder / "in").iterdir()} <= {"a", "out"}


def test_picks():
    pick = Pick(r"scan\d+", "", r"scan\d+")
    assert pick.place("DTU/scan24/image/0.png") == PurePosixPath("scan24/image/0.png")
    assert pick.place("DTU/readme") is None
    assert Pick().place("a/b") == PurePosixPath("a/b")


def test_room_is_looked_for(tmp_path):
    room_for(tmp_path / "not/there/yet", 1)
    with pytest.raises(DataError, match="GB are needed"):
        room_for(tmp_path / "not/there/yet", 1e18)


def test_the_ledger_remembers_and_is_for_one_at_a_time(tmp_path):
    with claimed(tmp_path / "d") as ledger:
        ledger.write("a/b.zip", sha256="1" * 64)
        ledger.land("a/b.zip", frozenset({"x"}))
        with pytest.raises(ConfigError, match="another download"), claimed(tmp_path / "d"):
            pass
    again = Ledger(tmp_path / "d")
    assert again.sha256("a/b.zip") == "1" * 64
    assert again.landed("a/b.zip", frozenset({"x"}))
    assert not again.landed("a/b.zip", frozenset({"x", "y"}))
    assert not again.landed("a/b.zip", None)
    assert not again.landed("none", None)
    for text in ("{", "[]", '{"a": 1}', '{"a": {"sha256": "../../x"}}', '{"a": {"sha256": 3}}'):
        (tmp_path / "d/downloads.json").write_text(text)
        with pytest.raises(DataError, match="damaged"):
            Ledger(tmp_path / "d")


@pytest.mark.slow
def test_a_killed_download_goes_on(web, tmp_path):
    web.files["a.bin"] = big = DATA * 40
    web.pause = 0.005
    code = (
        "import sys; from pathlib import Path; from recon.io.transfer import probe, receive\n"
        "receive(probe(sys.argv[1]), Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, web.url("a.bin"), str(tmp_path / "a.bin")])
    part = tmp_path / ".a.bin.part"
    for _ in range(3000):
        if part.exists() and part.stat().st_size > 2_000_000:
            break
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    had = part.stat().st_size
    assert 2_000_000 < had < len(big)
    web.pause, web.sent = 0.0, 0
    assert receive(probe(web.url("a.bin")), tmp_path / "a.bin") == hashlib.sha256(big).hexdigest()
    assert web.sent <= len(big) - had + 200_000, "a block or two may still have been on their way to the killed one"
