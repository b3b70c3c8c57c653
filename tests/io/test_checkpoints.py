"""Weights of others are read safely, recognised by content, and refused with the culprit's name."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from recon.errors import CheckpointError
from recon.io.checkpoints import load_state, load_weights
from recon.nets.sdf import MLP


def authors_net(**changes: Any) -> MLP:
    return MLP(**{"widths": (20, 20, 20, 24), "skip": (2,), **changes})


def write_nnabla(path: Path, net: MLP) -> None:
    with h5py.File(path, "w") as file:
        for n in range(net.depth + 1):
            linear = net.get_submodule(f"lin{n}")
            file[f"fc{n}/affine/W"] = linear.weight.detach().numpy().T
            file[f"fc{n}/affine/b"] = linear.bias.detach().numpy()
            file[f"fc{n}/affine/W"].attrs["need_grad"] = True


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("changes", [{}, {"latent": 7}, {"d_in": 2}, {"skip": (1, 3)}, {"skip": ()}])
def test_authors_files_tell_their_architecture(tmp_path: Path, prefix: str, changes: dict[str, Any]) -> None:
    net = authors_net(**changes)
    state = {prefix + key: value for key, value in net.state_dict().items()}
    torch.save({"epoch": 3, "model_state_dict": state}, tmp_path / "no_suffix")
    kind, tensors, found = load_weights(tmp_path / "no_suffix")
    if changes == {"latent": 7}:
        assert found["latent"] == 7
    assert kind == "igr_authors"
    assert found["widths"] == [20, 20, 20, 24]
    assert found["skip"] == list(net.skip)
    again = MLP(**found)
    load_state(again, tensors, "file")
    x, codes = torch.randn(2, 5, net.d_in), torch.randn(2, net.latent)
    assert torch.equal(again(x, codes), net(x, codes))


@pytest.mark.parametrize("latent", [0, 5])
def test_nnabla_files_are_known_by_content(tmp_path: Path, latent: int) -> None:
    net = MLP(widths=(24,) * 7, latent=latent, layout="position_first", initialization="he")
    write_nnabla(tmp_path / "misnamed.pth", net)
    kind, tensors, found = load_weights(tmp_path / "misnamed.pth")
    assert kind == "igr_nnabla"
    assert (found["latent"], found["layout"], found["skip"]) == (latent, "position_first", [4])
    again = MLP(**found)
    load_state(again, tensors, "file")
    x, codes = torch.randn(2, 5, 3), torch.randn(2, latent)
    assert torch.equal(again(x, codes), net(x, codes))


def _without(key: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda state: {k: v for k, v in state.items() if k != key}


def _shaped(key: str, *shape: int) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda state: state | {key: torch.zeros(shape)}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("lin2.bias"), "lacks 'lin2.bias'"),
        (_without("lin1.weight"), "lacks 'lin1.weight'"),
        (_shaped("lin3.weight", 24, 19), r"layer 3 takes 19 inputs after 20 outputs"),
        (_shaped("lin3.weight", 24), r"layer 3 has weights \(24,\)"),
        (_shaped("lin4.weight", 2, 24), r"layer 4 has weights \(2, 24\)"),
        (_shaped("extra", 2, 2), r"unknown key 'extra' \(2, 2\)"),
        (lambda state: {"a": torch.zeros(1)}, "no 'lin0.weight'"),
        (lambda state: {}, "no 'lin0.weight'"),
    ],
)
def test_damaged_states_name_file_key_and_shape(tmp_path: Path, damage: Any, message: str) -> None:
    torch.save({"model_state_dict": damage(dict(authors_net().state_dict()))}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights(tmp_path / "w.pth")
    assert "w.pth" in str(caught.value)


def _truncated(path: Path) -> None:
    torch.save(authors_net().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-300])


def _truncated_h5(path: Path) -> None:
    write_nnabla(path, MLP(widths=(24,) * 7, layout="position_first"))
    path.write_bytes(path.read_bytes()[:700])


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code in a file of weights was executed",))


@pytest.mark.parametrize(
    "write",
    [
        _truncated,
        _truncated_h5,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"ply\nformat ascii 1.0\n"),
        lambda path: path.write_bytes(pickle.dumps(Bomb())),
        lambda path: torch.save(Bomb(), path),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({"latent_codes": torch.zeros(3)[None], "epoch": 1}, path),
    ],
    ids=["truncated", "truncated h5", "empty", "ply", "pickle bomb", "torch bomb", "list", "codes"],
)
def test_what_is_no_file_of_weights_is_refused_without_running_it(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "bad.bin")
    with pytest.raises(CheckpointError, match=r"bad\.bin"):
        load_weights(tmp_path / "bad.bin")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pth"):
        load_weights(tmp_path / "nowhere.pth")


def test_nobody_is_advised_to_run_what_a_file_holds(tmp_path: Path) -> None:
    (tmp_path / "scan.pwn").write_text("3\n0 0 0\n")
    with pytest.raises(CheckpointError) as caught:
        load_weights(tmp_path / "scan.pwn")
    assert "set to `False`" not in str(caught.value)
    assert "scan.pwn" in str(caught.value)


def test_weights_of_another_shape_are_named() -> None:
    with pytest.raises(CheckpointError, match=r"'lin0.weight' has shape \(20, 3\) in it, and is \(16, 3\) here"):
        load_state(authors_net(widths=(16, 16, 16, 16)), dict(authors_net().state_dict()), "f.pth")


STRANGE: dict[str, Any] = {
    "text": {"fc0/affine/W": "text"},
    "a number": {"fc0/affine/W": 3.0},
    "text beside": {"fc0/affine/W": np.zeros((3, 1)), "fc0/affine/b": np.zeros(1), "note": "hello"},
}


@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE)
def test_strange_contents_of_hdf5_are_named(content: dict[str, Any], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        for name, value in content.items():
            file[name] = value
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_weights(tmp_path / "odd.h5")


def test_an_array_that_no_machine_holds_is_not_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("fc0/affine/W", shape=(3, 1 << 40), chunks=(3, 1024), dtype="f4")
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_weights(tmp_path / "huge.h5")


@pytest.mark.parametrize(
    "content", [{"pytorch-lightning_version": "2"}, {1: torch.zeros(2)}, {"model_state_dict": [1]}]
)
def test_strange_contents_of_torch_files_are_named(content: dict[Any, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="no weights"):
        load_weights(tmp_path / "odd.pth")
