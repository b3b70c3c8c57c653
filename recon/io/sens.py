"""ScanNet's .sens recordings (version 4, little endian): RGB-D frames with poses in one file.

    uint32 version, uint64 n, n bytes name
    4 x 16 float32: intrinsics and extrinsics of colour, then of depth, row-major
    int32 codec of colour, int32 codec of depth
    uint32 width and height of colour, then of depth
    float32 counts of depth a metre, uint64 frames
    a frame: 16 float32 camera to world, uint64 two times, uint64 bytes of colour and of depth, the two images

What follows the frames (an inertial sensor's readings) is left alone. Only frames' headers are read at first; images
are read and decoded one by one, and never become larger than the file's header says they are.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from recon.errors import DataError
from recon.io.arrays import DEFLATE_RATIO
from recon.io.images import read_image
from recon.io.parsing import FormatError

VERSION = 4
COLOR_CODECS = {0: "raw", 1: "png", 2: "jpeg"}
DEPTH_CODECS = {0: "raw", 1: "zlib"}
LONGEST_NAME = 1 << 16
LARGEST = 1 << 26  # pixels of an image; ScanNet's have 1.3 million
HEAD = struct.Struct("<2i4IfQ")
FRAME = struct.Struct("<64s4Q")


@dataclass(frozen=True)
class Sens:
    """A recording, of which the headers were read.

    Attributes:
        path: of the file.
        name: of the sensor.
        color_intrinsic: (4, 4) float64, in pixels, whose centres are at integers.
        color_extrinsic: (4, 4) float64.
        depth_intrinsic: (4, 4) float64, as for colour.
        depth_extrinsic: (4, 4) float64.
        color_codec: one of `COLOR_CODECS`.
        depth_codec: one of `DEPTH_CODECS`.
        color_size: height and width.
        depth_size: height and width.
        depth_shift: counts of depth a metre.
        poses: (F, 4, 4) float64 camera to world, in metres; not finite where tracking was lost.
        times: (F, 2) uint64 of colour and depth.
    """

    path: Path
    name: str
    color_intrinsic: np.ndarray
    color_extrinsic: np.ndarray
    depth_intrinsic: np.ndarray
    depth_extrinsic: np.ndarray
    color_codec: str
    depth_codec: str
    color_size: tuple[int, int]
    depth_size: tuple[int, int]
    depth_shift: float
    poses: np.ndarray
    times: np.ndarray
    _places: np.ndarray  # (F, 3) int64: where a frame's images begin, bytes of colour, bytes of depth

    def __len__(self) -> int:
        return len(self.poses)

    def color(self, frame: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a frame.

        Raises:
            DataError: naming file and frame if the image is damaged or of another size.
        """
        start, size, _ = self._places[frame]
        blob = self._bytes(int(start), int(size))
        height, width = self.color_size
        with _named(f"'{self.path}': frame {frame}: colour"):
            if self.color_codec != "raw":
                _check_size(blob, (width, height))
                return read_image(blob, f"{self.path}, colour of frame {frame}", turn=False)[0]
            if len(blob) != height * width * 3:
                raise FormatError(f"{len(blob)} bytes, {height * width * 3} are wanted")
            return np.frombuffer(blob, np.uint8).reshape(height, width, 3)

    def depth(self, frame: int) -> np.ndarray:
        """(H, W) float32 depth in metres, 0 where missing."""
        return self.depth_counts(frame).astype(np.float32) / np.float32(self.depth_shift)

    def depth_counts(self, frame: int) -> np.ndarray:
        """(H, W) uint16 depth as stored, `depth_shift` a metre.

        Raises:
            DataError: naming file and frame if the image is damaged or of another size.
        """
        start, before, size = (int(value) for value in self._places[frame])
        blob = self._bytes(start + before, size)
        height, width = self.depth_size
        with _named(f"'{self.path}': frame {frame}: depth"):
            if self.depth_codec == "zlib":
                blob = _inflated(blob, height * width * 2)
            if len(blob) != height * width * 2:
                raise FormatError(f"{len(blob)} bytes, {height * width * 2} are wanted")
            return np.frombuffer(blob, "<u2").reshape(height, width)

    def _bytes(self, start: int, size: int) -> bytes:
        with _named(f"'{self.path}'"), self.path.open("rb") as stream:
            stream.seek(start)
            return _read(stream, size, "an image")


def read_sens(path: str | Path) -> Sens:
    """Open a recording: its header, and where its frames lie.

    Raises:
        DataError: naming file and cause if it is missing, damaged, cut short or of another version or codec.
    """
    path = Path(path)
    with _named(f"'{path}'"), path.open("rb") as stream:
        return _opened(path, stream)


def _opened(path: Path, stream: BinaryIO) -> Sens:
    end = os.fstat(stream.fileno()).st_size
    version, length = struct.unpack("<IQ", _read(stream, 12, "its header"))
    if version != VERSION:
        raise FormatError(f"field 'version': {version}; {VERSION} is read")
    if length > LONGEST_NAME:
        raise FormatError(f"field 'sensor name': it has {length} bytes")
    name = _read(stream, length, "field 'sensor name'").decode("utf-8", "replace")
    matrices = _matrices(_read(stream, 256, "its cameras"))
    color, depth, *sizes, shift, count = HEAD.unpack(_read(stream, HEAD.size, "its header"))
    color_width, color_height, depth_width, depth_height = sizes
    for field, codec, known in (("colour", color, COLOR_CODECS), ("depth", depth, DEPTH_CODECS)):
        if codec not in known:
            raise FormatError(f"field '{field} codec': {codec}; read are {known}")
    if not (0 < depth_width * depth_height <= LARGEST and 0 < color_width * color_height <= LARGEST):
        raise FormatError(f"field 'size': colour {color_width} x {color_height}, depth {depth_width} x {depth_height}")
    if not (np.isfinite(shift) and shift > 0):
        raise FormatError(f"field 'depth shift': {shift}; counts a metre are wanted")
    if count > (end - stream.tell()) // FRAME.size:
        raise FormatError(f"field 'frames': {count}, more than follow: the file is cut short or damaged")
    poses, times, places = _index(stream, count, end)
    return Sens(
        path=path,
        name=name,
        color_intrinsic=matrices[0],
        color_extrinsic=matrices[1],
        depth_intrinsic=matrices[2],
        depth_extrinsic=matrices[3],
        color_codec=COLOR_CODECS[color],
        depth_codec=DEPTH_CODECS[depth],
        color_size=(color_height, color_width),
        depth_size=(depth_height, depth_width),
        depth_shift=shift,
        poses=poses,
        times=times,
        _places=places,
    )


def _index(stream: BinaryIO, count: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses, times and places of all frames, going from header to header."""
    heads, places, start = [], np.zeros((count, 3), dtype=np.int64), stream.tell()
    for frame in range(count):
        stream.seek(start)
        heads.append(FRAME.unpack(_read(stream, FRAME.size, f"frame {frame}")))
        color, depth = heads[-1][3:]
        start += FRAME.size
        if color + depth > end - start:
            raise FormatError(
                f"frame {frame}: {color} + {depth} bytes, {end - start} follow: it is cut short or damaged"
            )
        places[frame] = start, color, depth
        start += color + depth
    times = np.array([head[1:3] for head in heads], dtype=np.uint64).reshape(-1, 2)
    return _matrices(b"".join(head[0] for head in heads)), times, places


def _matrices(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<f4").astype(np.float64).reshape(-1, 4, 4)


def _read(stream: BinaryIO, size: int, what: str) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise FormatError(f"{what}: the file is cut short")
    return data


def _check_size(blob: bytes, size: tuple[int, int]) -> None:
    """Raise a FormatError unless these are bytes of an image of this width and height; nothing is decoded."""
    try:
        found = Image.open(io.BytesIO(blob)).size
    except Exception as error:  # Pillow's parsers raise whatever they stumble over
        raise FormatError(f"no readable image ({error})") from error
    if found != size:
        raise FormatError(f"it is {found[0]} x {found[1]}, the file's header says {size[0]} x {size[1]}")


def _inflated(blob: bytes, size: int) -> bytes:
    """The `size` bytes that were deflated, and not one more.

    Raises:
        FormatError: if there are fewer or more.
    """
    if size > len(blob) * DEFLATE_RATIO:
        raise FormatError(f"{len(blob)} bytes cannot become {size}")
    inflater = zlib.decompressobj()
    data = inflater.decompress(blob, size)
    if len(data) == size and inflater.decompress(inflater.unconsumed_tail, 1):
        raise FormatError(f"it becomes more than {size} bytes")
    return data


@contextmanager
def _named(where: str) -> Iterator[None]:
    """What is wrong inside becomes a `DataError` that says where."""
    try:
        yield
    except (FormatError, zlib.error, OSError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        raise DataError(f"{where}: {reason}.", "Copy or download this recording again.") from error
