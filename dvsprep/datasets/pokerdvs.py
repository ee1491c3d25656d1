"""Poker-DVS (Serrano-Gotarredona and Linares-Barranco 2015): card pips cut out of a deck that is browsed fast."""

from __future__ import annotations

import re
from pathlib import Path

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import class_folders
from dvsprep.errors import ArchiveError
from dvsprep.raw import Resource


def pip_of(path: Path) -> str:
    """Return the class of ``n?{spade|club|diamond|heart}NN[i].aedat``."""
    found = re.search(r"(spade|club|diamond|heart)", path.stem)
    if not found:
        raise ArchiveError(f"{path}: names no pip")
    return found[0]


DATASET = Dataset(
    name="pokerdvs",
    title="Poker-DVS",
    paper="Poker-DVS and MNIST-DVS. Their History, How They Were Made, and Other Details, "
    "Serrano-Gotarredona and Linares-Barranco, Frontiers in Neuroscience 9:481, 2015",
    licence="see the authors' page [?]",
    classes=("club", "heart", "diamond", "spade"),  # tonic's order
    sensor=(128, 128),
    format="aedat2-jaer",
    resources=(
        Resource(
            "poker_dvs.tar.gz",
            md5=None,
            size=1_339_243,
            sha256="abaed4f264d0459459fd6a97ca06ac5dc1e218ff40b97534ea40eba6b28155db",
            urls=("http://www2.imse-cnm.csic.es/caviar/POKER_DVS/poker_dvs.tar.gz",),
            page="http://www2.imse-cnm.csic.es/caviar/POKERDVS.html",  # in tonic and jackd/events-tfds, not probed [?]
        ),
    ),
    layout=class_folders(".aedat", class_of=pip_of),
    splits=("all",),
    samples={"all": 131},
    status={"www2.imse-cnm.csic.es": "not probed here [?]"},
    note="The original archive in jAER's orientation; where on the 128 x 128 the small pips lie is not verified [?]. "
    "tonic's 48 + 20 crops of 35 x 35 are on no server any more.",
)
