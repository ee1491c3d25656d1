"""plan() says what there is in words and touches nothing; run() does the rest and nothing twice."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import making
import pytest

from dvsprep import cache, pipeline
from dvsprep.errors import HashMismatchError, ManualDownloadError, UnknownDatasetError, UsageError
from dvsprep.pipeline import Job, Options
from dvsprep.types import FrameSpec

SPEC = FrameSpec("number", T=3)
OTHER = FrameSpec("number", T=5)


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a look-alike of DVS128 Gesture: two training recordings and one for tests, 12 rows each."""
    return making.archive(tmp_path_factory.mktemp("packed"), events_a_row=40)


@pytest.fixture(scope="session")
def finished(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root in which everything is built; copy it before you change it."""
    root = making.adopt(tmp_path_factory.mktemp("finished"), packed)
    job(root).run()
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished root."""
    return Path(shutil.copytree(finished, tmp_path / "root", copy_function=shutil.copy2))


def job(root: Path, spec: FrameSpec | None = SPEC, **options: Any) -> Job:
    """Return the job on an unverified look-alike."""
    return Job("dvs128", root, spec, Options(**({"verify": False} | options)))


def states(job: Job) -> str:
    """Return the states of the stages in order, having checked that looking changed nothing."""
    before = making.tree(job.root) if job.root.exists() else None
    stages = job.plan()
    assert (making.tree(job.root) if job.root.exists() else None) == before
    assert [s.stage for s in stages] == [*pipeline.STAGES][: len(stages)]
    assert all(s.why for s in stages)
    return " ".join(s.state for s in stages)


def gone(root: Path, *names: str) -> None:
    for name in names:
        for path in (root / "dvs128").glob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


# -- the words of a plan --


def test_nothing_is_there(tmp_path: Path) -> None:
    assert states(job(tmp_path / "root")) == "missing missing done missing missing"
    assert states(job(tmp_path / "root", keep_extracted=True)) == "missing missing missing missing missing"
    assert not (tmp_path / "root").exists()


def test_the_archive_is_there_and_not_verified(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dvs128" / "download"
    folder.mkdir(parents=True)
    shutil.copy(packed, folder)
    assert states(job(tmp_path)) == "done missing done missing missing"


def test_the_archive_is_adopted(packed: Path, tmp_path: Path) -> None:
    making.adopt(tmp_path, packed)
    assert states(job(tmp_path)) == "done done done missing missing"
    assert states(job(tmp_path, verify=True)) == "done missing done missing missing"
    assert states(job(tmp_path, keep_extracted=True)) == "done done missing missing missing"


def test_everything_is_there(root: Path) -> None:
    assert states(job(root)) == "done done done done done"
    assert states(job(root, None)) == "done done done done"


def test_without_a_spec_frames_are_no_stage(root: Path) -> None:
    assert [s.stage for s in job(root, None).plan()] == ["fetch", "verify", "extract", "events"]


def test_frames_of_another_number_are_missing_not_stale(root: Path) -> None:
    assert states(job(root, OTHER)) == "done done done done missing"


def test_other_options_are_another_cache_not_a_stale_one(root: Path) -> None:
    assert states(job(root, instances="first")).endswith("done missing missing")
    gone(root, "events/first*")
    assert states(job(root, policy=making_policy())).endswith("done missing missing")


def test_caches_of_an_older_reader_are_stale(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvsprep.workspace.events.version", lambda _: 99)
    assert states(job(root)).endswith("done stale stale")


def making_policy() -> Any:
    from dvsprep.events import Policy

    return Policy(out_of_range="drop")


def test_one_cache_of_two_is_partial(root: Path) -> None:
    gone(root, "frames/*.test.h5")
    assert states(job(root)) == "done done done done partial"
    gone(root, "events/*.train.h5")
    assert states(job(root)) == "done missing done partial partial"  # a copied archive is hashed anew


def test_an_unfinished_build_is_partial(root: Path) -> None:
    gone(root, "frames/*.h5")
    train = job(root).frames_paths()["train"]
    train.with_name(f".{train.name}.spool").touch()
    stages = job(root).plan()
    assert stages[-1].state == "partial"
    assert train.name in stages[-1].why


def test_one_archive_of_ten_is_partial(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10dvs" / "download"
    folder.mkdir(parents=True)
    (folder / "cat.zip").write_bytes(b"PK")
    (stage, *_) = Job("cifar10dvs", tmp_path, SPEC).plan()
    assert (stage.stage, stage.state) == ("fetch", "partial")
    assert "dog.zip" in stage.why
    assert "cat.zip" not in stage.why


@pytest.mark.parametrize("lost", [["extract"], ["download/*.gz"], ["extract", "download/*.gz"]])
def test_what_the_events_were_made_from_may_be_deleted(root: Path, lost: list[str]) -> None:
    gone(root, *lost)
    assert states(job(root)) == "done done done done done"
    assert states(job(root, OTHER)) == "done done done done missing"
    job(root, OTHER).run()
    assert states(job(root, OTHER)) == "done done done done done"


def test_events_may_be_deleted_once_the_frames_are_there(root: Path) -> None:
    gone(root, "extract", "download/*.gz", "events")
    assert states(job(root)) == "done done done done done"


def test_the_archive_may_be_deleted_once_it_is_extracted(root: Path) -> None:
    before = making.caches(root)
    gone(root, "events", "frames")
    job(root, keep_extracted=True)._do_extract()
    gone(root, "download/*.gz")
    assert states(job(root)) == "done done done missing missing"
    job(root).run()
    assert making.caches(root) == before


# -- running --


def test_a_run_tells_what_it_found_and_does_the_rest(packed: Path, finished: Path, tmp_path: Path) -> None:
    making.adopt(tmp_path, packed)
    told: list[str] = []
    stages = Job("dvs128", tmp_path, SPEC, Options(verify=False), told.append).run()
    assert [s.state for s in stages] == ["done", "done", "done", "missing", "missing"]
    assert [line.split(":")[0] for line in told if line.split(":")[0] in pipeline.STAGES] == [*pipeline.STAGES]
    assert making.caches(tmp_path) == making.caches(finished)
    assert states(job(tmp_path)) == "done done done done done"


def test_a_second_run_touches_no_file(root: Path) -> None:
    before = making.tree(root)
    assert {s.state for s in job(root).run()} == {"done"}
    assert making.tree(root) == before


def test_a_second_run_takes_less_than_a_second(root: Path) -> None:
    arguments = ("frames", "dvs128", "--root", root, "--split-by", "number", "-T", 3, "--no-verify")
    took = []
    for _ in range(3):
        before = making.cpu_of_children()
        run = making.dvsprep(*arguments)
        took.append(making.cpu_of_children() - before)
        assert run.returncode == 0
    assert run.stderr.count(": done (") == 5
    assert run.stdout.split() == [str(path) for path in job(root).frames_paths().values()]
    assert min(took) < 1


def test_only_the_missing_split_is_built(root: Path) -> None:
    train = job(root).frames_paths()["train"]
    before = making.tree(root)[str(train.relative_to(root))]
    gone(root, "frames/*.test.h5")
    job(root).run()
    assert making.tree(root)[str(train.relative_to(root))] == before
    assert states(job(root)) == "done done done done done"


def test_json_of_a_run(root: Path) -> None:
    this = job(root)
    result = json.loads(json.dumps(this.result(this.run())))
    assert result["dataset"] == "dvs128"
    assert result["spec"] == {"split_by": "number", "T": 3}
    assert [s["stage"] for s in result["stages"]] == [*pipeline.STAGES]
    assert result["samples"] == {"train": 24, "test": 12}  # 2 and 1 recordings of 12 rows
    assert [*result["caches"]] == ["train", "test"]
    assert all(Path(path).is_file() for path in result["caches"].values())


def test_instances_of_a_class_are_merged_or_the_first_is_taken(root: Path) -> None:
    """Twelve rows have class 8 twice, so a recording has 11 samples."""
    rows = cache.EventCache(job(root, None).events_paths()["test"])
    sizes = {}
    for instances in ("first", "merged"):
        this = job(root, None, instances=instances)
        this.run()
        source = cache.EventCache(this.events_paths()["test"])
        assert source.labels.tolist() == [*range(11)]
        sizes[instances] = int(source.small("n_events")[7])
    of_class_8 = rows.small("n_events")[rows.labels == 7]
    assert sizes == {"first": of_class_8[0], "merged": of_class_8.sum()}


# -- files that are not the published ones --


def test_a_wrong_file_is_set_aside_and_named(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dvs128" / "download"
    folder.mkdir(parents=True)
    shutil.copy(packed, folder)
    got = hashlib.md5(packed.read_bytes()).hexdigest()
    with pytest.raises(HashMismatchError, match=f"expected 8a5c71fb11e24e5ca5b11866ca6c00a1, got {got}"):
        job(tmp_path, verify=True).run()
    assert [p.name for p in folder.glob("Dvs*")] == ["DvsGesture.tar.gz.bad"]
    assert not making.caches(tmp_path)


def test_files_by_hand_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ManualDownloadError, match=r"DvsGesture\.tar\.gz") as caught:
        job(tmp_path).run()
    assert caught.value.exit_code == 3


def test_unverified_files_are_remembered_by_every_cache(packed: Path, root: Path) -> None:
    md5 = hashlib.md5(packed.read_bytes()).hexdigest()
    for path in [*job(root).events_paths().values(), *job(root).frames_paths().values()]:
        opened = cache.open_cache(path)
        assert opened.provenance["unverified"] == ["DvsGesture.tar.gz"]
        assert opened.provenance["files"] == {"DvsGesture.tar.gz": md5}
        assert cache.describe(opened)["unverified"] == ["DvsGesture.tar.gz"]
    shown = making.dvsprep("info", job(root).frames_paths()["train"])
    assert "NOT VERIFIED" in shown.stdout


def test_verified_files_are_not_called_unverified(tmp_path: Path) -> None:
    this = Job("sample", tmp_path)
    this.run()
    assert cache.EventCache(this.events_paths()["train"]).provenance["unverified"] == []
    # --no-verify with the right file is the same cache
    assert Job("sample", tmp_path, None, Options(verify=False)).events_paths() == this.events_paths()


def test_a_file_that_was_replaced_by_hand_is_not_taken_for_the_old_one(root: Path, tmp_path: Path) -> None:
    old = making.caches(root)
    other = making.archive(tmp_path / "other", events_a_row=41)
    shutil.copy(other, root / "dvs128" / "download" / "DvsGesture.tar.gz")
    this = job(root)
    assert states(this) == "done missing done stale stale"
    this.run()
    fresh = making.adopt(tmp_path / "fresh", other)
    job(fresh).run()
    assert making.caches(root) == old | making.caches(fresh)


# -- wrong arguments, before anything is done --


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"instances": "all"}, "rows, first or merged"),
        ({"jobs": 0}, "at least 1"),
        ({"codec": "lz5"}, "packed, deflate, none"),
        ({"split": 0.9}, "has an official split"),
    ],
)
def test_wrong_options_are_refused_at_once(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        job(tmp_path, **options)


@pytest.mark.parametrize("split", [0, 1, -0.5, 1.5, "most", "nan"])
def test_a_split_is_a_fraction_or_a_known_name(tmp_path: Path, split: Any) -> None:
    with pytest.raises(UsageError, match="fraction between 0 and 1"):
        Job("cifar10dvs", tmp_path, SPEC, Options(split=split))


def test_instances_have_a_meaning_only_where_rows_repeat_classes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one sample a recording"):
        Job("nmnist", tmp_path, SPEC, Options(instances="first"))


def test_an_unknown_dataset_names_the_nearest() -> None:
    with pytest.raises(UnknownDatasetError, match="dvs128"):
        Job("dvs12", "/nowhere", SPEC)
