"""Checkpoints of the authors: names, kinds, what is dead, damaged files, and that nothing in them is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recon.errors import CheckpointError
from recon.nets.alto_weights import author_names, canonical, is_stacked, read_authors
from recon.nets.occupancy_net import OccupancyNet

KINDS = [
    pytest.param({"latent": "triplane", "resolution": 16}, id="alto"),
    pytest.param({"latent": "volume", "resolution": 8}, id="alto-volume"),
    pytest.param({"latent": "triplane", "resolution": 16, "alternating": False, "decoder": "simple"}, id="convonet"),
    pytest.param(
        {"latent": "volume", "resolution": 8, "levels": 3, "alternating": False, "decoder": "simple"},
        id="convonet-volume",
    ),
]
CONVONET_KEYS = {
    "triplane": {
        "decoder.fc_p.weight": (8, 3),
        "decoder.fc_c.4.weight": (8, 8),
        "decoder.blocks.0.fc_0.weight": (8, 8),
        "encoder.blocks.1.shortcut.weight": (8, 16),
        "encoder.unet.down_convs.3.conv1.weight": (64, 32, 3, 3),
        "encoder.unet.up_convs.0.upconv.weight": (64, 32, 2, 2),
        "encoder.unet.up_convs.0.conv1.weight": (32, 64, 3, 3),
        "encoder.unet.conv_final.weight": (8, 8, 1, 1),
    },
    "volume": {
        "decoder.fc_p.weight": (8, 3),
        "encoder.unet3d.encoders.2.basic_module.SingleConv1.groupnorm.weight": (16,),
        "encoder.unet3d.encoders.2.basic_module.SingleConv2.conv.weight": (32, 16, 3, 3, 3),
        "encoder.unet3d.decoders.0.basic_module.SingleConv1.conv.weight": (16, 48, 3, 3, 3),
        "encoder.unet3d.final_conv.weight": (8, 8, 1, 1, 1),
    },
}


def _theirs(net: OccupancyNet) -> dict[str, Tensor]:
    """The network's tensors by the authors' names."""
    state = {}
    for key, names in author_names(net).items():
        value = net.state_dict()[key]
        parts = list(value) if is_stacked(key) else [value]
        state.update({n: p.flatten() if n.endswith("bias") else p for n, p in zip(names, parts, strict=True)})
    return {name: value.clone() for name, value in state.items()}


def _file(folder: Path, state: dict[str, Any], **beside: Any) -> Path:
    torch.save({"model": state, "epoch_it": 3, "loss_val_best": np.float64(0.9), **beside}, folder / "model.pt")
    return folder / "model.pt"


@pytest.mark.parametrize("options", KINDS)
def test_a_network_comes_back_from_their_names(options: dict[str, Any], tmp_path: Path) -> None:
    net = OccupancyNet(width=8, neighbor_layout="legacy", **options)
    state = {key.replace("encoder.unet", "encoder.module.unet"): value for key, value in _theirs(net).items()}
    found = read_authors(_file(tmp_path, state))
    again, unused = found.net(options["resolution"])
    assert unused == ()
    assert found.is_alto == options.get("alternating", True)
    points, queries = torch.rand(1, 50, 3) - 0.5, torch.rand(1, 20, 3) - 0.5
    assert torch.equal(again(points, queries), net(points, queries))


@pytest.mark.parametrize("kind", CONVONET_KEYS)
def test_convonet_s_names_and_shapes(kind: Any) -> None:
    levels = 4 if kind == "triplane" else 3
    state = _theirs(OccupancyNet(kind, 16, 8, levels=levels, alternating=False, decoder="simple"))
    assert {name: tuple(state[name].shape) for name in CONVONET_KEYS[kind]} == CONVONET_KEYS[kind]


def test_only_whole_components_are_stripped() -> None:
    keys = canonical({"module.encoder.module.unet3d.encoders.0.basic_module.SingleConv1.conv.weight": torch.zeros(1)})
    assert list(keys) == ["encoder.unet3d.encoders.0.basic_module.SingleConv1.conv.weight"]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (KINDS[0], "decoder.fc_interpolated_fea.weight"),
        (KINDS[0], "encoder.unet.up_convs.2.fc_comm.0.weight"),
        (KINDS[0], "encoder.unet.up_convs.2.upconv.bias"),
        (KINDS[0], "decoder.attention2.attention_mlp.2.bias"),
        (KINDS[1], "encoder.unet3d.encoders.0.conv1x1.weight"),
        (KINDS[1], "encoder.unet3d.decoders.2.fc_c.weight"),
    ],
)
def test_what_no_output_depends_on_is_left_out_and_told(options: Any, name: str, tmp_path: Path) -> None:
    options = options.values[0]
    state = {**_theirs(OccupancyNet(width=8, **options)), name: torch.zeros(3)}
    assert read_authors(_file(tmp_path, state)).net(options["resolution"])[1] == (name,)


@pytest.mark.parametrize("options", KINDS)
def test_missing_strange_and_wrong_tensors_are_named(options: dict[str, Any], tmp_path: Path) -> None:
    whole = _theirs(OccupancyNet(width=8, **options))
    victim = "encoder.blocks.3.fc_0.weight"
    for state in (
        {key: value for key, value in whole.items() if key != victim},
        {**whole, victim: torch.zeros(2, 2)},
        {**whole, "encoder.fc_extra.weight": torch.zeros(2)},
    ):
        culprit = "fc_extra" if "encoder.fc_extra.weight" in state else victim
        with pytest.raises(CheckpointError, match=culprit):
            read_authors(_file(tmp_path, state)).net(options["resolution"])


def test_the_resolution_must_be_given(tmp_path: Path) -> None:
    file = _file(tmp_path, _theirs(OccupancyNet("triplane", 16, 8)))
    with pytest.raises(CheckpointError, match=r"method\.resolution=64"):
        read_authors(file).net(None)


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch exploded",)


@pytest.mark.usefixtures("workdir")
def test_nothing_is_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no plain data"):
        read_authors(_file(tmp_path, _theirs(OccupancyNet("triplane", 16, 8)), scheduler=_Bomb()))
    assert not Path("exploded").exists()


def test_other_files_are_refused_by_what_they_hold(tmp_path: Path) -> None:
    for content in ({"lin0.weight": torch.zeros(2, 2)}, {"model": 3}):
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(CheckpointError, match=r"x\.pt"):
            read_authors(tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="no file"):
        read_authors(tmp_path / "none.pt")
