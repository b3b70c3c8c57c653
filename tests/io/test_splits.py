"""Lists of models and names of classes: round trips, and nothing in them that leads elsewhere or never ends."""

import contextlib
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recon.errors import DataError
from recon.io.splits import LARGEST_METADATA, is_name, read_list, read_metadata, write_list, write_metadata

FUZZ = settings(
    max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_list_there_and_back(tmp_path):
    names = ["1a6f615e8b1b5ae4dbbc9440457e303e", "00000012", "Stuhl_é"]
    write_list(tmp_path / "train.lst", names)
    assert read_list(tmp_path / "train.lst") == names


def test_lists_of_other_systems(tmp_path):
    """Byte order marks, Windows' line ends, blank lines and a missing last line end; repetitions count once."""
    (tmp_path / "a.lst").write_bytes(b"\xef\xbb\xbfone\r\n\r\n two \r\none\r\nthree")
    assert read_list(tmp_path / "a.lst") == ["one", "two", "three"]


@pytest.mark.parametrize("line", ["..", ".", "a/b", "/etc", "..\\x", "a\0b", "x" * 300, "a\x1b[2Jb"])
def test_a_line_that_is_no_folder_is_refused(tmp_path, line):
    (tmp_path / "a.lst").write_text(f"one\n{line}\n")
    with pytest.raises(DataError, match="is no name of a folder"):
        read_list(tmp_path / "a.lst")


def test_missing_or_binary(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_list(tmp_path / "none.lst")
    (tmp_path / "a.lst").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="it is no UTF-8 text"):
        read_list(tmp_path / "a.lst")


def test_metadata_there_and_back(tmp_path):
    names = {"02691156": "airplane", "02747177": "trash bin", "rooms_04": "rooms_04"}
    write_metadata(tmp_path / "metadata.yaml", names)
    assert read_metadata(tmp_path / "metadata.yaml") == names


def test_metadata_as_published_and_by_hand(tmp_path):
    """The first of several names; ids without quotes, which YAML takes for octal numbers; names left out."""
    (tmp_path / "m.yaml").write_text(
        "'02691156':\n  id: '02691156'\n  name: airplane,aeroplane,plane\n02747177: {name: bin}\nextra: {id: extra}\n"
    )
    assert read_metadata(tmp_path / "m.yaml") == {"02691156": "airplane", "02747177": "bin", "extra": "extra"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b", "holds no mapping"),
        ("a: {name: [x]}", "class 'a': field 'name'"),
        ("a: b", "class 'a': field 'name'"),
        ("[1, 2]: {name: b}", "it is no YAML|field 'name'"),
        ("a: {name: !!python/object/apply:os.system [ls]}", "field 'name'"),
        ("{a: {", "it is no YAML"),
        ("[" * 5000, "it is no YAML"),
        ("a: \x07", "it is no YAML"),
        ("# " + "x" * LARGEST_METADATA, "more than"),
    ],
    ids=lambda text: text[:20],
)
def test_other_yaml_is_refused(tmp_path, text, message):
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_metadata(tmp_path / "m.yaml")


def test_yaml_that_multiplies_takes_no_time(tmp_path):
    """Ten levels of tenfold aliases, and of merged mappings: 10^10 entries if they were spelled out."""
    aliases = "".join(f"a{i}: &a{i} {{name: [{', '.join([f'*a{i - 1}'] * 10) if i else 'x'}]}}\n" for i in range(10))
    merges = "".join(
        f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10) if i else ''}], k{i}: v}}\n" for i in range(10)
    )
    began = time.process_time()
    for text in (aliases, merges):
        (tmp_path / "m.yaml").write_text(text)
        with contextlib.suppress(DataError):
            read_metadata(tmp_path / "m.yaml")
    assert time.process_time() - began < 2


@FUZZ
@given(content=st.one_of(st.binary(max_size=400), st.text(max_size=400).map(lambda t: t.encode("utf-8", "replace"))))
def test_any_list_is_names_or_a_data_error(tmp_path, content):
    (tmp_path / "a.lst").write_bytes(content)
    with contextlib.suppress(DataError):
        assert all(is_name(name) for name in read_list(tmp_path / "a.lst"))


@FUZZ
@given(text=st.text(alphabet="ab01:{}[],&*!<>|-?'\"\n #%@\t~.é\x00", max_size=120))
def test_any_metadata_is_names_or_a_data_error(tmp_path, text):
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    with contextlib.suppress(DataError):
        names = read_metadata(tmp_path / "m.yaml")
        assert all(isinstance(part, str) for pair in names.items() for part in pair)
