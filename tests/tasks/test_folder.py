import shlex
from pathlib import Path

from recon.arguments import quoted_override
from recon.tasks.folder import RunFolder


def test_the_command_that_repeats_a_run_is_what_a_user_types():
    words = ["method=igr", quoted_override("input=/a b/it's.ply"), "hydra.run.dir='/x'"]
    command = RunFolder(Path("/x"), "reconstruct", words).command()
    assert shlex.split(command) == ["python", "run.py", "reconstruct", "method=igr", "input=/a b/it's.ply"]


def test_a_folder_that_stayed_empty_is_removed(tmp_path):
    with RunFolder(tmp_path / "a" / "b", "doctor", []):
        pass
    assert not (tmp_path / "a").exists()


def test_what_was_written_stays(tmp_path):
    with RunFolder(tmp_path / "run", "evaluate", []) as folder:
        (folder.path / "metrics.csv").write_text("x")
    assert (tmp_path / "run" / "metrics.csv").is_file()
