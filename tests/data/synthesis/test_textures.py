"""Materials of files by others: read where they are sound, left out where they are not, never from elsewhere."""

import random

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recon.data.synthesis.textures import CLAY, Textured, read_textured
from recon.errors import DataError
from recon.io.meshes import write_mesh
from recon.io.types import Cloud, Mesh

OBJ = """mtllib box.mtl
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl painted
f 1/1 2/2 3/3
usemtl plain
f 1/1 3/3 4/4
"""
MTL = "newmtl painted\nKd 1 1 1\nmap_Kd {image}\nnewmtl plain\nKd 0.2 0.4 0.6\n"


def folder_with(tmp_path, image="skin.png", picture=True):
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / "box.obj").write_text(OBJ)
    (home / "box.mtl").write_text(MTL.format(image=image))
    if picture:
        Image.new("RGB", (4, 4), (10, 200, 30)).save(home / "skin.png")
    return home / "box.obj"


def colours(found: Textured) -> list[tuple[float, ...]]:
    return sorted(tuple(np.round(found.materials[m].color, 3)) for m in found.material)


def test_an_obj_has_its_materials_and_images(tmp_path):
    found = read_textured(folder_with(tmp_path))
    assert len(found.mesh.faces) == 2
    assert colours(found) == [(0.2, 0.4, 0.6), (1.0, 1.0, 1.0)]
    images = [found.materials[m].image for m in found.material]
    assert sum(i is not None for i in images) == 1
    painted = next(k for k, i in enumerate(images) if i is not None)
    assert images[painted][0, 0].tolist() == [10, 200, 30]
    corners = found.mesh.vertices[found.mesh.faces[painted]][:, :2]
    np.testing.assert_allclose(found.uv[painted], corners)  # here uv = xy


@pytest.mark.parametrize(
    "image", ["../secret.png", "/etc/hostname", "..\\secret.png", "no.png", "sub/../../secret.png"]
)
def test_images_lie_in_the_meshs_folder_or_are_not_read(tmp_path, image):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "secret.png")
    found = read_textured(folder_with(tmp_path, image))
    assert len(found.mesh.faces) == 2
    assert not found.has_image


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "secret.png")
    path = folder_with(tmp_path, "link.png")
    (path.parent / "link.png").symlink_to(tmp_path / "secret.png")
    assert not read_textured(path).has_image


def test_a_damaged_image_costs_the_image_alone(tmp_path):
    path = folder_with(tmp_path)
    (path.parent / "skin.png").write_bytes(b"\x89PNG no")
    assert len(read_textured(path).mesh.faces) == 2


def test_a_glb_has_its_image_and_its_places(tmp_path):
    shape = trimesh.creation.box((1, 2, 3))
    uv = shape.vertices[:, :2] + 0.5
    skin = trimesh.visual.TextureVisuals(uv, image=Image.new("RGB", (2, 2), (250, 100, 0)))
    scene = trimesh.Scene()
    scene.add_geometry(
        trimesh.Trimesh(shape.vertices, shape.faces, visual=skin, process=False),
        transform=trimesh.transformations.translation_matrix([10, 0, 0]),
    )
    scene.export(tmp_path / "box.glb")
    found = read_textured(tmp_path / "box.glb")
    assert found.has_image
    assert found.mesh.vertices[found.mesh.faces].min() == pytest.approx(-1.5)
    assert found.mesh.vertices[:, 0].mean() == pytest.approx(10)
    assert found.materials[0].image[0, 0].tolist() == [250, 100, 0]


def test_vertex_colours_and_clay(tmp_path):
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]]), colors=np.array([[255, 0, 0], [0, 9, 0], [0, 0, 7]], np.uint8))
    write_mesh(tmp_path / "a.ply", mesh)
    found = read_textured(tmp_path / "a.ply")
    assert found.mesh.colors.tolist() == mesh.colors.tolist()
    assert found.materials[0].color == (1, 1, 1)
    write_mesh(tmp_path / "b.ply", Mesh(mesh.vertices, mesh.faces))
    assert read_textured(tmp_path / "b.ply").materials[0].color == CLAY


def test_points_are_no_mesh(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\n")
    with pytest.raises(DataError, match="no faces"):
        read_textured(tmp_path / "a.obj")
    assert Cloud  # what the file holds


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from(["box.obj", "box.mtl", "skin.png", "box.glb"]))
def test_damaged_files_raise_nothing_but_data_errors(tmp_path_factory, seed, name):
    folder = tmp_path_factory.mktemp("damaged")
    path = folder_with(folder)
    if name == "box.glb":
        path = path.parent / "box.glb"
        skin = trimesh.visual.TextureVisuals(np.zeros((8, 2)), image=Image.new("RGB", (2, 2)))
        shape = trimesh.creation.box((1, 1, 1))
        trimesh.Trimesh(shape.vertices, shape.faces, visual=skin, process=False).export(path)
    draw, data = random.Random(seed), bytearray((path.parent / name).read_bytes())
    for _ in range(draw.randint(1, 8)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    (path.parent / name).write_bytes(data[: draw.randint(1, len(data))] if draw.random() < 0.3 else data)
    try:
        found = read_textured(path)
        assert found.material.max(initial=0) < len(found.materials)
    except DataError:
        pass


def test_texture_coordinates_may_jump_at_an_edge(tmp_path):
    path = folder_with(tmp_path)
    path.write_text(OBJ.replace("usemtl plain\n", "").replace("f 1/1 3/3 4/4", "f 1/3 3/1 4/2"))
    found = read_textured(path)
    corners = {
        tuple(map(tuple, v)): u.tolist() for v, u in zip(found.mesh.vertices[found.mesh.faces], found.uv, strict=True)
    }
    assert corners[(0, 0, 0), (1, 0, 0), (1, 1, 0)] == [[0, 0], [1, 0], [1, 1]]
    assert corners[(0, 0, 0), (1, 1, 0), (0, 1, 0)] == [[1, 1], [0, 0], [1, 0]]
