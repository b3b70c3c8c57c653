"""The constants of heavy noise are those that the committed sweep over generated shapes selected."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from recon.data.solids import exists
from recon.geometry.spline_rules import HEAVY, HEAVY_RULE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sweep() -> ModuleType:
    spec = importlib.util.spec_from_file_location("spline_constants", ROOT / "benchmarks" / "spline_constants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_chosen_setting_is_shipped(sweep: ModuleType) -> None:
    assert sweep.SETTINGS[sweep.CHOSEN] == HEAVY_RULE


def test_it_is_the_best_of_the_table_that_was_printed(sweep: ModuleType) -> None:
    rows = [line.strip(" |\n").split(" | ") for line in (ROOT / "docs" / "spline.md").read_text().splitlines()]
    width = len(sweep.SHAPES) * len(sweep.NOISES)
    errors = {row[0]: [float(cell) for cell in row[1:-1]] for row in rows if row[0] in sweep.SETTINGS}
    assert list(errors) == list(sweep.SETTINGS)
    assert {len(row) for row in errors.values()} == {width}
    assert sweep.chosen(errors) == sweep.CHOSEN


def test_the_sweep_sees_generated_shapes_only_and_enough_noise(sweep: ModuleType) -> None:
    assert all(exists(name) for name in sweep.SHAPES)
    assert min(sweep.NOISES) * 2 > HEAVY
