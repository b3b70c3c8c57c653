"""Pickled arrays of others: plain data come out, and nothing else happens."""

from __future__ import annotations

import io
import os
import pickle
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.errors import DataError
from recon.io.parsing import FormatError
from recon.io.pickles import parse_objects, parse_pickle, read_pickled_npy, read_pickled_npz

LIGHT = {"diffuse_color": [[0.1, 0.2, 0.3]], "location": [[1, -2, 3.5]], "on": True, "none": None, "name": "lämp"}


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def objects(*items: object) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def same(a: object, b: object) -> bool:
    if isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(b, list | tuple):
        return isinstance(a, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(b, dict):
        return isinstance(a, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in b)
    return type(a) is type(b) and a == b


def test_dicts_and_lists_of_iso_points(tmp_path, rng):
    arrays = {
        "cameras_type": np.array("pytorch3d.renderer.cameras.FoVPerspectiveCameras"),
        "cameras_params": np.array({"znear": 0.1}, dtype=object),
        "lights_0": np.array(LIGHT, dtype=object),
        "camera_mat": rng.normal(size=(3, 4, 4)),
        "points": rng.normal(size=(5, 3)).astype(np.float32),
        "allow_pickle": np.array(True),
    }
    np.savez(tmp_path / "data_dict.npz", allow_pickle=True, **{k: v for k, v in arrays.items() if k != "allow_pickle"})
    found = read_pickled_npz(tmp_path / "data_dict.npz")
    assert found["cameras_params"] == {"znear": 0.1}
    assert found["cameras_type"] == str(arrays["cameras_type"])
    assert found["lights_0"] == LIGHT
    assert same(found["camera_mat"], arrays["camera_mat"])


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_lists_of_arrays(tmp_path, rng, protocol):
    """3D-R2N2's weights; protocol 2 is what Python 2 wrote."""
    weights = [
        rng.normal(size=(4, 3, 3)).astype(np.float32),
        rng.normal(size=7).astype(">f4"),
        np.asfortranarray(np.eye(3)),
    ]
    state = pickle.dumps(objects(*weights), protocol=protocol)
    header = npy(objects(1))
    file = tmp_path / "weights.npy"
    file.write_bytes(header[: header.index(b"\n") + 1] + state)
    found = read_pickled_npy(file)
    assert same(found, [w.astype(w.dtype.newbyteorder("=")) for w in weights])
    assert same(found, np.load(file, allow_pickle=True, encoding="latin1").tolist())


def test_text_of_python_2():
    """An array whose bytes are a Python 2 str, as 3D-R2N2's are: opcodes BINSTRING and the old module's name."""
    raw = np.array([1.5, -2.0, 200.25], "<f8").tobytes()
    state = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02U\x01bq\x03\x87Rq\x04"
        b"(K\x01K\x03\x85cnumpy\ndtype\nq\x05U\x02f8q\x06K\x00K\x01\x87Rq\x07(K\x03U\x01<q\x08NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb."
    )
    assert same(parse_pickle(state), np.array([1.5, -2.0, 200.25]))
    assert same(pickle.loads(state, encoding="latin1"), np.array([1.5, -2.0, 200.25]))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(plain, st.sampled_from([2, 3, 4]))
def test_plain_values_are_read(value, protocol):
    assert same(parse_pickle(pickle.dumps(value, protocol=protocol)), value)


class Runs:
    """What an attacker sends: unpickled, it calls a function."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("call", [(os.mkdir, "ran"), (eval, "1"), (np.zeros, 10), (bytearray, 9), (getattr, "a", "b")])
def test_code_is_not_run(workdir, protocol, call):
    for value in (Runs(*call), {"a": [Runs(*call)]}, objects(Runs(*call))):
        with pytest.raises(FormatError):
            parse_pickle(pickle.dumps(value, protocol=protocol))
    assert not list(workdir.iterdir())


def test_what_is_no_plain_data_is_named(tmp_path):
    np.save(tmp_path / "a.npy", objects(Runs(os.mkdir, "ran")), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy.*posix\.mkdir"):
        read_pickled_npy(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", lights=objects({1, 2}))
    with pytest.raises(DataError, match=r"a\.npz.*'lights'.*EMPTY_SET"):
        read_pickled_npz(tmp_path / "a.npz")
    with pytest.raises(DataError, match="missing"):
        read_pickled_npy(tmp_path / "missing.npy")


def bombs() -> dict[str, bytes]:
    """Small pickles that take much time or memory where they are believed."""
    doubled = [1]
    for _ in range(60):
        doubled = [doubled, doubled]
    nested: list[object] = []
    for _ in range(400):
        nested = [nested]
    own: list[object] = []
    own.append(own)
    array = pickle.dumps(np.zeros(3), protocol=2)
    return {
        "doubling": pickle.dumps(doubled),
        "nested": pickle.dumps(nested),
        "itself": pickle.dumps(own),
        "announced bytes": b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"abc.",
        "far memo": b"\x80\x02Kar\xff\xff\xff\x7f.",
        "large shape": array.replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"),
        "objects as values": pickle.dumps(objects(1, 2, 3)).replace(b"K\x03\x85", b"K\x09\x85"),
        "many": b"\x80\x04" + b"]" * 3_000_000 + b".",
        "endless": b"\x80\x04",
        "long number": b"\x80\x04\x8b" + (1 << 20).to_bytes(4, "little") + b"\x7f" * (1 << 20) + b".",
    }


@pytest.mark.parametrize("name", bombs())
def test_bombs_do_not_go_off(name):
    data = bombs()[name]
    tracemalloc.start()
    start = time.process_time()
    try:
        if name == "far memo":
            assert parse_pickle(data) == ord("a")
        else:
            with pytest.raises(FormatError):
                parse_pickle(data)
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 30


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.binary(max_size=60), st.integers(0, 10_000), st.integers(0, 8))
def test_damage_is_told(noise, where, cut):
    good = npy(objects(LIGHT, np.zeros((2, 3), np.float32), "text", [1, 2]))
    where %= len(good)
    for data in (noise, good[:where], good[:where] + noise + good[where + cut :], good[:128] + noise):
        try:
            parse_objects(data)
        except FormatError:
            continue
