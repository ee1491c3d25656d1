"""Results in, a page of Markdown and README's table out; ``python -m benchmarks.report`` writes both anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.child import PROJECT
from benchmarks.results import Results
from benchmarks.rows import GROUPS

PAGE, README = PROJECT / "benchmarks" / "results.md", PROJECT / "README.md"
MB = 1e6
BEGIN = "<!-- made by `python -m benchmarks` from benchmarks/results.json; a test compares -->"
END = "<!-- end of the benchmark's table -->"
Line = dict[str, Any]

NOTES = """\
Median of the runs; in brackets the fastest and the slowest. Each run is a process of its own, the sides in turn, on a
warm page cache, on the same CPUs; only the stage is timed, fsync and planning included. A bar with "at most" is of what
the peer takes; all others say how many times as fast dvsprep is to be. Limit: the bytes that any program has to read
and write for this stage, at the bandwidth of a copy within memory; packing and unpacking deflate comes on top of it.
The peers run with their own defaults: SpikingJelly with its 16 threads and compressed npz files, tonic with its lzf
files. tonic leaves the rest of N / T out of the last frame; all other frames are equal, and the sums of the last ones
differ by just these events. Epochs run, on all sides, with glibc told to keep freed memory (MALLOC_MMAP_THRESHOLD_,
MALLOC_TRIM_THRESHOLD_): without it the page faults of each new batch cost more than reading it, as one row shows."""
COSTS = """\
CPU: of all threads of the process, without its workers. Peak: resident memory of all its processes, pages of mapped
files and imported libraries included. Start: from the creation of the process to the end of its imports, and of ours
the loading of the compiled kernels."""
SCALE = """\
By `python -m benchmarks.scale`; each stage is one run in a process of its own. Peak: as above, up to its end; the pages
of a mapped recording are in it, which the system takes back when it needs them. Anonymous: the peak without such pages,
followed 20 times a second in a run of its own."""


def markdown(page: Results) -> str:
    """Return the whole page."""
    lines = ["# Results", "", "Written by `python -m benchmarks`; not edited by hand.", ""]
    versions = ", ".join(f"{name} {version}" for name, version in page.versions.items())
    lines += _table([["", ""], *map(list, page.facts.items()), ["versions", versions]])
    chosen = [row for group in (*GROUPS, "scale") for row in page.rows.values() if row["group"] == group]
    compared = [row for row in chosen if row["group"] not in ("startup", "scale")]
    if compared:
        head = ["what", "dvsprep", "beside it", "", "ratio", "bar", "limit", "times the limit"]
        lines += ["", "## Side by side", "", *_table([head, *map(_compared, compared)]), "", NOTES]
        head = ["what", "side", "CPU, s", "peak, MB", "start, s"]
        lines += ["", "## What it costs", "", *_table([head, *_costs(compared)]), "", COSTS]
    if started := [row for row in chosen if row["group"] == "startup"]:
        lines += ["", "## Start-up", "", *_table([["what", "s", "bar"], *map(_started, started)])]
    if scaled := [row for row in chosen if row["group"] == "scale"]:
        head = ["what", "s", "CPU, s", "peak, MB", "anonymous, MB", "a sample, us", "bar"]
        lines += ["", "## Scale", "", *_table([head, *map(_scaled, scaled)]), "", SCALE]
    if page.checked:
        parts = ", ".join(f"{what} {n:,}" for what, n in page.checked.items())
        lines += ["", "Before anything was timed, outputs were compared number for number. Equal samples:", f"{parts}."]
    if older := sorted({row["title"] for row in chosen if row["code"] != page.facts["code"]}):
        lines += ["", f"Measured with earlier code than the rest: {'; '.join(older)}."]
    return "\n".join(lines) + "\n"


def readme_table(page: Results) -> str:
    """Return README's table."""
    rows = [row for group in GROUPS for row in page.rows.values() if row["group"] == group and row.get("ratio")]
    head = ["what", "dvsprep", "beside it", "", "ratio"]
    return "\n".join(_table([head, *(_compared(row, spread=False)[:5] for row in rows)]))


def publish(page: Results, out: Path | None) -> None:
    """Print the page; write it and its .json, too, if there is a place; the project's own is quoted in README."""
    text = markdown(page)
    if out:
        page.save()
        out.write_text(text)
    if out == PAGE:
        quote(README, page)
    print(text, end="")


def quote(readme: Path, page: Results) -> None:
    """Put README's table between its marks."""
    text = readme.read_text()
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{readme.name} has no place for the table: {BEGIN} ... {END}")
    machine = f"{page.facts['machine']}; {page.facts['look-alike']}."
    readme.write_text(f"{before}{BEGIN}\n{readme_table(page)}\n\n{machine}\n{END}{after}")


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = rows
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]


def _compared(row: Line, *, spread: bool = True) -> list[str]:
    figures = [_figure(row, side, spread=spread) for side in ("ours", "peer")]
    ratio = f"**{row['ratio']:.3g}x**" if "ratio" in row else ""
    bar = "" if row["bar"] is None else f"{'at most ' * row['less']}{row['bar']:g}x"
    limit = [f"{row['limit']:.3g} s", f"{row['times limit']:.3g}"] if "limit" in row else ["", ""]
    return [row["title"], figures[0], figures[1], row["peer"], ratio, bar, *limit]


def _figure(row: Line, side: str, *, spread: bool) -> str:
    if f"{side} median" not in row:
        return "not run"
    middle, least, most = (row[f"{side} {name}"] for name in ("median", "least", "most"))
    if row["unit"] == "MB":
        return f"{middle / MB:.1f} MB"
    return f"{middle:.3g} s" + f" ({least:.3g} - {most:.3g})" * spread


def _costs(rows: Sequence[Line]) -> list[list[str]]:
    made = []
    for row in rows:
        for side, name in (("ours", "dvsprep"), ("peer", row["peer"])):
            if f"{side} cpu" in row:
                cpu, peak, start = (row[f"{side} {k}"] for k in ("cpu", "peak", "start"))
                made.append([row["title"], name, f"{cpu:.3g}", f"{peak / MB:.0f}", f"{start:.2f}"])
    return made


def _started(row: Line) -> list[str]:
    bar = "" if row["bar"] is None else f"at most {row['bar']:g} s"
    return [row["title"], f"{row['ours median']:.3f} ({row['ours least']:.3f} - {row['ours most']:.3f})", bar]


def _scaled(row: Line) -> list[str]:
    each = f"{row['a sample'] * 1e6:.0f}" if "a sample" in row else ""
    bar = "" if row["bar"] is None else f"at most {row['bar']:g} s"
    anonymous = f"{row['anonymous'] / MB:.0f}" if "anonymous" in row else ""
    return [
        row["title"],
        f"{row['ours median']:.3g}",
        f"{row['cpu']:.3g}",
        f"{row['peak'] / MB:.0f}",
        anonymous,
        each,
        bar,
    ]


if __name__ == "__main__":
    publish(Results(PAGE.with_suffix(".json")), PAGE)
