"""Keeping the memory of one step for the next, where the system's allocator would hand it back.

glibc maps every large block anew and gives it back when it is freed, so that each step of a convolutional network
pays for its tensors page by page again: a fifth of the step. Accelerators have allocators that keep what they own.
"""

from __future__ import annotations

import ctypes
import platform

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of mallopt(3)
LARGEST_BLOCK, KEPT = 1 << 30, (1 << 31) - 1


def keep_host_memory() -> bool:
    """From now on this process keeps freed memory, blocks of a gigabyte and more excepted, for its next tensors.

    The process never needs more than it did at its peak. It is for programs that train on a CPU, not for libraries
    to call behind a user's back.

    Returns:
        Whether the system's allocator can be told so (glibc's can).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_BLOCK)) and bool(mallopt(TRIM_THRESHOLD, KEPT))
