"""``python -m benchmarks.serve``: a served cache beside the same cache read from disk, in one run, on one machine.

Client and server share the machine's cores here, so a trainer of its own is better off. Every checksum is compared.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import lookalike, machine, side_dvsprep
from benchmarks.epoch import BATCH, order

QUICK = {"recordings": 2, "events": 30_000, "samples": 64, "repeats": 1, "clients": 4, "each": 32}
USUAL = {"recordings": 6, "events": 4_500_000, "samples": 1_024, "repeats": 5, "clients": 64, "each": 2_000}
PROCESSES = 4  # that the clients of the load share: 64 of them would measure the start of Python
T = 20


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it work?")
    parser.add_argument("--folder", type=Path, help="where to work and leave everything (a temporary folder)")
    parser.add_argument("--only", help="of epoch, eight and load, with commas between them (all)")
    parser.add_argument("--out", type=Path, help="the page to write, and its .json beside it")
    args = parser.parse_args(argv)
    sizes = QUICK if args.quick else USUAL
    with tempfile.TemporaryDirectory(prefix="dvsprep-serve-") as made:
        folder = args.folder or Path(made)
        path = cache(folder, sizes)
        wanted = args.only.split(",") if args.only else list(PARTS)
        facts: dict[str, Any] = {"machine": machine.described(os.cpu_count() or 1), "code": machine.code()}
        known = json.loads(args.out.with_suffix(".json").read_text()) if args.out and args.out.exists() else {}
        facts = known | facts
        for part in wanted:
            facts |= {part: PARTS[part](path, sizes)}
            print(json.dumps({part: facts[part]}, indent=1), file=sys.stderr)
    if args.out:
        args.out.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
        args.out.write_text(page(facts))
    else:
        print(page(facts))


def cache(folder: Path, sizes: dict[str, int]) -> Path:
    """Return the training frames of a look-alike of DVS128 Gesture, below ``folder/root``."""
    from dvsprep.pipeline import Job
    from dvsprep.types import FrameSpec
    from dvsprep.workspace import Options

    root = folder / "root"
    job = Job("dvs128", root, FrameSpec("number", T=T), Options(verify=False))
    if not job.frames_paths()["train"].exists():
        archive, _ = lookalike.dvs128(folder / "archive", sizes["recordings"], sizes["events"])
        side_dvsprep.adopt_archives("dvs128", root, [archive])
        job = Job("dvs128", root, FrameSpec("number", T=T), Options(verify=False))
        job.run()
    return job.frames_paths()["train"]


@contextmanager
def service(path: Path, workers: int) -> Iterator[tuple[str, int]]:
    """Serve a cache; yield its address and the service's process."""
    command = [sys.executable, "-m", "dvsprep", "serve", "--root", str(path.parents[2]), "--port", "0", "--rate", "0"]
    process = subprocess.Popen([*command, "--no-build", "--workers", str(workers)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    base = process.stderr.readline().split()[-1]
    try:
        address = f"{base}/v1/caches/dvs128.{path.stem}"
        import dvsprep

        len(dvsprep.open(address))  # until it answers
        yield address, process.pid
    finally:
        process.terminate()
        process.communicate(timeout=60)


# -- parts --


def epoch(path: Path, sizes: dict[str, int]) -> dict[str, Any]:
    """Measure one client's epoch through PyTorch's DataLoader: from disk, served, and served before."""
    import dvsprep

    times: dict[str, list[float]] = {"disk": [], "served": [], "mirror": []}
    with service(path, 1) as (address, _), tempfile.TemporaryDirectory() as kept:
        from dvsprep.remote import open_url
        from dvsprep.remote.mirror import Mirror

        local, served, mirrored = dvsprep.open(path), open_url(address, mirror=False), open_url(address)
        mirrored._mirror = Mirror(Path(kept) / "samples.sqlite", 4 << 30)
        once(mirrored, range(len(mirrored)))
        mirrored._mirror.flush()
        draws = order(local.ids.tolist(), sizes["samples"])
        assert once(local, draws) == once(served, draws) == once(mirrored, draws), "the numbers differ"
        for _ in range(sizes["repeats"]):  # in turn, so that what disturbs one disturbs all
            for name, source in (("disk", local), ("served", served), ("mirror", mirrored)):
                begun = time.perf_counter()
                once(source, draws)
                times[name].append(time.perf_counter() - begun)
    rates = {name: round(sizes["samples"] / statistics.median(found)) for name, found in times.items()}
    packed = path.stat().st_size / len(local)
    return {"samples/s": rates, "of disk": {n: round(r / rates["disk"], 2) for n, r in rates.items()},
            "bytes a sample": round(packed), "served MB/s": round(rates["served"] * packed / 1e6)}  # fmt: skip


def once(source: Any, draws: Any) -> int:
    """Draw an epoch; return a checksum of all labels and a pixel of each sample."""
    from torch.utils.data import DataLoader

    total = 0
    for x, y in DataLoader(source, BATCH, sampler=list(draws)):
        total += int(y.sum()) + int(x[:, 0, 0, 64].sum())
    return total


def eight(path: Path, sizes: dict[str, int]) -> dict[str, Any]:
    """Measure eight clients of a service with two workers: bytes and samples a second, and how busy the cores are."""
    with service(path, 2) as (address, pid):
        return load_with(address, pid, clients=8, each=max(64, sizes["each"]))


def load(path: Path, sizes: dict[str, int]) -> dict[str, Any]:
    """Load a service with many clients; tell of errors and memory."""
    with service(path, 1) as (address, pid):
        load_with(address, pid, clients=sizes["clients"], each=64)  # so that what grows once has grown
        return load_with(address, pid, clients=sizes["clients"], each=sizes["each"])


def load_with(address: str, pid: int, *, clients: int, each: int) -> dict[str, Any]:
    """Have clients fetch samples, all at once, and compare checksums."""
    before, busy, begun = resident(pid), cpu(), time.perf_counter()
    shares = [len(range(k, clients, min(PROCESSES, clients))) for k in range(min(PROCESSES, clients))]
    with multiprocessing.get_context("spawn").Pool(len(shares)) as pool:
        pool.map(ready, [address] * len(shares), chunksize=1)
        busy, begun = cpu(), time.perf_counter()
        found = pool.starmap(fetch_all, [(address, share, each) for share in shares], chunksize=1)
        seconds = time.perf_counter() - begun
    used, whole = (b - a for a, b in zip(busy, cpu(), strict=True))
    samples, size = sum(f[0] for f in found), sum(f[1] for f in found)
    return {
        "clients": clients,
        "samples": samples,
        "errors": [error for f in found for error in f[2]],
        "seconds": round(seconds, 2),
        "samples/s": round(samples / seconds),
        "MB/s": round(size / seconds / 1e6),
        "cores busy": f"{used / whole:.0%}",
        "server MB": [before >> 20, resident(pid) >> 20],
    }


def ready(address: str) -> int:
    """Load what a client loads."""
    import dvsprep

    return len(dvsprep.open(address))


def fetch_all(address: str, clients: int, each: int) -> tuple[int, int, list[str]]:
    """Be some clients, each a thread with a connection of its own; return samples, bytes and errors."""
    from dvsprep.remote import open_url

    counts, errors = [0, 0], []
    lock = threading.Lock()

    def work(seed: int) -> None:
        import random

        try:
            source = open_url(address, mirror=False)
            draws = random.Random(seed).choices(range(len(source)), k=each)
            for start in range(0, each, BATCH):
                found = source.fetch(draws[start : start + BATCH])  # compares each checksum
                with lock:
                    counts[0] += len(draws[start : start + BATCH])
                    counts[1] += sum(sample.bytes for sample in found.values())
        except Exception as error:  # noqa: BLE001 - counted
            errors.append(repr(error))

    threads = [threading.Thread(target=work, args=(os.getpid() + k,)) for k in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts[0], counts[1], errors


def resident(pid: int) -> int:
    """Return the resident bytes of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


def cpu() -> tuple[int, int]:
    """Return the ticks that all cores were busy, and all ticks."""
    ticks = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


PARTS = {"epoch": epoch, "eight": eight, "load": load}


def page(facts: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# The service, measured",
        "Made by `python -m benchmarks.serve`.",
        f"{facts['machine']}. Code: {facts['code']}. Server and clients share these cores.",
    ]
    if "epoch" in facts:
        e = facts["epoch"]
        rows = [f"| {name} | {rate:,} | {e['of disk'][name]} |" for name, rate in e["samples/s"].items()]
        lines.append(f"One client's DataLoader, batches of {BATCH}, {e['bytes a sample']:,} packed bytes a sample:")
        lines.append("\n".join(["| from | samples/s | of disk |", "|---|---|---|", *rows]))
    for part, workers in (("eight", 2), ("load", 1)):
        if part in facts:
            f = facts[part]
            lines.append(
                f"{f['clients']} clients, `--workers {workers}`: {f['samples']:,} samples, {len(f['errors'])} errors, "
                f"{f['samples/s']:,} samples/s, {f['MB/s']:,} MB/s, cores {f['cores busy']} busy, the server's memory "
                f"{f['server MB'][0]} MB before and {f['server MB'][1]} MB after."
            )
    return "\n\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
