"""Data sets on Hugging Face: which files there are, with their sizes and published hashes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import requests

from recon.errors import DataError
from recon.io.transfer import HASH, TIMEOUT

HUB = "https://huggingface.co"
MOST = 100  # pages of a listing


@dataclass(frozen=True)
class HubFile:
    """A file: its path below the folder that was listed, its address, size in bytes, and sha256 if it is published."""

    path: str
    url: str
    size: int
    sha256: str


def list_files(where: str) -> list[HubFile]:
    """The files of a data set.

    Args:
        where: ``owner/name/folder``, or ``owner/name/file``.

    Raises:
        DataError: if they cannot be listed.
    """
    owner, name, *inner = where.split("/")
    wanted = PurePosixPath(*inner)
    # A file has no listing of its own: that of its folder tells of it.
    folder = str(wanted.parent if wanted.suffix else wanted)
    recursive = "false" if wanted.suffix else "true"
    url: str | None = f"{HUB}/api/datasets/{owner}/{name}/tree/main/{'' if folder == '.' else quote(folder)}"
    query: dict[str, str] | None = {"recursive": recursive}
    found = []
    try:
        for _ in range(MOST):
            if url is None:
                break
            answer = requests.get(url, params=query, timeout=TIMEOUT)
            answer.raise_for_status()
            for row in answer.json():
                path = PurePosixPath(row["path"])
                if row["type"] == "file" and (path == wanted if wanted.suffix else path.is_relative_to(wanted)):
                    short = path.name if wanted.suffix else str(path.relative_to(wanted))
                    found.append(_file(row, short, f"{HUB}/datasets/{owner}/{name}/resolve/main/{quote(str(path))}"))
            url, query = answer.links.get("next", {}).get("url"), None
    except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise DataError(f"{HUB}/datasets/{owner}/{name} could not be listed ({reason}).", "Try later.") from error
    if not found:
        raise DataError(f"{HUB}/datasets/{owner}/{name} has nothing at '{wanted}' now.", "Look there what changed.")
    return found


def _file(row: dict[str, Any], path: str, url: str) -> HubFile:
    large = row.get("lfs") or {}
    digest = str(large.get("oid", "")).removeprefix("sha256:")
    return HubFile(path, url, int(large.get("size", row["size"])), digest if HASH.fullmatch(digest) else "")
