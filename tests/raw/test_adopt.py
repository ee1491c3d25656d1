import errno
import hashlib
from pathlib import Path

import pytest

from dvsprep.errors import HashMismatchError, NotFoundError, UsageError
from dvsprep.raw import Ledger, Resource, adopt, require

A, B = b"\x1f\x8b first file", b"PK second file"
ONE = Resource("one.tar.gz", hashlib.md5(A).hexdigest(), len(A))
TWO = Resource("two.zip", hashlib.md5(B).hexdigest(), len(B))


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "download"


def put(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def silent(text: str) -> None:
    raise AssertionError(f"unexpected warning: {text}")


def test_by_name_and_by_hash(home, folder):
    files = [put(home, "two (1).zip", B), put(home, "one.tar.gz", A)]
    assert adopt([ONE, TWO], files, folder, warn=silent) == [folder / "two.zip", folder / "one.tar.gz"]
    assert (folder / "one.tar.gz").samefile(files[1])
    assert require([ONE, TWO], folder, warn=silent) == {"one.tar.gz": ONE.md5, "two.zip": TWO.md5}
    assert [file.read_bytes() for file in files] == [B, A]
    before = (folder / "one.tar.gz").stat()
    assert adopt([ONE], files[1:], folder, warn=silent) == [folder / "one.tar.gz"]
    assert (folder / "one.tar.gz").stat() == before


def test_copied_where_it_cannot_be_linked(home, folder, monkeypatch):
    def other_file_system(self, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", other_file_system)
    file = put(home, "one.tar.gz", A)
    (target,) = adopt([ONE], [file], folder, warn=silent)
    assert target.read_bytes() == A
    assert not target.samefile(file)
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") == [".dvsprep.json", "one.tar.gz"]


def test_a_failed_copy_leaves_nothing(home, folder, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "hardlink_to", fail)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        adopt([ONE], [put(home, "one.tar.gz", A)], folder, warn=silent)
    assert list(folder.iterdir()) == []


def test_the_same_content_that_is_there_stays(home, folder):
    folder.mkdir()
    there = put(folder, "one.tar.gz", A)
    inode = there.stat().st_ino
    assert adopt([ONE], [put(home, "x", A)], folder, warn=silent) == [there]
    assert there.stat().st_ino == inode


def test_a_file_that_lies_in_the_folder_already(folder):
    folder.mkdir()
    there = put(folder, "one.tar.gz", A)
    assert adopt([ONE], [there], folder, warn=silent) == [there]
    entry = Ledger(folder).get("one.tar.gz")
    assert entry is not None
    assert entry.verified


def test_another_file_with_the_name_is_set_aside(home, folder):
    folder.mkdir()
    put(folder, "one.tar.gz", b"other")
    (target,) = adopt([ONE], [put(home, "one.tar.gz", A)], folder, warn=silent)
    assert target.read_bytes() == A
    assert (folder / "one.tar.gz.bad").read_bytes() == b"other"


def test_a_symlink_is_followed(home, folder):
    link = home / "link"
    link.symlink_to(put(home, "real", A))
    (target,) = adopt([ONE], [link], folder, warn=silent)
    assert not target.is_symlink()
    assert target.read_bytes() == A


def test_wrong_hash_is_refused_before_anything_is_placed(home, folder):
    files = [put(home, "one.tar.gz", A), put(home, "two.zip", b"<html>no</html>")]
    with pytest.raises(HashMismatchError) as caught:
        adopt([ONE, TWO], files, folder, warn=silent)
    got = hashlib.md5(b"<html>no</html>").hexdigest()
    for word in (str(files[1]), str(TWO.md5), got, "left where it is", "HTML page"):
        assert word in str(caught.value).replace("was left where it is", "left where it is")
    assert files[1].exists()
    assert not folder.exists()


def test_no_verify_warns_and_records(home, folder):
    file = put(home, "two.zip", b"changed")
    told = []
    (target,) = adopt([TWO], [file], folder, verify=False, warn=told.append)
    got = hashlib.md5(b"changed").hexdigest()
    assert target.read_bytes() == b"changed"
    assert len(told) == 1
    assert str(TWO.md5) in told[0]
    assert got in told[0]
    entry = Ledger(folder).get("two.zip")
    assert entry is not None
    assert (entry.md5, entry.verified) == (got, False)


def test_no_published_hash(home, folder):
    bare, file = Resource("bare.mat", None), put(home, "bare.mat", A)
    with pytest.raises(HashMismatchError, match="no published hash"):
        adopt([bare], [file], folder, warn=silent)
    told = []
    assert adopt([bare], [file], folder, verify=False, warn=told.append) == [folder / "bare.mat"]
    assert len(told) == 1


def test_a_stranger_is_refused_with_the_names_expected(home, folder):
    with pytest.raises(UsageError) as caught:
        adopt([ONE, TWO], [put(home, "cat.jpg", b"cat")], folder, warn=silent)
    for word in ("cat.jpg", "one.tar.gz", "two.zip"):
        assert word in str(caught.value)


def test_two_files_for_one_resource(home, tmp_path, folder):
    (tmp_path / "other").mkdir()
    files = [put(home, "two.zip", b"a"), put(tmp_path / "other", "two.zip", b"b")]
    with pytest.raises(UsageError, match="differ"):
        adopt([TWO], files, folder, verify=False, warn=[].append)
    same = [put(home, "one.tar.gz", A), put(home, "again", A)]
    assert adopt([ONE], same, folder, warn=silent) == [folder / "one.tar.gz"]


def test_no_such_file_and_folders(home, folder):
    with pytest.raises(NotFoundError, match="nowhere"):
        adopt([ONE], [home / "nowhere"], folder, warn=silent)
    with pytest.raises(UsageError, match="not a file"):
        adopt([ONE], [home], folder, warn=silent)
