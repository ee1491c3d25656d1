"""The training loop: it learns, logs, selects, and goes on as if it had never stopped."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sources import Frames, TinyTrainer

from dvsprep.errors import DivergedError
from train import augment, checkpoint, script
from train.data import FrameDataset
from train.trainer import Data

TIMES = ("seconds", "train_samples_per_s", "val_samples_per_s", "test_samples_per_s")
EVERYTHING = shlex.split(
    "--model-ema --mixup-alpha 0.4 --cutmix-alpha 1 --label-smoothing 0.1 --clip-grad-norm 1 --opt sgd_nesterov "
    "--lr-warmup-epochs 1 --wd 1e-3 --norm-weight-decay 0 --ra-reps 2 --no-amp"
)


def run(folder: Path, *flags: object, trainer: TinyTrainer | None = None) -> dict:
    trainer = trainer or TinyTrainer()
    argv = ["--out-dir", str(folder), *map(str, flags)]
    return trainer.main(trainer.get_args_parser().parse(argv))


def ending(out_dir: str) -> tuple[dict, list]:
    content = checkpoint.load(Path(out_dir) / checkpoint.LATEST)
    return content, [{k: v for k, v in row.items() if k not in TIMES} for row in content["history"]]


def assert_same_run(one: str, other: str) -> None:
    (a, rows_a), (b, rows_b) = ending(one), ending(other)
    assert rows_a == rows_b
    assert a["net"].keys() == b["net"].keys()
    for part in ("net", "optimizer", "lr_scheduler", "scaler", "ema", "rng"):
        assert_equal(a[part], b[part], part)
    best = [checkpoint.load(Path(d) / checkpoint.BEST) for d in (one, other)]
    assert_equal(best[0]["net"], best[1]["net"], "best")
    logs = [
        [json.loads(line)["epoch"] for line in (Path(d) / "log.jsonl").read_text().splitlines()] for d in (one, other)
    ]
    assert logs[0] == logs[1] == list(range(1, a["epoch"] + 1))


def assert_equal(a, b, where: str) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


def test_it_learns_and_tells_what_it_found(tmp_path, capsys):
    result = run(tmp_path, "--epochs", 20, "--loss", "ce", "--lr", 0.05)
    assert result["test_acc"] > 0.9
    folder = Path(result["out_dir"])
    assert json.loads((folder / "result.json").read_text()).items() >= result.items()
    assert {p.name for p in folder.iterdir()} == {
        "checkpoint_best.pth", "checkpoint_latest.pth", "confusion.png", "curves.png", "log.jsonl", "result.json",
        "run.json",
    }  # fmt: skip
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 21))
    assert rows[-1]["firing_rate"].keys() == {"sn1", "sn2"}
    best = max(rows, key=lambda row: (row["val_acc1"], -row["val_loss"]))
    assert (result["best_epoch"], result["val_acc"]) == (best["epoch"], best["val_acc1"])
    run_facts = json.loads((folder / "run.json").read_text())
    assert run_facts["args"]["epochs"] == 20
    assert {"command", "versions", "machine"} <= run_facts.keys()
    assert "the best validation accuracy" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [[], EVERYTHING, ["--select-by", "last", "--workers", "2"]], ids=["plain", "all", "last"]
)
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, flags):
    class Stops(TinyTrainer):
        transform = augment.Compose([augment.RandomShift(2), augment.RandomErase()])
        stop = None

        def before_train_one_epoch(self, args, model, epoch):
            if epoch == self.stop:
                raise KeyboardInterrupt

    whole = run(tmp_path / "a", "--epochs", 4, *flags, trainer=Stops())["out_dir"]
    for stop in (1, 2, 4):
        trainer = Stops()
        trainer.stop = stop
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / f"b{stop}", "--epochs", 4, *flags, trainer=trainer)
        (folder,) = (tmp_path / f"b{stop}").iterdir()
        torch.rand(stop)
        resumed = run(tmp_path / "unused", "--resume", folder, trainer=Stops())
        assert resumed["out_dir"] == str(folder)
        assert_same_run(whole, str(folder))
    assert not (tmp_path / "unused").exists()


def process(folder: Path, *flags: object, die: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, str(Path(__file__).with_name("tiny_run.py")), "--out-dir", str(folder), *map(str, flags)]
    environment = os.environ | {"DIE": die, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_killed_at_any_moment_the_run_ends_the_same(tmp_path):
    whole = json.loads(process(tmp_path / "a", "--epochs", 10).stdout.splitlines()[-1])
    moments = ["replace1", "batch3", "replace2", "save1", "batch5"]
    folder = None
    for moment in moments:
        done = process(tmp_path / "b", "--epochs", 10, *(("--resume", folder) if folder else ()), die=moment)
        assert done.returncode == -signal.SIGKILL, (moment, done.stderr)
        (folder,) = (tmp_path / "b").iterdir()
        if not (folder / checkpoint.LATEST).exists():
            folder.rename(tmp_path / "nothing was done yet")
            folder = None
    done = process(tmp_path / "b", "--resume", folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    times = {"seconds": 0, "out_dir": ""}
    assert result | times == whole | times
    assert_same_run(whole["out_dir"], result["out_dir"])
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_ctrl_c_keeps_the_checkpoint_and_exits_130(tmp_path, how):
    done = process(tmp_path, "--workers", 1, die=f"batch3/{how}")
    assert done.returncode == 130
    (folder,) = tmp_path.iterdir()
    latest = folder / checkpoint.LATEST
    assert f"interrupted in epoch 2; {latest} holds epoch 1: --resume {latest} goes on" in done.stderr
    assert "Traceback" not in done.stderr
    assert checkpoint.load(latest)["epoch"] == 1
    assert process(tmp_path, "--resume", latest).returncode == 0


def test_a_finished_run_resumed_trains_nothing_and_tells_the_same(tmp_path):
    first = run(tmp_path)
    assert run(tmp_path, "--resume", first["out_dir"]) == first
    more = run(tmp_path, "--resume", first["out_dir"], "--epochs", 5)
    assert more["epochs"] == 5
    told = json.loads(Path(more["out_dir"], "run.json").read_text())
    assert len(told["went_on"]) == 2  # the run that trained nothing, and this one
    assert told["args"]["epochs"] == 5
    assert run(tmp_path, "--resume", first["out_dir"], "--test-only")["test_acc"] == more["test_acc"]


def test_resuming_keeps_the_best(tmp_path):
    class Scored(TinyTrainer):
        def evaluate(self, args, model, criterion, data_loader, device, log_suffix="test"):
            row = super().evaluate(args, model, criterion, data_loader, device, log_suffix)
            return row | ({"val_acc1": {1: 0.2, 2: 0.9}.get(self.epoch, 0.5)} if log_suffix == "val" else {})

        def before_train_one_epoch(self, args, model, epoch):
            self.epoch = epoch

    first = run(tmp_path, "--epochs", 2, trainer=Scored())
    more = run(tmp_path, "--epochs", 4, "--resume", first["out_dir"], trainer=Scored())
    assert (first["best_epoch"], more["best_epoch"], more["val_acc"]) == (2, 2, 0.9)
    assert checkpoint.load(Path(more["out_dir"]) / checkpoint.BEST)["epoch"] == 2


def test_a_second_run_of_the_same_flags_leaves_the_first_alone(tmp_path):
    first, second = run(tmp_path)["out_dir"], run(tmp_path)["out_dir"]
    assert second == first + "_2"
    assert_same_run(first, second)


def test_seeds_differ(tmp_path):
    one, two = (ending(run(tmp_path, "--seed", seed)["out_dir"])[0]["net"] for seed in (0, 1))
    assert not torch.equal(one["inner.weight"], two["inner.weight"])


def test_selection_by_test_accuracy_is_said(tmp_path, capsys):
    result = run(tmp_path, "--select-by", "test", "--epochs", 5)
    assert "chosen by TEST accuracy" in capsys.readouterr().err
    rows = ending(result["out_dir"])[1]
    assert result["test_acc"] == max(row["test_acc1"] for row in rows)


def test_the_test_set_is_not_looked_at_before_the_end_unless_asked(tmp_path):
    assert not any("test_acc1" in row for row in ending(run(tmp_path)["out_dir"])[1])
    rows = ending(run(tmp_path, "--test-every", 2)["out_dir"])[1]
    assert [row["epoch"] for row in rows if "test_acc1" in row] == [2, 3]


def test_padded_steps_count_nothing(tmp_path):
    """The output of a padded sample is the mean over its own steps."""
    trainer = TinyTrainer()
    trainer.lengths = [2 + i % 5 for i in range(24)]
    assert run(tmp_path, trainer=trainer)["epochs"] == 3
    args = trainer.get_args_parser().parse([])
    args.amp, args.amp_dtype = False, torch.bfloat16
    net = trainer.load_model(args, 3).eval()
    dataset = FrameDataset(Frames(6, lengths=[1, 2, 3, 4, 5, 3]))
    from train.data import pad_sequence_collate

    x, _, lengths = pad_sequence_collate([dataset[i] for i in range(6)])
    together = trainer._scores(args, net, trainer.preprocess_test_sample(args, x), lengths)
    for i in range(6):
        alone, _, length = pad_sequence_collate([dataset[i]])
        torch.testing.assert_close(
            together[i : i + 1], trainer._scores(args, net, trainer.preprocess_test_sample(args, alone), length)
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tmp_path, value):
    class Breaks(TinyTrainer):
        def before_train_one_epoch(self, args, model, epoch):
            self.epoch, self.batch = epoch, 0

        def process_model_output(self, args, y):
            self.batch += 1
            return super().process_model_output(args, y) * (value if (self.epoch, self.batch) == (3, 2) else 1)

    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) in epoch 3, batch 2"):
        run(tmp_path, "--epochs", 4, trainer=Breaks())
    (folder,) = tmp_path.iterdir()
    content = checkpoint.load(folder / checkpoint.LATEST)
    assert content["epoch"] == 2
    assert all(torch.isfinite(v).all() for v in content["net"].values())


def test_a_weight_that_is_no_number_never_reaches_a_checkpoint(tmp_path):
    class Breaks(TinyTrainer):
        def train_one_epoch(self, model, *args, **kwargs):
            row = super().train_one_epoch(model, *args, **kwargs)
            self.epochs = getattr(self, "epochs", 0) + 1
            if self.epochs == 2:
                model.inner.weight.data[0, 0] = float("nan")
            return row

    with pytest.raises(DivergedError, match="a weight is no number after epoch 2"):
        run(tmp_path, trainer=Breaks())
    (folder,) = tmp_path.iterdir()
    assert checkpoint.load(folder / checkpoint.LATEST)["epoch"] == 1


def test_tensorboard_gets_every_scalar(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = run(tmp_path, "--tensorboard")["out_dir"]
    events = EventAccumulator(out)
    events.Reload()
    assert {"train_loss", "train_acc1", "val_loss", "val_acc1", "lr"} <= set(events.Tags()["scalars"])
    assert [s.step for s in events.Scalars("train_loss")] == [1, 2, 3]


def test_hooks_are_called_with_the_field_s_signatures(tmp_path):
    calls = []

    class Hooked(TinyTrainer):
        def get_tb_logdir_name(self, args):
            return "mine"

        def set_optimizer(self, args, parameters):
            calls.append("set_optimizer")
            return torch.optim.SGD(parameters, lr=args.lr)

        def set_lr_scheduler(self, args, optimizer):
            calls.append("set_lr_scheduler")
            return torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

        def preprocess_train_sample(self, args, x):
            assert x.dtype == torch.uint8
            return x.float().transpose(0, 1) * 2

        def preprocess_test_sample(self, args, x):
            calls.append("preprocess_test_sample")
            return super().preprocess_test_sample(args, x)

        def cal_acc1_acc5(self, output, target):
            return 0.25, 0.5

        def before_test_one_epoch(self, args, model, epoch):
            calls.append(f"test {epoch}")

    result = run(tmp_path, trainer=Hooked())
    assert result["out_dir"] == str(tmp_path / "mine")
    assert result["test_acc"] == 0.25
    assert {"set_optimizer", "set_lr_scheduler", "preprocess_test_sample", "test 1", "test 3"} <= set(calls)
    assert [row["lr"] for row in ending(result["out_dir"])[1]] == [0.02, 0.01, 0.005]


def test_the_moving_average_moves_every_so_many_steps(tmp_path):
    """16 samples in batches of 8 are two steps an epoch, of three; every epoch moves it at least once."""
    for steps, updates in ((1, 6), (2, 3), (3, 3)):
        out = run(tmp_path / str(steps), "--model-ema", "--model-ema-steps", steps)["out_dir"]
        assert int(ending(out)[0]["ema"]["n_averaged"]) == updates


def test_without_a_validation_set_the_last_epoch_counts(tmp_path, capsys):
    class Unvalidated(TinyTrainer):
        def load_data(self, args):
            return Data(FrameDataset(Frames()), None)

    result = run(tmp_path, trainer=Unvalidated())
    assert (result["test_acc"], result["val_acc"], result["best_epoch"]) == (None, None, 3)
    assert "the last epoch counts" in capsys.readouterr().err


def test_state_left_by_a_user_s_hook_is_no_input_of_the_next_batch(tmp_path):
    class Peeks(TinyTrainer):
        def before_test_one_epoch(self, args, model, epoch):
            model(torch.rand(2, 5, 2, 8, 8))

    assert run(tmp_path, trainer=Peeks())["epochs"] == 3


def test_stdout_is_one_json_line(tmp_path, capsys):
    assert script.main(TinyTrainer(), ["--out-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["epochs"] == 3
    assert out.count("\n") == 1


def test_equal_scores_count_as_in_the_confusion_matrix():
    scores = torch.zeros(12, 30)
    scores[:, 3:9] = 1
    for target in (3, 5, 0):
        labels = torch.full((12,), target)
        acc1, acc5 = TinyTrainer().cal_acc1_acc5(scores, labels)
        assert acc1 == float((scores.argmax(1) == labels).float().mean()) == (target == 3)
        assert acc1 <= acc5
