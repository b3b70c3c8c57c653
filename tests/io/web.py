"""A server on this machine that gives files whole or in parts, breaks off, lies, and counts what it sends."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Web:
    """What is served, and how badly.

    Attributes:
        files: content by path.
        ranges: whether parts are given.
        tag: the ETag of all files.
        cuts: after how many bytes each coming answer (longer than a byte) breaks off.
        status: of the coming answers, instead of files.
        lie: give no length, and end with the connection.
        pause: seconds between two blocks.
        types: content types by path.
        asked: the Range headers of all requests.
        sent: bytes sent in all.
    """

    files: dict[str, bytes]
    ranges: bool = True
    tag: str = '"tag"'
    cuts: list[int] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    lie: bool = False
    pause: float = 0.0
    types: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    port: int = 0

    def url(self, path: str = "") -> str:
        """The address of a file."""
        return f"http://127.0.0.1:{self.port}/{path}"


@contextmanager
def serve(web: Web) -> Iterator[Web]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, web)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, web: Web) -> None:
    path = unquote(urlsplit(handler.path).path.lstrip("/"))
    asked = handler.headers.get("Range", "")
    web.asked.append(asked)
    if web.status or path not in web.files:
        handler.send_error(web.status.pop(0) if web.status else 404)
        return
    data = web.files[path]
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked) if web.ranges else None
    start = int(found[1]) if found else 0
    stop = min(int(found[2]) + 1 if found and found[2] else len(data), len(data))
    handler.send_response(206 if found else 200)
    if found:
        handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
    if not web.lie:
        handler.send_header("Content-Length", str(stop - start))
    handler.send_header("ETag", web.tag)
    handler.send_header("Content-Type", web.types.get(path, "application/octet-stream"))
    handler.end_headers()
    first_look = asked == "bytes=0-0"
    end = stop if first_look or not web.cuts else min(stop, start + web.cuts.pop(0))
    try:
        for place in range(start, end, 1 << 16):
            block = data[place : min(place + (1 << 16), end)]
            handler.wfile.write(block)
            web.sent += 0 if first_look else len(block)
            time.sleep(web.pause)
    except (BrokenPipeError, ConnectionResetError):
        pass
