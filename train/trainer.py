"""The one training loop: samples and a network in, a run's folder of checkpoints, logs and results out.

A script, or a user, subclasses :class:`Trainer` and overrides the hooks it needs; ``load_data`` and ``load_model`` are
the least. Their names are the ones the field knows.
"""

from __future__ import annotations

import json
import math
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

from dvsprep.errors import DivergedError, IncompleteError
from train import arguments, checkpoint, data, distributed, functional, logs, optim, setup
from train.logs import say
from train.state import State

Criterion = Callable[[Tensor, Tensor], Tensor]
Row = dict[str, Any]


class Data(NamedTuple):
    """What ``load_data`` returns; ``how`` tells in words where the validation samples come from."""

    train: Dataset[Any]
    test: Dataset[Any] | None
    val: Dataset[Any] | None = None
    how: str = "none"


class Trainer:
    """Trains, validates, tests, logs, and goes on from where it stopped."""

    name = "train"
    input_shape: tuple[int, ...] = ()  # of the network at one step, without the batch: what it last ran on

    # Hooks

    def get_args_parser(self, add_help: bool = True) -> arguments.Parser:
        """Return the parser of the flags."""
        parser = arguments.Parser(prog=f"python -m train.{self.name}", add_help=add_help, description=self.__doc__)
        arguments.add_training(parser)
        arguments.add_run(parser)
        return parser

    def get_tb_logdir_name(self, args: Namespace) -> str:
        """Return the name of the run's folder."""
        return f"{self.name}_b{args.batch_size}_{args.opt}_lr{args.lr:g}" + ("_amp" if args.amp else "")

    def load_data(self, args: Namespace) -> Data:
        """Return the datasets; may fill in flags that were left to it."""
        raise NotImplementedError

    def load_model(self, args: Namespace, num_classes: int) -> nn.Module:
        """Return the network."""
        raise NotImplementedError

    def set_optimizer(self, args: Namespace, parameters: Any) -> Optimizer:
        """Return the optimiser of the parameters, or of groups of them."""
        return optim.OPTIMIZERS[args.opt](parameters, args)

    def set_lr_scheduler(self, args: Namespace, optimizer: Optimizer) -> LRScheduler:
        """Return the schedule, stepped once an epoch."""
        return optim.schedule(optimizer, args)

    def preprocess_train_sample(self, args: Namespace, x: Tensor) -> Tensor:  # noqa: ARG002
        """Return the network's input of a batch [N, T, ...] as it was loaded."""
        return x.float().transpose(0, 1)

    def preprocess_test_sample(self, args: Namespace, x: Tensor) -> Tensor:
        """Return the network's input of a batch that is only looked at."""
        return self.preprocess_train_sample(args, x)

    def process_model_output(self, args: Namespace, y: Tensor) -> Tensor:  # noqa: ARG002
        """Return class scores [N, classes] of the network's output [T, N, classes]."""
        return y.mean(0)

    def cal_acc1_acc5(self, output: Tensor, target: Tensor) -> tuple[float, float]:
        """Return the parts of the samples whose class is the first, and among the first five.

        Firing rates are often equal: the first is argmax's choice, as in the confusion matrix, not topk's.
        """
        first = output.argmax(1) == target
        among = (output.topk(min(5, output.shape[1]), 1)[1] == target[:, None]).any(1) | first
        return float(first.float().mean()), float(among.float().mean())

    def before_train_one_epoch(self, args: Namespace, model: nn.Module, epoch: int) -> None:
        """Do something before an epoch (from 1)."""

    def before_test_one_epoch(self, args: Namespace, model: nn.Module, epoch: int) -> None:
        """Do something before an epoch's validation or test."""

    def after_last_epoch(self, args: Namespace, model: nn.Module, loaded: Data) -> None:
        """Do something with the best network, when all is trained and tested."""

    # The loop

    def train_one_epoch(
        self,
        model: nn.Module,
        criterion: Criterion,
        optimizer: Optimizer,
        data_loader: Iterable[data.Batch],
        device: torch.device,
        args: Namespace,
        epoch: int,
        model_ema: AveragedModel | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> Row:
        """Train on every batch once; return the log row's ``train_`` part."""
        model.train()
        scaler = scaler or torch.amp.GradScaler(device.type, enabled=False)
        meter, rates = logs.Meter(args.num_classes), logs.FiringRates(model)
        bar = logs.bar(data_loader, f"epoch {epoch}/{args.epochs}")
        for number, (x, labels, lengths) in enumerate(bar, 1):
            x, labels = x.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            target = optim.soft_targets(labels, args.num_classes, args.label_smoothing)
            x, target = optim.mix(self.preprocess_train_sample(args, x), target, args.mixup_alpha, args.cutmix_alpha)
            optimizer.zero_grad()
            with rates.watch() if number == 1 else nullcontext():  # one batch tells, and counting takes time
                output = self._scores(args, model, x, lengths)
            loss = criterion(output, target)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise DivergedError(f"the loss is {value} in epoch {epoch}, batch {number}", hint=_DIVERGED)
            weight = getattr(data_loader, "weight", 1.0)  # of this process's part of an uneven last batch
            scaler.scale(loss * weight).backward()  # type: ignore[no-untyped-call]
            if args.clip_grad_norm:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), args.clip_grad_norm)
            scaler.step(optimizer)
            scaler.update()
            if model_ema is not None and (number - 1) % args.model_ema_steps == 0:
                model_ema.update_parameters(model)
            if weight:
                meter.add(value, *self.cal_acc1_acc5(output.detach(), labels), output.detach(), labels)
            bar.set_postfix_str(meter.words() + rates.words())
        functional.reset_net(model)
        return meter.row("train") | {"firing_rate": rates.means()}

    @torch.no_grad()
    def evaluate(
        self,
        args: Namespace,
        model: nn.Module,
        criterion: Criterion,
        data_loader: DataLoader[Any],
        device: torch.device,
        log_suffix: str = "test",
    ) -> Row:
        """Return the log row's part ``<log_suffix>_...``, with ``firing_rate`` by layer and ``confusion``."""
        model.eval()
        meter, rates = logs.Meter(args.num_classes), logs.FiringRates(model)
        stride = max(1, len(data_loader) // 4)
        bar = logs.bar(data_loader, log_suffix)
        for number, (x, labels, lengths) in enumerate(bar):
            labels = labels.to(device, non_blocking=True)
            x = self.preprocess_test_sample(args, x.to(device, non_blocking=True))
            with rates.watch() if number % stride == 0 else nullcontext():  # watched layers are not fused
                output = self._scores(args, model, x, lengths)
            loss = float(criterion(output, optim.soft_targets(labels, args.num_classes)))
            meter.add(loss, *self.cal_acc1_acc5(output, labels), output, labels)
        functional.reset_net(model)
        return meter.row(log_suffix) | {"firing_rate": rates.means(), "confusion": meter.confusion.tolist()}

    def _scores(self, args: Namespace, model: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
        self.input_shape = tuple(x.shape[2:])
        functional.reset_net(model)  # always: what an interrupted or other batch left behind is no input of this one
        with torch.autocast(x.device.type, args.amp_dtype, enabled=bool(args.amp)):
            y = model(x)
        if int(lengths.min()) < int(lengths.max()):
            # Padded steps count nothing, and the mean over T becomes the mean over each sample's own steps.
            mask = data.padded_sequence_mask(lengths, len(y)) * (len(y) / lengths)
            y = y * mask.to(y.device).unsqueeze(-1)
        return self.process_model_output(args, y).float()

    def logdir(self, args: Namespace) -> Path:
        """Return the folder that a run of these flags would write to; makes nothing."""
        content, path = setup.resumed(args)
        setup.device(args)  # settles the precision, which the name tells
        return path.parent if content is not None else setup.next_folder(args, self.get_tb_logdir_name(args))

    def main(self, args: Namespace) -> Row:
        """Run; return the result, which is also written to ``result.json`` in the run's folder."""
        content, path = setup.resumed(args)
        device = setup.device(args)
        distributed.join(device)
        checkpoint.seed_all(args.seed)
        loaded = Data(*self.load_data(args))
        args.num_classes = len(loaded.train.classes)  # type: ignore[attr-defined]
        setup.check(args, loaded.train, loaded.val, loaded.test)
        net = setup.placed(self.load_model(args, args.num_classes), args, device)
        if distributed.rank():
            checkpoint.seed_all(args.seed + distributed.rank())  # the same network, other dropped neurons
        optimizer = self.set_optimizer(args, optim.parameter_groups(net, args))
        scaler = torch.amp.GradScaler(device.type, enabled=args.amp_dtype == torch.float16 and bool(args.amp))
        ema = optim.averaged(net, args.model_ema_decay) if args.model_ema else None
        state = State(net, optimizer, self.set_lr_scheduler(args, optimizer), scaler, ema)
        if content is not None:
            state.restore(content, path)
        folder = path.parent if content is not None else setup.new_folder(args, self.get_tb_logdir_name(args))
        run = _Run(self, args, loaded, state, folder, device)
        if not args.test_only:
            run.fit()
        return run.finish()


_DIVERGED = "the last good checkpoint is kept; a smaller --lr, --clip-grad-norm or --no-amp may help"


class _Run:
    """One start of a run: its epochs, and its end."""

    def __init__(
        self, trainer: Trainer, args: Namespace, loaded: Data, state: State, folder: Path, device: torch.device
    ) -> None:
        self.trainer, self.args, self.data, self.state, self.folder, self.device = (
            trainer, args, loaded, state, folder, device,
        )  # fmt: skip
        self.criterion = optim.LOSSES[args.loss]
        self.meta = setup.meta(args) | {"trainer": trainer.name}
        self.first = distributed.rank() == 0
        self.saved = state.epoch  # as a checkpoint tells it; a run may be stopped while one is written

    def fit(self) -> None:
        """Train the epochs that are missing; keep the latest and the best."""
        args, state = self.args, self.state
        if self.first:
            logs.write_circumstances(self.folder / "run.json", self.meta["args"])
        say(f"{self.folder}: epochs {state.epoch + 1} to {args.epochs}; validation: {self.data.how}; {self._choice()}")
        log = logs.RunLog(self.folder, state.history, tensorboard=args.tensorboard, active=self.first)
        model = distributed.wrapped(state.net, self.device)
        loader = setup.loader(args, self.data.train, self.device, train=True)
        try:
            if state.epoch == 0:
                self._save(checkpoint.LATEST)
            while state.epoch < args.epochs:
                log.write(self._epoch(model, loader))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted in {self._where()}: {self._hint()}") from None
        except RuntimeError as error:
            if not distributed.lost(error):
                raise
            raise IncompleteError(
                f"another process of this job is gone, in {self._where()}", hint=self._hint()
            ) from error
        finally:
            log.close()

    def _where(self) -> str:
        return f"epoch {self.saved + 1}; {self.folder / checkpoint.LATEST} holds epoch {self.saved}"

    def _hint(self) -> str:
        return f"--resume {self.folder / checkpoint.LATEST} goes on"

    def _epoch(self, model: nn.Module, loader: data.ShareLoader) -> Row:
        begun, args, state, trainer = time.perf_counter(), self.args, self.state, self.trainer
        epoch = state.epoch + 1
        row: Row = {"epoch": epoch, "lr": state.optimizer.param_groups[0]["lr"]}
        loader.sampler.epoch = epoch
        trainer.before_train_one_epoch(args, state.net, epoch)
        row |= trainer.train_one_epoch(
            model, self.criterion, state.optimizer, loader, self.device, args, epoch, state.ema, state.scaler
        )
        distributed.spread([*state.net.buffers(), *state.shown().buffers()])  # without --sync-bn they differ
        if not optim.all_finite(state.net.state_dict().values()):
            raise DivergedError(f"a weight is no number after epoch {epoch}", hint=_DIVERGED)
        state.scheduler.step()
        trainer.before_test_one_epoch(args, state.shown(), epoch)
        row |= self.look("val")
        last = epoch == args.epochs
        if args.select_by == "test" or (args.test_every and (epoch % args.test_every == 0 or last)):
            row |= self.look("test")
        row.pop("confusion", None)
        if self._better(row, last):
            row["best"] = True
            state.best = row
        state.epoch = epoch
        spent = time.perf_counter() - begun
        row["seconds"] = round(spent, 3)
        state.seconds += spent
        state.history.append(row)
        if row.get("best"):
            self._save(checkpoint.BEST)  # before the latest: killed in between, the epoch is done again
        self._save(checkpoint.LATEST)
        return row

    def look(self, part: str) -> Row:
        """Evaluate on a part of the data, if it is there."""
        dataset = getattr(self.data, part)
        if dataset is None:
            return {}
        loader = setup.loader(self.args, dataset, self.device, train=False)
        return self.trainer.evaluate(self.args, self.state.shown(), self.criterion, loader, self.device, part)

    @property
    def selects_by(self) -> str:
        """What decides: val, test or last."""
        by = self.args.select_by
        return by if by == "last" or getattr(self.data, by) is not None else "last"

    def _choice(self) -> str:
        return {
            "val": "the best epoch is the one with the best validation accuracy",
            "test": "the best epoch is chosen by TEST accuracy, as asked: its test accuracy is no fair estimate",
            "last": "the last epoch counts",
        }[self.selects_by]

    def _better(self, row: Row, last: bool) -> bool:
        by = self.selects_by
        if by == "last":
            return last
        score, best = ((r.get(f"{by}_acc1", -1.0), -r.get(f"{by}_loss", math.inf)) for r in (row, self.state.best))
        return bool(score > best)

    def _save(self, name: str) -> None:
        content = {**self.state.content(), **self.meta, "input": list(self.trainer.input_shape)}
        if self.first:
            checkpoint.save(self.folder / name, content)
        self.saved = self.state.epoch if name == checkpoint.LATEST else self.saved

    def finish(self) -> Row:
        """Test the best network, draw, and return the result."""
        state = self.state
        best = self.folder / checkpoint.BEST
        if self.first and best.is_file():
            content = checkpoint.load(best)
            checkpoint.load_net(state.shown(), checkpoint.shown(content), best)
            state.best = dict(content["best"])
        distributed.spread(state.shown().state_dict().values())
        state.best = distributed.of_first(state.best)
        tested: Mapping[str, Any] = self.look("test")
        result: Row = {
            "test_acc": tested.get("test_acc1"),
            "val_acc": state.best.get("val_acc1"),
            "best_epoch": state.best.get("epoch", state.epoch),
            "epochs": state.epoch,
            "seconds": round(state.seconds, 1),
            "out_dir": str(self.folder),
            "select_by": self.selects_by,
            "validation": self.data.how,
        }
        if self.first:
            self._write(result, tested)
            self.trainer.after_last_epoch(self.args, state.shown(), self.data)
        return result

    def _write(self, result: Row, tested: Mapping[str, Any]) -> None:
        from train import plots

        state, classes = self.state, self.data.train.classes  # type: ignore[attr-defined]
        if tested:
            plots.confusion(tested["confusion"], classes, self.folder / "confusion.png")
        if state.history:
            plots.curves(state.history, result["best_epoch"], self.folder / "curves.png")
        extra = {
            "confusion": tested.get("confusion"),
            "classes": list(classes),
            "firing_rate": tested.get("firing_rate"),
        }
        (self.folder / "result.json").write_text(json.dumps(result | extra, indent=1) + "\n")
