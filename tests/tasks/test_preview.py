from recon.cli import main
from recon.io.meshes import read_mesh


def test_a_quick_solve_is_shown_before_the_spline_is_done(workdir, quick_scores):
    words = ["reconstruct", "method=spline", "tiny=spline", "data=shapes", "data.scene=torus", "data.samples=2000"]
    assert main([*words, "trainer=cpu", "report=false", "preview=true", "hydra.run.dir=run"]) == 0
    assert len(read_mesh("run/previews/torus.ply").faces) > 1000
    assert (workdir / "run" / "previews" / "torus.png").stat().st_size > 5000
