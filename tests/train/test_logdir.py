"""``--print-logdir`` and ``--clean``: a run's folder is told before it runs, and emptied of an earlier run."""

from __future__ import annotations

from pathlib import Path

import idx_files
import pytest
from sources import TinyTrainer

from train import script
from train.dvsg import GestureTrainer
from train.fashion_mnist import FashionMNISTTrainer
from train.imagenet import ImageNetTrainer
from train.sequential_fmnist import SequentialTrainer

SHORT = ["--epochs", "1", "--no-amp"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def start(capsys, *flags: object, trainer=TinyTrainer) -> tuple[int, str, str]:
    code = script.main(trainer(), [*SHORT, *map(str, flags)])
    told = capsys.readouterr()
    return code, told.out.rstrip("\n"), (told.err.splitlines() or [""])[-1]


def test_the_folder_is_told_and_nothing_is_read_or_made(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(TinyTrainer, "load_data", None)
    assert start(capsys, "--print-logdir", "--out-dir", "runs")[:2] == (0, "runs/tiny_b8_adam_lr0.02")
    data = ["--data-dir", "nowhere", "--device", "cpu", "--print-logdir"]
    for trainer, flags, name in (
        (FashionMNISTTrainer, [], "T4_b64_adamw_lr0.001_c64"),
        (SequentialTrainer, [], "plain_b128_adam_lr0.005"),
        (SequentialTrainer, ["--compare"], "compare_b128_adam_lr0.005"),
        (ImageNetTrainer, ["--backend", "torch"], "spiking_resnet18_b32_e1_sgd_lr0.1_T4"),
    ):
        assert start(capsys, *data, *flags, trainer=trainer)[:2] == (0, f"logs/{name}")
    assert list(tmp_path.iterdir()) == []


def test_what_a_cache_decides_is_in_the_told_name(capsys, sample_caches):
    flags = ["--cache", sample_caches["train"], "--device", "cpu", "--print-logdir"]
    assert start(capsys, *flags, trainer=GestureTrainer)[:2] == (0, "logs/T4_b4_adam_lr0.001_c32")
    assert not Path("logs").exists()


def test_the_told_folder_is_the_one_that_the_run_makes(capsys):
    for name in ("tiny_b8_adam_lr0.02", "tiny_b8_adam_lr0.02_2", "tiny_b8_adam_lr0.02_3"):
        assert start(capsys, "--print-logdir")[1] == f"logs/{name}"
        assert start(capsys)[0] == 0
        assert Path("logs", name, "run.json").is_file()
    assert start(capsys, "--print-logdir", "--resume", "logs/tiny_b8_adam_lr0.02_2")[1] == "logs/tiny_b8_adam_lr0.02_2"


def test_clean_deletes_the_earlier_run_of_these_flags_and_no_other(capsys):
    first = Path("logs/tiny_b8_adam_lr0.02")
    for flags in ([], [], ["--lr", "0.01"]):
        assert start(capsys, *flags)[0] == 0
    for folder in Path("logs").iterdir():
        (folder / "mine.txt").touch()
    assert start(capsys, "--clean", "--print-logdir")[1] == str(first)
    assert (first / "mine.txt").exists(), "telling deletes nothing"
    assert start(capsys, "--clean")[0] == 0
    assert {str(p) for p in Path("logs").rglob("mine.txt")} == {
        "logs/tiny_b8_adam_lr0.02_2/mine.txt", "logs/tiny_b8_adam_lr0.01/mine.txt",
    }  # fmt: skip
    assert start(capsys, "--resume", first, "--epochs", "2")[0] == 0, "that it was cleaned once is no flag of the run"


def test_clean_deletes_nothing_before_the_run_can_begin(capsys):
    assert start(capsys)[0] == 0
    (mine := Path("logs/tiny_b8_adam_lr0.02/mine.txt")).touch()
    code, _, line = start(capsys, "--clean", "--backend", "nonsense")
    assert code == 2, line
    code, _, line = start(capsys, "--clean", "--resume", "logs/tiny_b8_adam_lr0.02")
    assert (code, "--clean deletes the run that --resume goes on with" in line) == (2, True)
    assert mine.exists()


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_clean_deletes_only_what_a_run_has_made(capsys, what):
    folder = Path("logs/tiny_b8_adam_lr0.02")
    other = Path("mine")
    if what == "link":
        assert start(capsys, "--out-dir", other)[0] == 0
        folder.parent.mkdir()
        folder.symlink_to((other / folder.name).resolve())
    elif what == "file":
        folder.parent.mkdir()
        folder.write_text("mine")
    else:
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
    before = sorted(Path().rglob("*"))
    code, _, line = start(capsys, "--clean")
    assert (code, f"{folder}: not deleted: no folder of a run" in line) == (2, True)
    assert sorted(Path().rglob("*")) == before


def test_a_comparison_is_a_run_that_can_be_cleaned(capsys):
    idx_files.write(Path("data"))
    flags = ["-b", 10, "--data-dir", "data", "--device", "cpu", "--backend", "torch", "--no-tensorboard", "--compare"]
    for _ in range(2):
        code, _, line = start(capsys, *flags, "--clean", trainer=SequentialTrainer)
        assert code == 0, line
    code, _, line = start(capsys, *flags, "--clean", "--data-dir", "nowhere", trainer=SequentialTrainer)
    assert (code, "nowhere" in line) == (3, True)
    (folder,) = Path("logs").iterdir()
    assert {p.name for p in folder.iterdir() if p.is_dir()} == {f"{m}_b10_adam_lr0.005" for m in ("plain", "ss", "fb")}
