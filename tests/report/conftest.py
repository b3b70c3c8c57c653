"""A small run, as a report sees it."""

import numpy as np
import pytest
import trimesh

from recon.io.types import Cloud, Mesh
from recon.report.curves import Curve
from recon.report.errormap import ErrorMap
from recon.report.html import Report
from recon.report.previews import Panel
from recon.report.sections import curves_section, previews_section, table_section, viewer_section
from recon.report.tables import Table

NASTY = "a \"quoted\" 'path' {x}~=ü </script><script>alert(1)</script><img src=x onerror=alert(2)>.ply"
SHIFT = np.array([5e6, -3e6, 120.0])


@pytest.fixture(scope="session")
def ball() -> Mesh:
    sphere = trimesh.creation.icosphere(4)
    return Mesh(np.asarray(sphere.vertices) + SHIFT, np.asarray(sphere.faces))


@pytest.fixture(scope="session")
def full_report(ball: Mesh) -> Report:
    cloud = Cloud(ball.vertices + np.random.default_rng(0).normal(0, 0.01, ball.vertices.shape))
    errors = ErrorMap(np.abs(ball.vertices[:, 0] - SHIFT[0]), "m")
    steps = list(range(0, 2000, 5))
    panels = [
        Panel("input " + NASTY, cloud),
        Panel("mesh", ball),
        Panel.of_errors("error", ball, errors),
        Panel("nothing", Mesh.empty()),
    ]
    sections = [
        viewer_section(ball, errors, cloud),
        previews_section(panels, size=80),
        table_section("Metrics", Table([{"scene": NASTY, "iou": 0.9}, {"scene": "b", "iou": 0.8}], title=NASTY)),
        curves_section([Curve("train/loss", steps, [1 / (1 + s) for s in steps]), Curve(NASTY, [1, 2], [3.0, 4.0])]),
    ]
    return Report(
        title=NASTY,
        command=f"recon reconstruct input={NASTY}",
        config_yaml=f"input: {NASTY}\n",
        sections=sections,
        subtitle=NASTY,
        facts={NASTY: NASTY},
        warnings=[NASTY],
        environment={NASTY: NASTY},
    )
