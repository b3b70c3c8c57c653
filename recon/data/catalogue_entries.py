"""What is published of each dataset: where, how large, under which terms, and whom to cite.

Every address stands in the authors' own instructions and, but for Iso-Points' and O2-Recon's, in those of others who
used it; what has none is listed with the page of its owners. Sizes are those that the owners state; 0 means that they
state none, and the server is asked. Hugging Face publishes hashes of its files; for the rest nobody does, so there are
none here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recon.io.taxonomies import CLASSES


@dataclass(frozen=True)
class Part:
    """One thing that can be had.

    Attributes:
        key: the word that asks for it, as in ``kind=views`` or ``only=[views]``.
        what: what it is, in a line.
        page: of its owners.
        licence: what they allow.
        cite: whom to cite.
        url: of an archive; empty if it cannot be had by an address.
        files: single files by name, instead of an archive.
        hub: a folder or file of a Hugging Face data set, as ``owner/name/folder``, instead of an archive.
        mirrors: where else the same archive lies.
        gigabytes: as published, to download.
        default: whether it belongs to what is downloaded if nothing is said.
        where: the folder it goes to, below the dataset's.
        root: see `recon.io.archives.Pick`.
        skip: see `recon.io.archives.Pick`.
        group: pattern of classes' or scenes' names; empty: it comes only as a whole.
        names: words for these groups.
        sparse: little of the archive is wanted, so that it pays to read just that.
        expects: patterns of files of which there must be some afterwards.
    """

    key: str
    what: str
    page: str
    licence: str
    cite: str
    url: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    hub: str = ""
    mirrors: tuple[str, ...] = ()
    gigabytes: float = 0.0
    default: bool = False
    where: str = ""
    root: str = ""
    skip: str = ""
    group: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    sparse: bool = False
    expects: tuple[str, ...] = ()

    def group_in(self, text: str) -> str | None:
        """The group that a name of a file or a scene tells of."""
        if text in self.names:
            return self.names[text]
        found = re.search(rf"(?:{self.group})(?=[_./]|$)", text) if self.group else None
        return found[0] if found else None


AVG = "https://s3.eu-central-1.amazonaws.com/avg-projects"
CONVONET = f"{AVG}/convolutional_occupancy_networks"
CVGL = "http://cvgl.stanford.edu/data2"
CVGL_MIRROR = "http://ftp.cs.stanford.edu/cs/cvgl"
DTU_MVS = "http://roboimagedata2.compute.dtu.dk/data/MVS"
NNABLA = "https://nnabla.org/pretrained-models/nnabla-examples/shape-reconstruction/implicit-geometric-regularization"
SHAPENET_TERMS = "ShapeNet's terms: research and teaching only, https://shapenet.org/terms."
UNSTATED = "stated nowhere; for research."
SYNSETS = {name: synset for synset, name in CLASSES.items()}

_ONET = "Mescheder et al., Occupancy Networks, CVPR 2019; Chang et al., ShapeNet, 2015."
_CONVONET = "Peng et al., Convolutional Occupancy Networks, ECCV 2020; Chang et al., ShapeNet, 2015."
_R2N2 = "Choy et al., 3D-R2N2, ECCV 2016; Chang et al., ShapeNet, 2015."
_DTU = "Jensen et al., Large Scale Multi-view Stereopsis Evaluation, CVPR 2014"
_O2 = "Hu et al., O2-Recon, AAAI 2024; Dai et al., ScanNet, CVPR 2017."
_PAGE_CONVONET = "https://github.com/autonomousvision/convolutional_occupancy_networks"
_PAGE_R2N2 = "https://github.com/chrischoy/3D-R2N2"
_PAGE_DTU = "https://roboimagedata.compute.dtu.dk/?page_id=36"
_O2_PAGE = "https://huggingface.co/datasets/AlbertHuyb/O2-Recon"
_O2_TERMS = "none stated; made from ScanNet, whose terms of use (research only) hold: http://www.scan-net.org."


def _weights(*names: str) -> Part:
    """Weights of Convolutional Occupancy Networks, named by their paths."""
    files = {name.rpartition("/")[2]: f"{CONVONET}/models/{name}" for name in names}
    what = "the authors' weights of Convolutional Occupancy Networks"
    return Part("weights", what, _PAGE_CONVONET, "MIT, as their code.", _CONVONET, files=files, where="weights")


SHAPENET = (
    Part(
        "points",
        "points and occupancies of 13 classes, by Occupancy Networks (without their pictures, img_choy2016)",
        "https://github.com/autonomousvision/occupancy_networks#preprocessed-data",
        SHAPENET_TERMS,
        _ONET,
        url=f"{AVG}/occupancy_networks/data/dataset_small_v1.1.zip",
        gigabytes=73.4,
        default=True,
        root="ShapeNet",
        skip="(^|/)img_choy2016/",
        group=r"\d{8}",
        names=SYNSETS,
        expects=("ShapeNet/*/*.lst", "ShapeNet/*/*/pointcloud.npz", "ShapeNet/*/*/points.npz"),
    ),
    Part(
        "views",
        "24 pictures of each object (ShapeNetRendering)",
        _PAGE_R2N2,
        SHAPENET_TERMS,
        _R2N2,
        url=f"{CVGL}/ShapeNetRendering.tgz",
        mirrors=(f"{CVGL_MIRROR}/ShapeNetRendering.tgz",),
        default=True,
        root="ShapeNetRendering",
        skip=r"\.tgz$",
        group=r"\d{8}",
        names=SYNSETS,
        expects=("ShapeNetRendering/*/*/rendering/*.png", "ShapeNetRendering/*/*/rendering/rendering_metadata.txt"),
    ),
    Part(
        "views",
        "voxels of each object (ShapeNetVox32)",
        _PAGE_R2N2,
        SHAPENET_TERMS,
        _R2N2,
        url=f"{CVGL}/ShapeNetVox32.tgz",
        mirrors=(f"{CVGL_MIRROR}/ShapeNetVox32.tgz",),
        default=True,
        root="ShapeNetVox32",
        group=r"\d{8}",
        names=SYNSETS,
        expects=("ShapeNetVox32/*/*/model.binvox",),
    ),
    _weights(
        *(f"pointcloud/shapenet_{kind}.pt" for kind in ("1plane", "3plane", "grid32", "3plane_partial", "pointconv")),
        *(f"voxel/voxel_shapenet_{kind}.pt" for kind in ("1plane", "3plane", "grid32")),
    ),
    Part(
        "weights",
        "3D-R2N2's weights of its Theano original",
        _PAGE_R2N2,
        "MIT, as their code.",
        _R2N2,
        files={"ResidualGRUNet.npy": f"{CVGL}/ResidualGRUNet.npy"},
        where="weights",
    ),
)

ROOMS = (
    Part(
        "points",
        "points and occupancies of 5000 rooms",
        _PAGE_CONVONET,
        SHAPENET_TERMS,
        _CONVONET,
        url=f"{CONVONET}/data/synthetic_room_dataset.zip",
        gigabytes=144,
        default=True,
        root="synthetic_room_dataset",
        group=r"rooms_\d\d",
        expects=("synthetic_room_dataset/rooms_*/*.lst", "synthetic_room_dataset/rooms_*/*/pointcloud/*.npz"),
    ),
    Part(
        "meshes",
        "watertight meshes of the rooms",
        f"{_PAGE_CONVONET}/issues/48",
        SHAPENET_TERMS,
        _CONVONET,
        url=f"{CONVONET}/data/room_watertight_mesh.zip",
        gigabytes=90,
        where="meshes",
        group=r"rooms_\d\d",
    ),
    _weights(
        *(f"pointcloud/room_{k}.pt" for k in ("1plane", "3plane", "grid32", "grid64", "combine", "pointconv")),
    ),
)

DTU = (
    Part(
        "idr",
        "15 scans: images, masks and cameras, by IDR",
        "https://github.com/lioryariv/idr",
        "stated by none of both; DTU's images are for research.",
        f"{_DTU}; Yariv et al., Multiview Neural Surface Reconstruction, NeurIPS 2020.",
        url="https://www.dropbox.com/s/ujmakiaiekdl6sh/DTU.zip?dl=1",
        default=True,
        root=r"scan\d+",
        group=r"scan\d+",
        expects=("scan*/cameras.npz", "scan*/image/*", "scan*/mask/*"),
    ),
    Part(
        "dvr",
        "the same 15 scans, by DVR",
        "https://github.com/autonomousvision/differentiable_volumetric_rendering",
        "stated by none of both; DTU's images are for research.",
        f"{_DTU}; Niemeyer et al., Differentiable Volumetric Rendering, CVPR 2020.",
        url=f"{AVG}/differentiable_volumetric_rendering/data/DTU.zip",
        where="dvr",
        root=r"scan\d+",
        group=r"scan\d+",
        expects=("dvr/scan*/cameras.npz",),
    ),
    Part(
        "mvr",
        "Iso-Points' data: synthetic multi-view scans, some of DTU, masked stereo clouds",
        "https://github.com/yifita/iso-points",
        UNSTATED,
        f"Yifan et al., Iso-Points, CVPR 2021; {_DTU}.",
        url="https://igl.ethz.ch/projects/iso-points/data.zip",
        where="isopoints",
    ),
    Part(
        "truth",
        "what DTU's evaluation may see of each scan (ObsMask, of SampleSet.zip)",
        _PAGE_DTU,
        "stated nowhere; for research.",
        f"{_DTU}.",
        url=f"{DTU_MVS}/SampleSet.zip",
        where="truth",
        root="ObsMask",
        sparse=True,
        expects=("truth/ObsMask/*.mat",),
    ),
    Part(
        "truth",
        "clouds of the structured light scanner (Points.zip)",
        _PAGE_DTU,
        "stated nowhere; for research.",
        f"{_DTU}.",
        url=f"{DTU_MVS}/Points.zip",
        where="truth/Points",
        root="stl",
        expects=("truth/Points/stl/*.ply",),
    ),
)


def _o2(key: str, what: str, inside: str, **more: Any) -> Part:
    """A file or folder of O2-Recon's data set."""
    return Part(key, what, _O2_PAGE, _O2_TERMS, _O2, hub=f"AlbertHuyb/O2-Recon/{inside}", **more)


SCANNET = (
    _o2("o2recon", "O2-Recon's in-painted example objects", "example-input", default=True, group=r"scene\d{4}_\d\d"),
    _o2("truth", "O2-Recon's ground truth of its objects", "groundtruth", default=True, where="groundtruth"),
    _o2("masks", "O2-Recon's masks, drawn by hand", "annotated_masks.zip", where="masks"),
    _o2("results", "results of O2-Recon and of those it compares with", "example-results.zip", where="results"),
    _o2("scenes", "the scenes that O2-Recon used", "scannet", where="scenes", group=r"scene\d{4}_\d\d"),
    Part(
        "sequence",
        "ScanNet's own recordings",
        "http://www.scan-net.org",
        "ScanNet's terms of use, to be signed; research only.",
        "Dai et al., ScanNet, CVPR 2017.",
    ),
)

_IGR_STEPS = {"armadillo": 2500, "bunny": 2500, "drill": 2500, "rgb_dragon": 2500, "dragon": 400} | dict.fromkeys(
    ("happy", "lucy", "manuscript", "statuette", "anchor", "daratech", "dc", "gargoyle", "lord_quas"), 1500
)
STANFORD_WEIGHTS = Part(
    "weights",
    "weights of IGR in nnabla, a scan each",
    "https://github.com/sony/nnabla-examples",
    "Apache 2.0, as their code.",
    "Gropp et al., Implicit Geometric Regularization for Learning Shapes, ICML 2020; nnabla-examples.",
    files={(name := f"{scan}_param_{steps:05d}.h5"): f"{NNABLA}/{name}" for scan, steps in _IGR_STEPS.items()},
    where="weights",
    group="|".join(_IGR_STEPS),
)

CATALOGUE: dict[str, tuple[Part, ...]] = {
    "shapenet": SHAPENET,
    "rooms": ROOMS,
    "dtu": DTU,
    "scannet": SCANNET,
    "stanford": (STANFORD_WEIGHTS,),
}
