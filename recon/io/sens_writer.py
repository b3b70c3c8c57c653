"""Writes .sens recordings as `recon.io.sens` reads them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from recon.io.files import atomic
from recon.io.sens import COLOR_CODECS, DEPTH_CODECS, FRAME, HEAD, VERSION


@dataclass(frozen=True)
class SensFrame:
    """One frame of a recording.

    Attributes:
        color: (H, W, 3) uint8 RGB.
        depth: (h, w) uint16, 0 where missing.
        pose: (4, 4) camera to world, in metres; -inf where it is not known.
        times: of colour and of depth.
    """

    color: np.ndarray
    depth: np.ndarray
    pose: np.ndarray
    times: tuple[int, int] = (0, 0)


def write_sens(
    path: str | Path,
    frames: Iterable[SensFrame],
    color_intrinsic: np.ndarray,
    depth_intrinsic: np.ndarray,
    depth_shift: float = 1000.0,
    color_codec: str = "jpeg",
    depth_codec: str = "zlib",
    name: str = "StructureSensor",
) -> None:
    """Write a recording whole or not at all, frame by frame; all frames are of the sizes of the first.

    Args:
        path: of the file.
        frames: at least one.
        color_intrinsic: (3, 3) or (4, 4), in pixels with their centres at integers.
        depth_intrinsic: as for colour; the two cameras are taken to be at one place.
        depth_shift: counts of depth a metre.
        color_codec: ``raw``, ``png`` or ``jpeg``.
        depth_codec: ``raw`` or ``zlib``.
        name: of the sensor.

    Raises:
        ValueError: if there are no frames, or they differ in size.
    """
    codecs = list(COLOR_CODECS.values()).index(color_codec), list(DEPTH_CODECS.values()).index(depth_codec)
    matrices = [_full(color_intrinsic), np.eye(4), _full(depth_intrinsic), np.eye(4)]
    sizes: tuple[int, ...] = ()
    with atomic(path) as temporary, temporary.open("wb") as stream:
        stream.write(struct.pack("<IQ", VERSION, len(name.encode())) + name.encode())
        stream.write(np.stack(matrices).astype("<f4").tobytes())
        place = stream.tell()
        stream.write(bytes(HEAD.size))
        count = 0
        for frame in frames:
            of_frame = (*frame.color.shape[1::-1], *frame.depth.shape[::-1])
            sizes = sizes or of_frame
            if sizes != of_frame:
                raise ValueError(f"frame {count} is of sizes {of_frame}, the first of {sizes}")
            _write_frame(stream, frame, color_codec, depth_codec)
            count += 1
        if not count:
            raise ValueError("a recording needs at least one frame")
        stream.seek(place)
        stream.write(HEAD.pack(*codecs, *sizes, depth_shift, count))


def _write_frame(stream: BinaryIO, frame: SensFrame, color_codec: str, depth_codec: str) -> None:
    color = np.ascontiguousarray(frame.color, dtype=np.uint8).tobytes()
    if color_codec != "raw":
        packed = io.BytesIO()
        Image.fromarray(frame.color).save(packed, color_codec, **({"quality": 95} if color_codec == "jpeg" else {}))
        color = packed.getvalue()
    depth = np.ascontiguousarray(frame.depth, dtype="<u2").tobytes()
    depth = zlib.compress(depth) if depth_codec == "zlib" else depth
    stream.write(FRAME.pack(np.asarray(frame.pose).astype("<f4").tobytes(), *frame.times, len(color), len(depth)))
    stream.write(color + depth)


def _full(matrix: np.ndarray) -> np.ndarray:
    whole = np.eye(4)
    whole[: len(matrix), : len(matrix)] = matrix
    return whole
