"""A tar that need not be extracted: its files pass by once, in the archive's order, as the packed archive inflates.

A tar has no listing, and inside a packed one there is no place to jump to. What :func:`dvsprep.raw.extract` refuses is
refused here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from dvsprep.errors import ArchiveError
from dvsprep.raw.extract import GIB, MAX_MEMBERS, Meter, RefusedError, Telling, _members, parts_of, twice
from dvsprep.raw.inside import Listing, Member, level_by_level

SMALL = 1 << 20  # bytes; files of up to so many are kept, for they are lists and labels
KEPT = 1 << 24  # bytes, of all that are kept


class Passed(NamedTuple):
    """What is known of a file that passed by."""

    size: int


class Held(Member):
    """A file that is passing by, with what it holds."""

    __slots__ = ("data",)

    def __init__(self, archive: Listing, inner: str, data: bytes | bytearray) -> None:
        super().__init__(archive, inner)
        self.data = data

    def read_bytes(self) -> bytes | bytearray:
        """Return what the file holds."""
        return self.data


class SoFar(Listing):
    """The part of a tape that has passed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.found: dict[str, Passed] = {}
        self.kept: dict[str, bytes | bytearray] = {}
        self._bytes = 0

    @property
    def entries(self) -> Mapping[str, Passed]:
        """Every file by name, in the order in which they passed."""
        return self.found

    def read(self, name: str) -> bytes | bytearray:
        """Return what a small file holds.

        Raises
        ------
        FileNotFoundError
            It passed unread.
        """
        if name not in self.kept:
            raise FileNotFoundError(f"{self.path}/{name} passed unread")
        return self.kept[name]

    def keep(self, name: str, data: bytes | bytearray) -> None:
        """Keep what a small file holds, as long as they are few."""
        self._bytes += len(data)
        if len(data) <= SMALL and self._bytes <= KEPT:
            self.kept[name] = data


class Tape(Listing):
    """A tar; whoever looks at its listing before it was played to its end waits until it was.

    Raises
    ------
    ArchiveError
        It is broken or truncated, or holds what an archive of data has no need of.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._whole: SoFar | None = None

    def __reduce__(self) -> tuple[Callable[[Path], Tape], tuple[Path]]:
        return Tape.of, (self.path,)

    @property
    def entries(self) -> Mapping[str, Passed]:
        """Every file by name, in order of names level by level."""
        return self._played().entries

    def read(self, name: str) -> bytes | bytearray:
        """Return what a member holds; of a large one the tape is played again."""
        kept = self._played().kept.get(name)
        return self._find(name) if kept is None else kept

    def _played(self) -> SoFar:
        if self._whole is None:
            for _ in self.play(lambda _: False):
                pass
        assert self._whole is not None
        return self._whole

    def _find(self, name: str) -> bytes | bytearray:
        for member in self.play(lambda member: member.inner == name):
            if member.inner == name:
                return member.read_bytes()
        raise ArchiveError(f"{self.path}: {name} is not in the archive any more", hint="was it replaced? run it again")

    def play(self, wanted: Callable[[Member], bool]) -> Iterator[Member]:
        """Read the archive from its beginning to its end; yield every file that is wanted, or small, as it passes.

        Parameters
        ----------
        wanted : callable
            Told each file when only its name is known, and all that passed before. What it wants is yielded with what
            it holds, which is then forgotten.
        """
        so_far = SoFar(self.path)
        meter = Meter(GIB + 100 * self.path.stat().st_size, MAX_MEMBERS)
        with Telling(self.path), self.path.open("rb") as raw, closing(_members(raw, meter)) as passing:
            for member in passing:
                name = "/".join(parts_of(member.name))
                if name in so_far.found:
                    raise twice(name)
                so_far.found[name] = Passed(member.size)
                here = Member(so_far, name)
                is_wanted = wanted(here)
                data, size = bytearray(), 0
                for block in member.blocks:
                    size += len(block)
                    if is_wanted or member.size <= SMALL:
                        data += block
                if size != member.size:
                    raise RefusedError(f"{name!r} has {size:,} bytes, {member.size:,} were declared")
                if is_wanted:
                    yield Held(so_far, name, data)
                elif size <= SMALL:
                    so_far.keep(name, data)
                    yield here
                del data
            if not so_far.found:
                raise RefusedError("holds no files")
        so_far.found = {name: so_far.found[name] for name in sorted(so_far.found, key=level_by_level)}
        self._whole = so_far
