"""Findings of `doctor`: a healthy installation has no version traps, a sick one is told so."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from recon.tasks import doctor, installation


def by_name(checks: object) -> dict[str, doctor.Check]:
    return {c.name: c for c in checks}  # type: ignore[attr-defined]


def test_every_core_dependency_is_there_and_in_range() -> None:
    found = by_name(doctor.versions())
    assert {"python", "torch", "embreex", "rich"} <= set(found)
    assert found["torch"].found == torch.__version__
    assert [c for c in found.values() if c.state != "ok"] == []


def test_the_report_has_every_group_once_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "here.yaml").write_text(f"path: {tmp_path}\n")
    groups = list(dict.fromkeys(c.group for c in doctor.report(tmp_path)))
    assert groups[:5] == ["Versions", "Devices", "Threads", "Optional extras", "Data"]


def test_an_absent_extra_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: None)
    found = by_name(doctor.extras())
    assert found["view"].mend == "pip install 'recon[view]'"
    assert found["scatter"].mend == "pip install --no-build-isolation 'recon[scatter]'"
    assert not {"dev", "docs"} & set(found)


def test_a_version_out_of_range_is_a_trap() -> None:
    check = doctor._installed("Versions", Requirement("rich<1"))
    assert check.state == "trap"
    assert check.mend == "pip install 'rich<1'"


def test_a_package_that_does_not_import_is_a_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    monkeypatch.setattr(installation, "import_module", broken)
    check = doctor._installed("Versions", Requirement("h5py"))
    assert check.state == "trap"
    assert "numpy.dtype size changed" in check.found


def test_a_torchvision_for_another_torch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"torchvision": "0.20.0", "torch": "2.13.0+cpu"}
    monkeypatch.setattr(installation, "version", installed.get)
    monkeypatch.setattr(metadata, "requires", lambda name: ["torch==2.5.0", "gdown; extra == 'gdown'"])
    (check,) = [c for c in doctor.traps() if c.name == "torchvision"]
    assert check.found == "0.20.0 wants torch==2.5.0, here is 2.13.0+cpu"
    assert "pip uninstall torchvision" in check.mend


def test_more_threads_than_cores_is_a_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "usable_cores", lambda: 0.4)
    (check,) = doctor.threads()
    assert check.state == "trap"
    assert "OMP_NUM_THREADS=1" in check.mend


def test_data_that_are_not_here_are_a_note(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "away.yaml").write_text(f"path: {tmp_path / 'nowhere'}\n")
    (tmp_path / "data" / "generated.yaml").write_text("count: 3\n")
    (check,) = doctor.datasets(tmp_path)
    assert (check.name, check.state) == ("away", "note")


def test_a_cuda_build_without_a_device_is_a_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert by_name(doctor.devices())["cuda"].state == "trap"
