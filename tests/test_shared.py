"""Shared read-only roots: what is finished there is used in place, and nothing is written there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import dvsprep
from dvsprep.pipeline import Job, Options
from dvsprep.types import FrameSpec

SPEC = FrameSpec("number", T=3)


def tree(root: Path) -> dict[str, int]:
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in root.rglob("*")}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shared")
    Job("sample", root, SPEC).run()
    return root


def test_a_shared_frame_cache_is_used_in_place(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("DVSPREP_SHARED_ROOTS", f"{tmp_path / 'nowhere'}:{shared}")
    before = tree(shared)
    caches = dvsprep.frames("sample", root=tmp_path / "own", split_by="number", T=3)
    assert [c.path.is_relative_to(shared) for c in caches.values()] == [True, True]
    assert not (tmp_path / "own").exists()
    assert tree(shared) == before


def test_a_shared_event_cache_feeds_frames_of_ones_own(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("DVSPREP_SHARED_ROOTS", str(shared))
    before = tree(shared)
    own = tmp_path / "own"
    job = Job("sample", own, FrameSpec("number", T=5))
    assert {stage.stage: stage.state for stage in job.run()} == {
        "fetch": "done",
        "verify": "done",
        "extract": "done",
        "events": "done",
        "frames": "missing",
    }
    assert all(path.is_relative_to(own) for path in job.frames_paths().values())
    assert tree(shared) == before


def test_shared_archives_are_read_where_they_lie(shared, tmp_path, monkeypatch):
    archives = tmp_path / "archives"
    shutil.copytree(shared / "sample" / "download", archives / "sample" / "download")
    monkeypatch.setenv("DVSPREP_SHARED_ROOTS", str(archives))
    before, own = tree(archives), tmp_path / "own"
    stages = Job("sample", own, SPEC).run()
    assert stages[0].state == "done"
    assert [path.name for path in (own / "sample" / "download").glob("[!.]*")] == [], "a memo, but no archive"
    assert tree(archives) == before


def test_ones_own_cache_comes_first(shared, tmp_path, monkeypatch):
    own = tmp_path / "own"
    Job("sample", own, SPEC).run()
    monkeypatch.setenv("DVSPREP_SHARED_ROOTS", str(shared))
    assert all(path.is_relative_to(own) for path in Job("sample", own, SPEC).frames_paths().values())


def test_with_sockets_that_raise_the_whole_pipeline_runs_from_an_adopted_file(shared, tmp_path, monkeypatch):
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("DVSPREP_OFFLINE", "1")
    own = tmp_path / "own"
    (own / "sample" / "download").mkdir(parents=True)
    archive = next((shared / "sample" / "download").glob("*.tar.gz"))
    shutil.copy(archive, own / "sample" / "download")
    caches = dvsprep.frames("sample", root=own, split_by="number", T=3)
    assert {split: len(cache) for split, cache in caches.items()} == {"train": 72, "test": 24}


def test_shared_archives_without_a_ledger_have_their_md5_in_ones_own(shared, tmp_path, monkeypatch):
    archives = tmp_path / "archives"
    shutil.copytree(shared / "sample" / "download", archives / "sample" / "download")
    (archives / "sample" / "download" / ".dvsprep.json").unlink()
    monkeypatch.setenv("DVSPREP_SHARED_ROOTS", str(archives))
    before = tree(archives)
    job = Job("sample", tmp_path / "own", SPEC, Options(verify=False))
    job.run()
    assert job.files() == Job("sample", shared).files(), "the same key as with verification, not None"
    assert job.plan_stage("verify").state == "done"
    assert tree(archives) == before
