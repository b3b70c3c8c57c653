"""The command line's words: verbs, quoting, and a run folder's recorded settings."""

import json

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from recon.arguments import parse, quoted, quoted_override, rooted, unquoted, with_defaults, with_recorded
from recon.errors import CheckpointError, ConfigError

AWKWARD = [
    "a b",
    "a{b}",
    "a=b",
    "it's",
    "ü#(x)",
    "a\\'b",
    "a\\",
    "${x}",
    "a,b",
    "[x]",
    "tab\t",
    "\\\\'",
    "a~b",
    "50%",
    'say "x"',
]


@pytest.mark.parametrize("path", AWKWARD)
def test_a_path_survives_hydra_and_omegaconf(path):
    override = OverridesParser.create().parse_override(quoted_override(f"input={path}"))
    assert OmegaConf.create({"input": override.value()}).input == path
    assert unquoted(quoted(path)) == path


def test_quoting_twice_is_quoting_once():
    once = quoted_override("input=it's")
    assert quoted_override(once) == once


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert quoted_override("data.path=~/scans") == "data.path='/somewhere/scans'"


def test_values_that_are_no_paths_keep_hydras_grammar():
    for word in ("method.lr=1e-4,1e-3", "methods=[poisson,igr]", "~data.noise", "+trainer.x=1", "input=null"):
        assert quoted_override(word) == word


def test_letters_beyond_ascii_are_quoted_in_any_value():
    assert quoted_override("data.scene=Bär") == "data.scene='Bär'"


def test_a_value_that_does_not_parse_is_text():
    assert quoted_override("data.scene=a{b") == "data.scene='a{b'"
    assert quoted_override("hydra.run.dir=/x/a{b}/${now:%Y}") == "hydra.run.dir='/x/a{b}/${now:%Y}'"


def test_the_verb_comes_first_or_is_train():
    assert parse(["reconstruct", "input=x"]).verb == "reconstruct"
    assert parse(["-m", "method=igr"]).verb == "train"
    assert parse(["test", "--cfg", "job"]).flags == ["--cfg", "job"]


def test_a_mistyped_verb_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="'reconstrct'") as caught:
        parse(["reconstrct", "input=x"])
    assert "reconstruct" in caught.value.mend


def test_input_means_own_data_and_reconstruct_means_spline():
    assert with_defaults(parse(["reconstruct", "input=x.ply"])).overrides[:2] == ["method=spline", "data=own"]
    named = with_defaults(parse(["reconstruct", "input=x.ply", "method=igr"]))
    assert "method=spline" not in named.overrides


def run_folder(tmp_path, overrides):
    (tmp_path / "overrides.json").write_text(json.dumps(overrides))
    return tmp_path


def test_recorded_overrides_come_before_the_users(tmp_path):
    folder = run_folder(tmp_path, ["method=igr", "data=shapes", "data.count=3", "output='x.ply'"])
    line = with_recorded(parse(["train", f"run={folder}", "trainer.max_steps=9"]))
    assert line.overrides[:4] == ["method=igr", "data=shapes", "data.count=3", f"run='{folder}'"]
    assert f"hydra.run.dir='{folder}'" in line.overrides


def test_settings_of_a_replaced_dataset_are_left_out(tmp_path):
    folder = run_folder(tmp_path, ["method=igr", "data=shapes", "data.count=3"])
    line = with_recorded(parse(["reconstruct", f"run={folder}", "input=x.ply"]))
    assert "data.count=3" not in line.overrides
    assert "data=shapes" not in line.overrides


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no run folder"):
        with_recorded(parse(["test", f"run={tmp_path}"]))
    with pytest.raises(CheckpointError, match="not there"):
        with_recorded(parse(["test", f"run={tmp_path / 'x'}"]))


def test_a_runs_own_input_is_kept_and_means_the_same_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rooted("input='scan.ply'") == f"input='{tmp_path}/scan.ply'"
    assert rooted("input='@list.txt'") == f"input='@{tmp_path}/list.txt'"
    assert rooted("data.path='/a'") == "data.path='/a'"
    folder = run_folder(tmp_path, ["method=igr", "data=own", "input='/a/scan.ply'"])
    assert "input='/a/scan.ply'" in with_recorded(parse(["test", f"run={folder}"])).overrides
    other = with_recorded(parse(["reconstruct", f"run={folder}", "input=b.ply"])).overrides
    assert "input='/a/scan.ply'" not in other


def test_the_input_of_a_replaced_dataset_goes_with_it_even_where_the_method_changes_too(tmp_path):
    folder = run_folder(tmp_path, ["method=igr", "data=own", "input='/a/scan.ply'", "truth='/a/truth.ply'"])
    line = with_recorded(parse(["reconstruct", f"run={folder}", "method=poisson", "data=shapes"]))
    assert not [o for o in line.overrides if o.startswith(("input", "truth"))]
