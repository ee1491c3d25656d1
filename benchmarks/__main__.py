"""``python -m benchmarks``: dvsprep and SpikingJelly 2.0, side by side in one run."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import check, lookalike, machine, ours
from benchmarks.child import PROJECT, call, size
from benchmarks.report import Stage, markdown

RESULTS = PROJECT / "benchmarks" / "results.md"
QUICK = {"recordings": 2, "events": 30_000, "repeats": 1, "megabytes": 8, "duration": 5_000}
FULL = {"recordings": 6, "events": 4_500_000, "repeats": 3, "megabytes": 512, "duration": 50_000}


def stages(duration: int) -> list[Stage]:
    """Return what is measured, with the least ratio the project asks for."""
    return [
        Stage("events", None, bar=30),
        Stage("frames by number, T = 20", {"split_by": "number", "T": 20}, bar=8),
        Stage("frames by time, T = 20", {"split_by": "time", "T": 20}, bar=8),
        Stage(f"frames by duration, {duration // 1000} ms", {"split_by": "duration", "duration": duration}, bar=8),
    ]


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if args.folder:
        return bench(args, Path(args.folder))
    with tempfile.TemporaryDirectory(prefix="dvsprep-benchmarks-") as folder:
        return bench(args, Path(folder))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options; what was not given comes from QUICK or FULL."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--recordings", type=int, help="recordings of the look-alike, at least 2 (6)")
    parser.add_argument("--events", type=int, help="events a recording (4,500,000)")
    parser.add_argument("--repeats", type=int, help="runs of each side (3)")
    parser.add_argument("--cores", type=int, default=2, help="CPUs for each side (2)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it work?")
    parser.add_argument("--no-peer", action="store_true", help="our side only")
    parser.add_argument("--peer-python", help="a Python with spikingjelly; one is made unless told")
    parser.add_argument("--folder", help="where to work and leave everything (a temporary folder)")
    parser.add_argument("--out", type=Path, help="the page (benchmarks/results.md; with --quick stdout only)")
    args = parser.parse_args(argv)
    for name, value in (QUICK if args.quick else FULL).items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    if args.recordings < 2 or args.events < 10_000 or args.repeats < 1 or args.cores < 1:
        parser.error("needs at least 2 recordings, 10,000 events, 1 repeat and 1 core")
    if args.out is None and not args.quick:
        args.out = RESULTS
    return args


def bench(args: argparse.Namespace, folder: Path) -> None:
    """Make the look-alike, check, measure, write the page."""
    python = None if args.no_peer else args.peer_python or machine.peer_python(_environments())
    load = machine.load()
    say(f"look-alike of {args.recordings} recordings with {args.events:,} events each")
    work = folder / f"lookalike-{args.recordings}x{args.events}"
    root, theirs = work / "dvsprep", work / "spikingjelly"
    extracted = ours.adopt(root, lookalike.archive(work, args.recordings, args.events))
    request = {"cores": args.cores, "extracted": str(extracted)}
    sides = [("ours", sys.executable, "benchmarks.ours", request | {"root": str(root)})]
    if python:
        sides.append(("theirs", python, "benchmarks.peer", request | {"root": str(theirs)}))

    todo, checked = stages(args.duration), {}
    for stage in todo:  # the first run of each side warms the page cache and is compared, never timed
        asked = [request | {"stage": stage.title, "spec": stage.spec} for *_, request in sides]
        for (name, python_of, module, _), one in zip(sides, asked, strict=True):
            say(f"check: {stage.title}, {name}")
            call(python_of, module, one)
        if python:
            checked[stage.title] = check.equal(*asked)
            say(f"check: {stage.title}: {checked[stage.title]} samples are equal")
    for repeat in range(args.repeats):
        for stage in todo:
            for name, python_of, module, request in sides:
                answer = call(python_of, module, request | {"stage": stage.title, "spec": stage.spec})
                getattr(stage, name).append(answer)
                say(f"run {repeat + 1}: {stage.title}, {name}: {answer['seconds']:.3f} s")

    page = markdown(todo, facts(args, todo, extracted, load), checked)
    if args.out:
        args.out.write_text(page)
    print(page, end="")


def facts(args: argparse.Namespace, todo: list[Stage], extracted: Path, load: str) -> dict[str, str]:
    """Return what the figures were measured on and with."""
    files = sorted(extracted.rglob("*.aedat"))
    total = sum(map(size, files))
    seconds = machine.read_seconds(files)
    bits = lookalike.bits(*lookalike.recording(args.events, 0))
    versions: dict[str, Any] = {"Python": platform.python_version()} | todo[0].ours[0]["versions"]
    if todo[0].theirs:
        versions |= {f"{k} (peer)": v for k, v in todo[0].theirs[0]["versions"].items()}
    return {
        "machine": f"{machine.processor()}, {args.cores} of its cores used, {platform.system()}",
        "load before and after": f"{load} and {machine.load()}",
        "copy within memory": f"{machine.copy_bandwidth(args.megabytes) / 1e9:.1f} GB/s, read and written",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "command": f"`{command(args)}`, {args.repeats} runs of each side",
        "look-alike": f"{args.recordings} recordings of {args.events:,} events, 12 csv rows each, {total / 1e6:.1f} MB",
        "entropy": " + ".join(f"{v:.1f} ({k})" for k, v in bits.items()) + f" = {sum(bits.values()):.1f} bits an event",
        "reading the recordings": f"{seconds:.3f} s ({total / seconds / 1e9:.1f} GB/s), the least any reader takes",
    }


def command(args: argparse.Namespace) -> str:
    """Return the command that does this again; where the peer lies is each machine's own affair."""
    words = ["python -m benchmarks"]
    default = QUICK if args.quick else FULL
    given = [name for name in ("recordings", "events", "repeats") if getattr(args, name) != default[name]]
    words += [f"--{name} {getattr(args, name)}" for name in given]
    words += ["--quick"] * args.quick + ["--no-peer"] * args.no_peer + [f"--cores {args.cores}"] * (args.cores != 2)
    return " ".join(words)


def _environments() -> Path:
    """Return where the peer's environment is kept between runs."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("dvsprep")) / "benchmarks"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
