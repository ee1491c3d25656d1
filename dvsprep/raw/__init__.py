"""In: the bytes of a dataset's published files, from a server or from wherever a person saved them.

Out: files that are what was published, each recorded with its MD5, and folders that are wholly unpacked.
"""

from dvsprep.raw.adopt import adopt
from dvsprep.raw.extract import extract
from dvsprep.raw.fetch import fetch
from dvsprep.raw.resource import Resource, manual_instructions
from dvsprep.raw.verify import Ledger, Verdict, check, md5_file, require

__all__ = [
    "Ledger",
    "Resource",
    "Verdict",
    "adopt",
    "check",
    "extract",
    "fetch",
    "manual_instructions",
    "md5_file",
    "require",
]
