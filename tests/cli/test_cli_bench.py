"""`dvsprep bench`: measures on copies, leaves nothing, recommends what it measured."""

from __future__ import annotations

import errno
import json
import os
import tempfile

from dvsprep import measuring
from dvsprep.measuring import Row


def test_bench_measures_every_codec_and_leaves_nothing(run, built):
    before = sorted(built.train.parent.iterdir())
    done = run("bench", built.train, "--samples", "4", "--seconds", "0.02", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    codecs = {row["codec"] for row in result["rows"]}
    assert codecs == {"packed", "deflate", "none"}
    assert {row["workers"] for row in result["rows"]} == set(measuring.default_workers())
    assert all(row["samples_per_second"] > 1 for row in result["rows"])
    sizes = {row["codec"]: row["bytes_per_sample"] for row in result["rows"]}
    assert sizes["none"] > 2 * sizes["packed"]
    assert result["recommended"]["codec"] in codecs
    assert sorted(built.train.parent.iterdir()) == before


def test_bench_of_events_prints_a_table_and_a_recommendation(run, built, monkeypatch):
    monkeypatch.setattr(measuring, "default_workers", lambda: (0,))
    done = run("bench", built.events, "--samples", "3", "--seconds", "0.01")
    assert done.code == 0, done.err
    assert [line.split()[0] for line in done.lines] == ["codec", "packed", "deflate", "none", "recommended:"]


def test_a_codec_of_half_the_bytes_is_worth_a_tenth_of_the_speed():
    none, packed = Row("none", 0, 1000, 600_000), Row("packed", 0, 950, 100_000)
    assert measuring.recommend([none, packed], "packed") == ("packed", 0)
    assert measuring.recommend([none, packed._replace(samples_per_second=800)], "packed") == ("none", 0)
    assert measuring.recommend([none, packed._replace(bytes_per_sample=400_000)], "packed") == ("none", 0)
    slow = packed._replace(workers=4, samples_per_second=900)
    assert measuring.recommend([packed, slow, none], "packed") == ("packed", 0)


def test_what_is_no_cache_is_one_line(run, tmp_path):
    (tmp_path / "x.h5").write_text("hello")
    done = run("bench", tmp_path / "x.h5")
    assert done.code == 5
    assert "no HDF5 file" in done.error


def test_a_folder_that_cannot_be_written_is_one_line(run, built, monkeypatch):
    def refuses(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuses)
    done = run("bench", built.train)
    assert done.code == 2
    assert "cannot be written there: Read-only file system" in done.error
    assert "copy the cache to a folder of that disk" in done.error
