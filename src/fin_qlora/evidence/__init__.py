"""The evidence of a run: what it was trained on, how it scored, and that nothing changed."""

from .manifest import MANIFEST, read_manifest, verify_files, write_manifest
from .record import RECORD, read_record, tasks_by_name, write_record
from .schema import check

__all__ = [
    "MANIFEST",
    "RECORD",
    "check",
    "read_manifest",
    "read_record",
    "tasks_by_name",
    "verify_files",
    "write_manifest",
    "write_record",
]
