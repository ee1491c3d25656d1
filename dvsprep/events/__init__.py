"""Recordings in, event arrays out: one reader a format, label files, and the cut into samples.

Readers take a file's bytes and return columns t, x, y, p; kernels decode whole buffers without the GIL.
"""

from dvsprep.events.catalog import READERS, version
from dvsprep.events.label_table import LabelRow, read_table, table_samples
from dvsprep.events.labels import Instances, Row, Sample, read_csv, samples
from dvsprep.events.reading import Decoded, Policy
from dvsprep.events.split import Recording, cut, read, samples_of, warm_up

__all__ = [
    "READERS",
    "Decoded",
    "Instances",
    "LabelRow",
    "Policy",
    "Recording",
    "Row",
    "Sample",
    "cut",
    "read",
    "read_csv",
    "read_table",
    "samples",
    "samples_of",
    "table_samples",
    "version",
    "warm_up",
]
