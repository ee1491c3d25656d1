"""In: the bytes of a dataset's published files, from a server or from wherever a person saved them.

Out: files that are what was published, each recorded with its MD5, and folders that are wholly unpacked.
"""

from dvsprep.raw.adopt import adopt
from dvsprep.raw.bundle import bundle, unbundle
from dvsprep.raw.expect import expect, read_md5sums
from dvsprep.raw.extract import extract, is_complete
from dvsprep.raw.fetch import fetch, fetch_all
from dvsprep.raw.inside import Archive, Member, as_member, as_path, is_zip
from dvsprep.raw.probe import SourceReport, probe, probe_all
from dvsprep.raw.resource import Resource, manual_instructions
from dvsprep.raw.shared import find_shared
from dvsprep.raw.sources import Network, figshare, guard_network, network_allowed, sources
from dvsprep.raw.tapes import Tape
from dvsprep.raw.tree import Tree, adopt_tree, adopted_tree
from dvsprep.raw.verify import Ledger, Verdict, check, md5_file, require, vouched

__all__ = [
    "Archive",
    "Ledger",
    "Member",
    "Network",
    "Resource",
    "SourceReport",
    "Tape",
    "Tree",
    "Verdict",
    "adopt",
    "adopt_tree",
    "adopted_tree",
    "as_member",
    "as_path",
    "bundle",
    "check",
    "expect",
    "extract",
    "fetch",
    "fetch_all",
    "figshare",
    "find_shared",
    "guard_network",
    "is_complete",
    "is_zip",
    "manual_instructions",
    "md5_file",
    "network_allowed",
    "probe",
    "probe_all",
    "read_md5sums",
    "require",
    "sources",
    "unbundle",
    "vouched",
]
