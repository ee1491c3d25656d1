"""A dataset's verified files, or its caches, as one tar to carry to a machine without internet, and back."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dvsprep.disk import abandoned, exists, publish, tag, whole
from dvsprep.errors import ArchiveError, HashMismatchError, NotFoundError, UsageError
from dvsprep.raw.extract import GIB, Meter, RefusedError, _Member, _Members, _members
from dvsprep.raw.verify import Entry, Hasher, Ledger, Progress, digest_file
from dvsprep.version import __version__

What = Literal["download", "caches"]
MANIFEST = "manifest.json"
FORMAT = "dvsprep bundle 1"
MAX_MANIFEST = 64 << 20  # bytes
_FOLDERS = {"download": ("download",), "caches": ("events", "frames")}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_IMPORTED = "dataset.json"  # what makes an imported dataset known
_PATH = re.compile(rf"(download|events|frames)/[^./][^/]*|{re.escape(_IMPORTED)}")


@dataclass(frozen=True)
class _File:
    """A line of the manifest: `path` is relative to the dataset's folder."""

    path: str
    size: int
    md5: str
    sha256: str


@dataclass(frozen=True)
class _Manifest:
    """What lies in a bundle; `archives` are the ledger's entries, for they identify what caches were made of."""

    dataset: str
    files: tuple[_File, ...]
    archives: Mapping[str, Entry]

    def dump(self) -> bytes:
        archives = {name: [e.md5, e.size, e.verified, e.sha256, e.own] for name, e in sorted(self.archives.items())}
        told = {
            "format": FORMAT,
            "dataset": self.dataset,
            "dvsprep": __version__,
            "files": [asdict(file) for file in self.files],
            "archives": archives,
        }
        return json.dumps(told, indent=2).encode()

    @classmethod
    def load(cls, data: bytes) -> _Manifest:
        try:
            told = json.loads(data)
            if told["format"] != FORMAT:
                raise RefusedError(f"is of the format {told['format']!r}, expected {FORMAT!r}")
            files = tuple(_File(**file) for file in told["files"])
            archives = {
                str(name): Entry(str(md5), int(size), 0, 0, bool(verified), sha256, bool(own))
                for name, (md5, size, verified, sha256, own) in told["archives"].items()
            }
            bad = [file.path for file in files if not _PATH.fullmatch(file.path) or {"\\", "\0", ":"} & set(file.path)]
            name = str(told["dataset"])
            if bad or not _NAME.fullmatch(name) or len({file.path for file in files}) != len(files):
                raise RefusedError(f"has a manifest with unsafe names: {bad or name}")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RefusedError(f"has a broken manifest: {error!r}") from error
        return cls(name, files, archives)


# -- in --


def bundle(
    folder: Path, target: Path, what: What = "download", *, replace: bool = False, progress: Progress | None = None
) -> Path:
    """Write the verified downloads, or the finished caches, of ``ROOT/<dataset>`` as one tar; return `target`.

    Only files whose hash the ledger knows go in as downloads: what `verify`, `fetch` or `adopt` has seen.

    Raises
    ------
    NotFoundError
        There is nothing to bundle.
    UsageError
        `target` exists, and `replace` is False.
    """
    if what not in _FOLDERS:
        raise UsageError(f"what is {what!r}, expected download or caches")
    if target.exists() and not replace:
        raise exists(target)
    paths = sorted(path for inner in _FOLDERS[what] for path in _finished(folder / inner, what))
    if not paths:
        hint = "`dvsprep fetch` or `verify` comes before" if what == "download" else "`dvsprep frames` makes them"
        raise NotFoundError(f"{folder} has no {'verified files' if what == 'download' else 'caches'}", hint=hint)
    if what == "caches" and (folder / _IMPORTED).is_file():
        paths.append(folder / _IMPORTED)
    files = tuple(_describe(folder, path, progress) for path in paths)
    ledger = Ledger(folder / "download").entries()
    md5s = {file.path: file.md5 for file in files}
    archives = {name: entry for name, entry in ledger.items() if what == "caches" or f"download/{name}" in md5s}
    if bad := [name for name, entry in archives.items() if md5s.get(f"download/{name}", entry.md5) != entry.md5]:
        raise HashMismatchError(f"{folder}: damaged since they were verified: {', '.join(bad)}")
    manifest = _Manifest(folder.name, files, archives)
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole(target, replace=replace) as out, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, MANIFEST, io.BytesIO(data := manifest.dump()), len(data))
        for path, file in zip(paths, files, strict=True):
            with path.open("rb") as opened:
                _add(tar, file.path, opened, file.size)
    return target


def _finished(folder: Path, what: What) -> Iterator[Path]:
    ledger = Ledger(folder)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix == ".h5" if what == "caches" else ledger.fresh(path.name, path) is not None:
            yield path


def _describe(folder: Path, path: Path, progress: Progress | None) -> _File:
    digest = digest_file(path, progress, sha256=True)
    return _File(path.relative_to(folder).as_posix(), digest.size, digest.md5, str(digest.sha256))


def _add(tar: tarfile.TarFile, name: str, data: Any, size: int) -> None:
    info = tarfile.TarInfo(name)  # no owner, mode or time: the same files make the same bundle
    info.size, info.mode = size, 0o644
    tar.addfile(info, data)


# -- out --


def unbundle(archive: Path, root: Path, *, warn: Callable[[str], None], progress: Progress | None = None) -> list[Path]:
    """Unpack a bundle into ``root/<dataset>``, every file compared with the manifest; return their paths.

    Either all files appear, each whole, or none. Killed in between, the next call completes it. A file that is there
    already with the same content stays as it is.

    Raises
    ------
    ArchiveError
        The bundle is truncated, broken, unsafe or none.
    UsageError
        Another file has the place of one of the bundle's.
    """
    if not archive.is_file():
        raise NotFoundError(f"{archive} does not exist or is no file")
    size = archive.stat().st_size
    try:
        with archive.open("rb") as raw, closing(_members(raw, Meter(GIB + size, 1_000_000))) as members:
            manifest = _manifest(next(members, None))
            paths = _unpack(manifest, members, root / manifest.dataset, progress)
    except RefusedError as refused:
        hint = "nothing was unpacked; copy the bundle again, or make it again with `dvsprep bundle`"
        raise ArchiveError(f"{archive} ({size:,} bytes): {refused}", hint=hint) from refused
    _remember(manifest, root / manifest.dataset, warn)
    return paths


def _manifest(first: _Member | None) -> _Manifest:
    if first is None or first.name != MANIFEST or first.size > MAX_MANIFEST:
        raise RefusedError(f"is no bundle: it does not begin with {MANIFEST}")
    return _Manifest.load(b"".join(first.blocks))


def _unpack(manifest: _Manifest, members: _Members, folder: Path, progress: Progress | None) -> list[Path]:
    for left in abandoned(folder, ".unbundle.tmp-"):
        shutil.rmtree(left, ignore_errors=True)
    there = {file.path for file in manifest.files if _is_there(folder / file.path, file)}
    expected = {file.path: file for file in manifest.files}
    folder.mkdir(parents=True, exist_ok=True)
    temp = folder / f".unbundle.tmp-{tag()}"
    try:
        temp.mkdir()
        lacking = dict(expected)
        for member in members:
            file = lacking.pop(member.name, None)
            if file is None:
                raise RefusedError(f"holds {member.name!r}, which its manifest does not, or holds it twice")
            _write(member.blocks, None if file.path in there else temp / file.path, file, progress)
        if lacking:
            raise RefusedError(f"lacks {', '.join(lacking)}")
        # What makes an imported dataset known comes last, when its caches are there.
        for path in sorted(expected.keys() - there, key=lambda path: path == _IMPORTED):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            publish(temp / path, folder / path, replace=False)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return [folder / path for path in expected]


def _is_there(path: Path, file: _File) -> bool:
    if not (path.exists() or path.is_symlink()):
        return False
    if path.is_file() and path.stat().st_size == file.size and digest_file(path, sha256=True).sha256 == file.sha256:
        return True
    raise UsageError(f"{path} exists and is another file than the bundle's; nothing was unpacked", hint="move it away")


def _write(blocks: Iterator[bytes], path: Path | None, file: _File, progress: Progress | None) -> None:
    """Write a file, or with no `path` only compare it."""
    hasher = Hasher(sha256=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    with (path or Path(os.devnull)).open("wb") as out:
        for block in blocks:
            out.write(block)
            hasher.update(block)
            if progress:
                progress(len(block))
    digest = hasher.digest()
    if (digest.size, digest.md5, digest.sha256) != (file.size, file.md5, file.sha256):
        raise RefusedError(f"{file.path!r} is not what its manifest says: SHA-256 {digest.sha256}, not {file.sha256}")


def _remember(manifest: _Manifest, folder: Path, warn: Callable[[str], None]) -> None:
    """Tell the ledger which archives came, or which the caches were made of: the pipeline names caches after them."""
    download = folder / "download"
    ledger, known = Ledger(download), Ledger(download).entries()
    arrived = {file.path: file for file in manifest.files}
    for name, entry in manifest.archives.items():
        if file := arrived.get(f"download/{name}"):
            ledger.record(name, download / name, file.md5, entry.verified, file.sha256, own=entry.own)
        elif name not in known:
            download.mkdir(parents=True, exist_ok=True)
            ledger.put(name, entry)
        if entry.own or not entry.verified:
            why = "was given by --md5sums" if entry.own else "was accepted by --no-verify"
            warn(f"{manifest.dataset}/{name}: its MD5 {entry.md5} is not the published one, it {why} elsewhere")
