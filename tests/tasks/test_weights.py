"""`reconstruct weights=FILE`: networks of the originals, their format found out, meshed in the frame they live in."""

import h5py
import numpy as np
import pytest
import torch

from recon.cli import main
from recon.io.meshes import read_mesh
from recon.nets.sdf import MLP

pytestmark = pytest.mark.usefixtures("quick_scores")


@pytest.fixture
def scan(workdir):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    np.savetxt("scan.xyz", x / np.linalg.norm(x, axis=1, keepdims=True))
    return "input=scan.xyz"


@pytest.mark.parametrize("prefix", ["", "module."])
def test_authors_weights_are_meshed_where_they_were_trained(scan, prefix):
    torch.manual_seed(1)
    net = MLP(widths=(64,) * 8, skip=(4,), radius=0.6)
    state = {prefix + key: value for key, value in net.state_dict().items()}
    torch.save({"epoch": 7, "model_state_dict": state}, "net.pth")
    words = ["reconstruct", "method=igr", scan, "weights=net.pth", "output=out.ply", "resolution=32"]
    assert main([*words, "report=false", "trainer=cpu"]) == 0
    vertices = torch.from_numpy(read_mesh("out.ply").vertices).float()
    with torch.no_grad():
        assert net(vertices).abs().max() < 0.02  # on the level set, in the network's own coordinates
    assert 0.3 < vertices.norm(dim=1).median() < 0.9


def test_nnabla_weights_are_found_out_by_their_content(scan):
    rng = np.random.default_rng(1)
    sizes = [(3, 16), (16, 16), (16, 16), (16, 13), (16, 16), (16, 16), (16, 16), (16, 1)]
    with h5py.File("net.bin", "w") as file:
        for number, (rows, columns) in enumerate(sizes):
            group = file.create_group(f"fc{number}/affine")
            group["W"] = rng.normal(size=(rows, columns)).astype(np.float32) / np.sqrt(rows)
            group["b"] = np.full(columns, 0.05, np.float32)
    words = ["reconstruct", "method=igr_nnabla", scan, "weights=net.bin", "output=out.ply", "resolution=24"]
    assert main([*words, "report=false", "trainer=cpu"]) == 0


def test_what_is_no_weights_is_named(scan, capsys):
    with open("net.pth", "wb") as file:
        file.write(b"not a checkpoint")
    assert main(["reconstruct", "method=igr", scan, "weights=net.pth", "report=false"]) == 2
    assert "net.pth" in capsys.readouterr().err


def test_a_method_without_foreign_weights_says_so(scan, capsys):
    torch.save({}, "net.pth")
    assert main(["reconstruct", "method=poisson", scan, "weights=net.pth", "report=false"]) == 2
    assert "Poisson knows no weights" in capsys.readouterr().err
