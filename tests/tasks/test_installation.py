"""What should be installed is known in a checkout and from a wheel alike."""

from __future__ import annotations

from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest

from recon.tasks.installation import requirements, unmet, version


def test_nothing_that_we_depend_on_is_unmet() -> None:
    assert {r.name: list(unmet(r.name)) for r in requirements()[""] if list(unmet(r.name))} == {}


def test_absent_distributions_have_no_version_and_no_wishes() -> None:
    assert version("no-such-distribution") is None
    assert list(unmet("no-such-distribution")) == []


def test_requirements_are_the_same_from_metadata_and_from_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    page = {e: {r.name for r in rs} for e, rs in requirements().items()}
    texts = [t for e, rs in requirements().items() for t in (f"{r}; extra == '{e}'" if e else str(r) for r in rs)]
    message = Message()
    for extra in filter(None, page):
        message["Provides-Extra"] = extra
    monkeypatch.setattr(metadata, "requires", lambda name: texts)
    monkeypatch.setattr(metadata, "metadata", lambda name: message)
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    assert {e: {r.name for r in rs} for e, rs in requirements().items()} == page
