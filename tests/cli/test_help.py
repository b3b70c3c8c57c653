import subprocess
import sys
import time
from pathlib import Path

import pytest

from recon.arguments import VERBS
from recon.cli import main
from recon.conf import choices


def test_help_lists_verbs_methods_and_settings(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for verb in VERBS:
        assert f"\n  {verb} " in text
    for name in [*choices("method"), *choices("data"), *choices("prepare")]:
        assert f" {name}" in text
    assert "resolution: 256" in text


def test_help_on_a_method_shows_its_commented_options(capsys):
    assert main(["--help", "method=igr"]) == 0
    assert "width: 512" in capsys.readouterr().out


@pytest.mark.slow
def test_help_imports_neither_torch_nor_lightning():
    root = Path(__file__).parents[2]
    names = "{'torch', 'pytorch_lightning', 'hydra'}"
    code = f"import sys; from recon.cli import main; main(['--help']); print(sorted({names} & set(sys.modules)))"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert time.perf_counter() - began < 30  # a hang, not a speed: speed is a matter of the line above


def test_help_on_a_dataset_shows_the_options_that_all_share(capsys):
    assert main(["--help", "data=shapenet"]) == 0
    page = capsys.readouterr().out
    assert "queries:" in page
    assert "on_error:" in page
    assert page.count("batch_size:") == 1, "what the file sets itself stands once"
    assert main(["prepare", "data=shapenet", "--help"]) == 0
    page = capsys.readouterr().out
    assert "thickness:" in page
    assert "workers:" in page
    assert "part_ratio:" not in page
    assert main(["--help"]) == 0
    assert "_shared" not in capsys.readouterr().out
