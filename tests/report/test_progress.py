"""Progress: bars on terminals, few lines elsewhere, and no silence about a stop."""

import io

import pytest
from rich.console import Console

from recon.report.progress import Bar, Lines, duration, progress, start


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plain() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, width=40), stream


def test_quick_steps_give_few_lines_and_slow_ones_an_eta():
    console, stream = plain()
    clock = Clock()
    with progress(1000, "fit [bold]", console, clock) as step:
        for _ in range(1000):
            clock.now += 0.02  # 20 s in all; a tenth takes 2 s
            step(note="loss 0.5")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "fit [bold]: started, 1000 steps"
    assert lines[1] == "fit [bold]: 100/1000 (10%), 2.0 s, eta 18.0 s, loss 0.5"
    assert len(lines) == 12
    assert lines[-1].startswith("fit [bold]: done in 20.0 s")


def test_lines_are_limited_in_time_both_ways():
    console, stream = plain()
    clock = Clock()
    with progress(1000, "a", console, clock) as step:
        for _ in range(1000):
            clock.now += 1e-4
            step()
    assert len(stream.getvalue().splitlines()) == 2
    console, stream = plain()
    with progress(None, "b", console, clock) as step:
        for _ in range(5):
            clock.now += 6
            step()
    assert [line for line in stream.getvalue().splitlines() if "12.0 s" in line] == ["b: 2, 12.0 s"]


def test_a_stop_is_said_and_the_error_goes_on():
    console, stream = plain()
    with pytest.raises(KeyboardInterrupt), progress(10, "fit", console, Clock()) as step:
        step(3)
        raise KeyboardInterrupt
    assert "fit: stopped at 3" in stream.getvalue()


def test_a_resumed_fit_does_not_count_old_steps_in_its_eta():
    console, stream = plain()
    clock = Clock()
    meter = start(100, "fit", console, clock, done=80)
    clock.now += 10
    meter.to(90)
    assert "90/100 (90%), 10.0 s, eta 10.0 s" in stream.getvalue()


def test_the_terminal_decides():
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=100)
    meter = start(10, "fit", terminal)
    assert isinstance(meter, Bar)
    meter(4, "loss 1")
    meter.to(10)
    meter.close(True)
    assert "10/10" in stream.getvalue()
    assert "loss 1" in stream.getvalue()
    assert isinstance(start(10, "fit", plain()[0]), Lines)


@pytest.mark.parametrize(("seconds", "text"), [(4.24, "4.2 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")])
def test_durations(seconds, text):
    assert duration(seconds) == text
