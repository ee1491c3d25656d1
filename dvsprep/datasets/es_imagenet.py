"""ES-ImageNet (Lin et al. 2021): ILSVRC2012 turned into events by a simulated saccade of eight steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dvsprep.datasets.dataset import Dataset, find_folder
from dvsprep.errors import ArchiveError
from dvsprep.events import Instances, Recording, Sample
from dvsprep.raw import Resource

HOST = "https://cloud.tsinghua.edu.cn/d/94873ab4ec2a4eb497b3"
# of ES-imagenet-0.18.part01.rar to part25.rar
MD5S = """
    900bdd57b5641f7d81cd4620283fef76 5982532009e863a8f4e18e793314c54b 8f408c1f5a1d4604e48d0d062a8289a0
    5c5b5cf0a55954eb639964e3da510097 51feb661b4c9fa87860b63e76b914673 fcd007a2b17b7c13f338734c53f6db31
    d3e74b96d9c5df15714bbc3abcd329fc 65b9cf7fa63e18d2e7d92ff45a42a5e5 241c9a37a83ff9efd305fe46d012211e
    ceee96971008e30d0cdc34086c49fd75 4fbfefbe6e48758fbb72427c81f119cf c8cc163be4e5f6451201dccbded4ec24
    08c9dff32f6b42c49ef7cd78e37c728e 43aa157dc5bd5fcea81315a46e0322cf 480a69b050f465ef01efcc44ae29f7df
    11abd24d92b93e7f85acd63abd4a18ab 3891486a6862c63a325c5f16cd01fdd1 cf8bb0525b514f411bca9d7c2d681f7c
    3766bc35572ccacc03f0f293c571d0ae bf73a5e338644122220e41da7b5630e6 564de4a2609cbb0bb67ffa1bc51f2487
    60a9e52db1acadfccc9a9809073f0b04 373b5484826d40d7ec35f0e1605cb6ea a50612e889b20f99cc7b2725dfd72e9e
    0802ccdeb0cff29237faf55164524101
""".split()
LISTS = {"train": "trainlabel.txt", "val": "vallabel.txt"}


def layout(trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:  # noqa: ARG001
    """``trainlabel.txt`` and ``vallabel.txt``: ``path label height width`` a line; the label is ImageNet's own.

    The path may end in another suffix than .npz, as it does in the authors' loader.
    """
    recordings = []
    tree = next(iter(trees.values()))
    if not tree.is_dir():
        hint = f"unpack it with `unrar x {tree} FOLDER`, then `dvsprep adopt es-imagenet FOLDER --no-verify`"
        raise ArchiveError(f"{tree}: RAR parts have to be unpacked by hand", hint=hint)
    for split, listing in LISTS.items():
        folder = find_folder(tree, listing)
        for number, line in enumerate((folder / listing).read_text().splitlines(), start=1):
            if not line.strip():
                continue
            try:
                name, label = Path(line.split()[0].lstrip("/")).with_suffix(".npz"), int(line.split()[1])
            except (IndexError, ValueError):
                raise ArchiveError(f"{folder / listing}:{number}: expected 'path label height width'") from None
            if not 0 <= label < len(dataset.classes):
                raise ArchiveError(f"{folder / listing}:{number}: label {label}, expected 0 to 999")
            path = next((p for p in (folder / name, folder / split / name) if p.is_file()), None)
            if path is None:
                raise ArchiveError(f"{folder / listing}:{number}: {name} is listed, but not there")
            recordings.append(Recording(path, dataset.format, split, (Sample(path.stem, label),)))
    return recordings


DATASET = Dataset(
    name="es-imagenet",
    title="ES-ImageNet",
    paper="ES-ImageNet: A Million Event-Stream Classification Dataset for Spiking Neural Networks, "
    "Lin et al., Frontiers in Neuroscience 15, 2021",
    licence="see the authors' repository [?]",
    classes=tuple(f"class{i}" for i in range(1000)),  # the i-th ILSVRC2012 synset by ascending wnid
    sensor=(256, 256),
    format="es-imagenet-npz-ms",
    resources=tuple(
        Resource(name, md5=md5, urls=(f"{HOST}/files/?p=%2F{name}&dl=1",))
        for name, md5 in ((f"ES-imagenet-0.18.part{i:02d}.rar", md5) for i, md5 in enumerate(MD5S, start=1))
    ),
    layout=layout,
    splits=("train", "val"),
    samples={"train": 1257035, "val": 49881},
    status={"cloud.tsinghua.edu.cn": "in SpikingJelly 2.0; not probed here [?]"},
    note="About 100 GB in RAR parts, which only a person can unpack; then `dvsprep adopt` takes the folder. The steps "
    "1 to 8 are at 1 to 8 ms: --split-by time -T 8 makes a frame a step. ON is pos, as in SpikingJelly; the authors' "
    "loader has the channels the other way round, and centres and crops the canvas, which we do not.",
)
