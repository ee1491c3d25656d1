"""Recordings in, event arrays out: one reader a format, label files, and the cut into samples.

Readers take a file's bytes and return columns t, x, y, p; kernels decode whole buffers without the GIL.
"""

from dvsprep.events.catalog import BYTES, EVENT_BYTES, READERS, version
from dvsprep.events.label_table import LabelRow, read_table, table_samples
from dvsprep.events.labels import Instances, Row, Sample, read_csv, samples
from dvsprep.events.reading import Decoded, Policy, Span, columns, select, size_of
from dvsprep.events.split import Cutter, Recording, bytes_of, cut, join, read, read_span, samples_of, spans_of, warm_up

__all__ = [
    "BYTES",
    "EVENT_BYTES",
    "READERS",
    "Cutter",
    "Decoded",
    "Instances",
    "LabelRow",
    "Policy",
    "Recording",
    "Row",
    "Sample",
    "Span",
    "bytes_of",
    "columns",
    "cut",
    "join",
    "read",
    "read_csv",
    "read_span",
    "read_table",
    "samples",
    "samples_of",
    "select",
    "size_of",
    "spans_of",
    "table_samples",
    "version",
    "warm_up",
]
