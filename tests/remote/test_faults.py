"""Whatever happens to server, network or disk: what comes is right, or an error says why it does not come."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import making
import pytest
import serving
from starlette.types import Message, Receive, Scope, Send

import dvsprep
from dvsprep import cache
from dvsprep.errors import IntegrityError
from dvsprep.remote import mirror as mirrors
from dvsprep.serve.app import create
from dvsprep.serve.settings import Settings


def start(root: Path, port: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        making.command("serve", "--root", root, "--port", port, "--no-build"), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "http://" in line, line
    process.address = line.split()[-1]  # type: ignore[attr-defined]
    return process


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_an_epoch_survives_a_server_that_is_killed_and_started_again(
    root: Path, frames_id: str, frames: cache.FrameCache, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pytest.importorskip("torch.utils.data", reason="torch is an extra: pip install dvsprep[train]")
    monkeypatch.setenv("DVSPREP_REMOTE_GB", "0")
    first = start(root, 0)
    base: str = first.address  # type: ignore[attr-defined]
    source = dvsprep.open(f"{base}/v1/caches/{frames_id}")
    again: list[subprocess.Popen[str]] = []

    def restart() -> None:
        time.sleep(1)
        again.append(start(root, int(base.rpartition(":")[2])))

    thread = threading.Thread(target=restart)
    found = []
    try:
        for k, (x, y) in enumerate(data.DataLoader(source, 4, num_workers=workers)):
            if k == 2:
                kill(first)
                thread.start()
            found += [making.digest(frame.numpy(), int(label)) for frame, label in zip(x, y, strict=True)]
        thread.join(30)
        assert found == making.digests(frames)
    finally:
        thread.join(30)
        for process in again:
            kill(process)


class Troubled:
    """A service whose answers of samples are cut, changed, refused or late, all but some."""

    def __init__(self, root: Path) -> None:
        self.app, self.chance, self.seen = (
            create(Settings((str(root),), rate=0, build=False)),
            random.Random(1),
            set[str](),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/batch"):
            await self.app(scope, receive, send)
            return
        trouble = self.chance.choice(["none", "cut", "changed", "503", "429"])
        self.seen.add(trouble)

        async def troubled(message: Message) -> None:
            if message["type"] == "http.response.start" and trouble in ("503", "429"):
                message = message | {"status": int(trouble)}
            body = message.get("body", b"")
            if trouble == "cut" and body:
                await send(message | {"body": bytes(body[: len(body) // 2]), "more_body": True})
                raise ConnectionResetError
            if trouble == "changed" and body:
                message = message | {"body": bytes(body[:-9]) + bytes([body[-9] ^ 4]) + bytes(body[-8:])}
            await send(message)

        await self.app(scope, receive, troubled)


def test_answers_that_are_cut_changed_or_refused_are_asked_for_again(
    root: Path, frames_id: str, frames: cache.FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dvsprep.remote.source.TRIES", 20)  # one answer in five is good here
    troubled = Troubled(root)
    with serving.serving(troubled) as base:  # type: ignore[arg-type]
        source = dvsprep.open(f"{base}/v1/caches/{frames_id}")
        found = [item for start in range(0, 72, 8) for item in source.__getitems__(range(start, start + 8))]
        source._mirror.flush()
    assert [making.digest(*item) for item in found] == making.digests(frames)
    assert troubled.seen == {"none", "cut", "changed", "503", "429"}
    kept = source._mirror.get(source.version, range(72))  # nothing wrong was kept either
    assert len(kept) == 72


def test_a_sample_that_is_damaged_on_the_servers_disk_is_told(tmp_path: Path, frames: cache.FrameCache) -> None:
    damaged = tmp_path / "damaged.h5"
    shutil.copy(frames.path, damaged)
    place = cache.placement(frames, "frames")
    with damaged.open("r+b") as file:
        file.seek(int(place.offsets[5]) + 40)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    with serving.running(tmp_path) as base:
        source = dvsprep.open(f"{base}/v1/caches/damaged")
        with pytest.raises(IntegrityError, match="sample 5"):
            source.__getitems__([4, 5, 6])
        assert making.digest(*source[4]) == making.digest(*frames[4])
        npy = serving.ask(base, "/v1/caches/damaged/samples/5?format=npy")
        assert npy.status == 500
        assert b"checksum" in npy.body  # type: ignore[attr-defined]


def test_a_cache_that_is_cut_short_on_disk_is_told(tmp_path: Path, frames: cache.FrameCache) -> None:
    cut = tmp_path / "cut.h5"
    shutil.copy(frames.path, cut)
    with serving.running(tmp_path) as base:
        source = dvsprep.open(f"{base}/v1/caches/cut")
        source[0]
        os.truncate(cut, 30_000)
        with pytest.raises(IntegrityError):
            source.__getitems__(range(72))


def test_a_full_disk_under_the_mirror_changes_no_number(
    service: str, frames_id: str, frames: cache.FrameCache, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(mirrors, "PRAGMAS", (*mirrors.PRAGMAS, "max_page_count=40"))
    source = dvsprep.open(f"{service}/v1/caches/{frames_id}")
    for _ in range(2):
        found = [item for start in range(0, 72, 8) for item in source.__getitems__(range(start, start + 8))]
        assert [making.digest(*item) for item in found] == making.digests(frames)
        source._mirror.flush()
    assert caplog.text.count("disk is full") == 1


def test_a_deleted_cache_is_served_to_whoever_reads_it_and_then_told(tmp_path: Path, frames: cache.FrameCache) -> None:
    target = tmp_path / "large.h5"
    shutil.copy(frames.path, target)
    whole = target.read_bytes()
    with serving.running(tmp_path) as base:
        import requests

        with requests.get(f"{base}/v1/caches/large/file", stream=True, timeout=30) as answer:
            begun = answer.raw.read(1000)
            target.unlink()
            assert begun + answer.raw.read() == whole
        assert requests.get(f"{base}/v1/caches/large/file", timeout=30).status_code == 404
