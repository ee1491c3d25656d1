"""One contract for every reader: what each does with a whole, an empty, a cut and a damaged file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from event_files import EVENTS, EXAMPLES, NAME, SENSOR, Example, read, rows

from dvsprep.errors import FormatError

HERE = Path(__file__).parent
every = pytest.mark.parametrize("example", EXAMPLES, ids=str)


@every
def test_file_is_read_as_it_was_written(example: Example, tmp_path):
    decoded = read(example.format, example.write(EVENTS, tmp_path), tmp_path)
    assert rows(decoded) == EVENTS
    assert decoded.notes == {}


@every
def test_one_event_is_a_recording(example: Example, tmp_path):
    assert rows(read(example.format, example.write(EVENTS[:1], tmp_path), tmp_path)) == EVENTS[:1]


@every
def test_file_without_bytes_is_an_error(example: Example, tmp_path):
    with pytest.raises(FormatError, match=f"^{NAME}: the file is empty"):
        read(example.format, b"", tmp_path)


@every
def test_file_without_events_is_an_error(example: Example, tmp_path):
    data = example.write([], tmp_path)
    with pytest.raises(FormatError, match=r"holds no events|the file is empty"):
        read(example.format, data, tmp_path)


@every
@pytest.mark.parametrize("salvage", [False, True])
def test_cut_at_every_byte_is_the_beginning_of_the_events_or_an_error(example: Example, salvage, tmp_path):
    data = example.write(EVENTS, tmp_path)
    refused = 0
    for cut in range(len(data)):
        try:
            found = rows(read(example.format, data[:cut], tmp_path, salvage=salvage))
        except FormatError as error:
            assert error.message.startswith(f"{NAME}:")  # noqa: PT017 - both outcomes are right, at different bytes
            refused += 1
        else:
            assert found == EVENTS[: len(found)], cut
            assert found
    assert refused > 0


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.outside], ids=str)
@pytest.mark.parametrize(("x", "y"), [(SENSOR[1], 0), (0, SENSOR[0])])
def test_event_outside_the_sensor_is_named_or_dropped(example: Example, x, y, tmp_path):
    if example.format == "asl-mat":
        x, y = (-1 if x else 0), (-1 if y else 0)  # what lies beyond the far edge once it is turned round
    if example.format == "es" and y:
        y = -1  # rows count from the bottom
    events = [EVENTS[0], (3000, x, y, 1), EVENTS[4]]
    data = example.write(events, tmp_path)
    if example.format == "es-imagenet-npz-ms":
        events = sorted(events)
    with pytest.raises(FormatError, match=r"event 1 lies outside the sensor of 12 x 10 \(width x height\)"):
        read(example.format, data, tmp_path)
    assert rows(read(example.format, data, tmp_path, out_of_range="drop")) == [EVENTS[0], EVENTS[4]]


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.backward], ids=str)
def test_time_that_runs_backward_is_named_or_sorted(example: Example, tmp_path):
    events = [EVENTS[0], EVENTS[3], EVENTS[1], EVENTS[4]]
    data = example.write(events, tmp_path)
    with pytest.raises(FormatError, match="time runs backward at event 2: 2000 us after 5000 us"):
        read(example.format, data, tmp_path)
    decoded = read(example.format, data, tmp_path, unsorted="sort")
    assert rows(decoded) == sorted(events)
    assert decoded.notes == {"sorted": 1}


FUZZED = [*map(str, EXAMPLES), "aedat4-lz4", "aedat4-zstd", "spikes-h5", "ntidigits-h5", "smnist-idx"]


def child(seconds: int, script: str, *arguments: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parent.parent)])
    return subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )


def fuzz(examples: list[str], seed: int, count: int, seconds: int) -> None:
    done = child(seconds, "fuzz_child.py", str(seed), str(count), *examples)
    assert done.returncode == 0, f"{done.stdout.split()[-1:]}: {done.stderr[-3000:]}"
    assert done.stdout.split() == examples


def test_damaged_files_never_crash_the_interpreter():
    fuzz(FUZZED, seed=0, count=150, seconds=200)


@pytest.mark.slow
@pytest.mark.parametrize("which", FUZZED)
@pytest.mark.parametrize("seed", [1, 2])
def test_many_damaged_files_never_crash_the_interpreter(which, seed):
    fuzz([which], seed, count=10_000, seconds=290)


@pytest.mark.slow
@pytest.mark.parametrize("which", [which for which in FUZZED if not which.endswith("h5")])  # see fuzz_child.py
def test_coverage_guided_fuzzing_finds_no_crash(which):
    pytest.importorskip("atheris", reason="atheris has no wheel for this platform: pip install atheris")
    done = child(290, "atheris_child.py", which, "5000")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 5000 runs" in done.stderr
