"""A .zip on a server, read in parts: its directory, then the wanted members and little else."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from zipfile import ZipFile, ZipInfo

from recon.io.transfer import Remote, read_range

BLOCK = 8 << 20  # most bytes asked for at once
GAP = 256 << 10  # fewer unwanted bytes than this between two members are read along: a new request costs more
MOST = 1 << 30  # bytes at once: far more than the largest directory known (140 MB)
DIRECTORY = 1 << 20  # read along with anything near the end, where the directory lies


class RangedFile(io.RawIOBase):
    """A file on a server that can be read anywhere.

    Attributes:
        until: what lies before this byte will be wanted next, and is read ahead of need.
    """

    def __init__(self, remote: Remote) -> None:
        assert remote.size is not None
        assert remote.ranges
        self.remote, self.size, self.until = remote, remote.size, 0
        self.fetched = 0
        self._place, self._start, self._data = 0, 0, b""

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence])
        return self._place

    def read(self, count: int | None = -1) -> bytes:
        """`count` bytes from here, fewer only at the end; from the server if they were not read ahead."""
        wanted = self.size if count is None or count < 0 else self._place + count
        stop = min(wanted, self.size)
        if stop <= self._place:
            return b""
        if stop - self._place > MOST:
            raise ValueError(f"its directory would be {stop - self._place} bytes")
        if not self._start <= self._place <= stop <= self._start + len(self._data):
            ahead = min(self._place + BLOCK, max(self.until, stop))
            first = self._place if self._place < self.size - DIRECTORY else self.size - min(DIRECTORY, self.size)
            last = max(ahead, stop) if self._place < self.size - DIRECTORY else self.size
            self._data, self._start = read_range(self.remote, first, last), first
            self.fetched += last - first
        found = self._data[self._place - self._start : stop - self._start]
        self._place = stop
        return found


def in_order(archive: ZipFile, file: RangedFile, members: Sequence[ZipInfo]) -> Iterator[ZipInfo]:
    """The members by their place in the file, telling `file` before each how far reading ahead pays."""
    order = sorted(members, key=lambda member: member.header_offset)
    ends = [min(m.header_offset + m.compress_size + 4096, archive.start_dir) for m in order]
    run = 0
    for number, member in enumerate(order):
        run = max(run, number)
        while run + 1 < len(order) and order[run + 1].header_offset - ends[run] < GAP:
            run += 1
        file.until = ends[run]
        yield member
