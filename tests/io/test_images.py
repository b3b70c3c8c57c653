"""Images of every kind come out as arrays of one kind, or as an error that names the file."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recon.errors import DataError
from recon.io.images import image_files, natural, read_depth, read_gray, read_image, write_png

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_rgb_rgba_and_palette_are_rgb(tmp_path: Path) -> None:
    write_png(tmp_path / "rgb.png", RGB)
    alpha = RNG.integers(0, 256, (5, 7, 1), dtype=np.uint8)
    write_png(tmp_path / "rgba.png", np.concatenate([RGB, alpha], axis=2))
    Image.fromarray(RGB[..., 0]).save(tmp_path / "gray.png")
    assert (read_image(tmp_path / "rgb.png")[0] == RGB).all()
    assert read_image(tmp_path / "rgb.png")[1] is None
    rgb, read_alpha = read_image(tmp_path / "rgba.png")
    assert (rgb == RGB).all()
    assert (read_alpha == alpha[..., 0]).all()
    assert (read_image(tmp_path / "gray.png")[0] == RGB[..., :1]).all()


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    assert (read_image(tmp_path / "turned.png")[0] == np.rot90(RGB, -1)).all()


def test_depth_is_metres_and_wants_sixteen_bits(tmp_path: Path) -> None:
    counts = np.array([[0, 1500], [65535, 5000]], dtype=np.uint16)
    write_png(tmp_path / "depth.png", counts)
    assert np.allclose(read_depth(tmp_path / "depth.png"), counts * 0.001)
    assert np.allclose(read_depth(tmp_path / "depth.png", 1 / 5000), counts / 5000)
    assert (read_gray(tmp_path / "depth.png") == counts).all()
    write_png(tmp_path / "eight.png", RGB[..., 0])
    with pytest.raises(DataError, match=r"eight\.png.*8 bits"):
        read_depth(tmp_path / "eight.png")


def test_labels_of_a_palette_image_are_its_indices(tmp_path: Path) -> None:
    labels = Image.fromarray(np.array([[0, 1], [2, 3]], dtype=np.uint8), mode="L").convert("P")
    labels.putdata([0, 1, 2, 3])
    labels.save(tmp_path / "labels.png")
    assert read_gray(tmp_path / "labels.png").tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.filterwarnings("ignore:.*EXIF.*|.*Truncated.*:UserWarning")
def test_damaged_exif_data_are_no_crash(kind: str) -> None:
    for exif in (
        b"garbage",
        b"II*\0\x08\0\0\0\xff\xff",
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x05\0\x06\0\0",
        b"",
    ):
        stream = io.BytesIO()
        Image.fromarray(RGB).save(stream, kind, exif=b"Exif\0\0" + exif)
        try:
            assert read_image(stream.getvalue(), "photo")[0].shape == RGB.shape
        except DataError as error:
            assert "photo" in error.what  # noqa: PT017 - either is right


@pytest.mark.filterwarnings("error")
def test_files_are_closed_also_when_they_are_damaged(tmp_path: Path) -> None:
    write_png(tmp_path / "whole.png", RGB)
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    opened = Image.open
    pictures = []

    def noted(*args: Any) -> Image.Image:
        pictures.append(opened(*args))
        return pictures[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "open", noted)
        read_image(tmp_path / "whole.png")
        for read in (read_image, read_gray):
            with pytest.raises(DataError, match=r"cut\.png"):
                read(tmp_path / "cut.png")
    assert len(pictures) == 3
    assert all(picture.fp is None or picture.fp.closed for picture in pictures)


def test_values_beyond_sixteen_bits_are_told() -> None:
    for value, kind in ((-5, "I"), (70000, "I")):
        stream = io.BytesIO()
        Image.new(kind, (3, 2), value).save(stream, "tiff")
        with pytest.raises(DataError, match="not 8 or 16 bit"):
            read_gray(stream.getvalue())


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.png"):
        read_image(tmp_path / "nothing.png")


def test_numbers_in_names_sort_as_numbers(tmp_path: Path) -> None:
    for name in ("v10.png", "v9.png", "a.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [f.name for f in image_files(tmp_path)] == ["v9.png", "v10.png"]
    assert natural("a2b10") < natural("a10b2")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from(["png", "jpeg", "tiff", "bmp", "none"]), st.integers(0, 10_000))
def test_any_bytes_give_an_image_or_a_data_error(noise: bytes, kind: str, cut: int) -> None:
    data = b""
    if kind != "none":
        stream = io.BytesIO()
        Image.fromarray(RGB).save(stream, kind)
        data = stream.getvalue()
    for source in (noise, data[: cut % (len(data) + 1)] + noise):
        for read in (read_image, read_gray):
            try:
                read(source)
            except DataError:
                continue
