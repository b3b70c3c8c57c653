"""Named scans: nine of the Stanford 3D Scanning Repository, and the five of the surface reconstruction benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from recon.data.base import Shared
from recon.data.loading import Split
from recon.data.reading import Scans, read_scan
from recon.errors import ConfigError, did_you_mean
from recon.io.download import Source, fetch
from recon.io.meshes import read_geometry
from recon.observations import Scene, Truth

STANFORD = "https://graphics.stanford.edu"
BENCHMARK = (
    "https://drive.usercontent.google.com/download?id=17Elfc1TTRzIQJhaNu5m7SckBH_mdjYSe&export=download&confirm=t"
)
PREPARED = ("_scan.ply", "_pcd.ply")  # what `prepare data=stanford` makes, with the mesh beside it
BENCHMARK_SIZE = 1100  # MB, all five in one archive


@dataclass(frozen=True)
class Scan:
    """One named scan.

    Attributes:
        files: names its input is known by, best first; a mesh is sampled.
        truths: names of its true surface, where that is another file.
        page: path of its download below `STANFORD`; empty for the benchmark's five.
        member: its path in the archive.
        megabytes: about, to download.
        sha256: of the archive, where several independent projects agree on it; the repository publishes none.
    """

    files: tuple[str, ...]
    truths: tuple[str, ...] = ()
    page: str = ""
    member: str = ""
    megabytes: float = BENCHMARK_SIZE
    sha256: str = ""


def _archived(page: str, member: str, megabytes: float, sha256: str = "") -> Scan:
    return Scan((Path(member or page.removesuffix(".gz")).name,), (), page, member, megabytes, sha256)


REPOSITORY = "pub/3Dscanrep"
SCANS = {
    "bunny": Scan(
        ("bunny_normals.ply", "bun_zipper.ply"),
        ("bunny_mesh.ply", ""),
        f"{REPOSITORY}/bunny.tar.gz",
        "bunny/reconstruction/bun_zipper.ply",
        4.9,
        "a5720bd96d158df403d153381b8411a727a1d73cff2f33dc9b212d6f75455b84",
    ),
    "drill": _archived(f"{REPOSITORY}/drill.tar.gz", "drill/reconstruction/drill_shaft_vrip.ply", 0.6),
    "happy": _archived(
        f"{REPOSITORY}/happy/happy_recon.tar.gz",
        "happy_recon/happy_vrip.ply",
        14.5,
        "409cd294efbfd8244e15a382b95a9423f153b7776e736c9b09f19ec9d3c10ed0",
    ),
    "dragon": _archived(
        f"{REPOSITORY}/dragon/dragon_recon.tar.gz",
        "dragon_recon/dragon_vrip.ply",
        11.2,
        "74ac1d90989c9b1732edee82d57e9ce71452144cf4355f108d8c9c616d28d02f",
    ),
    "armadillo": _archived(f"{REPOSITORY}/armadillo/Armadillo.ply.gz", "", 3.9),
    "lucy": _archived("data/3Dscanrep/lucy.tar.gz", "lucy.ply", 322),
    "rgb_dragon": _archived("data/3Dscanrep/xyzrgb/xyzrgb_dragon.ply.gz", "", 70.5),
    "manuscript": _archived("data/3Dscanrep/xyzrgb/xyzrgb_manuscript.ply.gz", "", 45),
    "statuette": _archived("data/3Dscanrep/xyzrgb/xyzrgb_statuette.ply.gz", "", 106),
} | {
    name: Scan((f"{name}.ply",), (f"{name}.xyz",), "", f"scans/{name}.ply")
    for name in ("anchor", "daratech", "dc", "gargoyle", "lord_quas")
}


class Stanford(Scans):
    """Named scans below a folder, in their own coordinates.

    Known by the names of the published files, at any depth: the reconstructions of the Stanford repository (meshes,
    which are sampled), and the benchmark's simulated range scans with their dense true clouds where they are there.
    Clouds that ``prepare data=stanford`` made are found, too, under the names of their meshes; these are their truth.

    Args:
        path: folder that holds the scans, or gets them.
        download: fetch what is asked for and missing.
        use_normals: use the normals of files that have them.
        samples: points drawn on what is published as a mesh.
        scene: one of `SCANS`; null means all that are there.
        shared: see `ReconDataModule`.
    """

    def __init__(
        self,
        path: str = "data/stanford",
        download: bool = False,
        use_normals: bool = True,
        samples: int = 100_000,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        self.path, self.download = Path(path).expanduser(), download
        self.use_normals, self.samples = use_normals, samples

    def names(self, split: Split = "test") -> Sequence[str]:
        """What is there (or, with `download`, all of the Stanford repository); every scan is in every split."""
        found = self._found()
        known = [name for name, scan in SCANS.items() if name in found or (self.download and scan.page)]
        return [*known, *(name for name in found if name not in SCANS)]

    def selected(self, split: Split = "test") -> list[str]:
        if self.chosen is None and not self.names(split):
            self.check_scene("bunny", split)
        return super().selected(split)

    def check_scene(self, name: str, split: Split = "test") -> None:
        found = self._found()
        if name not in SCANS and name not in found:
            raise ConfigError(f"data.scene={name}: there is no such scan.", did_you_mean(name, [*SCANS, *found]))
        if name not in found and not self.download:
            raise ConfigError(
                f"data=stanford: '{name}' is not below '{self.path}'.",
                f"Give its folder as data.path=..., or add data.download=true data.scene={name} "
                f"(about {SCANS[name].megabytes:g} MB).",
            )

    def read(self, name: str) -> Scene:
        found = self._found()
        file = found.get(name) or self.fetch(name)
        points, truth = read_scan(file, name, "raise", self.use_normals, self.samples, self.seed)
        other = self._truth(name, file)
        return Scene(points, Truth(read_geometry(other)) if other else truth, self.names().index(name))

    def _found(self) -> dict[str, Path]:
        """Scans that are there, the nearest to the top where there are several."""
        files: dict[str, Path] = {}
        if self.path.is_dir():
            for file in sorted(self.path.rglob("*"), key=lambda f: (len(f.parts), f)):
                files.setdefault(file.name.lower(), file)
        found = {
            name: next(files[f.lower()] for f in scan.files if f.lower() in files)
            for name, scan in SCANS.items()
            if any(f.lower() in files for f in scan.files)
        }
        prepared = {_name(file): file for file in reversed(files.values()) if _mesh_of(file) is not None}
        return found | dict(sorted(prepared.items()))

    def _truth(self, name: str, file: Path) -> Path | None:
        """The truth that belongs to this very file: in its folder, or in ``ground_truth`` beside that."""
        if (mesh := _mesh_of(file)) is not None:
            return mesh if mesh.is_file() else None
        scan = SCANS[name]
        index = [f.lower() for f in scan.files].index(file.name.lower())
        wanted = scan.truths[index] if index < len(scan.truths) else ""
        places = (file.parent / wanted, file.parent.parent / "ground_truth" / wanted)
        return next((place for place in places if wanted and place.is_file()), None)

    def fetch(self, name: str) -> Path:
        """The file of a scan, downloaded unless it is there."""
        scan = SCANS[name]
        if scan.page:
            source = Source(
                f"{STANFORD}/{scan.page}",
                Path(scan.page).name,
                scan.member,
                "for research, with credit; commercial use by permission only.",
                "the Stanford 3D Scanning Repository, https://graphics.stanford.edu/data/3Dscanrep",
                scan.sha256,
            )
            return fetch(source, self.path / scan.files[-1])
        source = Source(
            BENCHMARK,
            "deep_geometric_prior_data.zip",
            scan.member,
            "stated in none of its files; for research.",
            "Berger et al., A Benchmark for Surface Reconstruction, 2013; "
            "Williams et al., Deep Geometric Prior for Surface Reconstruction, 2019.",
        )
        truth = replace(source, member=f"ground_truth/{scan.truths[0]}")
        file = fetch(source, self.path / scan.files[0])
        fetch(truth, self.path / scan.truths[0])
        return file


def _mesh_of(file: Path) -> Path | None:
    """Where the mesh of a prepared cloud should lie; None for other files."""
    suffix = next((s for s in PREPARED if file.name.endswith(s) and len(file.name) > len(s)), None)
    return None if suffix is None else file.with_name(f"{file.name.removesuffix(suffix)}.ply")


def _name(file: Path) -> str:
    """The name of a prepared cloud: that of the scan whose published mesh it was made from, or of its mesh."""
    mesh = _mesh_of(file)
    assert mesh is not None
    return next((n for n, s in SCANS.items() if mesh.name.lower() in map(str.lower, s.files)), mesh.stem)
