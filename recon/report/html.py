"""`Report`: one self-contained page a run, that opens from disk without a network.

Styles, scripts, pictures and the mesh are inside the file; a content security policy in its head forbids it
every request, so that a report sent to a colleague shows what it shows here and tells nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path

from recon.io.files import write_text
from recon.report.sections import Section, code_section, environment, mapping_section

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class Report:
    """What a run has to say for itself.

    Attributes:
        title: e.g. ``"igr on bunny"``.
        command: the command line that repeats the run.
        config_yaml: the whole configuration.
        sections: what the task composed, in order (see `recon.report.sections`).
        subtitle: one line: what was done, when.
        facts: the few headline figures, name to value with unit.
        warnings: sentences about what was dropped, empty, cut or missing; shown before everything else.
        environment: name to value; None looks around here and now.
    """

    title: str
    command: str
    config_yaml: str
    sections: Sequence[Section] = ()
    subtitle: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    environment: Mapping[str, object] | None = None

    def html(self) -> str:
        """The whole page."""
        around = environment() if self.environment is None else self.environment
        closing = [
            code_section("Repeat this run", self.command),
            mapping_section("Environment", around),
            code_section("Configuration", self.config_yaml, folded=True),
        ]
        parts = [_section(number, part) for number, part in enumerate([*self.sections, *closing])]
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(self.title)} · recon</title>
<style>{_asset("report.css")}</style>
<script>{_asset("report.js")}</script>
</head>
<body>
<header><h1>{escape(self.title)}</h1>{f'<p class="subtitle">{escape(self.subtitle)}</p>' if self.subtitle else ""}
{_warnings(self.warnings)}{_facts(self.facts)}</header>
<main>{"".join(parts)}</main>
<script>{_asset("viewer.js")}</script>
</body>
</html>
"""

    def write(self, path: str | Path) -> Path:
        """Write the page, whole or not at all.

        Raises:
            DataError: if it cannot be written there.
        """
        write_text(path, self.html())
        return Path(path)


def _section(number: int, section: Section) -> str:
    title = escape(section.title)
    if section.folded:
        return f"<details><summary><h2>{title}</h2></summary>{section.body}</details>"
    return f'<section aria-labelledby="s{number}"><h2 id="s{number}">{title}</h2>{section.body}</section>'


def _facts(facts: Mapping[str, str]) -> str:
    cards = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    return f'<dl class="facts">{cards}</dl>' if cards else ""


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(w)}</li>" for w in warnings)
    heading = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
    return f'<div class="warnings" role="note"><h2>{heading}</h2><ul>{items}</ul></div>'


def _asset(name: str) -> str:
    return files("recon.report").joinpath("assets", name).read_text(encoding="utf-8")
