"""``python -m train.fashion_mnist`` and ``train.sequential_fmnist`` on small IDX files, as users start them."""

import json
import shlex
import shutil
from pathlib import Path

import idx_files
import numpy as np
import pytest
import torch
from PIL import Image

from train import checkpoint, functional, models, script, sequential_fmnist, spike_maps
from train.fashion_mnist import FashionMNISTTrainer
from train.sequential_fmnist import SequentialTrainer

QUICK = shlex.split("--epochs 2 -b 10 --no-tensorboard --device cpu --backend torch --no-amp -data-dir data")
SMALL = ["-channels", "2", "-T", "2"]


@pytest.fixture(autouse=True)
def _in_a_folder_with_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    idx_files.write(Path("data"))


def run(*argv: object, kind=FashionMNISTTrainer) -> dict:
    trainer = kind()
    return trainer.main(trainer.get_args_parser().parse([*QUICK, *map(str, argv)]))


def refuse(capsys, *argv: object, kind=FashionMNISTTrainer) -> tuple[int, str]:
    code = script.main(kind(), [*QUICK, *map(str, argv)])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err.splitlines()[-1]


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def test_the_field_s_flags():
    flags = shlex.split(
        "-T 2 -b 8 -epochs 1 -j 0 -data-dir data -out-dir out -opt adam -momentum 0.8 -lr 0.01 -channels 3"
    )
    result = run(*flags)
    assert result["out_dir"] == "out/T2_b8_adam_lr0.01_c3"
    assert result["validation"] == "by sample, 0.1 of each class"
    args = checkpoint.load(Path("out/T2_b8_adam_lr0.01_c3") / checkpoint.LATEST)["args"]
    assert (args["opt"], args["momentum"], args["lr"], args["channels"], args["T"]) == ("adam", 0.8, 0.01, 3, 2)


def test_csnn_is_shown_the_same_image_at_every_step():
    trainer = FashionMNISTTrainer()
    args = trainer.get_args_parser().parse(["-T", "3"])
    x = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    shown = trainer.preprocess_test_sample(args, x)
    assert shown.shape == (3, 5, 1, 28, 28)
    assert all(torch.equal(step, x / 255) for step in shown)
    assert trainer.preprocess_train_sample(args, x).shape == shown.shape
    net = models.CSNN(2)
    assert [type(m).__name__ for m in net.spiking_encoder()] == ["Conv2d", "BatchNorm2d", "IFNode"]
    spikes = net(shown)
    assert spikes.shape == (3, 5, 10)
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}


def test_it_learns():
    result = run("--epochs", 12, "-channels", 8, "--opt", "adam", "--lr", 0.02, "--shift", 0, "--no-flip")
    assert result["test_acc"] >= 0.8


def test_columns_are_the_steps():
    trainer = SequentialTrainer()
    args = trainer.get_args_parser().parse([])
    x = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    columns = trainer.preprocess_test_sample(args, x)
    assert columns.shape == (28, 3, 28)
    assert torch.equal(columns[5, 1], x[1, 0, :, 5] / 255)


@pytest.mark.parametrize(("name", "parameters"), [("plain", 1258), ("ss", 1259), ("fb", 1258 + 64 * 32 + 32)])
def test_the_three_networks(name, parameters):
    net = sequential_fmnist.MODELS[name]()
    assert sum(p.numel() for p in net.parameters()) == parameters
    y = net(torch.rand(28, 4, 28))
    assert y.shape == (28, 4, 10)
    y.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    functional.reset_net(net)
    assert run("--model", name, kind=SequentialTrainer)["out_dir"].startswith(f"logs/{name}_b10")


def test_compare_trains_all_three_and_draws_them(capsys):
    result = run("--compare", kind=SequentialTrainer)
    folder = Path(result["out_dir"])
    assert json.loads((folder / "result.json").read_text()) == result
    assert result["test_acc"].keys() == result["models"].keys() == {"plain", "ss", "fb"}
    for name, own in result["models"].items():
        rows = [json.loads(line) for line in Path(own["out_dir"], "log.jsonl").read_text().splitlines()]
        assert ["test_acc1" in row for row in rows] == [True, True]
        assert f"| {sequential_fmnist.TITLES[name]} | {own['test_acc']:.4f} |" in (folder / "table.md").read_text()
    assert picture(folder / "curves.png").shape == (400, 1000)
    assert "| feedback |" in capsys.readouterr().err
    code, line = refuse(capsys, "--compare", "--resume", folder / "plain_b10_adam_lr0.005", kind=SequentialTrainer)
    assert (code, "--compare trains all three anew (--resume goes on with the run of one)" in line) == (2, True)


def test_first_spikes_are_drawn_with_and_without_resume(capsys):
    folder = run(*SMALL, "--save-es", "es")["out_dir"]
    assert "es: the first spikes of 10 test images, 91 files" in capsys.readouterr().err
    names = {f"{stem}.{kind}" for stem in ("input", "s_0", "s_1") for kind in ("png", "pdf", "svg")}
    assert {p.name for p in Path("es").iterdir()} == {"spikes.gif", *map(str, range(10))}
    assert all({p.name for p in Path("es", str(i)).iterdir()} == names for i in range(10))
    before = Path("es/3/s_1.png").read_bytes()
    shutil.rmtree("es/3")
    run("--resume", folder)  # draws where its run drew, and the folder exists
    assert "--data-dir is" not in capsys.readouterr().err  # it is what it was
    assert Path("es/3/s_1.png").read_bytes() == before
    trainer = FashionMNISTTrainer()
    trainer.main(trainer.get_args_parser().parse(["--resume", folder, "--test-only", "-save-es", "other/es"]))
    assert Path("other/es/3/s_1.png").read_bytes() == before
    with Image.open("es/spikes.gif") as gif:
        assert gif.n_frames == 2


def test_a_folder_for_pictures_that_is_a_file_is_told_before_training(capsys):
    code, line = refuse(capsys, *SMALL, "--save-es", "data/t10k-images-idx3-ubyte")
    assert (code, line) == (6, "train.fashion_mnist: data/t10k-images-idx3-ubyte: File exists")
    assert not Path("logs").exists()


def test_a_picture_shows_every_feature_map():
    maps = np.random.default_rng(0).integers(0, 2, (11, 4, 3)).astype(np.float32)
    tiled = spike_maps.tiled(maps)
    assert tiled.shape == (2 * 5 + 1, 8 * 4 + 1)
    assert np.array_equal(tiled[1:5, 1:4], maps[0])
    assert np.array_equal(tiled[6:10, 9:12], maps[10])
    assert (tiled[6:10, 13:] == 0.5).all()


def test_what_is_drawn_is_what_the_encoder_fired(tmp_path):
    spikes = torch.zeros(2, 1, 9, 5, 5)
    spikes[1, 0, 8, 2, 3] = 1
    assert spike_maps.save(torch.rand(1, 1, 5, 5), spikes, tmp_path) == 10
    step = picture(tmp_path / "0" / "s_1.png")
    assert step.shape == (2 * 13, 2 * 49)
    assert (step[2 * 9 : 2 * 9 + 2, 2 * 4 : 2 * 4 + 2] == 255).all()
    assert int((step == 255).sum()) == 4
    assert picture(tmp_path / "0" / "input.png").shape == (20, 20)


def test_a_resumed_run_sees_the_same_augmented_images():
    whole = run(*SMALL, "--epochs", 3)["out_dir"]
    part = run(*SMALL, "--epochs", 3, "--out-dir", "b", "--lr-scheduler", "none")["out_dir"]
    assert part != whole
    one = run(*SMALL, "--epochs", 1, "--lr-scheduler", "none", "--out-dir", "c")["out_dir"]
    run("--resume", one, "--epochs", 3)
    a, b = (checkpoint.load(Path(d) / checkpoint.LATEST)["net"] for d in (part, one))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_bad_files_are_one_line(capsys):
    path = Path("data/t10k-images-idx3-ubyte")
    path.write_bytes(path.read_bytes()[:-5])
    code, line = refuse(capsys, *SMALL)
    assert (code, line) == (
        5,
        f"train.fashion_mnist: {path}: 15675 bytes from byte 16, expected 15680 for [20, 28, 28]",
    )
    path.unlink()
    code, line = refuse(capsys, *SMALL)
    assert code == 3
    assert "no file t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz in data" in line
    assert "--download fetches them" in line
