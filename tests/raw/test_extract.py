import builtins
import errno
import gzip
import io
import os
import random
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep import disk
from dvsprep.errors import ArchiveError, NotFoundError
from dvsprep.raw import extract
from dvsprep.raw import extract as extract_function

FILES = {
    "top/a.txt": b"a" * 3000,
    "top/sub/b.bin": bytes(range(256)) * 40,
    "top/empty": b"",
    "ü/ c.csv": b"1,2\n",
}
extract_module = sys.modules[extract_function.__module__]


def tar_info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mode, info.uid = size, kind, link, 0o6777, 4242
    return info


def tar_bytes(members, fmt: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as tar:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, b"")
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_of(files, fmt: int = tarfile.GNU_FORMAT) -> bytes:
    return tar_bytes([(tar_info(name, len(data)), data) for name, data in files.items()], fmt)


def zip_bytes(files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, data in files.items():
            pack.writestr(name, data)
    return out.getvalue()


def make(kind: str, files=FILES) -> bytes:
    if kind == "zip":
        return zip_bytes(files)
    tar = tar_of(files, tarfile.PAX_FORMAT if kind == "pax" else tarfile.GNU_FORMAT)
    return gzip.compress(tar) if kind == "tar.gz" else tar


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def put(tmp_path: Path, data: bytes) -> Path:
    (tmp_path / "archive").write_bytes(data)
    return tmp_path / "archive"


def refused(tmp_path: Path, data: bytes, **options) -> str:
    """Extract, see it refused and nothing left, and return what was said."""
    archive = put(tmp_path, data)
    with pytest.raises(ArchiveError) as caught:
        extract(archive, tmp_path / "out" / "dest", **options)
    assert list((tmp_path / "out").iterdir()) == []
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["archive", "out"]
    assert str(archive) in str(caught.value)
    assert "download the archive again" in str(caught.value)
    return caught.value.message


@pytest.mark.parametrize("kind", ["tar", "pax", "tar.gz", "zip"])
def test_what_is_in_comes_out(tmp_path, kind):
    archive, seen = put(tmp_path, make(kind)), []
    dest = extract(archive, tmp_path / "out" / "dest", progress=seen.append)
    assert dest == tmp_path / "out" / "dest"
    assert tree(dest) == FILES
    assert sum(seen) == archive.stat().st_size
    assert min(seen) >= 0
    umask = os.umask(0)
    os.umask(umask)
    assert (dest / "top/a.txt").stat().st_mode & 0o7777 == 0o644 & ~umask
    assert [path.name for path in dest.parent.iterdir()] == ["dest"]


def test_without_isal(tmp_path, monkeypatch):
    real = builtins.__import__

    def no_isal(name, *args, **kwargs):
        if name == "isal":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_isal)
    assert tree(extract(put(tmp_path, make("tar.gz")), tmp_path / "dest")) == FILES
    (tmp_path / "other").mkdir()
    assert "broken or truncated" in refused(tmp_path / "other", make("tar.gz")[:-20])


def test_an_existing_result_is_left_alone_and_an_empty_folder_is_none(tmp_path):
    archive, dest = put(tmp_path, make("zip")), tmp_path / "dest"
    dest.mkdir()
    assert tree(extract(archive, dest)) == FILES
    (dest / "top/a.txt").write_bytes(b"mine")
    archive.unlink()
    assert extract(archive, dest) == dest
    assert (dest / "top/a.txt").read_bytes() == b"mine"


def test_a_file_in_the_destinations_place_is_kept(tmp_path):
    (tmp_path / "dest").write_bytes(b"mine")
    with pytest.raises(OSError, match="dest"):
        extract(put(tmp_path, make("zip")), tmp_path / "dest")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "dest"]
    assert (tmp_path / "dest").read_bytes() == b"mine"


def test_no_archive(tmp_path):
    with pytest.raises(NotFoundError):
        extract(tmp_path / "none.zip", tmp_path / "dest")


def test_folders_and_debris_are_skipped(tmp_path):
    junk = {"__MACOSX/top/._a.txt": b"x", "top/.DS_Store": b"y"}
    tar = tar_bytes(
        [tar_info("./", kind=tarfile.DIRTYPE), tar_info("top", kind=tarfile.DIRTYPE)]
        + [(tar_info(name, len(data)), data) for name, data in (FILES | junk).items()]
    )
    assert tree(extract(put(tmp_path, tar), tmp_path / "tar")) == FILES
    assert tree(extract(put(tmp_path, zip_bytes(FILES | junk | {"top/": b""})), tmp_path / "zip")) == FILES


UNSAFE = ["../x", "a/../../x", "/abs", "//abs", "C:/x", "c:x", "a\\..\\x", "\\\\host\\x", ".."]


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_unsafe_names(tmp_path, kind, name):
    assert "unsafe name" in refused(tmp_path, make(kind, {"good": b"1", name: b"2"}))


def test_unsafe_folder_and_empty_names(tmp_path):
    assert "unsafe name" in refused(tmp_path, tar_bytes([tar_info("../d", kind=tarfile.DIRTYPE)]))
    assert "unsafe name" in refused(tmp_path, tar_bytes([tar_info(".")]))
    cut = zip_bytes({"good": b"1", "nul_": b"2"}).replace(b"nul_", b"nu\0_")
    assert "unsafe name" in refused(tmp_path, cut)
    pax = tar_info("x")
    pax.pax_headers = {"path": "../../evil"}
    assert "unsafe name" in refused(tmp_path, tar_bytes([pax], tarfile.PAX_FORMAT))


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "pipe"),
    ],
)
def test_links_and_devices_in_a_tar(tmp_path, kind, word):
    tar = tar_bytes([(tar_info("good", 1), b"1"), tar_info("bad", kind=kind, link="../../etc/passwd")])
    message = refused(tmp_path, tar)
    assert word in message
    assert "'bad'" in message


def test_links_and_encrypted_files_in_a_zip(tmp_path):
    link = zipfile.ZipInfo("bad")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    assert "link" in refused(tmp_path, zip_bytes({"good": b"1"} | {link: b"/etc/passwd"}))
    data = bytearray(zip_bytes({"secret": b"1" * 50}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refused(tmp_path, bytes(data))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicates(tmp_path):
    twice = tar_bytes([(tar_info("a", 1), b"1"), (tar_info("./a", 1), b"2")])
    assert "twice" in refused(tmp_path, twice)
    for first, second in (("a", "a/b"), ("a/b", "a")):
        both = tar_bytes([(tar_info(first, 1), b"1"), (tar_info(second, 1), b"2")])
        assert "as file and folder" in refused(tmp_path, both)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as pack:
        pack.writestr("a", b"1")
        pack.writestr("a", b"2")
    assert "twice" in refused(tmp_path, out.getvalue())


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_bombs(tmp_path, kind):
    bomb = make(kind, {"zeros": bytes(5_000_000)})
    assert "more than 1,000,000 bytes" in refused(tmp_path, bomb, max_bytes=1_000_000)
    assert "more than 3 members" in refused(tmp_path, make(kind), max_members=3)


def test_the_default_cap_grows_with_the_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(extract_module, "GIB", 0)
    assert "the most that was allowed" in refused(tmp_path, make("tar.gz", {"zeros": bytes(5_000_000)}))


def test_bombs_in_what_is_skipped_or_in_headers(tmp_path):
    skipped = gzip.compress(tar_of({"ok": b"1", "__MACOSX/zeros": bytes(5_000_000)}))
    assert "more than" in refused(tmp_path, skipped, max_bytes=1_000_000)
    tail = gzip.compress(tar_of({"ok": b"1"}) + bytes(5_000_000))
    assert "more than" in refused(tmp_path, tail, max_bytes=1_000_000)
    long_name = tar_info("././@LongLink", 2 << 20, tarfile.GNUTYPE_LONGNAME)
    header = gzip.compress(tar_bytes([(long_name, b"x" * (2 << 20)), (tar_info("a", 1), b"1")]))
    assert "header of 2,097,152 bytes" in refused(tmp_path, header)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
@given(fraction=st.floats(0, 1, exclude_max=True))
@settings(max_examples=25, deadline=None)
def test_truncated_anywhere(tmp_path_factory, kind, fraction):
    noise = random.Random(1).randbytes(9000)
    data = make(kind, FILES | {"noise": noise})
    whole = data.rstrip(b"\0") if kind == "tar" else data  # the padding of a tar may be cut unharmed
    refused(tmp_path_factory.mktemp("cut"), whole[: int(len(whole) * fraction)])


def test_a_tar_cut_between_two_members_is_truncated(tmp_path):
    data = tar_of({"a": b"1" * 512, "b": b"2" * 512})
    assert "header at byte 1,024" in refused(tmp_path, data[:1024])
    assert "header at byte 1,024" in refused(tmp_path, gzip.compress(data[:1024]))


def test_a_hole_of_zeros_between_members_is_no_end(tmp_path):
    data = bytearray(tar_of({"a": b"1" * 512, "b": b"2" * 512}))
    data[1024:1536] = bytes(512)
    assert "data after its end mark" in refused(tmp_path, bytes(data))
    data[1024:1536] = b"\xff" * 512
    assert "header at byte 1,024" in refused(tmp_path, bytes(data))


def test_bit_flips(tmp_path):
    packed = bytearray(gzip.compress(tar_of({"noise": random.Random(2).randbytes(50_000)})))
    packed[25_000] ^= 1
    assert "broken" in refused(tmp_path, bytes(packed))
    packed[25_000] ^= 1
    packed[-6] ^= 1  # its CRC
    assert "broken" in refused(tmp_path, bytes(packed))
    stored = bytearray(zip_bytes({"noise": random.Random(2).randbytes(50_000)}))
    stored[25_000] ^= 1
    assert "CRC" in refused(tmp_path, bytes(stored))


def test_a_zip_that_declares_another_size(tmp_path):
    data = bytearray(zip_bytes({"a": b"1" * 1000}))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 2000)
    message = refused(tmp_path, bytes(data))
    assert "1,000 bytes, 2,000 were declared" in message or "broken" in message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"<html>sorry</html>", "no tar, tar.gz or zip"),
        (bytes(10240), "no tar, tar.gz or zip"),
        (gzip.compress(b"a plain text, long enough to be a header" * 50, mtime=0), "header"),
        (gzip.compress(b"", mtime=0), "header"),
        (tar_bytes([tar_info("d", kind=tarfile.DIRTYPE)]), "holds no files"),
        (zip_bytes({}), "holds no files"),
        (b"PK\x03\x04 and then nothing of the kind", "not a zip file"),
    ],
)
def test_no_archives(tmp_path, data, words):
    assert words in refused(tmp_path, data)


def test_a_full_disk_is_no_fault_of_the_archive(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(extract_module, "sync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        extract(put(tmp_path, make("tar.gz")), tmp_path / "dest")
    assert not isinstance(caught.value, ArchiveError)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interrupted_it_cleans_up_and_stops_its_thread(tmp_path, kind, error):
    def stop(done):
        raise error

    with pytest.raises(error):
        extract(put(tmp_path, make(kind)), tmp_path / "dest", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
    assert [thread.name for thread in threading.enumerate() if "_decompress" in thread.name] == []


def test_another_process_is_first(tmp_path):
    dest = tmp_path / "dest"

    def other(done):
        dest.mkdir(exist_ok=True)
        (dest / "theirs").write_bytes(b"1")

    assert extract(put(tmp_path, make("zip")), dest, progress=other) == dest
    assert tree(dest) == {"theirs": b"1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "dest"]


def test_only_temporaries_of_dead_processes_are_removed(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    pid, machine = int(gone.stdout), disk.tag().split("-")[1]
    names = {
        "dead": f".dest.tmp-{pid}-{machine}-00",
        "alive": f".dest.tmp-{os.getpid()}-{machine}-00",
        "init": f".dest.tmp-1-{machine}-00",
        "other machine": f".dest.tmp-{pid}-ffffffff-00",
        "other dest": f".dest2.tmp-{pid}-{machine}-00",
        "user's": ".dest.tmp-mine",
    }
    for name in names.values():
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    extract(put(tmp_path, make("zip")), tmp_path / "dest")
    assert [who for who, name in names.items() if not (tmp_path / name).exists()] == ["dead"]


def test_many_files_are_synced_at_once(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(extract_module, "MANY_FILES", 10)
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    many = {f"f{i}": b"x" for i in range(11)}
    assert tree(extract(put(tmp_path, make("tar.gz", many)), tmp_path / "dest")) == many
    assert synced == [True]


CHILD = """
import sys, time
from pathlib import Path
from dvsprep.raw import extract
print("ready", flush=True)
extract(Path(sys.argv[1]), Path(sys.argv[2]), progress=lambda n: time.sleep(0.0005))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_killed_at_any_moment_the_next_run_completes(tmp_path, kind):
    draw = random.Random(7)
    files = {f"d{i % 9}/f{i}": draw.randbytes(3000) for i in range(200)}
    archive, dest = put(tmp_path, make(kind, files)), tmp_path / "dest"
    halves = 0
    for attempt in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, archive, dest], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(draw.uniform(0, 0.1) if attempt else 0.02)
            child.send_signal(signal.SIGKILL)
        halves += any(path.name.startswith(".dest.tmp-") for path in tmp_path.iterdir())
        if dest.exists():
            assert tree(dest) == files, "the final name held a half"
    assert halves, "no kill fell into an extraction"
    assert tree(extract(archive, dest)) == files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "dest"]
