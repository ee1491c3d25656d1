"""A bundle carries what was verified, comes out whole or not at all, and never replaces another file."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep import disk
from dvsprep.errors import ArchiveError, HashMismatchError, NotFoundError, UsageError
from dvsprep.raw import Ledger, Resource, bundle, check, expect, unbundle
from dvsprep.raw.verify import Entry

DATA = {"a.zip": b"PK\x03\x04" + random.Random(1).randbytes(5000), "b é.tar.gz": b"\x1f\x8b" + bytes(3000)}
RESOURCES = [Resource(name, hashlib.md5(data).hexdigest(), len(data)) for name, data in DATA.items()]


def silent(text: str) -> None:
    raise AssertionError(f"unexpected warning: {text}")


@pytest.fixture
def home(tmp_path) -> Path:
    """A root with two verified downloads, debris beside them, and two caches."""
    folder = tmp_path / "home" / "nmnist"
    for inner in ("download", "events", "frames", "extract/x"):
        (folder / inner).mkdir(parents=True)
    for name, data in DATA.items():
        (folder / "download" / name).write_bytes(data)
    for resource in RESOURCES:
        assert check(resource, folder / "download").state == "ok"
    for debris in ("a.zip.bad", "c.zip.part-0", "unknown.txt"):
        (folder / "download" / debris).write_bytes(b"debris")
    (folder / "events" / "rows-1.train.h5").write_bytes(b"events" * 100)
    (folder / "frames" / "number-1.train.h5").write_bytes(b"frames" * 100)
    (folder / "frames" / ".number-2.train.h5.tmp").write_bytes(b"half")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".dvsprep.json")
    }


def test_downloads_arrive_and_need_not_be_hashed_again(home, tmp_path, monkeypatch):
    tar = bundle(home, tmp_path / "x.tar")
    paths = unbundle(tar, tmp_path / "away", warn=silent)
    download = tmp_path / "away" / "nmnist" / "download"
    assert paths == [download / name for name in DATA]
    assert tree(tmp_path / "away") == {f"nmnist/download/{name}": data for name, data in DATA.items()}
    monkeypatch.setattr("dvsprep.raw.verify.digest_file", None)
    assert [check(resource, download).state for resource in RESOURCES] == ["ok", "ok"]


def test_the_manifest_comes_first_and_says_what_is_in(home, tmp_path):
    tar = bundle(home, tmp_path / "x.tar")
    with tarfile.open(tar, "r:") as opened:
        names = opened.getnames()
        manifest = json.load(opened.extractfile("manifest.json"))
    assert names == ["manifest.json", *(f"download/{name}" for name in DATA)]
    assert manifest["dataset"] == "nmnist"
    assert manifest["files"] == [
        {
            "path": f"download/{name}",
            "size": len(data),
            "md5": hashlib.md5(data).hexdigest(),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for name, data in DATA.items()
    ]
    assert bundle(home, tmp_path / "again.tar").read_bytes() == tar.read_bytes(), "the same files, the same bundle"


def test_caches_arrive_with_the_md5s_that_they_are_named_after(home, tmp_path):
    look_alike = Entry("f" * 32, 7, 1, 2, True, None, True)
    Ledger(home / "download").put("a.zip", look_alike)
    told = []
    unbundle(bundle(home, tmp_path / "x.tar", "caches"), tmp_path / "away", warn=told.append)
    assert sorted(tree(tmp_path / "away")) == [
        "nmnist/events/rows-1.train.h5", "nmnist/frames/number-1.train.h5",
    ]  # fmt: skip
    assert len(told) == 1
    assert "nmnist/a.zip: its MD5 ffff" in told[0]
    assert "given by --md5sums elsewhere" in told[0]
    (first, second) = expect(RESOURCES, tmp_path / "away" / "nmnist" / "download")
    assert (first.md5, first.published) == ("f" * 32, False)
    assert second == RESOURCES[1]


def test_unpacked_twice_or_over_the_same_files_changes_nothing(home, tmp_path):
    tar = bundle(home, tmp_path / "x.tar")
    (path, _) = unbundle(tar, tmp_path / "away", warn=silent)
    before = path.stat()
    unbundle(tar, tmp_path / "away", warn=silent)
    assert path.stat().st_ino == before.st_ino
    path.unlink()
    unbundle(tar, tmp_path / "away", warn=silent)
    assert path.read_bytes() == DATA["a.zip"]


@pytest.mark.parametrize("other", [b"mine", b"x" * len(DATA["b é.tar.gz"])])
def test_another_file_in_the_way_is_left_alone_and_nothing_unpacked(home, tmp_path, other):
    tar = bundle(home, tmp_path / "x.tar")
    mine = tmp_path / "away" / "nmnist" / "download" / "b é.tar.gz"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(other)
    with pytest.raises(UsageError, match="is another file than the bundle's; nothing was unpacked"):
        unbundle(tar, tmp_path / "away", warn=silent)
    assert tree(tmp_path / "away") == {"nmnist/download/b é.tar.gz": other}


def test_a_bundle_never_overwrites_and_never_is_empty(home, tmp_path):
    (tmp_path / "x.tar").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists"):
        bundle(home, tmp_path / "x.tar")
    assert (tmp_path / "x.tar").read_bytes() == b"mine"
    with pytest.raises(NotFoundError, match="no verified files"):
        bundle(tmp_path / "nowhere", tmp_path / "y.tar")
    with pytest.raises(NotFoundError, match="no caches"):
        bundle(tmp_path / "nowhere", tmp_path / "y.tar", "caches")
    with pytest.raises(UsageError, match="expected download or caches"):
        bundle(home, tmp_path / "y.tar", "all")
    assert not (tmp_path / "y.tar").exists()


def test_a_file_changed_since_it_was_verified_is_left_out_and_a_rotten_one_refused(home, tmp_path):
    path = home / "download" / "a.zip"
    entry = Ledger(home / "download").get("a.zip")
    Ledger(home / "download").put("a.zip", entry._replace(md5="0" * 32))  # the same stat, other bytes: bit rot
    with pytest.raises(HashMismatchError, match=r"damaged since they were verified: a\.zip"):
        bundle(home, tmp_path / "x.tar")
    path.write_bytes(b"changed")
    with tarfile.open(bundle(home, tmp_path / "x.tar"), "r:") as tar:
        assert tar.getnames() == ["manifest.json", "download/b é.tar.gz"]


def test_a_failed_bundle_leaves_nothing(home, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left")

    monkeypatch.setattr(disk, "publish", full)
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match="No space"):
        bundle(home, tmp_path / "out" / "x.tar")
    assert list((tmp_path / "out").iterdir()) == []


# -- bundles that are not what they say --


def members_of(tar: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return [(info, opened.extractfile(info).read()) for info in opened]


def tar_of(members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def refused(tmp_path: Path, data: bytes) -> str:
    """Unbundle, see it refused and nothing left, and return what was said."""
    archive = tmp_path / "bad.tar"
    archive.write_bytes(data)
    with pytest.raises(ArchiveError) as caught:
        unbundle(archive, tmp_path / "away", warn=silent)
    assert tree(tmp_path / "away") == {}
    assert not list((tmp_path / "away").rglob(".unbundle*"))
    assert str(archive) in caught.value.message
    return str(caught.value)


def with_manifest(members, change) -> bytes:
    told = json.loads(members[0][1])
    change(told)
    return tar_of([("manifest.json", json.dumps(told).encode()), *members[1:]])


def test_what_a_bad_bundle_is_refused_for(home, tmp_path):
    good = members_of(bundle(home, tmp_path / "x.tar").read_bytes())
    changed = [*good[:2], (good[2][0], good[2][1][:-1] + b"?")]
    link = tarfile.TarInfo("download/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    cases = {
        "is not what its manifest says": tar_of(changed),
        "lacks download/b é.tar.gz": tar_of(good[:2]),
        "or holds it twice": tar_of([*good, good[1]]),
        "which its manifest does not": tar_of([*good, ("download/more.zip", b"1")]),
        "does not begin with manifest.json": tar_of(good[1:]),
        "holds the link 'download/link'": tar_of([*good, (link, b"")]),
        "unsafe name '../x'": tar_of([*good, ("../x", b"1")]),
        "broken manifest": tar_of([("manifest.json", b"{"), *good[1:]]),
        "is an empty file": b"",
        "is no tar, tar.gz or zip": b"hello" * 500,
    }
    for words, data in cases.items():
        assert words in refused(tmp_path, data)


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/x", "download/../x", "download/a/b", "download/.dvsprep.json", "extract/x", "download/", "x.h5",
     "download/a\\b", "download/a:b"],
)  # fmt: skip
def test_names_in_the_manifest_stay_in_the_folders_of_the_dataset(home, tmp_path, path):
    good = members_of(bundle(home, tmp_path / "x.tar").read_bytes())
    assert "unsafe names" in refused(tmp_path, with_manifest(good, lambda m: m["files"][0].update(path=path)))


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "/etc"])
def test_the_datasets_name_is_a_plain_one(home, tmp_path, name):
    good = members_of(bundle(home, tmp_path / "x.tar").read_bytes())
    assert "unsafe names" in refused(tmp_path, with_manifest(good, lambda m: m.update(dataset=name)))


def test_a_bundle_of_another_format_is_told(home, tmp_path):
    good = members_of(bundle(home, tmp_path / "x.tar").read_bytes())
    told = refused(tmp_path, with_manifest(good, lambda m: m.update(format="dvsprep bundle 9")))
    assert "of the format 'dvsprep bundle 9', expected 'dvsprep bundle 1'" in told


@settings(max_examples=25, deadline=None)
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_truncated_anywhere_nothing_comes_out(tmp_path_factory, fraction):
    folder = tmp_path_factory.mktemp("cut")
    download = folder / "home" / "set" / "download"
    download.mkdir(parents=True)
    (download / "a.zip").write_bytes(DATA["a.zip"])
    check(RESOURCES[0], download)
    whole = bundle(download.parent, folder / "x.tar").read_bytes().rstrip(b"\0")
    refused(folder, whole[: int(len(whole) * fraction)])


def test_no_such_bundle(tmp_path):
    with pytest.raises(NotFoundError):
        unbundle(tmp_path / "none.tar", tmp_path, warn=silent)
