"""The benchmarks run: they are how the numbers in README are made again."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dvsprep
from benchmarks import check, child, epoch, lookalike, report, results, rows, side_dvsprep, side_spikingjelly
from dvsprep.events import Policy, Recording, read

PROJECT = Path(__file__).parents[1]


@pytest.mark.parametrize("groups", [("build", "decode", "startup"), pytest.param(rows.GROUPS, marks=pytest.mark.slow)])
def test_quick_run_without_peers_writes_its_rows(tmp_path: Path, groups: tuple[str, ...]):
    page = tmp_path / "results.md"
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        "--no-peers",
        "--only",
        ",".join(groups),
        "--out",
        str(page),
    ]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert page.read_text() == done.stdout
    known = json.loads(page.with_suffix(".json").read_text())
    for row in rows.rows(5_000, 64, 70):
        if row.group in groups:
            assert known["rows"][row.key]["ours median"] > 0, row.title
            assert row.title in done.stdout
    assert {row["group"] for row in known["rows"].values()} == set(groups)
    assert set(known["checked"].values()) == ({64} if "loading" in groups else set())
    assert "`python -m benchmarks --quick --no-peers`" in known["facts"]["command"]
    for text in (page.read_text(), page.with_suffix(".json").read_text()):
        assert str(tmp_path) not in text, "a path of this machine is in the results"
        assert str(PROJECT) not in text


@pytest.mark.slow
def test_quick_scale_run_writes_its_rows(tmp_path: Path):
    page = tmp_path / "results.md"
    command = [sys.executable, "-m", "benchmarks.scale", "--quick", "--out", str(page)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    known = json.loads(page.with_suffix(".json").read_text())
    assert {f"scale growing {n} frames" for n in (1, 2, 4, 8)} <= set(known["rows"])
    assert known["rows"]["scale many open"]["bar"] == 0.1
    assert str(tmp_path) not in page.read_text()


def test_readme_s_table_is_that_of_the_results():
    found = re.findall(re.escape(report.BEGIN) + "\n(.*?)\n\n", (PROJECT / "README.md").read_text(), re.DOTALL)
    known = results.Results(PROJECT / "benchmarks" / "results.json")
    assert found == [report.readme_table(known)], "python -m benchmarks puts it there"


def test_page_is_that_of_the_results():
    known = results.Results(PROJECT / "benchmarks" / "results.json")
    assert (PROJECT / "benchmarks" / "results.md").read_text() == report.markdown(known)


# -- look-alikes --


def test_lookalike_reads_back_as_it_was_made(tmp_path: Path):
    t, x, y, p = lookalike.recording(20_000, seed=3)
    path = tmp_path / "user01_led.aedat"
    path.write_bytes(lookalike.aedat31(t, x, y, p))
    events = read(Recording(path, "aedat3.1", "train", ()), (128, 128), Policy()).events
    for name, column in (("t", t), ("x", x), ("y", y), ("p", p)):
        np.testing.assert_array_equal(events[name], column)


def test_lookalike_has_the_entropy_of_a_real_recording():
    bits = lookalike.bits(*lookalike.recording(200_000, seed=0))
    assert 17 < sum(bits.values()) < 19, bits  # design.md: about 18 bits an event
    assert 6 < bits["x"] < 7
    assert 6 < bits["y"] < 7
    assert bits["p"] > 0.95


def test_small_lookalike_is_read_as_n_mnist(tmp_path: Path):
    archives = lookalike.nmnist(tmp_path, 21)
    request = {"dataset": "nmnist", "root": str(tmp_path / "root"), "extracted": False, "spec": rows.DIGITS}
    side_dvsprep.adopt_archives("nmnist", Path(request["root"]), archives)
    side_dvsprep.build(request, child.Laps())
    train, test = (dvsprep.open(path) for path in side_dvsprep.paths(request, frames=True))
    assert (len(train), len(test)) == (18, 3)
    assert train[0][0].shape == (10, 2, 34, 34)
    assert 3_000 <= train[0][0].sum() < 5_000
    assert set(map(int, train.labels)) == set(range(10))


# -- the check has teeth --


@pytest.fixture
def built(tmp_path: Path):
    """Our caches of a look-alike, and the same as SpikingJelly would write them."""
    archive, _ = lookalike.dvs128(tmp_path, 2, 10_000)
    request = {"dataset": "dvs128", "root": str(tmp_path / "ours"), "extracted": False, "spec": rows.NUMBER}
    side_dvsprep.adopt_archives("dvs128", tmp_path / "ours", [archive])
    side_dvsprep.build(request, child.Laps())
    theirs = tmp_path / "theirs"
    for frames in (False, True):
        for path in side_dvsprep.paths(request, frames=frames):
            source = dvsprep.open(path)
            for i, name in enumerate(side_dvsprep.names(source)):
                target = side_spikingjelly.folder(theirs, rows.NUMBER if frames else None) / source.split / name
                target.parent.mkdir(parents=True, exist_ok=True)
                arrays = {"frames": source[i][0].astype(np.float64)} if frames else source[i][0]
                np.savez(f"{target}.npz", **arrays)
    return request, theirs


@pytest.mark.parametrize("column", ["t", "x", "y", "p", "frames"])
def test_one_other_number_stops_the_run(built, column: str):
    request, theirs = built
    frames = column == "frames"
    assert check.files(request, theirs, frames=frames) == 24
    spoilt = next(side_spikingjelly.folder(theirs, rows.NUMBER if frames else None).rglob("*.npz"))
    with np.load(spoilt) as loaded:
        arrays = dict(loaded)
    arrays[column].flat[5] += 1
    np.savez(spoilt, **arrays)
    with pytest.raises(SystemExit, match=f"NOT EQUAL: {column} of"):
        check.files(request, theirs, frames=frames)


def test_a_file_too_many_or_too_few_stops_the_run(built):
    request, theirs = built
    file = next(side_spikingjelly.folder(theirs, None).rglob("*.npz"))
    more = file.with_name("more.npz")
    more.write_bytes(file.read_bytes())
    with pytest.raises(SystemExit, match="24 samples here, 25 in"):
        check.files(request, theirs, frames=False)
    more.unlink()
    file.unlink()
    with pytest.raises(SystemExit, match="no file"):
        check.files(request, theirs, frames=False)


def test_an_epoch_with_other_frames_stops_the_run(built):
    torch = pytest.importorskip("torch", reason="epochs go through PyTorch's DataLoader")
    assert torch is not None
    request, _ = built
    answers = []
    for fly in (False, True):
        laps = child.Laps()
        side_dvsprep.epoch(request | {"fly": fly, "workers": 0, "samples": 40, "check": True}, laps)
        answers.append({"facts": laps.facts})
    ours, theirs = answers
    assert check.epochs(ours, theirs, "fly") == 40
    other = copy.deepcopy(theirs)
    other["facts"]["sums"][1][0] ^= 1
    with pytest.raises(SystemExit, match="NOT EQUAL: fly: batch 1"):
        check.epochs(ours, other, "fly")
    other = copy.deepcopy(theirs)
    other["facts"]["sums"].pop()
    with pytest.raises(SystemExit, match="NOT EQUAL"):
        check.epochs(ours, other, "fly")


def test_what_a_peer_leaves_out_is_counted():
    names = [f"0/{k}" for k in range(4)]
    rest = dict.fromkeys(names, 3)
    whole = {"facts": {"samples": 4, "sums": [[1, 2, 100]]}}
    lacking = {"facts": {"samples": 4, "sums": [[9, 2, 88]]}}
    assert check.epochs(whole, lacking, "tonic", rest) == 4
    with pytest.raises(SystemExit, match="NOT EQUAL"):
        check.epochs(whole, lacking, "tonic", rest | {"0/0": 4, "0/1": 4, "0/2": 4, "0/3": 4})
    with pytest.raises(SystemExit, match="NOT EQUAL"):
        check.epochs(whole, {"facts": {"samples": 4, "sums": [[9, 7, 88]]}}, "tonic", rest)


# -- the parts --


def test_order_is_of_names_not_of_positions():
    names = ["b", "a", "c"]
    drawn = [names[i] for i in epoch.order(names, 20)]
    assert drawn == [sorted(names)[i] for i in epoch.order(sorted(names), 20)]
    assert set(drawn) == set(names)


def test_a_child_that_fails_stops_the_run(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="failed at no such task"):
        child.call(sys.executable, "benchmarks.side_tonic", {"task": "no such task", "cores": 1})
    capfd.readouterr()


def test_rows_measured_apart_are_put_together(tmp_path: Path):
    path = tmp_path / "results.json"
    row = {"group": "small", "title": "t", "peer": "", "bar": None, "less": False, "unit": "s"}
    row |= {f"ours {name}": 1.0 for name in ("median", "least", "most")}
    first = results.Results(path)
    first.facts = {"code": "1"}
    first.put(row | {"key": "one", "title": "the old row"})
    first.save()
    second = results.Results(path)
    second.facts["code"] = "2"
    second.put(row | {"key": "two", "title": "the new row"})
    page = report.markdown(second)
    assert "the old row | 1 s" in page
    assert "the new row | 1 s" in page
    assert page.rstrip().endswith("Measured with earlier code than the rest: the old row.")


def test_ratio_says_how_many_times_as_fast_or_how_much_of_it():
    def answer(seconds: float) -> child.Answer:
        lap = {"seconds": seconds, "cpu": 1.0, "peak": 1}
        return {"laps": {"lap": lap}, "sizes": {"size": 10 * seconds}, "start": 1.0, "peak": 5, "tree": 7}

    answers = {"a": [answer(1), answer(2), answer(9)], "b": [answer(6)]}
    watched = {key: found[0] for key, found in answers.items()}

    def line(less: bool, **what: object) -> dict[str, object]:
        row = rows.Row("k", "g", "t", "p", rows.Figure("a", **what), rows.Figure("b", **what), 1, less)
        return results.line(row, answers, watched, limit=0.5)

    fast = line(less=False, laps=("lap",))
    assert (fast["ratio"], fast["ours median"], fast["ours least"], fast["ours most"]) == (3, 2, 1, 9)
    assert (fast["ours peak"], fast["times limit"]) == (7, 4)
    assert line(less=True, size="size")["ratio"] == pytest.approx(1 / 3, rel=1e-3)
    assert line(less=True, peak=True)["ours median"] == 7
