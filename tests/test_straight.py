"""Event caches straight out of a tar.gz: byte for byte those of its extracted files, in whatever order they lie."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import formats
import making
import numpy as np
import pytest

from dvsprep import cache, raw
from dvsprep.cache import build, cutting
from dvsprep.datasets import passing
from dvsprep.errors import ArchiveError, DvsprepError, FormatError, IntegrityError, LabelError
from dvsprep.events import Policy
from dvsprep.pipeline import Job, Options

TRIALS = {"train": ["user01_a", "user02_b", "user03_c"], "test": ["user24_c", "user25_d"]}
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Return the files of a look-alike by name."""
    folder = formats.dvs_gesture(tmp_path_factory.mktemp("tree"), TRIALS, events_a_row=40, packet=50)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def packed(folder: Path, files: Files) -> Path:
    """Pack files in the order given; return a root that has adopted the archive."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "DvsGesture.tar.gz"
    with tarfile.open(target, "w:gz", compresslevel=1) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"DvsGesture/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return making.adopt(folder / "root", target)


def events(root: Path, say: Callable[[str], None] = lambda _: None, **options: Any) -> dict[str, str]:
    """Make the event caches; return their hashes."""
    Job("dvs128", root, None, Options(verify=False, **options), say).run()
    assert making.leftovers(root / "dvs128" / "events") == []
    return making.caches(root)


def extracted(root: Path, **options: Any) -> dict[str, str]:
    """Make the event caches of the same archive by way of extracted files."""
    other = Path(shutil.copytree(root, root.with_name("extracted"), copy_function=shutil.copy2))
    shutil.rmtree(other / "dvs128" / "events", ignore_errors=True)
    raw.Ledger(other / "dvs128" / "download").path.unlink()
    made = events(other, keep_extracted=True, **options)
    assert (other / "dvs128" / "extract").is_dir()
    return made


def kinds(name: str) -> int:
    return (".txt", ".csv", "aedat").index(name[-4:] if name[-5:] != "aedat" else "aedat")


ORDERS: dict[str, Callable[[str], Any]] = {
    "as tar sorts them": lambda name: name,
    "lists last": lambda name: (name.endswith(".txt"), name),
    "labels before recordings": lambda name: (kinds(name), name),
    "recordings before labels before lists": lambda name: (-kinds(name), name),
    "backwards": lambda name: [-ord(c) for c in name],
}


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that gets an item each time an archive is inflated."""
    played: list[Path] = []
    real = raw.Tape.play

    def play(self: raw.Tape, wanted: Callable[[raw.Member], bool]) -> Iterator[raw.Member]:
        played.append(self.path)
        return real(self, wanted)

    monkeypatch.setattr(raw.Tape, "play", play)
    return played


@pytest.mark.parametrize("order", ORDERS)
def test_any_order_gives_the_caches_of_the_extracted_files(
    tmp_path: Path, tree: Files, plays: list[Path], order: str
) -> None:
    root = packed(tmp_path, {name: tree[name] for name in sorted(tree, key=ORDERS[order])})
    made = events(root)
    assert len(plays) == 1
    assert not (root / "dvs128" / "extract").exists()
    assert made == extracted(root)


@pytest.mark.parametrize("instances", ["first", "merged"])
def test_instances(tmp_path: Path, tree: Files, instances: str) -> None:
    root = packed(tmp_path, tree)
    assert events(root, instances=instances) == extracted(root, instances=instances)


@pytest.mark.parametrize("codec", ["deflate", "none"])
def test_codecs(tmp_path: Path, tree: Files, codec: str) -> None:
    root = packed(tmp_path, tree)
    assert events(root, codec=codec) == extracted(root, codec=codec)


@pytest.mark.parametrize("jobs", [1, 3])
def test_recordings_in_spans(tmp_path: Path, tree: Files, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    root = packed(tmp_path, tree)
    whole = events(root)
    shutil.rmtree(root / "dvs128" / "events")
    monkeypatch.setattr(cutting, "SPAN_BYTES", 600)
    monkeypatch.setattr(build, "SMALL", 1)  # so that threads do it
    assert events(root, jobs=jobs) == whole


def test_recordings_that_waited_too_long_are_read_in_a_second_pass(
    tmp_path: Path, tree: Files, plays: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = packed(tmp_path, {name: tree[name] for name in sorted(tree, key=lambda name: (-kinds(name), name))})
    monkeypatch.setattr(passing, "HELD", 2 * len(tree["user01_a.aedat"]))
    made = events(root)
    assert len(plays) == 2
    assert made == extracted(root)


def test_other_chunks_than_the_first_recording_asked_for(
    tmp_path: Path, tree: Files, plays: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunks of a split are told from all of its recordings, of which the first may be the smallest."""
    many = formats.dvs_gesture(tmp_path / "many", {"train": ["user02_b"]}, events_a_row=400)
    big = {path.name: path.read_bytes() for path in many.iterdir() if path.name.startswith("user")}
    root = packed(tmp_path, tree | big)
    monkeypatch.setattr(build, "MIN_CHUNK", 64)
    made = events(root)
    assert len(plays) == 2
    assert made == extracted(root)


def test_only_the_split_that_is_missing_is_made(tmp_path: Path, tree: Files) -> None:
    root = packed(tmp_path, tree)
    made = events(root)
    (test,) = (root / "dvs128" / "events").glob("*.test.h5")
    train = (root / "dvs128" / "events" / test.name.replace("test", "train")).stat()
    test.unlink()
    assert events(root) == made
    assert test.with_name(test.name.replace("test", "train")).stat() == train


def test_a_build_that_stopped_is_gone_on_with(tmp_path: Path, tree: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    root = packed(tmp_path, tree)
    real, decoded = cutting.decode, list[str]()

    def decode(task: cutting.DecodeTask) -> cutting.Decoded:
        decoded.extend(recording.path.name for recording, _ in task.recordings)
        if len(decoded) > 2:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(cutting, "decode", decode)
    monkeypatch.setattr(cutting, "SPAN_BYTES", len(tree["user01_a.aedat"]) * 2 // 3)  # a recording a task
    monkeypatch.setattr(build, "BATCH_EVENTS", 1)
    with pytest.raises(KeyboardInterrupt):
        events(root, jobs=1)
    this = Job("dvs128", root, None, Options(verify=False))
    assert this.plan()[-1].state == "partial"
    before, decoded[:] = set(decoded[:2]), []
    monkeypatch.setattr(cutting, "decode", lambda task: decoded.append(task.recordings[0][0].path.name) or real(task))
    told: list[str] = []
    made = events(root, told.append, jobs=1)
    assert "going on with the samples of an unfinished build" in told
    assert len(decoded) == 3
    assert before.isdisjoint(decoded)
    assert made == extracted(root)


def test_a_stopped_build_does_not_stay_behind_one_of_extracted_files(tmp_path: Path, tree: Files) -> None:
    root = packed(tmp_path, tree)
    stash = Job("dvs128", root, None, Options(verify=False)).stash
    stash.mkdir(parents=True)
    (stash / "x.spool").touch()
    assert len(events(root, keep_extracted=True)) == 2


# -- what is wrong --


def broken(data: bytes) -> bytes:
    return data[: len(data) // 2]


def test_what_is_not_listed_may_be_anything(tmp_path: Path, tree: Files) -> None:
    junk = {
        "user05_x.aedat": b"no recording",
        "user05_x_labels.csv": tree["user01_a_labels.csv"],
        "user06_x.aedat": broken(tree["user01_a.aedat"]),
        "user06_x_labels.csv": tree["user01_a_labels.csv"],
        "user00_x.aedat": tree["user01_a.aedat"],
        "user00_x_labels.csv": b"no labels",
        "user00_y.aedat": tree["user01_a.aedat"],
        "._user01_a.aedat": b"debris",
    }
    files = tree | junk
    root = packed(tmp_path, {name: files[name] for name in sorted(files)})
    made = events(root)
    assert {name: opened_samples(root / name) for name in made} == {
        name: 12 * len(TRIALS["test" if ".test." in name else "train"]) for name in made
    }
    assert made == extracted(root)


def opened_samples(path: Path) -> int:
    return len(cache.EventCache(path))


WRONG: dict[str, tuple[Callable[[Files], Files], type[DvsprepError], str]] = {
    "a recording": (
        lambda f: f | {"user02_b.aedat": broken(f["user02_b.aedat"])},
        FormatError, r"DvsGesture/user02_b\.aedat: truncated: the packet at byte",
    ),
    "a csv": (
        lambda f: f | {"user02_b_labels.csv": b"class\n"},
        LabelError, r"user02_b_labels\.csv:1: expected the header",
    ),
    "a window": (
        lambda f: f | {"user02_b_labels.csv": b"class,startTime_usec,endTime_usec\n1,5,6\n"},
        LabelError, r"user02_b_labels\.csv:2: the window 5 to 6 us lies outside",
    ),
    "no csv": (
        lambda f: {k: v for k, v in f.items() if k != "user02_b_labels.csv"},
        ArchiveError, r"user02_b_labels\.csv is listed, but not in the archive",
    ),
    "no list": (
        lambda f: {k: v for k, v in f.items() if k != "trials_to_test.txt"},
        ArchiveError, r"holds no trials_to_test\.txt",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_as_of_extracted_files(tmp_path: Path, tree: Files, what: str) -> None:
    change, error, words = WRONG[what]
    root = packed(tmp_path, change(tree))
    for keep in (True, False):
        with pytest.raises(error, match=words):
            Job("dvs128", root, None, Options(verify=False, keep_extracted=keep)).run()
        assert making.caches(root) == {}
        shutil.rmtree(root / "dvs128" / "extract", ignore_errors=True)


def test_what_is_salvaged_is_told_once_and_counted(tmp_path: Path, tree: Files) -> None:
    root = packed(tmp_path, tree | {"user02_b.aedat": tree["user02_b.aedat"][:-3]})
    told: list[str] = []
    policy = Policy(salvage=True)
    made = events(root, told.append, policy=policy)
    assert len([line for line in told if "salvaged bytes lost" in line]) == 1
    assert made == extracted(root, policy=policy)


@pytest.mark.parametrize("fraction", [0.2, 0.9, 0.999])
def test_a_truncated_archive_leaves_nothing(tmp_path: Path, tree: Files, fraction: float) -> None:
    root = packed(tmp_path / "whole", tree)
    (whole,) = (root / "dvs128" / "download").glob("*.gz")
    cut = tmp_path / "DvsGesture.tar.gz"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * fraction)])
    other = making.adopt(tmp_path / "root", cut)
    with pytest.raises(ArchiveError, match=r"DvsGesture\.tar\.gz \([\d,]+ bytes\): is broken or truncated"):
        Job("dvs128", other, None, Options(verify=False)).run()
    assert making.leftovers(other) == []
    assert making.caches(other) == {}


def test_the_official_number_of_samples_is_insisted_on(
    tmp_path: Path, tree: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = packed(tmp_path, tree)
    monkeypatch.setattr(Job, "unverified", lambda _: [])
    with pytest.raises(IntegrityError, match="36 samples in the official files, expected 1176"):
        Job("dvs128", root, None, Options(verify=False)).run()
    assert making.caches(root) == {}


def test_memory_does_not_grow_with_the_number_of_recordings(
    tmp_path: Path, tree: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no time are there the bytes of more than a few recordings."""
    trials = [f"user{k:02d}_a" for k in range(1, 41)]
    files: Files = {}
    for trial in trials:
        files[f"{trial}.aedat"] = tree["user01_a.aedat"]
        files[f"{trial}_labels.csv"] = tree["user01_a_labels.csv"]
    files["trials_to_train.txt"] = "".join(f"{trial}.aedat\n" for trial in trials[1:]).encode()
    files["trials_to_test.txt"] = f"{trials[0]}.aedat\n".encode()
    alive: list[int] = []
    most = 0
    real = raw.Tape.play

    class Data(bytearray):
        def __del__(self) -> None:
            alive.pop()

    def play(self: raw.Tape, wanted: Callable[[raw.Member], bool]) -> Iterator[raw.Member]:
        nonlocal most
        for member in real(self, wanted):
            if member.suffix == ".aedat":
                member.data = Data(member.data)  # type: ignore[attr-defined]
                alive.append(1)
                most = max(most, len(alive))
            yield member
            del member

    monkeypatch.setattr(raw.Tape, "play", play)
    monkeypatch.setattr(cutting, "SPAN_BYTES", len(tree["user01_a.aedat"]) // 2 - 100)
    monkeypatch.setattr(build, "SMALL", 1)
    made = events(packed(tmp_path, files), jobs=2)
    assert np.sum([opened_samples(tmp_path / "root" / name) for name in made]) == 480
    assert 2 <= most <= 9
