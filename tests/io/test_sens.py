"""ScanNet's recordings: what was written is read, and no bytes make the reader do anything but tell what is wrong."""

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from recon.errors import DataError
from recon.io.sens import FRAME, HEAD, read_sens
from recon.io.sens_writer import SensFrame, write_sens

K = np.array([[50.0, 0, 16], [0, 51, 12], [0, 0, 1]])
HEAD_AT = 12 + len("StructureSensor") + 256


def frames(count: int = 3) -> list[SensFrame]:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)
    made = []
    for i in range(count):
        color = np.stack([np.tile(ramp, (24, 1)), np.full((24, 32), 30 * i), np.full((24, 32), 90)], axis=2)
        pose = np.eye(4) * [i, 1, 1, 1] if i != 1 else np.full((4, 4), -np.inf)
        depth = rng.integers(0, 5000, (12, 16)).astype(np.uint16)
        made.append(SensFrame(color.astype(np.uint8), depth, pose, (i, 2**63 + i)))
    return made


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    write_sens(tmp_path / "scene.sens", frames(), K, K / 2)
    return tmp_path / "scene.sens"


@pytest.mark.parametrize("depth_codec", ["raw", "zlib"])
@pytest.mark.parametrize("color_codec", ["raw", "png", "jpeg"])
def test_what_is_written_is_read(tmp_path, color_codec, depth_codec):
    write_sens(tmp_path / "a.sens", iter(frames()), K, K / 2, 4000, color_codec, depth_codec, name="Ä sensor")
    sens = read_sens(tmp_path / "a.sens")
    assert (len(sens), sens.name, sens.color_size, sens.depth_size) == (3, "Ä sensor", (24, 32), (12, 16))
    assert (sens.color_codec, sens.depth_codec, sens.depth_shift) == (color_codec, depth_codec, 4000)
    assert np.array_equal(sens.color_intrinsic[:3, :3], K)
    assert np.array_equal(sens.depth_intrinsic[:3, :3], K / 2)
    for i, frame in enumerate(frames()):
        assert np.array_equal(sens.poses[i], frame.pose)
        assert tuple(sens.times[i]) == frame.times
        assert np.array_equal(sens.depth_counts(i), frame.depth)
        assert np.allclose(sens.depth(i), frame.depth / 4000)
        assert np.abs(sens.color(i).astype(int) - frame.color).max() <= (8 if color_codec == "jpeg" else 0)


def test_images_are_as_stored_whatever_their_exif_data_say(tmp_path, recording, monkeypatch):
    """A camera's K is of the pixels as stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    save = Image.Image.save
    monkeypatch.setattr(Image.Image, "save", lambda *args, **options: save(*args, **options, exif=exif))
    write_sens(tmp_path / "turned.sens", frames(), K, K / 2)
    assert np.array_equal(read_sens(tmp_path / "turned.sens").color(1), read_sens(recording).color(1))


def test_a_sensor_s_readings_after_the_frames_are_left_alone(recording):
    recording.write_bytes(recording.read_bytes() + b"inertial")
    assert len(read_sens(recording)) == 3


def patched(path: Path, offset: int, data: bytes) -> Path:
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(data)] = data
    path.write_bytes(whole)
    return path


COUNT_AT = HEAD_AT + HEAD.size - 8
FIRST_AT = HEAD_AT + HEAD.size


@pytest.mark.parametrize(
    ("offset", "data", "words"),
    [
        (0, struct.pack("<I", 3), "version"),
        (4, struct.pack("<Q", 2**63), "sensor name"),
        (HEAD_AT, struct.pack("<i", -1), "colour codec"),
        (HEAD_AT + 4, struct.pack("<i", 2), "depth codec"),
        (HEAD_AT + 16, struct.pack("<I", 2**32 - 1), "size"),
        (HEAD_AT + 20, struct.pack("<I", 0), "size"),
        (HEAD_AT + 24, struct.pack("<f", np.nan), "depth shift"),
        (COUNT_AT, struct.pack("<q", -1), "frames"),
        (COUNT_AT, struct.pack("<Q", 5), "cut short"),
        (FIRST_AT + 80, struct.pack("<Q", 2**64 - 1), "frame 0"),
    ],
)
def test_headers_that_lie_are_told_by_field(recording, offset, data, words):
    with pytest.raises(DataError, match=words) as told:
        read_sens(patched(recording, offset, data))
    assert str(recording) in told.value.what


def test_missing_and_short_files(tmp_path, recording):
    with pytest.raises(DataError, match="nowhere"):
        read_sens(tmp_path / "nowhere.sens")
    whole = recording.read_bytes()
    for size in (0, 5, 100, HEAD_AT + 3, FIRST_AT + 40, len(whole) - 1):
        recording.write_bytes(whole[:size])
        with pytest.raises(DataError, match="cut short"):
            read_sens(recording)


def test_images_never_grow_beyond_what_the_header_says(recording):
    # The depth image is said to be smaller, then larger, than what was deflated.
    with pytest.raises(DataError, match="frame 2: depth: it becomes more"):
        read_sens(patched(recording, HEAD_AT + 16, struct.pack("<I", 15))).depth(2)
    with pytest.raises(DataError, match="depth: 384 bytes, 408 are wanted"):
        read_sens(patched(recording, HEAD_AT + 16, struct.pack("<I", 17))).depth(2)
    with pytest.raises(DataError, match="cannot become"):
        read_sens(patched(recording, HEAD_AT + 16, struct.pack("<I", 60000))).depth(2)
    with pytest.raises(DataError, match="colour: it is 32 x 24"):
        read_sens(patched(recording, HEAD_AT + 8, struct.pack("<I", 640))).color(0)


def test_damaged_images_are_told_by_frame(recording):
    sens = read_sens(recording)
    start = FIRST_AT + FRAME.size
    patched(recording, start, b"no jpeg at all")
    with pytest.raises(DataError, match="frame 0: colour"):
        sens.color(0)
    patched(recording, int(sens._places[0, :2].sum()), b"no zlib")
    with pytest.raises(DataError, match="frame 0: depth"):
        sens.depth(0)
    assert sens.depth(1).shape == (12, 16)


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_bytes_break_the_reader(tmp_path, data):
    file = tmp_path / "any.sens"
    if not file.exists():
        write_sens(tmp_path / "good.sens", frames(), K, K)
    whole = bytearray((tmp_path / "good.sens").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 420) | st.integers(0, len(whole) - 1))  # headers are short
        noise = data.draw(st.binary(min_size=1, max_size=8))
        whole[place : place + len(noise)] = noise
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
    try:
        sens = read_sens(file)
    except DataError:
        return
    for i in range(len(sens)):
        for read in (sens.color, sens.depth):
            with contextlib.suppress(DataError):
                assert read(i).size <= 1 << 28


def test_frames_of_other_sizes_are_not_written(tmp_path):
    odd = frames()
    odd[1] = SensFrame(odd[1].color[:5], odd[1].depth, odd[1].pose)
    with pytest.raises(ValueError, match="frame 1"):
        write_sens(tmp_path / "b.sens", odd, K, K)
    with pytest.raises(ValueError, match="at least one"):
        write_sens(tmp_path / "b.sens", [], K, K)
    assert not list(tmp_path.iterdir())
