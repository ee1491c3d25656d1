"""``python -m train.dvsg`` and ``train.frames`` on real caches: defaults, choices, and one clear line for bad input."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import dvsprep
from dvsprep.errors import NotFoundError, UsageError
from train import defaults, frames, script
from train.checkpoint import BEST, LATEST
from train.dvsg import GestureTrainer
from train.frames import FramesTrainer

QUICK = ["--epochs", "1", "--channels", "2", "-b", "24", "--no-tensorboard", "--device", "cpu", "--backend", "torch"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*argv: object, kind: type[FramesTrainer] = GestureTrainer) -> dict:
    trainer = kind()
    return trainer.main(trainer.get_args_parser().parse([str(a) for a in argv]))


def refuse(capsys, *argv: object, kind: type[FramesTrainer] = GestureTrainer) -> tuple[int, str]:
    """Return exit code and last line of a command that fails."""
    code = script.main(kind(), [str(a) for a in argv])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return code, captured.err.splitlines()[-1]


@pytest.fixture(scope="module")
def trained(sample_caches, tmp_path_factory):
    """Return the folder of a short run."""
    return Path(run("--cache", sample_caches["train"], *QUICK, "--out-dir", tmp_path_factory.mktemp("logs"))["out_dir"])


def test_one_flag_is_enough(sample_caches, capsys):
    """The test cache is found, validation is by user, everything open is chosen and printed."""
    result = run("--cache", sample_caches["train"], *QUICK)
    talk = capsys.readouterr().err
    assert {"test_acc", "val_acc", "best_epoch", "epochs", "seconds", "out_dir"} <= result.keys()
    assert 0 <= result["test_acc"] <= 1
    assert result["validation"] == "by user, user03 of 6 held out"
    assert result["out_dir"].startswith("logs/T4_b24_adam_lr0.001_c2")
    assert "chosen for 72 samples of 128 x 128, T = 4: --neuron lif, " in talk
    facts = json.loads(Path(result["out_dir"], "result.json").read_text())
    assert np.sum(facts["confusion"]) == 24
    assert len(facts["classes"]) == 11


def test_the_field_s_short_flags(sample_caches):
    result = run(
        "--cache",
        sample_caches["train"],
        *QUICK,
        *shlex.split("-T 4 -opt sgd -momentum 0.5 -lr 0.1 -epochs 1 -j 0 -amp"),
    )
    content = torch.load(Path(result["out_dir"]) / LATEST, weights_only=True)
    args = content["args"]
    assert (args["opt"], args["momentum"], args["lr"], args["amp"]) == ("sgd", 0.5, 0.1, True)


def test_as_a_command_stdout_is_one_json_line(sample_caches):
    command = [sys.executable, "-m", "train.dvsg", "--cache", str(sample_caches["train"]), *QUICK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert Path(json.loads(done.stdout)["out_dir"], "curves.png").is_file()


def test_events_are_integrated_on_the_fly(sample_caches, capsys):
    stored = dvsprep.open(sample_caches["train"])
    event_cache = dvsprep.open(stored.path, events=True).path
    one = run("--cache", event_cache, "-T", 4, *QUICK, "--test-cache", sample_caches["test"])
    other = run("--cache", sample_caches["train"], *QUICK)
    assert one["test_acc"] == other["test_acc"]
    assert refuse(capsys, "--cache", event_cache, *QUICK) == (
        2, f"train.dvsg: {event_cache} holds events (say how many frames to make of each sample: -T 16)"
    )  # fmt: skip


def test_workers_change_nothing(sample_caches):
    nets = []
    for j in (0, 2):
        out = run("--cache", sample_caches["train"], *QUICK, "-j", j)["out_dir"]
        nets.append(torch.load(Path(out) / LATEST, weights_only=True)["net"])
    assert all(torch.equal(nets[0][k], nets[1][k]) for k in nets[0])


@pytest.mark.parametrize(
    ("samples", "sensor", "classes", "expected"),
    [
        (1176, [128, 128], 11, {"batch_size": 16, "epochs": 64, "shift": 4, "affine": True, "flip": False}),
        (72, [128, 128], 11, {"batch_size": 4, "epochs": 44, "shift": 4}),
        (3, [128, 128], 1, {"batch_size": 3, "epochs": 256}),
        (1000, [34, 34], 10, {"model": "nmnist_net", "neuron": "plif", "epochs": 64, "shift": 1}),
        (60000, [34, 34], 10, {"batch_size": 16, "epochs": 64, "shift": 0, "affine": False}),
    ],
)
def test_defaults_fit_the_cache(samples, sensor, classes, expected):
    args = FramesTrainer().get_args_parser().parse(["--device", "cpu"])
    (words,) = defaults.choose(args, {"T": 16, "sensor": sensor, "classes": ["a"] * classes}, samples)
    found = vars(args)
    assert {k: found[k] for k in expected} == expected
    for name, value in expected.items():
        assert f"--{name.replace('_', '-')} {value}" in words


def test_flags_that_are_given_are_left_alone():
    argv = shlex.split(
        "--epochs 3 --opt sgd --model sew_7b_net --neuron if --channels 5 -b 7 --lr 3 --shift 1 --no-flip"
    )
    args = FramesTrainer().get_args_parser().parse([*argv, "--no-affine", "--erase", "0", "--val-ratio", "0.5"])
    before = vars(args).copy()
    assert list(defaults.choose(args, {"T": 16, "sensor": [128, 128], "classes": ["left"]}, 100)) == []
    assert vars(args) == before


def test_augmentations_are_the_flags(sample_caches):
    trainer = GestureTrainer()
    argv = ["--train-T", "3", "--flip", "--affine", "--shift", "2", "--erase", "0.5"]
    args = trainer.get_args_parser().parse(argv)
    classes = dvsprep.open(sample_caches["train"]).classes
    kinds = [type(t).__name__ for t in trainer.transform(args, classes).transforms]
    assert kinds == ["RandomTemporalDelete", "RandomFlip", "RandomAffine", "RandomShift", "RandomErase"]
    assert run("--cache", sample_caches["train"], *QUICK, *argv)["epochs"] == 1


@pytest.mark.parametrize(("model", "neuron"), [("sew_7b_net", "plif"), ("cifar10dvs_net", "if")])
def test_other_models_and_neurons(sample_caches, model, neuron):
    flags = ["--model", model, "--neuron", neuron, "--loss", "ce", "--surrogate", "sigmoid"]
    assert run("--cache", sample_caches["train"], *QUICK, *flags, kind=FramesTrainer)["epochs"] == 1


# Bad input


def test_without_a_cache_the_command_that_makes_one_is_told(capsys):
    assert refuse(capsys) == (
        2, "train.dvsg: --cache is missing (`dvsprep frames dvs128 --split-by number -T 16` prints the path)"
    )  # fmt: skip
    _, line = refuse(capsys, "-data-dir", "/data/dvs", "-T", 8)
    assert (
        "`dvsprep adopt dvs128 /data/dvs` takes your files over, `dvsprep frames dvs128 --split-by number -T 8`" in line
    )


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("x.h5", "dvsprep frames dvs128 --split-by number -T 16"),
        ("/r/nmnist/frames/time-T10-0123abcd.train.h5", "dvsprep frames nmnist --root /r --split-by time -T 10"),
        ("/r/shd/frames/duration-5000us-0123abcd.train.h5", "dvsprep frames shd --root /r --duration 5000"),
    ],
)
def test_a_cache_that_is_not_there_names_the_command_that_makes_it(capsys, path, command):
    assert refuse(capsys, "--cache", path) == (3, f"train.dvsg: {path}: no such cache (`{command}` makes it)")


def test_another_T_names_the_command_that_makes_it(sample_caches, capsys):
    path = sample_caches["train"]
    code, line = refuse(capsys, "--cache", path, "-T", 16)
    command = f"dvsprep frames sample --root {path.parents[2]} --split-by number -T 16"
    assert (code, line) == (2, f"train.dvsg: {path}: has T = 4, and -T asks for 16 (`{command}` makes that one)")


def test_files_that_are_no_caches(sample_caches, capsys):
    Path("text.h5").write_text("no HDF5")
    assert refuse(capsys, "--cache", "text.h5")[0] == 5
    data = sample_caches["train"].read_bytes()
    Path("cut.h5").write_bytes(data[: len(data) // 2])
    code, line = refuse(capsys, "--cache", "cut.h5", *QUICK)
    assert code == 5
    assert "cut.h5" in line


def test_the_test_cache_is_no_training_cache(sample_caches, capsys):
    code, line = refuse(capsys, "--cache", sample_caches["test"])
    assert (code, "is the test cache (--cache takes the training cache)" in line) == (2, True)


def test_a_test_cache_of_other_frames_is_refused(sample_caches, capsys):
    other = dvsprep.frames("sample", root=sample_caches["train"].parents[2], split_by="time", T=4)["test"].path
    code, line = refuse(capsys, "--cache", sample_caches["train"], "--test-cache", other, *QUICK)
    assert code == 2
    assert "the test cache does not go with" in line
    assert "frames 'number-T4' there, 'time-T4' here" in line


def test_a_label_out_of_range_is_named(sample_caches, capsys):
    shutil.copyfile(sample_caches["train"], "wrong.h5")
    with h5py.File("wrong.h5", "r+") as file:
        file["labels"][5] = 11
    code, line = refuse(capsys, "--cache", "wrong.h5", *QUICK)
    assert code == 5
    assert "wrong.h5: sample 5 has label 11, expected 0 to 10" in line


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["-b", "61"], 2, "-b 61 is larger than the training set: 60 samples"),
        (["-b", "0"], 2, "'0', expected a whole number of at least 1"),
        (["--lr", "nan"], 2, "'nan', expected a number of more than 0"),
        (["--lr", "-1"], 2, "expected a number of more than 0"),
        (["--tau", "1"], 2, "expected a number of more than 1"),
        (["--epoch", "3"], 2, "unrecognized arguments: --epoch 3"),
        (["--train-T", "5"], 2, "--train-T is 5, but the samples have T = 4"),
        (["--model", "resnet"], 2, "invalid choice: 'resnet'"),
        (["--device", "cuda:99"], 8, "--device cuda:99 cannot be used here"),
        (["--device", "gpu"], 8, "--device gpu cannot be used here"),
        (["--backend", "fast"], 2, "no backend is named 'fast'"),
        (["--resume", "nowhere"], 3, "nowhere: no such checkpoint"),
        (["--test-only"], 2, "--test-only needs --resume"),
        (["--out-dir", "/dev/null"], 6, "/dev/null"),
    ],
)
def test_wrong_flags(sample_caches, capsys, flags, code, words):
    found, line = refuse(capsys, "--cache", sample_caches["train"], *QUICK, *flags)
    assert found == code
    assert words in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU that could be used")
def test_cupy_without_a_gpu_is_an_error_and_never_replaced(sample_caches, capsys):
    for flags in (["--backend", "cupy"], ["-cupy"]):
        code, line = refuse(capsys, "--cache", sample_caches["train"], *QUICK[:-2], *flags)
        assert code == 8
        assert "backend cupy cannot be used here: " in line
        assert not Path("logs").exists()


def test_no_test_cache_is_said(sample_caches, capsys):
    shutil.copyfile(sample_caches["train"], "alone.train.h5")
    assert run("--cache", "alone.train.h5", *QUICK)["test_acc"] is None
    assert "no test cache lies beside alone.train.h5" in capsys.readouterr().err
    assert refuse(capsys, "--cache", "alone.train.h5", *QUICK, "--select-by", "test")[0] == 2


def test_a_validation_cache_beside_is_used(sample_caches):
    shutil.copyfile(sample_caches["train"], "x.train.h5")
    shutil.copyfile(sample_caches["test"], "x.val.h5")
    result = run("--cache", "x.train.h5", *QUICK)
    assert result["validation"] == "the cache of its own"
    assert result["val_acc"] is not None


def test_resume_takes_the_flags_of_its_run(trained, sample_caches):
    folder = shutil.copytree(trained, "run")
    result = run("--resume", folder, "--epochs", 2)
    assert (result["epochs"], result["out_dir"]) == (2, "run")
    args = torch.load(Path("run", LATEST), weights_only=True)["args"]
    assert (args["channels"], args["batch_size"], args["cache"]) == (2, 24, str(sample_caches["train"]))


def test_resume_with_another_network_or_other_frames(trained, sample_caches, capsys):
    code, line = refuse(capsys, "--resume", trained, "--channels", 3)
    assert code == 2
    assert "of another network: conv_fc.0.weight is [2, 2, 3, 3], expected [3, 2, 3, 3]" in line
    other = dvsprep.frames("sample", root=sample_caches["train"].parents[2], split_by="number", T=5)["train"].path
    code, line = refuse(capsys, "--resume", trained, "--cache", other)
    assert code == 2
    assert "was trained on other frames: T 4 there, 5 here" in line
    code, line = refuse(capsys, "--resume", trained, "--opt", "sgd", "--epochs", 2)
    assert code == 2
    assert "holds the state of Adam and LambdaLR, expected SGD and LambdaLR (give the same --opt)" in line


@pytest.mark.parametrize("name", [LATEST, BEST])
def test_a_truncated_checkpoint_is_one_line(trained, capsys, name):
    folder = shutil.copytree(trained, "run")
    path = folder / name if isinstance(folder, Path) else Path(folder, name)
    path.write_bytes(path.read_bytes()[:1000])
    code, line = refuse(capsys, "--resume", folder)
    assert code == 5
    assert f"{path}: truncated, or no checkpoint" in line


def test_facts_need_frames():
    class Source:
        spec = dvsprep.FrameSpec("number", T=1)
        classes = ("a",)

        def __len__(self):
            return 1

        def __getitem__(self, i):
            return np.zeros((3, 4)), 0

    with pytest.raises(UsageError, match=r"frames of \[3, 4\], expected \[T, C, H, W\]"):
        frames.facts_of(Source())


def test_beside_is_the_same_name_of_another_split():
    Path("a.train.test.h5").touch()
    assert frames.beside("a.train.h5", "test") is None
    Path("a.test.h5").touch()
    assert frames.beside("a.train.h5", "test") == "a.test.h5"
    assert frames.beside("a.h5", "test") is None


def test_the_test_cache_beside_a_served_one(monkeypatch) -> None:
    def opened(url: str) -> None:
        if not url.endswith(".test"):
            raise NotFoundError(url)

    monkeypatch.setattr("dvsprep.open", opened, raising=False)
    assert frames.beside("http://host/a.train", "test") == "http://host/a.test"
    assert frames.beside("http://host/a.train", "val") is None


def test_missing_cache_is_the_builtin_error_too():
    with pytest.raises(NotFoundError):
        run("--cache", "none.h5")
