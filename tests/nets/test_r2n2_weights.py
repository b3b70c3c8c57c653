from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recon.errors import CheckpointError, ConfigError, DataError
from recon.nets.convrnn import R2N2
from recon.nets.r2n2_original import export_original, write_original
from recon.nets.r2n2_weights import export_torch, load_r2n2, write_torch

SMALL: dict[str, Any] = {"encoder": [4, 6, 6, 6, 8, 8], "feature": 12, "hidden": 8, "decoder": [8, 6, 5, 4]}
ORIGINALS = [
    {"cell": "gru", "kernel": 3, "residual": False},
    {"cell": "lstm", "kernel": 1, "residual": False},
    {"cell": "gru", "kernel": 3, "residual": True},
    {"cell": "gru", "kernel": 3, "residual": True, "decoder": [8, 8, 6, 5, 4], "resolution": 64},
]


def _same(options: dict[str, Any], state: dict[str, torch.Tensor], net: R2N2, **extra: Any) -> None:
    """What was read makes the same network, to the last bit."""
    again = R2N2(**options, **extra)
    again.load_state_dict(state)
    for (name, ours), (_, theirs) in zip(again.state_dict().items(), net.state_dict().items(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.fixture
def port() -> R2N2:
    return R2N2(**SMALL)


def test_three_files_merged_and_folder(tmp_path: Path, port: R2N2) -> None:
    files = write_torch(tmp_path / "port", port, "epoch_00000060")
    assert [file.name for file in files] == [f"{p}_epoch_00000060.pth" for p in ("encoder", "convrnn", "decoder")]
    merged = {f"module.{key}": value for key, value in export_torch(port).items()}
    torch.save(merged, tmp_path / "merged.pth")
    for path in (*files, tmp_path / "port", tmp_path / "merged.pth"):
        options, state = load_r2n2(path)
        assert options == SMALL | {
            "family": "torch", "cell": "lstm", "kernel": 3, "image": 128, "grid": 4, "resolution": 32
        }  # fmt: skip
        _same(options, state, port)


@pytest.mark.parametrize("options", ORIGINALS)
def test_the_authors_list(tmp_path: Path, options: dict[str, Any]) -> None:
    net = R2N2("original", **(SMALL | options))
    write_original(tmp_path / "weights.npy", net)
    read, state = load_r2n2(tmp_path / "weights.npy")
    assert "cell" not in read
    assert read["residual"] == options["residual"]
    _same(read, state, net, cell=options["cell"])


def test_arrays_come_in_the_authors_order() -> None:
    net = R2N2("original", "gru", residual=True, **(SMALL | {"decoder": (8, 8, 5, 4)}))
    arrays = export_original(net)
    assert len(arrays) == 63
    # Layers 0 to 14 are convolutions, 15 is linear, the gates follow: neighbours, features, bias each.
    assert arrays[8].shape == (6, 4, 1, 1)
    assert arrays[30].shape == (9 * 8, 12)
    assert [a.shape for a in arrays[32:35]] == [(8, 3, 8, 3, 3), (12, 4 * 8 * 4 * 4), (8,)]
    assert arrays[-2].shape == (2, 3, 4, 3, 3)
    torch.testing.assert_close(torch.from_numpy(arrays[0]), net.encoder.blocks[0].a.weight.detach().flip(2, 3))


@pytest.mark.parametrize("image", [128, 224])
def test_image_size_is_read_off_the_last_layer(tmp_path: Path, image: int) -> None:
    files = write_torch(tmp_path, R2N2(image=image, **SMALL))
    assert load_r2n2(files[0])[0]["image"] == (128 if image == 128 else 192)


def test_a_missing_part_is_named(tmp_path: Path, port: R2N2) -> None:
    files = write_torch(tmp_path, port)
    files[1].unlink()
    with pytest.raises(CheckpointError, match=r"lacks its other part 'convrnn_epoch_00000000\.pth'"):
        load_r2n2(files[0])


def test_two_sets_in_a_folder_are_not_guessed(tmp_path: Path, port: R2N2) -> None:
    write_torch(tmp_path, port, "epoch_1")
    write_torch(tmp_path, port, "epoch_2")
    with pytest.raises(CheckpointError, match=r"should hold one encoder"):
        load_r2n2(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("encoder.conv3.bias"), r"lacks 'encoder\.conv3\.bias'"),
        (lambda w: w.update({"decoder.extra": torch.zeros(1)}), r"unknown key 'decoder\.extra'"),
        (lambda w: w.update({"convrnn.convlstm.conv3d.weight": torch.zeros(3)}), "no shape of 3D-R2N2"),
        (lambda w: [w.pop(key) for key in list(w) if "conv" in key], "holds no weights of 3D-R2N2"),
    ],
)
def test_merged_dictionaries_that_do_not_fit(tmp_path: Path, port: R2N2, change: Any, message: str) -> None:
    merged = export_torch(port)
    change(merged)
    torch.save(merged, tmp_path / "merged.pth")
    with pytest.raises(CheckpointError, match=message):
        load_r2n2(tmp_path / "merged.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:-1], "32 arrays in this order"),
        (lambda a: a[::-1], "33 arrays in this order"),
        (lambda a: [*a[:2], a[2][:, :2], *a[3:]], r"'encoder\.blocks\.1\.a\.weight' give"),
        (lambda a: [*a[:15], a[15][:, :7], *a[16:]], r"arrays for 'recurrence"),
        (lambda a: [*a[:-1], "text"], "no list of arrays"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, change: Any, message: str) -> None:
    arrays = change(export_original(R2N2("original", "gru", **SMALL)))
    listed = np.empty(len(arrays), dtype=object)
    listed[:] = arrays
    np.save(tmp_path / "weights.npy", listed, allow_pickle=True)
    with pytest.raises(CheckpointError, match=message):
        load_r2n2(tmp_path / "weights.npy")


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("harmed"),)


def test_files_run_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = np.empty(1, dtype=object)
    listed[0] = _Harmful()
    np.save(tmp_path / "weights.npy", listed, allow_pickle=True)
    torch.save({"encoder.conv1.weight": _Harmful()}, tmp_path / "merged.pth")
    with pytest.raises(DataError, match="weights"):
        load_r2n2(tmp_path / "weights.npy")
    with pytest.raises(CheckpointError, match="merged"):
        load_r2n2(tmp_path / "merged.pth")
    assert not Path("harmed").exists()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no file of weights"):
        load_r2n2(tmp_path / "none.npy")


def test_families_do_not_mix(port: R2N2) -> None:
    with pytest.raises(ConfigError, match="family=original"):
        export_original(port)
    with pytest.raises(ConfigError, match="family=torch"):
        export_torch(R2N2("original", "gru", **SMALL))
