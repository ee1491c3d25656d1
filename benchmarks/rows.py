"""What is measured: the runs of each side, and the rows of the table that are read off them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.child import Answer

GROUPS = ("build", "frames", "loading", "decode", "small", "startup")
NUMBER = {"split_by": "number", "T": 20}
TIME = {"split_by": "time", "T": 20}
DIGITS = {"split_by": "number", "T": 10}
DVSPREP, SPIKINGJELLY, TONIC = "dvsprep", "SpikingJelly", "tonic"


@dataclass(frozen=True)
class Run:
    """One task of one side, in a process of its own.

    ``after`` names the runs whose output it starts from. ``root`` is its folder in the work folder.
    """

    key: str
    side: str
    group: str
    task: str
    root: str
    options: Mapping[str, Any]
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A number read off a run: the seconds of some laps, bytes on disk, or the most memory of all runs."""

    run: str
    laps: tuple[str, ...] = ()
    size: str = ""
    peak: bool = False

    def of(self, answer: Answer) -> float:
        """Return the figure of one answer."""
        if self.size:
            return float(answer["sizes"][self.size])
        return float(sum(answer["laps"][lap]["seconds"] for lap in self.laps))


@dataclass(frozen=True)
class Row:
    """A row of the table: our figure, a peer's, and the bar.

    A bar is how many times as fast we are to be at least; where ``less`` it is how much of the peer's figure, or of
    ``unit``, we may take at most.
    """

    key: str
    group: str
    title: str
    peer: str
    ours: Figure
    theirs: Figure | None
    bar: float | None
    less: bool = False
    unit: str = "s"
    moves: tuple[str, ...] = ()  # names of what has to be read and written, whatever the program


def runs(duration: int, samples: int) -> list[Run]:
    """Return every run; ``samples`` is the size of a loading epoch."""
    by_duration = {"split_by": "duration", "duration": duration}
    specs = {"number": NUMBER, "time": TIME, "duration": by_duration}
    dvs, digits = {"dataset": "dvs128"}, {"dataset": "nmnist"}
    made = [
        Run("ours archive", DVSPREP, "build", "build", "archive", dvs | {"spec": NUMBER, "extracted": False}),
        Run("ours folder", DVSPREP, "build", "events", "folder", dvs | {"extracted": True}),
        Run("sj build", SPIKINGJELLY, "build", "build", "spikingjelly", dvs | {"spec": NUMBER}),
    ]
    for name, spec in specs.items():
        options = dvs | {"spec": spec}
        made.append(Run(f"ours {name}", DVSPREP, "frames", "frames", "folder", options, ("ours folder",)))
        made.append(Run(f"sj {name}", SPIKINGJELLY, "frames", "frames", "spikingjelly", options, ("sj build",)))
    epoch = dvs | {"spec": NUMBER, "samples": samples, "fly": False, "keep": True, "floating": True}
    made.append(Run("export", DVSPREP, "", "export", "folder", dvs | {"spec": NUMBER}, ("ours folder",)))
    for workers in (0, 2):
        options = epoch | {"workers": workers}
        key = f"epoch {workers}"
        made += [
            Run(f"ours {key}", DVSPREP, "loading", "epoch", "folder", options, ("ours number",)),
            Run(f"sj {key}", SPIKINGJELLY, "loading", "epoch", "spikingjelly", options, ("sj number",)),
            Run(f"tonic {key}", TONIC, "loading", "epoch", "tonic", options, ("export",)),
        ]
    bare = epoch | {"workers": 0, "keep": False}
    made.append(Run("ours bare", DVSPREP, "loading", "epoch", "folder", bare, ("ours number",)))
    made.append(Run("sj bare", SPIKINGJELLY, "loading", "epoch", "spikingjelly", bare, ("sj number",)))
    for workers in (0, 2):
        made.append(Run(f"ours integers {workers}", DVSPREP, "loading", "epoch", "folder",
                        epoch | {"workers": workers, "floating": False}, ("ours number",)))  # fmt: skip
    preloaded = epoch | {"workers": 2, "preload": True}
    made.append(Run("ours preloaded", DVSPREP, "loading", "epoch", "folder", preloaded, ("ours number",)))
    fly = epoch | {"workers": 0, "fly": True}
    made.append(Run("ours fly", DVSPREP, "loading", "epoch", "folder", fly, ("ours folder",)))
    made.append(Run("ours decode", DVSPREP, "decode", "decode", "folder", dvs))
    small = digits | {"spec": DIGITS, "extracted": False}
    made.append(Run("ours small", DVSPREP, "small", "build", "digits", small))
    made.append(Run("sj small", SPIKINGJELLY, "small", "build", "spikingjelly-digits", digits | {"spec": DIGITS}))
    return made


def rows(duration: int, samples: int, small: int) -> list[Row]:
    """Return every row, with the bars of the project."""
    sj = SPIKINGJELLY
    whole = ("extract", "events", "frames")
    made = [
        Row("archive", "build", "archive -> event cache", sj, Figure("ours archive", ("events",)),
            Figure("sj build", ("extract", "events")), 90, moves=("archive", "events")),
        Row("folder", "build", "extracted files -> event cache", sj, Figure("ours folder", ("events",)),
            Figure("sj build", ("events",)), 90, moves=("recordings", "events")),
        Row("whole", "build", "archive -> frame cache, by number, T = 20", sj,
            Figure("ours archive", ("events", "frames")), Figure("sj build", whole), None,
            moves=("archive", "events", "events", "frames")),
        Row("memory", "build", "peak memory of that whole build", sj, Figure("ours archive", peak=True),
            Figure("sj build", peak=True), 0.5, less=True, unit="MB"),
        Row("events size", "build", "event files on disk", sj, Figure("ours folder", size="events"),
            Figure("sj build", size="events"), 0.6, less=True, unit="MB"),
        Row("frames size", "build", "frame files on disk", sj, Figure("ours archive", size="frames"),
            Figure("sj build", size="frames"), 0.75, less=True, unit="MB"),
    ]  # fmt: skip
    titles = {
        "number": "by number, T = 20",
        "time": "by time, T = 20",
        "duration": f"by duration, {duration // 1000} ms",
    }
    for name, title in titles.items():
        made.append(Row(name, "frames", f"events -> frame cache, {title}", sj, Figure(f"ours {name}", ("frames",)),
                        Figure(f"sj {name}", ("frames",)), 35, moves=("events", f"frames {name}")))  # fmt: skip
    for peer, short, bar in ((sj, "sj", 25), (TONIC, "tonic", 12)):
        for workers in (0, 2):
            key = f"epoch {workers}"
            title = f"epoch of {samples:,} samples, {workers} workers, float32 in batches of 16"
            made.append(Row(f"{short} {key}", "loading", title, peer, Figure(f"ours {key}", ("epoch",)),
                            Figure(f"{short} {key}", ("epoch",)), bar, moves=("epoch stored", "epoch")))  # fmt: skip
    made += [
        Row("fly", "loading", "the same, 0 workers, frames made on the fly from the event cache", sj,
            Figure("ours fly", ("epoch",)), Figure("sj epoch 0", ("epoch",)), 8, moves=("epoch events", "epoch")),
        *(
            Row(f"integers {workers}", "loading", f"the same, {workers} workers, integers made float32 by torch", sj,
                Figure(f"ours integers {workers}", ("epoch",)), Figure(f"sj epoch {workers}", ("epoch",)), None,
                moves=("epoch stored", "epoch"))
            for workers in (0, 2)
        ),
        Row("preloaded", "loading", "stored frames, 2 workers, preload=True: unpacked into shared memory before", sj,
            Figure("ours preloaded", ("epoch",)), Figure("sj epoch 2", ("epoch",)), None,
            moves=("epoch stored", "epoch")),
        Row("bare", "loading", "stored frames, 0 workers, memory allocator as the system has it", sj,
            Figure("ours bare", ("epoch",)), Figure("sj bare", ("epoch",)), None, moves=("epoch stored", "epoch")),
        Row("kernel", "decode", "AEDAT 3.1 decode kernel alone", "read() + one copy",
            Figure("ours decode", ("kernel",)), Figure("ours decode", ("read and copy",)), 3, less=True,
            moves=("recordings", "columns")),
        Row("small", "small", f"{small:,} N-MNIST-like samples, zips -> frame cache, T = 10", sj,
            Figure("ours small", ("events", "frames")), Figure("sj small", whole), 15,
            moves=("zips", "small events", "small events", "small frames")),
    ]  # fmt: skip
    return made
