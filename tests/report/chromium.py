"""A headless Chromium on a leash: its DevTools protocol over a pipe, with the standard library alone."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1200,1600",
    "--remote-debugging-pipe",
)
PATIENCE = 60.0  # seconds


class Browser:
    """One page in a fresh profile; `events` holds all that it reported, `messages` what its console would show."""

    def __init__(self, profile: Path, *flags: str) -> None:
        # The browser reads commands from its descriptor 3 and writes answers to 4.
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        high_in, high_out = (fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs_in, theirs_out))

        def attach() -> None:
            os.dup2(high_in, 3)
            os.dup2(high_out, 4)

        self.process = subprocess.Popen(
            [str(CHROMIUM), *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=attach,
            pass_fds=(3, 4),
        )
        for fd in (theirs_in, theirs_out, high_in, high_out):
            os.close(fd)
        self.incoming, self.outgoing = ours_in, ours_out
        self.pending, self.count = b"", 0
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        target = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)
        os.close(self.incoming)
        os.close(self.outgoing)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.outgoing, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            answer = self._read(end)
            if answer.get("id") != self.count:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def open(self, path: Path) -> None:
        """Load a file and wait for its load event."""
        before = len(self.events)
        self.ask("Page.navigate", url=path.as_uri())
        self.until(lambda: any(e["method"] == "Page.loadEventFired" for e in self.events[before:]))

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def until(self, true: Any) -> None:
        """Wait for a condition on what the browser reports."""
        end = time.monotonic() + PATIENCE
        while not true():
            self.events.append(self._read(end))

    def screenshot(self, selector: str | None = None) -> np.ndarray:
        """(H, W, 3) uint8: the visible part of the page, or one element of it, two frames from now."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")
        options: dict[str, Any] = {"format": "png"}
        if selector:
            box = self.run(
                f"(() => {{ const r = document.querySelector('{selector}').getBoundingClientRect();"
                "return { x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1 }; })()"
            )
            options["clip"] = box
        data = base64.b64decode(self.ask("Page.captureScreenshot", **options)["data"])
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))

    @property
    def messages(self) -> list[str]:
        """Warnings, errors and uncaught exceptions."""
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled":
                found.append(str(params["args"]))
            elif event["method"] == "Log.entryAdded":
                found.append(params["entry"]["text"])
        # Browsers that draw in software say this of any page that looks at its own canvas; it is about speed.
        return [text for text in found if "GL Driver Message (OpenGL, Performance" not in text]

    @property
    def requests(self) -> list[str]:
        """Everything the pages asked for but data inside them."""
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith("data:")]

    def _read(self, end: float) -> dict[str, Any]:
        while b"\0" not in self.pending:
            if not select.select([self.incoming], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            chunk = os.read(self.incoming, 1 << 20)
            if not chunk:
                raise RuntimeError(f"Chromium ended with {self.process.wait(PATIENCE)}")
            self.pending += chunk
        message, self.pending = self.pending.split(b"\0", 1)
        return json.loads(message)
