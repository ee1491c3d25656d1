"""N-CARS (Sironi et al. 2018): cars and background, 100 ms each, seen by an ATIS."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import class_folders
from dvsprep.raw import Resource

DATASET = Dataset(
    name="ncars",
    title="N-CARS",
    paper="HATS: Histograms of Averaged Time Surfaces for Robust Event-Based Object Classification, "
    "Sironi et al., CVPR 2018",
    licence="Prophesee's own terms",
    classes=("background", "cars"),
    sensor=(100, 120),
    format="dat",
    resources=(
        Resource(
            "Prophesee_Dataset_n_cars.zip",
            md5="553ce464d6e5e617b3c21ce27c19368e",
            size=450_543_128,
            sha256="e10b2e00f8b258aab3b36924044d6b3d52de5251fb53e2b827e843b3fc26b245",
            # page: in tonic's and jackd/events-tfds' code, not probed [?]
            page="https://www.prophesee.ai/dataset-n-cars-download/",
        ),
    ),
    layout=class_folders(".dat", folders={"train": "n-cars_train", "test": "n-cars_test"}),
    samples={"train": 15422, "test": 8607},
    nested=True,
    status={"prophesee.ai": "the former link leads to a form; by hand"},
    tested="1 real recording, the others a look-alike",
    note="Coordinates as stored.",
)
