"""MNIST-DVS (Serrano-Gotarredona and Linares-Barranco 2015): 10,000 moving digits at three scales, by a DVS128."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import class_folders, part
from dvsprep.raw import Resource

# SHA-256 and bytes of grabbed_data0.zip to grabbed_data9.zip
FILES = (
    ("4263ec792b86015b52533d0a34970b7d0fbf26d3245e5a705515021050165b65", 790_469_447),
    ("aad599ba4c96c9ed4484adaf4c0a49138d87a7ff4b1ff759f999f46b04ecf620", 456_285_815),
    ("872089b93263c7cf9a7f5d105df4bccf00b7c600a7c7ee960f453559e4718e36", 579_069_198),
    ("82b120d031af135b3006d17c07a861508bb2c98e3919d41d2556fd20f6dbe7c7", 555_396_246),
    ("4e0f87859743233e0f587f963c7a05931cf61cd4f26b647abf02794a4651673c", 491_628_272),
    ("d11345b2d282367f2836e9ba94fe1bfd3bbc707094d15298364bf9c905ed43b3", 636_477_424),
    ("9144d1f80d6e5e2ddd5ebcc5e98ea33b50974c54776ecd800dcd86b06196ed3d", 520_197_908),
    ("b498053366b6b6ab979ac3dedbbc4417041e203569ecac8287cf018e9836ce67", 633_912_358),
    ("dbce305d64f9f2bda87dae58966289e0070102f56ef1506b2f5c27f9e86b947d", 802_631_746),
    ("c9d9087a1db0b4e4af1904b3481c8d9bdc8fb6b4ea757d51d4b0c6341b8dd280", 739_912_195),
)
PAGE = "http://www2.imse-cnm.csic.es/caviar/MNISTDVS.html"  # in jackd/events-tfds, not probed [?]
HOST = "http://www2.imse-cnm.csic.es/caviar/MNIST_DVS"

DATASET = Dataset(
    name="mnist-dvs",
    title="MNIST-DVS",
    paper="Poker-DVS and MNIST-DVS. Their History, How They Were Made, and Other Details, "
    "Serrano-Gotarredona and Linares-Barranco, Frontiers in Neuroscience 9:481, 2015",
    licence="see the authors' page [?]",
    classes=tuple("0123456789"),
    sensor=(128, 128),
    format="aedat2-jaer",
    resources=tuple(
        Resource(
            f"grabbed_data{i}.zip", md5=None, sha256=sha256, size=size, urls=(f"{HOST}/grabbed_data{i}.zip",), page=PAGE
        )
        for i, (sha256, size) in enumerate(FILES)
    ),
    # grabbed_data<digit>/scale<s>/mnist_<digit>_scale<ss>_<nnnn>.aedat: so in users' code on GitHub [?]
    layout=class_folders(".aedat", class_of=part(1)),
    splits=("all",),
    samples={"all": 30000},
    status={"www2.imse-cnm.csic.es": "not probed here [?]"},
    note="jAER's orientation. The names inside the archives are those of users' code, not verified [?].",
)
