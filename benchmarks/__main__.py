"""``python -m benchmarks``: dvsprep beside SpikingJelly 2.0 and tonic 1.7, every stage in one run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import check, environments, lookalike, machine, report, results, side_dvsprep, startup
from benchmarks.child import Answer, Request, call, size
from benchmarks.rows import DVSPREP, GROUPS, SPIKINGJELLY, TONIC, Row, Run, rows, runs

QUICK = {"recordings": 2, "events": 30_000, "repeats": 1, "small": 70, "samples": 64, "megabytes": 8, "duration": 5_000}
USUAL = {
    "recordings": 6, "events": 4_500_000, "repeats": 5, "small": 7_000, "samples": 1_176, "megabytes": 512,
    "duration": 50_000,
}  # fmt: skip
FULL = 122  # recordings, as DVS128 Gesture has


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if args.folder:
        return Bench(args, Path(args.folder)).run()
    with tempfile.TemporaryDirectory(prefix="dvsprep-benchmarks-") as folder:
        return Bench(args, Path(folder)).run()


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options; what was not given comes from QUICK or USUAL."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", help=f"groups of rows, with commas between them: {', '.join(GROUPS)} (all)")
    parser.add_argument("--repeats", type=int, help="runs of each side (5)")
    parser.add_argument("--recordings", type=int, help="recordings of the look-alike, at least 2 (6)")
    parser.add_argument("--full", action="store_true", help=f"{FULL} recordings, as many as the real archive has")
    parser.add_argument("--events", type=int, help="events a recording (4,500,000)")
    parser.add_argument("--small", type=int, help="recordings of the N-MNIST look-alike (7,000)")
    parser.add_argument("--samples", type=int, help="samples of a loading epoch (1,176, a real training split)")
    parser.add_argument("--cores", type=int, default=2, help="CPUs for each side (2)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it work?")
    parser.add_argument("--no-peers", action="store_true", help="our side only")
    parser.add_argument("--peer-python", help="a Python with SpikingJelly; one is made unless told")
    parser.add_argument("--tonic-python", help="a Python with tonic; one is made unless told")
    parser.add_argument("--folder", help="where to work and leave everything (a temporary folder)")
    parser.add_argument(
        "--out", type=Path, help="the page, and its .json beside it (benchmarks/results.md; none if quick)"
    )
    args = parser.parse_args(argv)
    if args.full:
        args.recordings = args.recordings or FULL
    for name, value in (QUICK if args.quick else USUAL).items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    args.groups = tuple(args.only.split(",")) if args.only else GROUPS
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"--only knows {', '.join(GROUPS)}, not {', '.join(sorted(unknown))}")
    if args.recordings < 2 or args.events < 10_000 or args.repeats < 1 or args.cores < 1 or args.small < 20:
        parser.error("needs at least 2 recordings, 10,000 events, 20 small recordings, 1 repeat and 1 core")
    if args.out is None and not args.quick:
        args.out = report.PAGE
    return args


class Bench:
    """One benchmark run in a work folder."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.load = args, machine.load()
        self.work = folder / f"{args.recordings}x{args.events}"
        self.small = folder / f"small-{args.small}"
        self.bytes: dict[str, float] = {}  # of whatever has to be moved
        self.checked: dict[str, int] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.first: dict[str, Answer] = {}
        self.pythons: dict[str, str] = {DVSPREP: sys.executable}
        if not args.no_peers:
            self.pythons[SPIKINGJELLY] = args.peer_python or environments.python("spikingjelly")
            if "loading" in args.groups:
                self.pythons[TONIC] = args.tonic_python or environments.python("tonic")

    def run(self) -> None:
        """Make the look-alikes, check, measure, write the page."""
        self._lookalikes()
        todo = self._runs()
        for run in todo:  # the first run of each is compared, never timed
            say(f"check: {run.key}")
            self.first[run.key] = self._first(run)
        requests = {run.key: self.request(run) for run in todo}
        for group in self.args.groups:
            found = check.group(group, self.first, requests, self.roots)
            self.checked |= found
            for what, n in found.items():
                say(f"check: {what}: {n} samples are equal")
        for repeat in range(self.args.repeats):
            for run in todo:
                if run.group in self.args.groups:
                    answer = self._call(run)
                    self.answers.setdefault(run.key, []).append(answer)
                    seconds = sum(lap["seconds"] for lap in answer["laps"].values())
                    say(f"run {repeat + 1}: {run.key}: {seconds:.3f} s")
        self._weigh()
        self._publish()

    def _first(self, run: Run) -> Answer:
        """Return an untimed run's answer; what a peer made before in a folder that was kept is not made again."""
        note = self._note(run)
        if run.side != DVSPREP and run.group not in self.args.groups and note.exists():
            return json.loads(note.read_text())
        return self._call(run, check=True)

    def _call(self, run: Run, *, check: bool = False) -> Answer:
        note = self._note(run)
        note.unlink(missing_ok=True)
        answer = call(self.pythons[run.side], module(run), self.request(run, check=check), watch=check)
        note.parent.mkdir(exist_ok=True)
        note.write_text(json.dumps(answer))
        return answer

    def _note(self, run: Run) -> Path:
        """Return where the answer of a run is kept as long as what it made is whole."""
        return self._home(run) / "answers" / f"{run.key}.json"

    def _home(self, run: Run) -> Path:
        return self.small if "digits" in run.root else self.work

    @property
    def roots(self) -> dict[str, Path]:
        """Where each root of a run lies."""
        inside = ("archive", "folder", "spikingjelly", "tonic")
        return {name: self.work / name for name in inside} | {
            name: self.small / name for name in ("digits", "spikingjelly-digits")
        }

    def _lookalikes(self) -> None:
        args = self.args
        if set(args.groups) - {"small", "startup"}:
            say(f"look-alike of {args.recordings} recordings with {args.events:,} events each")
            archive, extracted = lookalike.dvs128(self.work, args.recordings, args.events)
            side_dvsprep.adopt_archives("dvs128", self.roots["archive"], [archive])
            side_dvsprep.adopt_folder("dvs128", self.roots["folder"], extracted)
            self.recordings = sorted(extracted.rglob("*.aedat"))
            total = sum(map(size, self.recordings))
            self.bytes |= {"archive": size(archive), "recordings": total, "columns": 11 / 8 * total}
        if "small" in args.groups:
            say(f"look-alike of {args.small:,} N-MNIST recordings")
            zips = lookalike.nmnist(self.small, args.small)
            side_dvsprep.adopt_archives("nmnist", self.roots["digits"], zips)
            self.bytes["zips"] = sum(map(size, zips))

    def _runs(self) -> list[Run]:
        """Return the runs that the chosen groups need, each behind those it starts from."""
        every = [run for run in runs(self.args.duration, self.args.samples) if run.side in self.pythons]
        wanted = {run.key for run in every if run.group in self.args.groups}
        if TONIC in self.pythons:
            wanted.add("export")
        for run in reversed(every):
            wanted |= set(run.after) if run.key in wanted else set()
        return [run for run in every if run.key in wanted]

    def request(self, run: Run, *, check: bool = False) -> Request:
        """Return what a run's process is told."""
        where = {"root": str(self.roots[run.root]), "download": str(self._home(run) / "download")}
        where |= {"tree": str(self.work / "extracted"), "events": str(self.work / "tonic" / "events")}
        return {"task": run.task, "cores": self.args.cores, "check": check, **where, **run.options}

    def _weigh(self) -> None:
        """Note the bytes that the runs have to move."""
        sizes = {key: answer["sizes"] for key, answer in self.first.items()}
        for name, (key, size_of) in {
            "events": ("ours folder", "events"),
            "frames": ("ours archive", "frames"),
            "frames number": ("ours number", "frames"),
            "frames time": ("ours time", "frames"),
            "frames duration": ("ours duration", "frames"),
            "small events": ("ours small", "events"),
            "small frames": ("ours small", "frames"),
        }.items():
            if key in sizes:
                self.bytes[name] = sizes[key][size_of]
        if "ours fly" in sizes:
            share = self.args.samples / (12 * self.args.recordings)
            self.bytes["epoch"] = self.args.samples * 20 * 2 * lookalike.SIZE**2 * 4
            self.bytes["epoch stored"] = self.bytes["frames number"] * share
            self.bytes["epoch events"] = self.bytes["events"] * share

    def _publish(self) -> None:
        args = self.args
        bandwidth = machine.copy_bandwidth(args.megabytes)
        page = results.Results(args.out.with_suffix(".json") if args.out else None)
        page.facts |= self._facts(bandwidth)
        page.versions |= machine.versions(self.first)
        page.checked |= self.checked
        for row in rows(args.duration, args.samples, args.small):
            if row.group in args.groups:
                page.put(self._line(row, bandwidth))
        if "startup" in args.groups:
            for line in startup.measure(args.repeats, args.cores):
                page.put(line)
        report.publish(page, args.out)

    def _line(self, row: Row, bandwidth: float) -> dict[str, Any]:
        moved = sum(self.bytes[name] for name in row.moves)
        return results.line(row, self.answers, self.first, moved / bandwidth)

    def _facts(self, bandwidth: float) -> dict[str, str]:
        """Return what the figures were measured on and with."""
        args = self.args
        facts = {
            "machine": machine.described(args.cores),
            "load before and after": f"{self.load} and {machine.load()}",
            "copy within memory": f"{bandwidth / 1e9:.1f} GB/s, read and written",
            "code": machine.code(),
            "command": f"`{command(args)}`, {args.repeats} runs of each side",
        }
        if hasattr(self, "recordings"):
            total = self.bytes["recordings"]
            seconds = machine.read_seconds(self.recordings)
            bits = lookalike.bits(*lookalike.recording(args.events, 0))
            facts |= {
                "look-alike": f"{args.recordings} recordings of {args.events:,} events, 12 csv rows each, "
                f"{total / 1e6:.1f} MB",
                "entropy": " + ".join(f"{v:.1f} ({k})" for k, v in bits.items())
                + f" = {sum(bits.values()):.1f} bits an event",
                "reading them": f"{seconds:.3f} s ({total / seconds / 1e9:.1f} GB/s), the least any reader takes",
            }
        return facts


def command(args: argparse.Namespace) -> str:
    """Return the command that does this again; where the peers lie is each machine's own affair."""
    usual = QUICK if args.quick else USUAL
    given = [
        name for name in ("recordings", "events", "repeats", "small", "samples") if getattr(args, name) != usual[name]
    ]
    flags = ["--quick"] * args.quick + ["--no-peers"] * args.no_peers + [f"--cores {args.cores}"] * (args.cores != 2)
    return " ".join(["python -m benchmarks", *(f"--{name} {getattr(args, name)}" for name in given), *flags])


def module(run: Run) -> str:
    """Return the module that does a side's tasks."""
    return f"benchmarks.side_{run.side.lower()}"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
