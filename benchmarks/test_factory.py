"""`prepare data=shapenet`: one object of 20,480 faces, 100,000 samples, 100,000 queries, 24 views, files and all."""

import numpy as np
import pytest
import trimesh

from recon.data.synthesis.shapenet import ShapeNet
from recon.io.meshes import write_mesh
from recon.io.types import Mesh

LIMIT = 15.0  # CPU seconds


def bumpy_ball() -> Mesh:
    """Closed, 20,480 faces, with bumps that hide one another."""
    ball = trimesh.creation.icosphere(5)
    height = 1 + 0.15 * np.sin(9 * ball.vertices).prod(axis=1, keepdims=True)
    return Mesh(np.asarray(ball.vertices) * height, np.asarray(ball.faces, dtype=np.int64))


@pytest.mark.parametrize("kind", ["closed", "leaky"])
def test_one_object(compare, tmp_path, kind):
    """About 1.5 and 2 CPU seconds on one thread of a quiet machine of 2024."""
    if kind == "leaky":
        pytest.importorskip("igl")
    mesh = bumpy_ball()
    faces = mesh.faces if kind == "closed" else mesh.faces[np.arange(len(mesh.faces)) % 50 > 0]
    write_mesh(tmp_path / "ball.obj", Mesh(mesh.vertices, faces))
    runs = iter(range(100))

    def make() -> None:
        factory = ShapeNet(source=str(tmp_path / "ball.obj"), path=str(tmp_path / f"{next(runs)}"), workers=0)
        made, _ = factory.run()
        assert made[0].facts["closed"] == (kind == "closed")

    timing = compare(make, rounds=3)
    assert timing.ours < LIMIT
