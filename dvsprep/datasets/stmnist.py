"""ST-MNIST (See et al. 2020): digits written on a tactile array of 10 x 10 taxels."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import class_folders
from dvsprep.raw import Resource

DATASET = Dataset(
    name="stmnist",
    title="ST-MNIST",
    paper="ST-MNIST - The Spiking Tactile MNIST Neuromorphic Dataset, See et al., arXiv 2005.04319, 2020",
    licence="see the record [?]",
    classes=tuple("0123456789"),
    sensor=(10, 10),
    format="stmnist-mat",
    resources=(
        Resource(
            "STMNIST dataset NUS Tee Research Group.zip",
            md5=None,
            sha256="825bb5a64753fff4a2a2c32e3497fa8a951d9c94993e03ba25a057e17d83b884",
            page="https://scholarbank.nus.edu.sg/handle/10635/168106",
        ),
    ),
    layout=class_folders(".mat", skip=lambda path: "LUT" in path.name),
    splits=("all",),
    samples={"all": 6953},
    status={"scholarbank.nus.edu.sg": "a form stands before the file; by hand"},
    tested="1 real recording, the others a look-alike",
    note="A taxel is x = a % 10, y = a // 10; -1 is OFF. Files whose name has LUT in it are no recordings.",
)
