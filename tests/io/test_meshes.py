from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from recon.errors import DataError
from recon.io.arrays import read_array
from recon.io.clouds import read_cloud, write_cloud
from recon.io.meshes import READERS, WRITERS, read_geometry, read_mesh, write_mesh
from recon.io.types import Cloud, Mesh

FOLDERS = ("stanford", "srb", "cgal", "pcl", "abc_minimal", "classic_meshes", "modelnet")


def blob(scale: float = 1.0, offset: float = 0.0, full: bool = True) -> Mesh:
    """An icosphere, bent so that no symmetry hides an error, with normals and colours."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    rng = np.random.default_rng(0)
    vertices = np.asarray(ball.vertices) * [1, 0.7, 0.4] + rng.normal(0, 0.01, ball.vertices.shape)
    normals = np.asarray(ball.vertices).copy() if full else None
    colors = rng.integers(0, 256, ball.vertices.shape).astype(np.uint8) if full else None
    return Mesh(vertices * scale / 2 + offset, np.asarray(ball.faces, dtype=np.int64), normals, colors)


def corners(mesh: Mesh) -> np.ndarray:
    return mesh.vertices[mesh.faces].reshape(-1, 9)


@pytest.mark.parametrize("suffix", sorted(WRITERS))
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (10.0, 5e6), (1e-3, 0.0), (1e-3, 7.0)])
def test_meshes_come_back_to_a_millionth_of_their_size(tmp_path, suffix, scale, offset):
    mesh = blob(scale, offset)
    write_mesh(tmp_path / f"m{suffix}", mesh)
    back = read_mesh(tmp_path / f"m{suffix}")
    assert np.abs(corners(back) - corners(mesh)).max() < 1e-6 * scale
    if suffix == ".stl":
        assert len(back.vertices) == len(mesh.vertices)
        return
    np.testing.assert_array_equal(back.faces, mesh.faces)
    np.testing.assert_array_equal(back.colors, mesh.colors)
    np.testing.assert_allclose(back.normals, mesh.normals, atol=1e-6)


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_meshes_without_normals_and_colours(tmp_path, suffix):
    write_mesh(tmp_path / f"m{suffix}", blob(full=False))
    back = read_mesh(tmp_path / f"m{suffix}")
    assert back.normals is None
    assert back.colors is None
    assert len(back.faces) == 320


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_trimesh_reads_what_we_write_and_we_what_it_writes(tmp_path, suffix):
    mesh = blob()
    write_mesh(tmp_path / f"ours{suffix}", mesh)
    theirs = trimesh.load(tmp_path / f"ours{suffix}", force="mesh", process=False)
    np.testing.assert_allclose(theirs.triangles.reshape(-1, 9), corners(mesh), atol=1e-6)
    mesh.to_trimesh().export(tmp_path / f"theirs{suffix}")
    np.testing.assert_allclose(corners(read_mesh(tmp_path / f"theirs{suffix}")), corners(mesh), atol=1e-6)


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_an_empty_mesh_can_be_written_and_is_refused_with_its_name(tmp_path, suffix):
    write_mesh(tmp_path / f"empty{suffix}", Mesh.empty())
    with pytest.raises(DataError, match=f"empty{suffix}"):
        read_mesh(tmp_path / f"empty{suffix}")


@pytest.mark.parametrize("name", ["a b.ply", "{x}~=#.obj", 'quote\'s "q".glb', "größe.stl", "a,b(c).off"])
def test_awkward_paths(tmp_path, name):
    write_mesh(tmp_path / "f {~}=" / name, blob())
    assert len(read_mesh(str(tmp_path / "f {~}=" / name)).faces) == 320


def test_every_file_of_the_sample_data_loads(data_dir):
    files = [f for folder in FOLDERS for f in sorted((data_dir / folder).rglob("*")) if f.is_file()]
    assert files
    for file in files:
        if file.suffix == ".npy" and read_array(file).ndim == 1:
            assert np.isfinite(read_array(file)).all()  # signed distances, not geometry
            continue
        shape = read_geometry(file)
        points = shape.vertices if isinstance(shape, Mesh) else shape.points
        assert len(points) > 100
        assert np.isfinite(points).all()
        if shape.normals is not None:
            np.testing.assert_allclose(np.linalg.norm(shape.normals, axis=1), 1, atol=1e-6)
        if isinstance(shape, Mesh):
            # Counted against another reader.
            assert len(shape.faces) == len(trimesh.load(file, force="mesh", process=False).faces)


PLY = b"""ply
format ascii 1.0
comment by hand
element camera 1
property float focal
element vertex 5
property double x
property double y
property double z
property list uchar int neighbours
property uchar red
property uchar green
property uchar blue
element face 2
property uchar material
property list uint8 uint vertex_index
element nothing 0
property int none
end_header
35
0 0 0 2 1 3 255 0 0
1 0 0 0 255 0 0
1 1 0 1 9 255 0 0
0 1 0 0 255 0 0
0.5 0.5 1e0 0 1 2 3
7 4 0 1 2 3
7 3 0 1 4
"""


def as_binary(order: str) -> bytes:
    name = {"<": b"binary_little_endian", ">": b"binary_big_endian"}[order]
    header, end, _ = PLY.replace(b"ascii", name).partition(b"end_header\n")
    rows = [
        (0, 0, 0, (1, 3), (255, 0, 0)),
        (1, 0, 0, (), (255, 0, 0)),
        (1, 1, 0, (9,), (255, 0, 0)),
        (0, 1, 0, (), (255, 0, 0)),
        (0.5, 0.5, 1, (), (1, 2, 3)),
    ]
    body = struct.pack(order + "f", 35)
    for x, y, z, items, color in rows:
        body += struct.pack(f"{order}3dB{len(items)}i3B", x, y, z, len(items), *items, *color)
    body += struct.pack(order + "BB4I", 7, 4, 0, 1, 2, 3) + struct.pack(order + "BB3I", 7, 3, 0, 1, 4)
    return header + end + body


@pytest.mark.parametrize("data", [PLY, PLY.replace(b"\n", b"\r\n"), as_binary("<"), as_binary(">")])
def test_ply_with_lists_extras_and_quads(tmp_path, data):
    (tmp_path / "m.ply").write_bytes(data)
    mesh = read_mesh(tmp_path / "m.ply")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 1, 4]])
    np.testing.assert_array_equal(mesh.vertices[4], [0.5, 0.5, 1])
    np.testing.assert_array_equal(mesh.colors[4], [1, 2, 3])


def test_ply_triangle_strips(tmp_path):
    header = "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\nproperty float z\n"
    header += "element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    (tmp_path / "m.ply").write_text(header + "0 0 0\n1 0 0\n0 1 0\n1 1 0\n0 2 0\n9 0 1 2 3 -1 4 3 2 -1\n")
    np.testing.assert_array_equal(read_mesh(tmp_path / "m.ply").faces, [[0, 1, 2], [2, 1, 3], [4, 3, 2]])


def test_obj_polygons_negative_indices_and_points_only(tmp_path):
    text = "v 0 0 0\nv 1 0 0\\\n\nv 1 1 0 # corner\n v\t0 1 0\nvn 0 0 2\nf -4//-1 2//1 3//1 4//1\nl 1 2\n"
    (tmp_path / "m.obj").write_text(text.replace("0\\\n\n", "\\\n0\n"))
    mesh = read_mesh(tmp_path / "m.obj")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(mesh.normals, [[0, 0, 1]] * 4)
    (tmp_path / "p.obj").write_text("v 0 0 0\nv 1 0 5e6\n")
    np.testing.assert_array_equal(read_cloud(tmp_path / "p.obj").points, [[0, 0, 0], [1, 0, 5e6]])


def test_off_kinds(tmp_path):
    for name, text in {
        "glued": "OFF4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3 255 0 0\n",
        "cnoff": "# c\nCNOFF\n4 1 0\n"
        + "".join(f"{x} {y} 0 0 0 2 9 8 7 255\n" for x, y in ((0, 0), (1, 0), (1, 1), (0, 1)))
        + "4 0 1 2 3\n",
    }.items():
        (tmp_path / f"{name}.off").write_text(text)
        mesh = read_mesh(tmp_path / f"{name}.off")
        np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(mesh.normals, [[0, 0, 1]] * 4)
    np.testing.assert_array_equal(mesh.colors, [[9, 8, 7]] * 4)


def test_glb_transforms_apply_in_double(tmp_path):
    scene = trimesh.Scene()
    box = trimesh.creation.box()
    mirror = np.diag([-2.0, 1, 1, 1])
    mirror[:3, 3] = [5e6, 0.25, 1]
    turn = trimesh.transformations.rotation_matrix(0.3, [1, 2, 3])
    scene.add_geometry(box, transform=mirror, geom_name="a", node_name="a")
    scene.add_geometry(box, transform=turn, geom_name="b", node_name="b", parent_node_name="a")
    scene.export(tmp_path / "s.glb")
    mesh = read_mesh(tmp_path / "s.glb")
    want = trimesh.util.concatenate([box.copy().apply_transform(mirror), box.copy().apply_transform(mirror @ turn)])
    assert len(mesh.faces) == 24
    np.testing.assert_allclose(mesh.vertices.min(axis=0), want.vertices.min(axis=0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), want.vertices.max(axis=0), rtol=0, atol=1e-6)
    local = trimesh.Trimesh(mesh.vertices - mirror[:3, 3], mesh.faces)
    assert local.volume == pytest.approx(4, rel=1e-6)  # two boxes of volume 2, turned right side out


def test_glb_refuses_what_it_cannot_read(tmp_path):
    write_mesh(tmp_path / "m.glb", blob())
    data = (tmp_path / "m.glb").read_bytes()
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])

    def check(change: dict, match: str) -> None:
        text = json.dumps(document | change).encode()
        head = struct.pack("<4sIIII", b"glTF", 2, 12 + 8 + len(text) + len(data) - 20 - length, len(text), 0x4E4F534A)
        (tmp_path / "bad.glb").write_bytes(head + text + data[20 + length :])
        with pytest.raises(DataError, match=match):
            read_geometry(tmp_path / "bad.glb")

    check({"nodes": [{"mesh": 0, "children": [0]}]}, "hangs below")
    check({"nodes": 5}, "not a usable scene")
    check({"accessors": [a | {"count": 10**12} for a in document["accessors"]]}, "reaches byte")
    check({"buffers": [{"byteLength": 9, "uri": "x.bin"}]}, "another file")
    check({"meshes": [{"primitives": [{"mode": 1, "attributes": {}}]}]}, "no triangles")


def test_stl_is_text_only_where_floats_would_lose(tmp_path):
    write_mesh(tmp_path / "near.stl", blob())
    write_mesh(tmp_path / "far.stl", blob(10, 5e6))
    assert (tmp_path / "near.stl").stat().st_size == 84 + 50 * 320
    assert (tmp_path / "far.stl").read_bytes().startswith(b"solid")


def test_faces_and_suffixes_are_checked(tmp_path):
    (tmp_path / "m.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n")
    with pytest.raises(DataError, match=r"m\.off.*index 7 names none of 3 vertices"):
        read_mesh(tmp_path / "m.off")
    (tmp_path / "m.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 nan\nf 1 2 3\n")
    with pytest.raises(DataError, match=r"m\.obj.*1 of 3 vertices are not finite"):
        read_mesh(tmp_path / "m.obj")
    with pytest.raises(DataError, match=r"(?s)\.fbx.*Known: \.ply"):
        read_geometry(tmp_path / "m.fbx")
    with pytest.raises(DataError, match=r"(?s)\.xyz.*Known: \.ply"):
        write_mesh(tmp_path / "m.xyz", blob())
    with pytest.raises(DataError, match="No such file"):
        read_geometry(tmp_path / "missing.ply")
    (tmp_path / "folder.ply").mkdir()
    with pytest.raises(DataError, match="directory"):
        read_geometry(tmp_path / "folder.ply")
    write_cloud(tmp_path / "c.ply", Cloud(np.eye(3)))
    with pytest.raises(DataError, match="3 points and no faces"):
        read_mesh(tmp_path / "c.ply")


@pytest.mark.parametrize(
    ("name", "data"),
    {
        "m.ply": PLY.replace(b"vertex 5", b"vertex 1000000000000"),
        "b.ply": as_binary("<").replace(b"vertex 5", b"vertex 1000000000000"),
        "f.ply": as_binary("<").replace(b"face 2", b"face 1000000000000"),
        "m.off": b"OFF\n1000000000000 1 0\n0 0 0\n",
        "m.stl": b"x" * 80 + b"\xff\xff\xff\xff" + b"y" * 100,
        "m.pwn": b"1000000000000\n0 0 0 0 0 1\n",
        "m.xyz": b"1000000000000\n0 0 0\n",
        "m.npy": b"\x93NUMPY\x01\x00\x46\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3)}\n",
        "m.pcd": b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nPOINTS 1000000000000\nDATA binary\n" + b"0" * 99,
    }.items(),
)
def test_huge_headers_fail_before_memory_is_taken(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match="announces"):
        read_geometry(tmp_path / name)


def samples(folder: Path) -> list[Path]:
    """One small file of every format and encoding."""
    mesh = blob()
    cloud = Cloud(mesh.vertices[:50], mesh.normals[:50], mesh.colors[:50])
    for suffix in WRITERS:
        write_mesh(folder / f"mesh{suffix}", mesh)
    write_mesh(folder / "text.stl", blob(10, 5e6))
    for suffix in (".ply", ".xyz", ".xyzn", ".npy", ".npz"):
        write_cloud(folder / f"cloud{suffix}", cloud)
    (folder / "text.ply").write_bytes(PLY)
    (folder / "big.ply").write_bytes(as_binary(">"))
    (folder / "list.pwn").write_text("2\n0 0 0\n1 1 1\n0 0 1\n0 1 0\n")
    fields = b"FIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 1\nWIDTH 9\nHEIGHT 1\nPOINTS 9\nDATA "
    (folder / "text.pcd").write_bytes(fields + b"ascii\n" + b"0.5 1 nan 16711680\n1 2 3 255\n2 2 2 9\n" * 3)
    (folder / "binary.pcd").write_bytes(fields + b"binary\n" + np.linspace(0, 1, 36).astype("<f4").tobytes())
    packed = b"".join(bytes([31]) + bytes(range(32)) for _ in range(4)) + bytes([0b11100000, 7, 31])
    block = struct.pack("<II", len(packed), 144) + packed
    (folder / "packed.pcd").write_bytes(fields + b"binary_compressed\n" + block)
    return sorted(folder.iterdir())


def refusal(path: Path, content: bytes) -> DataError | None:
    path.write_bytes(content)
    try:
        read_geometry(path, on_bad_points="drop")
    except DataError as error:
        return error
    return None


def test_damaged_files_give_a_data_error_or_load(tmp_path):
    """Every format, cut short at many places and with bytes changed: never another exception, never a crash."""
    (tmp_path / "good").mkdir()
    rng = np.random.default_rng(1)
    files = samples(tmp_path / "good")
    assert {f.suffix for f in files} >= set(READERS) - {".pts", ".asc", ".txt"}
    for file in files:
        data = file.read_bytes()
        read_geometry(file)
        cuts = {0, 1, 3, 10, 83, 84, len(data) // 2, len(data) - 1, *rng.integers(0, len(data), 12).tolist()}
        damaged = [data[:cut] for cut in cuts]
        for _ in range(50):
            changed = bytearray(data)
            for at in rng.integers(0, min(len(data), int(rng.choice([20, 120, 400, len(data)]))), rng.integers(1, 6)):
                changed[at] = rng.choice(
                    [0, 0xFF, 0x80, ord("9"), ord("-"), ord(" "), ord("\n"), int(rng.integers(256))]
                )
            damaged.append(bytes(changed))
        bad = tmp_path / f"bad{file.suffix}"
        refusals = [refusal(bad, content) for content in damaged]
        assert all(str(bad) in str(error) for error in refusals if error)
        assert sum(error is not None for error in refusals) > 3, file.name
