from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.errors import DataError
from recon.io.parsing import FormatError
from recon.io.taxonomies import parse_splits, parse_taxonomy, read_splits, read_taxonomy

quick = settings(max_examples=50, deadline=None, derandomize=True)


def test_taxonomies_of_all_kinds(tmp_path):
    (tmp_path / "r2n2.json").write_text(json.dumps({"02691156": {"id": "02691156", "name": "airplane,aeroplane"}}))
    assert read_taxonomy(tmp_path / "r2n2.json") == {"02691156": "airplane"}
    assert parse_taxonomy('{"a": "b"}') == {"a": "b"}
    assert parse_taxonomy('[{"synsetId": "a", "name": "b, c"}]') == {"a": "b"}


def test_the_lists_of_pix2vox_name_classes_and_models(tmp_path):
    entry = {"taxonomy_id": "a", "taxonomy_name": "b", "train": ["1"], "val": [], "test": ["2"]}
    (tmp_path / "pix2vox.json").write_text(json.dumps([entry]))
    assert read_splits(tmp_path / "pix2vox.json") == {"train": {"a": ["1"]}, "val": {"a": []}, "test": {"a": ["2"]}}
    assert read_taxonomy(tmp_path / "pix2vox.json") == {"a": "b"}


def test_without_a_validation_split_it_is_the_test():
    splits = parse_splits(json.dumps({"train": ["a/1", "b/2"], "test": ["a/3"]}))
    assert splits == {"train": {"a": ["1"], "b": ["2"]}, "val": {"a": ["3"]}, "test": {"a": ["3"]}}


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_taxonomy, "{", "not JSON"),
        (read_taxonomy, "[" * 100_000, "not JSON"),
        (read_taxonomy, "3", "expected"),
        (read_taxonomy, '{"..": "x"}', "no name"),
        (read_taxonomy, '{"a": {"id": 1}}', "expected"),
        (read_splits, '{"train": []}', "expected 'train'"),
        (read_splits, '{"train": ["x"], "test": []}', "not 'id/model'"),
        (read_splits, '{"train": ["x/../y"], "test": []}', "no name"),
        (read_splits, '[{"train": []}]', "taxonomy_id"),
        (read_splits, '[{"taxonomy_id": "a", "train": 1}]', "not a list"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, read, text, message):
    (tmp_path / "file").write_text(text)
    with pytest.raises(DataError, match=f"file.*{message}"):
        read(tmp_path / "file")
    with pytest.raises(DataError, match="No such file"):
        read(tmp_path / "missing")


@quick
@given(st.one_of(st.text(), st.text('[]{}":,a1/ ')))
def test_no_text_does_harm(text):
    for parse in (parse_taxonomy, parse_splits):
        try:
            parse(text)
        except FormatError:
            continue


names = st.one_of(st.text(max_size=5), st.none(), st.integers())
entries = st.recursive(names, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
keys = st.sampled_from(["taxonomy_id", "taxonomy_name", "train", "val", "test", "id", "name"])


@quick
@given(st.one_of(entries, st.lists(st.dictionaries(keys, entries)), st.dictionaries(keys, st.lists(names))))
def test_no_json_does_harm(content):
    for parse in (parse_taxonomy, parse_splits):
        try:
            parse(json.dumps(content))
        except FormatError:
            continue
