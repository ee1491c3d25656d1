"""Small look-alikes of every dataset's archives, in the published layout, with the events that must come out.

The first event of every sample is raw x = 3, y = 5, ON; the others are random. A dataset whose reader turns the
picture says so in its look-alike.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import formats
import numpy as np

from dvsprep import datasets

Events = dict[str, np.ndarray]
Members = dict[str, "bytes | Members"]  # a folder's files; a member that is a folder itself is an archive inside
Turn = Callable[[Events], Events]


@dataclass
class Lookalike:
    """Archives as they are published, and each split's samples in order: id, label, events."""

    name: str
    archives: dict[str, bytes | Members] = field(default_factory=dict)
    samples: dict[str, list[tuple[str, int, Events]]] = field(default_factory=dict)

    def events(self, split: str, id: str, label: int, *, tick: int = 1, turn: Turn | None = None) -> Events:
        """Return a new sample's raw events, times in ``tick`` us; note what is to come out of them."""
        H, W = datasets.get(self.name).sensor
        count = sum(map(len, self.samples.values()))
        e = formats.events(24, H, W, seed=count, start=count)
        e["x"][0], e["y"][0], e["p"][0] = 3, min(5, H - 1), 1
        if H == 1:  # spikes have no polarity; times are 1 / 1024 s, which half precision holds
            e["p"][:] = 1
            e["ticks"] = np.arange(24) * 40 + count
            e["t"] = (e["ticks"] * 1e6 / 1024).astype(np.int64)
        e["t"] = e["t"] * tick
        self.samples.setdefault(split, []).append((id, label, turn(e) if turn else e))
        return e

    def put(self, archive: str, member: str, content: bytes) -> None:
        """Add a file to an archive; ``inner.zip!file`` goes into an archive inside."""
        folder = self.archives.setdefault(archive, {})
        *inner, last = member.split("!")
        for name in inner:
            folder = folder.setdefault(name, {})
        folder[last] = content


def write(look: Lookalike, folder: Path) -> list[Path]:
    """Write the archives; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in look.archives.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else pack(name, content))
    return [folder / name for name in look.archives]


def pack(name: str, members: Members) -> bytes:
    """Return a tar.gz or, whatever else the name says, a zip."""
    buffer = io.BytesIO()
    plain = {key: value if isinstance(value, bytes) else pack(key, value) for key, value in members.items()}
    if name.endswith(".tar.gz"):
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
            for key, value in plain.items():
                info = tarfile.TarInfo(key)
                info.size = len(value)
                tar.addfile(info, io.BytesIO(value))
    else:
        with zipfile.ZipFile(buffer, "w") as archive:
            for key, value in plain.items():
                archive.writestr(key, value)
    return buffer.getvalue()


def unpack(content: Members, folder: Path) -> Path:
    """Write files as a person who unpacked the archives has them."""
    for name, value in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, bytes):
            path.write_bytes(value)
        else:
            unpack(value, path.with_suffix("") if PurePosixPath(name).suffix == ".zip" else path)
    return folder


def unpacked(look: Lookalike, folder: Path) -> Path:
    """Write the content of all archives into one folder."""
    for name, content in look.archives.items():
        unpack({name: content} if isinstance(content, bytes) else content, folder)
    return folder


# --- pictures


def flip(H: int | None = None, W: int | None = None) -> Turn:
    """Turn y upside down on H rows, x left to right on W columns."""
    return lambda e: e | ({"y": H - 1 - e["y"]} if H else {}) | ({"x": W - 1 - e["x"]} if W else {})


def transposed(e: Events) -> Events:
    """SpikingJelly's CIFAR10-DVS: x = 127 - y field, y = 127 - x field."""
    return e | {"x": 127 - e["y"], "y": 127 - e["x"]}


def nmnist(look: Lookalike) -> None:
    for split, digit, id in [("train", 9, "00002"), ("train", 0, "00010"), ("test", 7, "00001"), ("test", 7, "00003")]:
        folder = split.capitalize()
        look.put(f"{folder}.zip", f"{folder}/{digit}/{id}.bin", formats.atis(look.events(split, id, digit)))


def ncaltech101(look: Lookalike) -> None:
    # Labels of the published descriptions: capitals first, and no "Faces".
    for name, label in [("BACKGROUND_Google", 0), ("Faces_easy", 1), ("accordion", 4), ("yin_yang", 100)]:
        for k in (2, 10):
            e = look.events("all", f"{name}/image_{k:04d}", label)
            look.put("Caltech101.zip", f"Caltech101/{name}/image_{k:04d}.bin", formats.atis(e))


def cifar10dvs(look: Lookalike) -> None:
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    for label, name in enumerate(names):
        for i in (2, 10):  # numbers are not padded: 10 comes after 2
            e = look.events("all", f"cifar10_{name}_{i}", label, turn=transposed)
            look.put(f"{name}.zip", f"{name}/cifar10_{name}_{i}.aedat", formats.aedat2_fields(e))


def dvs128(look: Lookalike) -> None:
    trials = {"train": ["user01_fluorescent", "user02_led"], "test": ["user24_natural"]}
    for split, names in trials.items():
        files = "".join(f"{name}.aedat\n" for name in names)
        look.put("DvsGesture.tar.gz", f"DvsGesture/trials_to_{split}.txt", files.encode())
        for name in names:
            rows, parts = ["class,startTime_usec,endTime_usec"], []
            for row, number in enumerate([1, 2, 3, 11, 10, 8, 8], start=1):
                e = look.events(split, f"{name}_row{row:02d}", number - 1)
                e["t"] += row * 10_000 - e["t"][0]  # in place: also what is to come out
                rows.append(f"{number},{e['t'][0]},{e['t'][-1] + 1}")
                parts.append(e)
            whole = {key: np.concatenate([part[key] for part in parts]) for key in "txyp"}
            look.put("DvsGesture.tar.gz", f"DvsGesture/{name}.aedat", formats.aedat31(whole, packet=50))
            look.put("DvsGesture.tar.gz", f"DvsGesture/{name}_labels.csv", "\n".join(rows).encode())


def dvs128_ms(look: Lookalike) -> None:
    for split, trials in {"train": ["user01_led", "user23_lab"], "test": ["user29_natural"]}.items():
        folder = f"ibmGesture{split.capitalize()}"
        for trial in trials:
            for label in (1, 2, 10):
                e = look.events(split, f"{trial}_class{label + 1:02d}", label, tick=1000)
                array = np.stack([e["x"], e["y"], e["p"], e["t"] / 1000], axis=1)
                look.put(f"{folder}.tar.gz", f"{folder}/{trial}/{label}.npy", formats.npy(array))


def asldvs(look: Lookalike) -> None:
    for letter, label in [("a", 0), ("i", 8), ("k", 9), ("y", 23)]:  # no j: k is 9
        for k in (2, 10):
            e = look.events("all", f"{letter}/{letter}_{k:04d}", label, turn=flip(180, 240))
            inner = f"ICCV2019_DVS_dataset/Yin Bi - {letter}.zip!{letter}/{letter}_{k:04d}.mat"
            look.put("ICCV2019_DVS_dataset.zip", inner, formats.asldvs(e))


def navgesture(look: Lookalike) -> None:
    for code, label in [("do", 0), ("le", 2), ("up", 5)]:
        for user in ("user07", "user123"):  # of three digits too: the code is a field, not characters 7 and 8
            e = look.events("all", f"{code}/{user}_{code}_01_td", label, turn=flip(240))
            expected = look.samples["all"][-1][2]
            expected["t"] = e["t"] - e["t"][0]
            look.put(f"{look.name}.zip", f"{user}.zip!{user}/{user}_{code}_01_td.dat", formats.dat(e, 1))


def dvslip(look: Lookalike) -> None:
    for split in ("train", "test"):
        for word, label in [("accused", 0), ("benefit", 12), ("benefits", 13), ("young", 99)]:
            for k in (2, 10):
                e = look.events(split, f"{word}/{k}", label)
                look.put("DVS-Lip.zip", f"DVS-Lip/{split}/{word}/{k}.npy", formats.dvslip(e))


def es_imagenet(look: Lookalike) -> None:
    def steps(e: Events) -> Events:
        e["t"][:] = 1000 * np.minimum(1 + np.arange(24) // 3, 8)
        order = np.lexsort((1 - e["p"], e["t"]))  # pos before neg in a step
        for key in "xyp":
            e[key][:] = e[key][order]
        first = np.argmax(e["p"])
        e["x"][first], e["y"][first] = 3, 5
        return e

    lists: dict[str, list[str]] = {"train": [], "val": []}
    for label, n in [(10, 7), (2, 5), (999, 1)]:  # in the list's order; "class10" is 10, not its place among names
        e = look.events("train", f"class{label}_{n}", label, turn=steps)
        path = f"class{label}/class{label}_{n}.npz"
        look.put("ES-imagenet-0.18", f"ES-imagenet-0.18/train/{path}", formats.es_imagenet(e))
        lists["train"].append(f"{path} {label} 190 254\n")
    for n, label in [(2, 10), (1, 3)]:
        name = f"ILSVRC2012_val_{n:08d}"
        e = look.events("val", name, label, turn=steps)
        look.put("ES-imagenet-0.18", f"ES-imagenet-0.18/val/{name}.npz", formats.es_imagenet(e))
        lists["val"].append(f"{name}.JPEG {label} 254 170\n")  # the authors' loader puts .npz in the suffix's place
    for split, lines in lists.items():
        look.put("ES-imagenet-0.18", f"ES-imagenet-0.18/{split}label.txt", "".join(lines).encode())


def hardvs(look: Lookalike) -> None:
    for split, actions in {"train": (10, 2), "val": (300,), "test": (1, 10)}.items():
        lines = []
        for k, action in enumerate(actions):
            name = f"dvSave-2021_10_15_19_18_{split}{k}"
            e = look.events(split, f"action_{action:03d}/{name}", action - 1)
            inner = f"MINI_HARDVS_files/action_{action:03d}.zip!{name}.npz"
            look.put("MINI_HARDVS_files.zip", inner, formats.npz(**{key: e[key] for key in "txyp"}))
            lines.append(f"action_{action:03d}/{name} {action - 1}\n")
        look.archives[f"{split}_label.txt"] = "".join(lines).encode()


def bullying10k(look: Lookalike) -> None:
    names = ["handshake", "slapping", "punching", "walking", "fingerguess"]
    names += ["strangling", "greeting", "pushing", "hairgrabs", "kicking"]
    count = 0
    for label, name in enumerate(names):
        for path in ("s1/2", "s1/10", "s2/2"):  # equal names in different folders are different recordings
            e = look.events("train" if count % 5 else "test", f"{name}/{path}", label)
            look.put(f"{name}.zip", f"{name}/{path}.npy", formats.bullying10k(e))
            count += 1


def spikes(look: Lookalike) -> None:
    dataset = datasets.get(look.name)
    splits = {"train": [13, 2, 0], "valid": [10, 2], "test": [1, 19]}  # the file's own labels, in its own order
    for split in dataset.splits:
        made = [look.events(split, str(k), label) for k, label in enumerate(splits[split])]
        content = formats.spikes_h5(made, splits[split], list(dataset.classes))
        look.put(f"{look.name}_{split}.h5.zip", f"{look.name}_{split}.h5", content)


def ntidigits(look: Lookalike) -> None:
    made: dict[str, dict[str, Events]] = {"train": {}, "test": {}}
    for split, id, label in [("train", "man-ae-a-o", 0), ("train", "man-ae-b-9", 9), ("test", "woman-bf-a-z", 10)]:
        made[split][id] = look.events(split, id, label)
    made["train"]["man-ae-a-1z4"] = made["train"]["man-ae-a-o"]  # a sequence is no sample
    look.archives["n-tidigits.hdf5"] = formats.ntidigits_h5(made)


def smnist(look: Lookalike) -> None:
    for split, stem, labels in [("train", "train", [5, 0, 4]), ("test", "t10k", [7, 2])]:
        images = np.zeros((len(labels), 28, 28), np.uint8)
        for k, label in enumerate(labels):
            images[k, 1, k] = 5  # pixel 28 + k reaches threshold 1 of 5 and falls below it again
            step = 2 * (27 + k) * 1000
            x = np.array([98, 98, 49, 49])
            e = {"t": step + np.arange(4) * 1000, "x": x, "y": 0 * x, "p": 0 * x + 1}
            look.samples.setdefault(split, []).append((str(k), label, e))
        look.archives[f"{stem}-images-idx3-ubyte.gz"] = formats.idx(images)
        look.archives[f"{stem}-labels-idx1-ubyte.gz"] = formats.idx(np.array(labels))


def stmnist(look: Lookalike) -> None:
    archive = "STMNIST dataset NUS Tee Research Group.zip"
    for digit in (0, 7):
        for k in (2, 10):
            e = look.events("all", f"{digit}/{k}", digit, tick=15_625)  # 1 / 64 s: no rounding in seconds
            look.put(archive, f"data_submission/{digit}/{k}.mat", formats.stmnist(e))
    look.put(archive, "data_submission/LUT.mat", formats.mat(LUT=np.eye(3)))


def ncars(look: Lookalike) -> None:
    for split in ("train", "test"):
        for name, label in (("background", 0), ("cars", 1)):
            for k in (2, 10):
                e = look.events(split, f"{name}/obj_{k:06d}_td", label)
                inner = f"n-cars_{split}.zip!n-cars_{split}/{name}/obj_{k:06d}_td.dat"
                look.put("Prophesee_Dataset_n_cars.zip", inner, formats.dat(e, 2))


def pokerdvs(look: Lookalike) -> None:
    for name, label in (("club", 0), ("heart", 1), ("diamond", 2), ("spade", 3)):  # tonic's order
        for k in ("02", "10i"):
            e = look.events("all", f"{name}/n{name}{k}", label, turn=flip(128, 128))
            look.put("poker_dvs.tar.gz", f"n{name}{k}.aedat", formats.aedat2_fields(e))


def mnist_dvs(look: Lookalike) -> None:
    for digit in range(10):
        for scale in (4, 16):
            stem = f"mnist_{digit}_scale{scale:02d}_0001"
            e = look.events("all", f"{digit}/{stem}", digit, turn=flip(128, 128))
            path = f"grabbed_data{digit}/scale{scale}/{stem}.aedat"
            look.put(f"grabbed_data{digit}.zip", path, formats.aedat2_fields(e))


MAKERS: dict[str, Callable[[Lookalike], None]] = {
    "asldvs": asldvs,
    "bullying10k": bullying10k,
    "cifar10dvs": cifar10dvs,
    "dvs128": dvs128,
    "dvs128-ms": dvs128_ms,
    "dvslip": dvslip,
    "es-imagenet": es_imagenet,
    "hardvs": hardvs,
    "mnist-dvs": mnist_dvs,
    "navgesture-sit": navgesture,
    "navgesture-walk": navgesture,
    "ncaltech101": ncaltech101,
    "ncars": ncars,
    "nmnist": nmnist,
    "ntidigits": ntidigits,
    "pokerdvs": pokerdvs,
    "shd": spikes,
    "smnist": smnist,
    "ssc": spikes,
    "stmnist": stmnist,
}


def make(name: str) -> Lookalike:
    """Return a dataset's look-alike."""
    look = Lookalike(name)
    MAKERS[name](look)
    return look
