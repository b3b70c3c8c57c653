from __future__ import annotations

import io
import logging
import struct
import zipfile

import numpy as np
import pytest

from recon.errors import DataError
from recon.io.arrays import read_array
from recon.io.clouds import WRITERS, read_cloud, write_cloud
from recon.io.parsing import FormatError
from recon.io.pcd import unpack_lzf
from recon.io.types import Cloud


def scan(scale: float = 1.0, offset: float = 0.0) -> Cloud:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(200, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    colors = rng.integers(0, 256, (200, 3)).astype(np.uint8)
    return Cloud(normals * scale / 2 + offset, normals, colors)


@pytest.mark.parametrize("suffix", sorted(WRITERS))
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (10.0, 5e6), (1e-3, 0.0)])
def test_clouds_come_back_exactly(tmp_path, suffix, scale, offset):
    cloud = scan(scale, offset)
    write_cloud(tmp_path / f"c{suffix}", cloud)
    back = read_cloud(tmp_path / f"c{suffix}")
    np.testing.assert_array_equal(back.points, cloud.points)
    np.testing.assert_allclose(back.normals, cloud.normals, atol=1e-15)
    if suffix in (".ply", ".xyz"):
        np.testing.assert_array_equal(back.colors, cloud.colors)
    if suffix != ".xyzn":
        write_cloud(tmp_path / f"bare{suffix}", Cloud(cloud.points))
        assert read_cloud(tmp_path / f"bare{suffix}").normals is None
        return
    with pytest.raises(DataError, match="wants normals"):
        write_cloud(tmp_path / "bare.xyzn", Cloud(cloud.points))


@pytest.mark.parametrize(
    ("text", "normals", "colors"),
    [
        ("x y z\n0 0 0\n1 2 3\n", None, None),
        ("# a\n//X,Y,Z,I\n0,0,0,0.5\n1,2,3,0.5\n", None, None),
        ("2\n0 0 0 10 255 0 0\n1 2 3 10 1 2 3\n", None, [1, 2, 3]),
        ("0 0 0 0 0 -2\n1 2 3 0 3 0\n", [0, 1, 0], None),
        ("0 0 0 0 0 200\n1 2 3 1 2 3\r\n", None, [1, 2, 3]),
        ("0 0 0 9 8 200 0 0 2\n1 2 3 1 2 3 0 1 0\n", [0, 1, 0], [1, 2, 3]),
    ],
)
def test_xyz_layouts(tmp_path, text, normals, colors):
    (tmp_path / "c.xyz").write_text(text)
    cloud = read_cloud(tmp_path / "c.xyz")
    np.testing.assert_array_equal(cloud.points, [[0, 0, 0], [1, 2, 3]])
    for got, want in ((cloud.normals, normals), (cloud.colors, colors)):
        assert (got is None) == (want is None)
        if want is not None:
            np.testing.assert_array_equal(got[1], want)


@pytest.mark.parametrize(
    "text", ["2\n0 0 0 0 0 1\n1 2 3 0 2 0\n", "0 0 0 0 0 1\n1 2 3 0 2 0\n", "2\n0 0 0\n1 2 3\n0 0 1\n0 2 0\n"]
)
def test_pwn_layouts(tmp_path, text):
    (tmp_path / "c.pwn").write_text(text)
    cloud = read_cloud(tmp_path / "c.pwn")
    np.testing.assert_array_equal(cloud.points, [[0, 0, 0], [1, 2, 3]])
    np.testing.assert_array_equal(cloud.normals, [[0, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("c.xyz", "0 0 0\n1 2\n", "columns"),
        ("c.xyz", "0 0 0\n1 2 x\n", "row 1"),
        ("c.xyz", "0 0 0 0 0\n", "5 columns"),
        ("c.xyz", "# nothing\n", "no rows"),
        ("c.xyzn", "0 0 0\n", "column"),
        ("c.pwn", "3\n0 0 0\n0 0 1\n", "announces 3"),
    ],
)
def test_damaged_text_is_named(tmp_path, name, text, match):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=rf"{name}'.*{match}"):
        read_cloud(tmp_path / name)


def pcd(encoding: str, rows: np.ndarray, colors: np.ndarray, as_float: bool) -> bytes:
    letter = "F" if as_float else "U"
    head = f"# .PCD v.7\nVERSION .7\nFIELDS x y z _ rgb\nSIZE 8 8 8 1 4\nTYPE F F F U {letter}\nCOUNT 1 1 1 3 1\n"
    head += f"WIDTH {len(rows)}\nHEIGHT 1\nPOINTS {len(rows)}\nDATA {encoding}\n"
    bits = (colors.astype("<u4") << [16, 8, 0]).sum(axis=1).astype("<u4")
    if encoding == "ascii":
        color = [repr(float(f)) for f in bits.view("<f4")] if as_float else [str(b) for b in bits]
        lines = [f"{x!r} {y!r} {z!r} 0 0 0 {c}" for (x, y, z), c in zip(rows.tolist(), color, strict=True)]
        return (head + "\n".join(lines)).encode()
    table = np.zeros(len(rows), dtype=[("p", "<f8", (3,)), ("pad", "u1", (3,)), ("c", "<u4")])
    table["p"], table["c"] = rows, bits
    if encoding == "binary":
        return head.encode() + table.tobytes()
    block = (
        b"".join(np.ascontiguousarray(rows[:, i]).tobytes() for i in range(3)) + bytes(3 * len(rows)) + bits.tobytes()
    )
    packed = pack_lzf(block)
    return head.encode() + struct.pack("<II", len(packed), len(block)) + packed


def pack_lzf(data: bytes) -> bytes:
    """A plain LZF encoder: literals, and copies wherever the last three bytes were seen before."""
    out, literal, seen, at = bytearray(), bytearray(), {}, 0

    def flush() -> None:
        for i in range(0, len(literal), 32):
            out.extend([len(literal[i : i + 32]) - 1, *literal[i : i + 32]])
        literal.clear()

    while at < len(data):
        source = seen.get(data[at : at + 3], -1)
        seen[data[at : at + 3]] = at
        back, length = at - source - 1, 3
        if source < 0 or back >= 8192 or at + 3 > len(data):
            literal.append(data[at])
            at += 1
            continue
        while length < 264 and at + length < len(data) and data[source + length] == data[at + length]:
            length += 1
        flush()
        short = min(length - 2, 7)
        out.extend([short << 5 | back >> 8, *([length - 9] if short == 7 else []), back & 255])
        at += length
    flush()
    return bytes(out)


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("as_float", [True, False])
def test_pcd_drops_what_was_not_measured_and_says_so(tmp_path, caplog, encoding, as_float):
    cloud = scan(10, 5e6)
    rows = np.round(cloud.points, 1)
    rows[[3, 7]] = np.nan
    (tmp_path / "c.pcd").write_bytes(pcd(encoding, rows, cloud.colors, as_float))
    with caplog.at_level(logging.WARNING, "recon"):
        back = read_cloud(tmp_path / "c.pcd")
    kept = np.isfinite(rows[:, 0])
    np.testing.assert_array_equal(back.points, rows[kept])
    np.testing.assert_array_equal(back.colors, cloud.colors[kept])
    assert "2 rows are left out" in caplog.text


def test_lzf_copies_that_overlap_and_damage():
    data = b"abcabcabcabc" * 40 + bytes(300) + b"end"
    assert bytes(unpack_lzf(pack_lzf(data), len(data))) == data
    for bad in (pack_lzf(data)[:-1], b"\x20\x05", b"\xe0", pack_lzf(data) + b"\x00a"):
        with pytest.raises(FormatError, match="block"):
            unpack_lzf(bad, len(data))


@pytest.mark.parametrize("column", ["points", "normals"])
def test_bad_rows_raise_or_are_dropped(tmp_path, column):
    cloud = scan()
    table = {"points": cloud.points.copy(), "normals": cloud.normals.copy()}
    table[column][5] = np.nan if column == "points" else 0
    np.savez(tmp_path / "c.npz", **table)
    with pytest.raises(DataError, match=rf"(?s)c\.npz.*1 of 200 {column}.*row 5.*on_bad_points=drop"):
        read_cloud(tmp_path / "c.npz")
    assert len(read_cloud(tmp_path / "c.npz", on_bad_points="drop").points) == 199
    if column == "normals":
        assert len(read_cloud(tmp_path / "c.npz", normals=False).points) == 200


def test_all_points_bad_and_all_normals_zero(tmp_path):
    np.save(tmp_path / "c.npy", np.full((40, 3), np.nan))
    with pytest.raises(DataError, match="all of its 40 points"):
        read_cloud(tmp_path / "c.npy", on_bad_points="drop")
    np.save(tmp_path / "z.npy", np.hstack([scan().points, np.zeros((200, 3))]))
    assert read_cloud(tmp_path / "z.npy").normals is None


def test_arrays_never_run_code_and_never_trust_headers(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not numbers"):
        read_cloud(tmp_path / "o.npy")
    np.save(tmp_path / "d.npy", np.arange(5))
    np.testing.assert_array_equal(read_array(tmp_path / "d.npy"), np.arange(5))
    with pytest.raises(DataError, match=r"shape \(5,\)"):
        read_cloud(tmp_path / "d.npy")
    np.savez(tmp_path / "n.npz", other=np.eye(3))
    with pytest.raises(DataError, match=r"no array 'points' \(it has: other"):
        read_cloud(tmp_path / "n.npz")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", b"x")
    data = bytearray(bomb.getvalue())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (2**32 - 2).to_bytes(4, "little")
    (tmp_path / "b.npz").write_bytes(data)
    with pytest.raises(DataError, match="announces 4294967294 bytes"):
        read_cloud(tmp_path / "b.npz")


def test_onet_half_precision(tmp_path):
    cloud = scan()
    np.savez(
        tmp_path / "pointcloud.npz", points=cloud.points.astype("f2"), normals=cloud.normals.astype("f2"), scale=2.0
    )
    back = read_cloud(tmp_path / "pointcloud.npz")
    np.testing.assert_allclose(back.points, cloud.points, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(back.normals, axis=1), 1, atol=1e-12)


def test_a_mesh_is_no_cloud(tmp_path):
    (tmp_path / "m.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(DataError, match="mesh of 1 faces where points are wanted"):
        read_cloud(tmp_path / "m.obj")
