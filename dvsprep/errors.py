"""The errors of dvsprep: one root, one exit code a branch, every one picklable.

DvsprepError
├── UsageError        (ValueError)            2   a wrong argument
│   └── PluginError                               a user's function that fails or returns the wrong thing
├── NotFoundError     (FileNotFoundError)     3   a file, cache or dataset that is not there
│   ├── UnknownDatasetError
│   └── ManualDownloadError                       files that a person has to fetch
├── FetchError        (ConnectionError)       4   every source of a file failed
├── IntegrityError    (ValueError)            5   bytes that are not what they should be
│   ├── HashMismatchError
│   ├── ArchiveError                              an unsafe, truncated or broken archive
│   ├── FormatError                               a recording that breaks its format
│   ├── LabelError                                a label file that contradicts itself or its recording
│   ├── NotACacheError
│   └── ConservationError                         frames that lost or gained events
├── DiskError         (OSError)               6   disk full, no permission
├── IncompleteError   (RuntimeError)          7   a stale or half-made result
├── BackendError      (RuntimeError)          8   an engine or optional package that is not usable
└── DivergedError     (ArithmeticError)       9   training whose loss is no number any more
"""

from __future__ import annotations

from collections.abc import Sequence


class DvsprepError(Exception):
    """Root of all errors that dvsprep raises on purpose.

    Parameters
    ----------
    message : str
        One line: what, where, expected, got.
    hint : str, optional
        One line: what to do now.
    details : sequence of str
        Lines that say more, where one is too few: what became of every source of a file.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)

    def __str__(self) -> str:
        line = f"{self.message} ({self.hint})" if self.hint else self.message
        return "\n  ".join((line, *self.details))

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process pools; the default reduce would lose the keyword and break on OSError leaves.
        return _rebuild, (type(self), self.message, self.hint, self.details)


def _rebuild(cls: type[DvsprepError], message: str, hint: str | None, details: Sequence[str]) -> DvsprepError:
    return cls(message, hint=hint, details=details)


class UsageError(DvsprepError, ValueError):
    """A wrong argument."""

    exit_code = 2


class PluginError(UsageError):
    """A user's integrator that cannot be loaded, raises, or returns the wrong thing."""


class NotFoundError(DvsprepError, FileNotFoundError):
    """A file, cache or dataset that is not there."""

    exit_code = 3


class UnknownDatasetError(NotFoundError):
    """A dataset name that the registry does not hold."""


class ManualDownloadError(NotFoundError):
    """Files that only a person with a browser can fetch."""


class FetchError(DvsprepError, ConnectionError):
    """Every source of a file failed."""

    exit_code = 4


class IntegrityError(DvsprepError, ValueError):
    """Bytes that are not what they should be."""

    exit_code = 5


class HashMismatchError(IntegrityError):
    """A file whose MD5 or size is not the published one."""


class ArchiveError(IntegrityError):
    """An unsafe, truncated or broken archive."""


class FormatError(IntegrityError):
    """A recording that breaks its own format; the message names file and byte or event."""


class LabelError(IntegrityError):
    """A label file that contradicts itself or its recording; the message names file and line."""


class NotACacheError(IntegrityError):
    """A file that is no cache of dvsprep."""


class ConservationError(IntegrityError):
    """Frames whose sum is not the number of events used."""


class DiskError(DvsprepError, OSError):
    """No space or no permission."""

    exit_code = 6


class IncompleteError(DvsprepError, RuntimeError):
    """A stale or half-made result."""

    exit_code = 7


class BackendError(DvsprepError, RuntimeError):
    """An engine or an optional package that is not usable."""

    exit_code = 8


class DivergedError(DvsprepError, ArithmeticError):
    """Training whose loss or weights are no numbers any more; the message names epoch and batch."""

    exit_code = 9
