"""The report in a real Chromium, without a display: painted, usable, no console message, no request."""

import numpy as np
import pytest

from recon.report.html import Report
from recon.report.sections import code_section
from tests.report.chromium import CHROMIUM, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (on Debian: apt-get install chromium)"),
]
CONTROLS = {
    "wireframe": "[data-mode=wire]",
    "vertices": "[data-mode=vertices]",
    "surface": "[data-mode=surface]",
    "plain": "[data-switch=error]",
    "points": "[data-switch=points]",
}
KEYS = {"left": ("ArrowLeft", 0), "up": ("ArrowUp", 0), "near": ("+", 0), "far": ("-", 0), "aside": ("ArrowRight", 8)}


def shot(browser: Browser) -> np.ndarray:
    return browser.screenshot(".viewer canvas")


def colorful(picture: np.ndarray) -> float:
    """The share of pixels that are not the grey of the stage."""
    return float((np.ptp(picture.astype(int), axis=-1) > 25).mean())


def state(browser: Browser, name: str) -> str:
    return browser.run(f"document.querySelector('.viewer').dataset.{name}")


def press(browser: Browser, key: str, modifiers: int = 0) -> None:
    browser.ask("Input.dispatchKeyEvent", type="keyDown", key=key, modifiers=modifiers)
    browser.ask("Input.dispatchKeyEvent", type="keyUp", key=key, modifiers=modifiers)


def mouse(browser: Browser, kind: str, x: float, y: float, **more: object) -> None:
    browser.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", **more)


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / "profile") as running:
        yield running


@pytest.fixture
def opened(browser, full_report, tmp_path):
    path = full_report.write(tmp_path / "ein Ordner {1} 'ü' #2" / "report.html")
    browser.open(path)
    return browser, path


def test_the_report_paints_in_light_and_dark_and_complains_of_nothing(opened):
    browser, path = opened
    for scheme, light in (("light", True), ("dark", False)):
        browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        assert state(browser, "state") == "painted"
        assert 0.1 < float(state(browser, "painted")) < 0.6
        assert int(state(browser, "shades")) > 200
        assert (browser.screenshot()[5, 5] > 128).all() == light
    assert browser.run("document.documentElement.dataset.errors") == "0"
    assert browser.messages == []
    assert browser.requests == [path.as_uri()]


def test_every_control_does_something(opened):
    browser, _ = opened
    home = before = shot(browser)
    for name, selector in CONTROLS.items():
        browser.run(f"document.querySelector('{selector}').click()")
        after = shot(browser)
        assert (after != before).any(), name
        before = after
    browser.run("document.querySelector('.viewer canvas').focus()")
    for name, (key, modifiers) in KEYS.items():
        press(browser, key, modifiers)
        after = shot(browser)
        assert (after != before).any(), name
        before = after
    browser.run("document.querySelector('[data-switch=error]').click()")
    browser.run("document.querySelector('[data-switch=points]').click()")
    press(browser, "r")
    browser.run("document.activeElement.blur()")  # takes the ring around the canvas away
    assert (shot(browser) == home).all()
    assert browser.messages == []


def test_dragging_turns_and_the_wheel_zooms(opened):
    browser, _ = opened
    x, y = browser.run(
        "(() => { const c = document.querySelector('.viewer canvas'); c.scrollIntoView();"
        "const r = c.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    before = shot(browser)
    mouse(browser, "mousePressed", x, y, clickCount=1, buttons=1)
    mouse(browser, "mouseMoved", x + 120, y + 40, buttons=1)
    mouse(browser, "mouseReleased", x + 120, y + 40, clickCount=1)
    turned = shot(browser)
    assert (turned != before).any()
    covered = colorful(turned)
    browser.ask("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-300)
    browser.ask("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-300)
    assert colorful(shot(browser)) > 1.2 * covered


def test_a_narrow_page_does_not_scroll_sideways(opened):
    browser, _ = opened
    browser.ask("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    assert browser.run("document.documentElement.scrollWidth") <= 360


def test_copying_says_that_it_did(opened):
    browser, _ = opened
    browser.ask("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    browser.ask("Page.bringToFront")
    said = browser.run(
        "(async () => { const b = document.querySelector('[data-copy]'); b.click();"
        "await new Promise((r) => setTimeout(r, 300)); return b.textContent; })()"
    )
    assert said in ("Copied", "Press Ctrl+C")
    assert browser.messages == []


def test_without_webgl_there_is_a_sentence(full_report, tmp_path):
    with Browser(tmp_path / "profile", "--disable-3d-apis") as browser:
        browser.open(full_report.write(tmp_path / "report.html"))
        assert state(browser, "state") == "failed"
        text = browser.run("document.querySelector('.viewer-sentence').innerText")
        assert "so the interactive view is not shown" in text
        assert browser.run("document.querySelector('.viewer canvas').offsetHeight") == 0
        assert browser.run("document.documentElement.dataset.errors") == "0"


def test_the_browser_would_tell_us(browser, tmp_path):
    # The checks above are worth something only if a wrong page is noticed: an error and a forbidden request.
    page = Report("t", "c", "y", [code_section("a", "b")]).html()
    bad = "<script>nonsense()</script><img src='https://example.invalid/x.png'></body>"
    path = tmp_path / "bad.html"
    path.write_text(page.replace("</body>", bad), encoding="utf-8")
    browser.open(path)
    assert browser.run("document.documentElement.dataset.errors") == "1"
    assert any("nonsense" in text for text in browser.messages)
    assert any("Content Security Policy" in text for text in browser.messages)
