"""`dvsprep events` and `dvsprep frames`: flags, what they print, and the shape of --json."""

from __future__ import annotations

import pytest

import dvsprep

FRAMES = ["frames", "sample", "--split-by", "number", "-T", "8"]
STAGES = ["fetch", "verify", "extract", "events", "frames"]


def test_frames_prints_the_train_then_the_test_path_and_nothing_else(run, built):
    done = run(*FRAMES, "--root", built.root)
    assert done.code == 0
    assert done.lines == [str(built.train), str(built.test)]
    assert done.talk == []


def test_events_prints_the_train_then_the_test_path(run, built):
    done = run("events", "sample", "--root", built.root)
    assert done.code == 0
    assert done.lines[0] == str(built.events)
    assert done.lines[1] == str(built.events).replace(".train.", ".test.")


def test_a_second_run_does_nothing_and_says_so(shell, built):
    done = shell(*FRAMES, "--root", built.root)
    assert [line.split(" (")[0] for line in done.err.splitlines()] == [f"{stage}: done" for stage in STAGES]


def test_json_of_frames_has_exactly_the_shape_of_the_interface(run, built):
    done = run(*FRAMES, "--root", built.root, "--json")
    assert done.code == 0
    result = done.json
    assert list(result) == ["dataset", "spec", "caches", "stages", "samples"]
    assert result["dataset"] == "sample"
    assert result["spec"] == {"split_by": "number", "T": 8}
    assert result["caches"] == {"train": str(built.train), "test": str(built.test)}
    assert [list(stage) for stage in result["stages"]] == [["stage", "state", "why"]] * 5
    assert [stage["stage"] for stage in result["stages"]] == STAGES
    assert {stage["state"] for stage in result["stages"]} == {"done"}
    assert result["samples"] == {"train": 72, "test": 24}  # 6 and 2 recordings of 12 csv rows


def test_json_of_events_is_alike(run, built):
    result = run("events", "sample", "--root", built.root, "--json").json
    assert list(result) == ["dataset", "spec", "caches", "stages", "samples"]
    assert result["spec"] is None
    assert result["caches"]["train"] == str(built.events)


def test_json_tells_what_each_stage_was_found_to_be(run, tmp_path):
    result = run("events", "sample", "--root", tmp_path, "--json").json
    states = {stage["stage"]: stage["state"] for stage in result["stages"]}
    assert states == {"fetch": "missing", "verify": "done", "extract": "done", "events": "missing"}


def test_dry_run_says_and_does_nothing(run, tmp_path):
    done = run(*FRAMES, "--root", tmp_path, "--dry-run")
    assert done.code == 0
    assert [line.split()[0] for line in done.lines] == STAGES
    assert done.lines[-1].split()[1] == "missing"
    assert list(tmp_path.iterdir()) == []
    result = run(*FRAMES, "--root", tmp_path, "--dry-run", "--json").json
    assert [stage["stage"] for stage in result["stages"]] == STAGES


@pytest.mark.parametrize(
    ("flags", "spec"),
    [
        (["--split-by", "time", "-T", "4"], {"split_by": "time", "T": 4}),
        (["--duration", "250000"], {"split_by": "duration", "duration": 250000, "tail": "keep"}),
        (["--duration", "250000", "--tail", "drop"], {"split_by": "duration", "duration": 250000, "tail": "drop"}),
    ],
    ids=["time", "duration", "tail drop"],
)
def test_flags_become_the_spec_of_the_cache(run, built, flags, spec):
    done = run("frames", "sample", *flags, "--root", built.root, "--jobs", "1")
    assert done.code == 0
    assert dvsprep.open(done.lines[0]).spec.to_dict() == spec


@pytest.mark.parametrize(("instances", "samples"), [("first", 66), ("merged", 66)])  # 6 recordings x 11 classes
def test_instances_leave_one_sample_a_class_and_recording(run, built, instances, samples):
    done = run("events", "sample", "--instances", instances, "--root", built.root, "--json")
    assert done.json["samples"]["train"] == samples


def test_codec_changes_the_packing_and_not_the_name(run, built, tmp_path):
    done = run("frames", "sample", "--split-by", "number", "-T", "8", "--codec", "none", "--root", tmp_path)
    assert [line.rpartition("/")[2] for line in done.lines] == [built.train.name, built.test.name]
    assert dvsprep.open(done.lines[0]).codec == "none"


def test_root_comes_from_the_environment(run, built, monkeypatch):
    monkeypatch.setenv("DVSPREP_ROOT", str(built.root))
    assert run(*FRAMES).lines[0] == str(built.train)


SAMPLE = ["frames", "sample"]
NUMBER = ["--split-by", "number", "-T", "4"]
WRONG = {
    "-T 0": ([*SAMPLE, "--split-by", "number", "-T", "0"], "'-T': 0 is not in the range x>=1"),
    "-T abc": ([*SAMPLE, "--split-by", "number", "-T", "abc"], "'-T': 'abc' is not a valid integer"),
    "no -T": ([*SAMPLE, "--split-by", "number"], "--split-by number needs -T N"),
    "nothing": (SAMPLE, "give one of --split-by number|time with -T N, --duration USEC, or --plugin SPEC"),
    "-T alone": ([*SAMPLE, "-T", "4"], "give one of --split-by"),
    "-T and --duration": ([*SAMPLE, "--duration", "9", "-T", "4"], "-T does not go with --duration"),
    "--split-by and --duration": ([*SAMPLE, *NUMBER, "--duration", "9"], "give one of --split-by"),
    "-T and --plugin": ([*SAMPLE, "--plugin", "a:b", "-T", "4"], "-T does not go with --plugin"),
    "--duration 0": ([*SAMPLE, "--duration", "0"], "'--duration': 0 is not in the range x>=1"),
    "--tail keep alone": ([*SAMPLE, *NUMBER, "--tail", "keep"], "--tail goes with --duration only"),
    "--tail drop alone": ([*SAMPLE, *NUMBER, "--tail", "drop"], "--tail goes with --duration only"),
    "--split official": (["frames", "dvs128", *NUMBER, "--split", "0.9"], "dvs128 has an official split (train, test)"),
    "--split 1.5": (["frames", "cifar10dvs", *NUMBER, "--split", "1.5"], "a fraction between 0 and 1"),
    "--split word": (["frames", "cifar10dvs", *NUMBER, "--split", "nonsense"], "between 0 and 1 or tebn"),
    "--instances": (["frames", "nmnist", *NUMBER, "--instances", "first"], "nmnist has one sample a recording"),
    "--instances word": ([*SAMPLE, *NUMBER, "--instances", "some"], "'some' is not one of 'rows', 'first', 'merged'"),
    "--jobs 0": ([*SAMPLE, *NUMBER, "--jobs", "0"], "0 is not in the range x>=1"),
    "--codec zip": ([*SAMPLE, *NUMBER, "--codec", "zip"], "'zip', expected one of packed, deflate, none"),
    "--param alone": ([*SAMPLE, *NUMBER, "--param", "a=2"], "--param goes with --plugin only"),
    "--param nonsense": ([*SAMPLE, "--plugin", "a:b", "--param", "nonsense"], "--param 'nonsense': expected K=V"),
    "--param 1a=2": ([*SAMPLE, "--plugin", "a:b", "--param", "1a=2"], "--param '1a=2': expected K=V"),
    "--param NaN": ([*SAMPLE, "--plugin", "a:b", "--param", "a=NaN"], "parameters of a plugin are JSON values"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_flag_is_exit_2_and_writes_nothing(run, tmp_path, name):
    arguments, words = WRONG[name]
    done = run(*arguments, "--root", tmp_path, "--json")
    assert done.code == 2
    assert words in done.error
    assert words in done.json["error"]["message"]
    assert list(tmp_path.iterdir()) == []
