"""Frame sources and a network, small enough to train in a test."""

from __future__ import annotations

from argparse import Namespace

import numpy as np
from torch import Tensor, nn

from dvsprep.types import FrameSpec
from train import functional, neuron, surrogate
from train.data import FrameDataset
from train.trainer import Data, Trainer


class Frames:
    """A FrameSource in memory: class k has events in the k-th column, so that it can be learned."""

    def __init__(self, n=24, classes=("a", "b", "c"), T=4, side=8, seed=0, dtype=np.uint8, ids=None, lengths=None):
        random = np.random.default_rng(seed)
        self.labels = np.arange(n) % len(classes)
        self.classes = tuple(classes)
        self.spec = FrameSpec("number", T=T) if lengths is None else FrameSpec("duration", duration=1000)
        self.ids = np.array(ids if ids is not None else [f"user{i % 4:02}_row{i:02}" for i in range(n)])
        self.reads: list[int] = []
        self.samples = []
        for i, label in enumerate(self.labels):
            frames = random.poisson(0.2, (T if lengths is None else lengths[i], 2, side, side))
            frames[..., 2 * label] += random.poisson(2, frames.shape[:-1])
            self.samples.append(frames.astype(dtype))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        self.reads.append(i)
        return self.samples[i].copy(), int(self.labels[i])


class TinyNet(nn.Module):
    """[T, N, C, H, W] to [T, N, classes], with a BatchNorm and two layers of neurons."""

    def __init__(self, inputs=128, classes=3, hidden=16):
        super().__init__()
        make = {"surrogate_function": surrogate.ATan(), "detach_reset": True, "step_mode": "m"}
        self.inner = nn.Linear(inputs, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.sn1 = neuron.ParametricLIFNode(**make)
        self.drop = nn.Dropout(0.2)
        self.outer = nn.Linear(hidden, classes)
        self.sn2 = neuron.LIFNode(**make)
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        T, N = x.shape[:2]
        x = self.norm(self.inner(x.flatten(2)).flatten(0, 1)).view(T, N, -1)
        return self.sn2(self.outer(self.drop(self.sn1(x))))


class TinyTrainer(Trainer):
    """Trains TinyNet on Frames."""

    name = "tiny"
    transform = None
    lengths = None

    def get_args_parser(self, add_help=True):
        parser = super().get_args_parser(add_help)
        parser.set_defaults(
            batch_size=8, epochs=3, opt="adam", lr=0.02, tensorboard=False, workers=0, device="cpu", backend="torch"
        )
        return parser

    def load_data(self, args: Namespace) -> Data:
        source = Frames(24, lengths=self.lengths)
        whole = FrameDataset(source, seed=args.seed)
        return Data(
            whole.subset(range(16), self.transform),
            FrameDataset(Frames(9, seed=2)),
            whole.subset(range(16, 24)),
            "the last eight",
        )

    def load_model(self, args: Namespace, num_classes: int) -> nn.Module:
        return TinyNet(classes=num_classes)
