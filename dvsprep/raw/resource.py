"""What is known about one published file before a byte of it is here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resource:
    """One published file.

    Parameters
    ----------
    name : str
        The file name under which it lies in the download folder.
    md5, sha256 : str, optional
        Lower-case hex digests as published.
    size : int, optional
        Bytes.
    urls : tuple of str
        Direct sources (http, https, file) in the order to try; empty when only a person can get the file.
    page : str
        The page a person opens to get it.
    optional : bool
        A side file that no stage needs.
    """

    name: str
    md5: str | None
    size: int | None = None
    sha256: str | None = None
    urls: tuple[str, ...] = ()
    page: str = ""
    optional: bool = False

    def describe(self) -> str:
        """Return name, size and hashes in one line, as far as they are known."""
        facts = [f"{self.size:,} bytes"] if self.size is not None else []
        facts += [f"MD5 {self.md5}"] if self.md5 else []
        facts += [f"SHA-256 {self.sha256}"] if self.sha256 else []
        return f"{self.name} ({', '.join(facts) or 'no published size or hash'})"


def manual_instructions(dataset: str, resources: Iterable[Resource], folder: Path, command: str) -> str:
    """Say, in several lines, which files to get where, in which folder to put them, and what to run then."""
    wanted = [resource for resource in resources if not resource.optional]
    pages = list(dict.fromkeys(resource.page for resource in wanted if resource.page))
    return "\n".join(
        [
            f"{dataset} has to be downloaded by hand:",
            "",
            *(f"  open      {page}" for page in pages),
            *(f"  download  {resource.describe()}" for resource in wanted),
            f"  put into  {folder}",
            f"  then run  {command}",
        ]
    )
