"""A tar that passes by: the same files as its extracted folder has, or the same refusal."""

from __future__ import annotations

import io
import pickle
import random
import tarfile
from pathlib import Path

import making
import pytest

from dvsprep.errors import ArchiveError
from dvsprep.raw import Member, Tape, extract
from dvsprep.raw.tapes import SMALL

LARGE = random.Random(0).randbytes(SMALL + 1)
LONG = "top/" + "n" * 180 + ".bin"
FILES = {
    "top/b/2.bin": bytes(range(256)) * 40,
    "top/large.bin": LARGE,
    "top/b/10.bin": b"",
    "top/a.bin": b"a" * 3000,
    "top/a/z.bin": b"z",
    "top/.hidden/x.bin": b"hidden",
    "top/a.tar.bin": b"\x00",
    LONG: b"long",
    "ü/list.txt": b"\xef\xbb\xbf1,2\r\n3,4\r\n",
    "__MACOSX/top/a.bin": b"debris",
}


def packed(
    path: Path, members: dict[str, bytes] | list[tuple[str, bytes]] = FILES, mode: str = "w:gz", fmt: int = 1
) -> Path:
    with tarfile.open(path, mode, format=fmt) as tar:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def root(path: Path) -> Member:
    return Member(Tape.of(path))


@pytest.mark.parametrize("fmt", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_members_are_what_the_extracted_files_are(tmp_path: Path, mode: str, fmt: int) -> None:
    path = packed(tmp_path / "x.tar.gz", mode=mode, fmt=fmt)
    folder, tree = extract(path, tmp_path / "x"), root(path)
    assert making.members_like_files(tree, folder)
    again = pickle.loads(pickle.dumps(tree / "top"))
    assert (again, again.is_dir()) == (tree / "top", True)


def test_what_is_wanted_and_what_is_small_passes_in_the_order_of_the_archive(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.tar.gz")
    seen: list[str] = []

    def wanted(member: Member) -> bool:
        seen.append(member.inner)
        assert [name for name in seen if not (member.parent / "x").archive.entries.get(name)] == []
        return member.name in ("large.bin", "a.bin")

    passed = {m.inner: bytes(m.read_bytes()) for m in Tape(path).play(wanted)}
    names = [name for name in FILES if not name.startswith("__MACOSX")]
    assert [*passed] == seen == names
    assert passed == {name: FILES[name] for name in names}
    assert [m.name for m in Tape(path).play(lambda _: False) if m.name == "large.bin"] == []


def test_a_file_that_is_not_kept_cannot_be_read_while_others_pass(tmp_path: Path) -> None:
    for member in Tape(packed(tmp_path / "x.tar.gz")).play(lambda _: False):
        if member.name == "a.bin":
            with pytest.raises(FileNotFoundError, match="passed unread"):
                (member.parent / "large.bin").read_bytes()
            with pytest.raises(FileNotFoundError):
                (member.parent / "later.bin").read_bytes()
            return
    raise AssertionError("a.bin never passed")


@pytest.mark.parametrize("name", ["../x", "/x", "C:x", "a\\x"])
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="unsafe name"):
        root(packed(tmp_path / "x.tar.gz", {"a": b"1", name: b"2"})).is_file()


@pytest.mark.parametrize(
    "twice", [[("a", b"1"), ("a", b"2")], [("a", b"1"), ("a/b", b"2")], [("a", b"1"), ("./a", b"")]]
)
def test_a_name_that_is_file_and_folder_or_twice_there_is_refused(
    tmp_path: Path, twice: list[tuple[str, bytes]]
) -> None:
    with pytest.raises(ArchiveError, match="twice, or as file and folder"):
        root(packed(tmp_path / "x.tar.gz", twice)).is_dir()


def test_links_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("a")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(ArchiveError, match="holds the link 'a'"):
        root(tmp_path / "x.tar.gz").is_file()


def test_more_bytes_than_allowed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "x.tar.gz", {"a": bytes(8 << 20)})
    monkeypatch.setattr("dvsprep.raw.tapes.GIB", 0)
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        root(path).is_file()


def test_an_archive_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="holds no files"):
        root(packed(tmp_path / "x.tar.gz", {})).is_file()


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.999])
def test_truncated_anywhere(tmp_path: Path, fraction: float) -> None:
    path = packed(tmp_path / "x.tar.gz")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    with pytest.raises(ArchiveError, match=rf"x\.tar\.gz \({path.stat().st_size:,} bytes\)"):
        list(Tape(path).play(lambda _: True))


def test_a_flipped_bit_is_an_error_by_the_end(tmp_path: Path) -> None:
    whole = packed(tmp_path / "x.tar.gz", {"a": LARGE}).read_bytes()
    for at in range(40, len(whole), len(whole) // 7):
        path = tmp_path / f"{at}.tar.gz"
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(ArchiveError, match="broken"):
            list(Tape(path).play(lambda _: True))


def test_an_archive_that_was_replaced_is_listed_anew(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.tar.gz", {"a": b"1"})
    assert (root(path) / "a").read_bytes() == b"1"
    packed(tmp_path / "y.tar.gz", {"a": b"22"}).replace(path)
    assert (root(path) / "a").read_bytes() == b"22"
    assert Tape.of(path) is Tape.of(path)
