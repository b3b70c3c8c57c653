"""The page: complete, valid in structure, closed to the network, and deaf to what users write."""

from html.parser import HTMLParser

import pytest
import torch

from recon.errors import DataError
from recon.report.html import Report
from recon.report.sections import code_section, environment, mapping_section
from tests.report.conftest import NASTY

VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """Tags in order, texts, and whether every tag that was opened was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):  # <line ... />, as SVG writes it
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(full_report) -> Page:
    return Page(full_report.html())


def test_every_tag_is_closed_and_every_id_is_one(page):
    assert page.wrong == []
    assert page.open == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    labels = {a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a}
    assert labels <= set(ids)


def test_what_users_wrote_is_shown_and_not_run(page):
    assert len([t for t, _ in page.tags if t == "script"]) == 3  # page, viewer's data, viewer
    assert not any(a.get("src") == "x" or "onerror" in a for _, a in page.tags)
    assert sum(NASTY in text for text in page.texts) >= 8


def test_it_asks_nothing_of_any_network(page, full_report):
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    assert all(t not in ("link", "iframe", "object") for t, _ in page.tags)
    assert "url(" not in full_report.html()
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_it_says_everything(page):
    headings = "".join(page.texts)
    for word in ("Repeat this run", "Environment", "Configuration", "Metrics", "Previews", "Curves", "1 warning"):
        assert word in headings
    pictures = [a for t, a in page.tags if t == "img"]
    assert len(pictures) == 12  # three things from four sides; the empty one is a sentence
    assert all(a["alt"] for a in pictures)
    assert "Empty: there is nothing to show." in page.texts


def test_it_is_written_whole_or_not_at_all(full_report, tmp_path):
    path = full_report.write(tmp_path / "run ü {1}" / "report.html")
    assert path.read_text(encoding="utf-8") == full_report.html()
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    (tmp_path / "taken").write_text("x")
    with pytest.raises(DataError, match="taken"):
        full_report.write(tmp_path / "taken" / "report.html")


def test_sections_of_plain_things():
    report = Report(
        "t",
        "c",
        "y",
        [
            mapping_section("Map", {"k": "a < b"}),
            code_section("Code", "x <y>", folded=True),
        ],
    )
    page = Page(report.html())
    assert page.wrong == []
    assert "a < b" in page.texts
    assert "x <y>" in page.texts


def test_the_environment_names_what_times_depend_on():
    found = environment()
    assert f"torch {torch.__version__}" in found["Packages"]
    assert found["Threads"] == str(torch.get_num_threads())
    assert "logical cores" in found["Processor"]
