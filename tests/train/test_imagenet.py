"""``train.imagenet`` on small folders of images."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dvsprep.errors import BackendError
from train import script, vision
from train.data import Draw
from train.imagenet import ImageNetTrainer

SMALL = shlex.split(
    "-b 6 --epochs 1 -T 2 --train-crop-size 32 --val-resize-size 36 --val-crop-size 32 --device cpu --no-tensorboard"
)


def make_folder(folder: Path, classes: int = 3, each: int = 4, side: int = 40) -> Path:
    """Write images of one colour a class, and noise."""
    random = np.random.default_rng(0)
    for label in range(classes):
        for i in range(each):
            where = folder / f"class{label}"
            where.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 60, (side, side + 8, 3))
            pixels[..., label % 3] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(where / f"{i}.png")
    return folder


@pytest.fixture
def data(tmp_path):
    for part in ("train", "val"):
        make_folder(tmp_path / "data" / part)
    return tmp_path / "data"


def run(capsys, *flags: object) -> tuple[int, str, str]:
    code = script.main(ImageNetTrainer(), [*SMALL, *map(str, flags)])
    out = capsys.readouterr()
    return code, out.out, out.err


def last_line(err: str) -> str:
    return err.strip().splitlines()[-1]


def test_it_trains_and_tests_with_the_field_s_spellings(data, tmp_path, capsys):
    flags = ["--data-path", data, "--out-dir", tmp_path / "logs", "--model", "sew_resnet18", "--lr-scheduler", "cosa"]
    code, out, err = run(capsys, *flags, "--disable-amp", "--ra-sampler", "--neuron", "plif")
    assert code == 0, err
    result = json.loads(out)
    assert result["test_acc"] is not None
    assert Path(result["out_dir"]).name == "sew_resnet18_b6_e1_sgd_lr0.1_T2"
    again, out, err = run(capsys, "--data-dir", data, "--resume", result["out_dir"], "--test-only")
    assert again == 0, err
    assert json.loads(out)["test_acc"] == result["test_acc"]
    for flag, was, asked in (("--model", "sew_resnet18", "spiking_resnet18"), ("--neuron", "plif", "lif")):
        code, _, err = run(capsys, "--data-dir", data, "--resume", result["out_dir"], flag, asked)
        assert code == 2
        assert f"of another network: {flag} was {was}, {asked} is asked for (leave {flag} out)" in last_line(err)


def test_the_module_runs_as_documented(data, tmp_path):
    command = [sys.executable, "-m", "train.imagenet", "--data-dir", str(data), *SMALL, "--val-ratio", "0.3", "-j", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["val_acc"] is not None
    assert "validation: by sample, 0.3 of each class" in done.stderr


def test_an_image_is_a_function_of_seed_epoch_and_copy(data):
    dataset = vision.image_folder(data / "train", vision.train_transform(32, "ta_wide", 0.5, "bilinear"), seed=3)
    state = torch.get_rng_state()
    one, label = dataset[Draw(5, 2)]
    assert (one.shape, one.dtype, label) == ((3, 32, 32), torch.float32, 1)
    assert torch.equal(one, dataset[Draw(5, 2)][0])
    assert not torch.equal(one, dataset[Draw(5, 3)][0])
    assert not torch.equal(one, dataset[Draw(5, 2, 1)][0])
    assert torch.equal(state, torch.get_rng_state()), "the trainer's random numbers are its own"


@pytest.mark.parametrize("policy", vision.POLICIES)
def test_every_policy_gives_an_image(data, policy):
    dataset = vision.image_folder(data / "train", vision.train_transform(24, policy, 0.1, "nearest"))
    assert dataset[0][0].shape == (3, 24, 24)


def test_a_broken_image_is_named_and_can_be_skipped(data, tmp_path, capsys):
    broken = data / "train" / "class1" / "2.png"
    broken.write_bytes(broken.read_bytes()[:900])
    flags = ["--data-dir", data, "--out-dir", tmp_path / "logs", "--auto-augment", "none"]
    for workers in (0, 1):  # from a reader process, too
        code, _, err = run(capsys, *flags, "-j", workers)
        assert code == 5
        assert last_line(err).startswith(f"train.imagenet: {broken}: broken image: ")
        assert "--skip-broken" in last_line(err)
        assert "Traceback" not in err
    code, _, err = run(capsys, *flags, "--skip-broken")
    assert code == 0, err
    assert f"{data / 'train'}: 1 of 12 images are broken and left out, {broken} first" in err


def test_folders_that_are_wrong_are_a_line(data, tmp_path, capsys):
    for path in (data / "train" / "class1").iterdir():
        path.unlink()
    code, _, err = run(capsys, "--data-dir", data)
    assert (code, last_line(err)) == (
        2, f"train.imagenet: {data / 'train' / 'class1'}: a class without images (remove its folder, or fill it)",
    )  # fmt: skip
    (data / "train" / "class1").rmdir()
    code, _, err = run(capsys, "--data-dir", data)
    assert code == 2
    assert "has not the classes of train: class1 is in one only" in last_line(err)
    code, _, err = run(capsys, "--data-dir", tmp_path / "nothing")
    assert (code, "nothing/train: no such folder" in last_line(err)) == (3, True)
    (tmp_path / "flat" / "train").mkdir(parents=True)
    code, _, err = run(capsys, "--data-dir", tmp_path / "flat")
    assert (code, "holds no folders, expected one a class" in last_line(err)) == (3, True)
    code, _, err = run(capsys)
    assert (code, "--data-dir is missing" in last_line(err)) == (2, True)


def test_without_torchvision_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.nothing", None)
    with pytest.raises(BackendError, match=r"torchvision cannot be used: .*dvsprep\[vision\]"):
        vision.torchvision("nothing")


def test_weights_to_start_from(data, tmp_path, capsys):
    weights = vision.torchvision("models").resnet18(weights=None, num_classes=7).state_dict()
    torch.save(weights, tmp_path / "resnet18-00000000.pth")
    flags = ["--data-dir", data, "--out-dir", tmp_path / "logs", "--pretrained", tmp_path / "resnet18-00000000.pth"]
    code, _, err = run(capsys, *flags)
    assert (code, "expected 00000000 as its name says" in last_line(err)) == (5, True)
    (tmp_path / "resnet18-00000000.pth").rename(tmp_path / "mine.pth")
    code, _, err = run(capsys, *flags[:-1], tmp_path / "mine.pth")
    assert code == 0, err
    assert "the last layer is new: the weights are for 7 classes, here are 3" in err
