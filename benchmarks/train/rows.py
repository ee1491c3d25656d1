"""What is compared, and the least ratio that the project asks for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One side of a comparison: what runs, on which engine, in what precision, with which allocator."""

    task: str
    side: str  # "train" or "spikingjelly"
    backend: str = "cpu"
    amp: bool = False
    kept: bool = False  # freed memory is kept: train.memory, which our scripts call

    @property
    def key(self) -> str:
        """The run in words, as in the file of figures."""
        words = [self.task, self.side if self.side != "train" else f"train {self.backend}"]
        return " ".join([*words, *["bfloat16"] * self.amp, *["kept"] * self.kept])


@dataclass(frozen=True)
class Row:
    """A comparison of two runs by ``figure``; ``bar`` is a ratio, and to be undercut if ``less``."""

    title: str
    ours: Run
    theirs: Run
    bar: float | None = None
    figure: str = "seconds"
    less: bool = False


def rows() -> list[Row]:
    """Return every comparison, in the order of the page."""
    peer = "spikingjelly"
    made = []
    for task, title in (("lif deep", "LIF, [16, 16, 128, 32, 32]"), ("lif wide", "LIF, [4, 32, 128, 28, 28]")):
        for kept in (False, True):
            allocator = "freed memory kept" if kept else "default allocator"
            ours, theirs = Run(task, "train", kept=kept), Run(task, peer, kept=kept)
            made.append(Row(f"{title}, {allocator}", ours, theirs, None if kept else 5))
    net = "DVSGestureNet step"
    for amp, bars in ((False, (4, 2.5)), (True, (8, 4))):
        ours, name = Run("gesture", "train", amp=amp, kept=True), f"{net}, {'bfloat16' if amp else 'float32'}"
        made.append(Row(f"{name}, against SpikingJelly as shipped", ours, Run("gesture", peer), bars[0]))
        made.append(Row(f"{name}, freed memory kept on both sides", ours, Run("gesture", peer, kept=True), bars[1]))
    ours, reference, theirs = Run("gesture", "train"), Run("gesture", "train", "torch"), Run("gesture", peer)
    made += [
        Row(f"{net}, float32, default allocator", ours, theirs),
        Row(f"{net}, float32, engine torch, default allocator", reference, theirs),
        Row(f"{net}, peak memory, default allocator", ours, theirs, 0.35, "memory", less=True),
        Row("CSNN step (Fashion-MNIST)", Run("csnn", "train", kept=True), Run("csnn", peer), 3),
        Row("CSNN step, bfloat16", Run("csnn", "train", amp=True, kept=True), Run("csnn", peer)),
    ]
    for task in ("plain", "synapse", "feedback"):
        made.append(Row(f"sequential Fashion-MNIST step, {task}", Run(task, "train", kept=True), Run(task, peer), 4))
    plain, feedback = (Run(task, "train", kept=True) for task in ("plain", "feedback"))
    made.append(Row("feedback against plain, train", feedback, plain, 1.5, less=True))
    made.append(Row("feedback against plain, SpikingJelly", Run("feedback", peer), Run("plain", peer), less=True))
    return made
