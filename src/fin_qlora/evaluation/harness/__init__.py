"""The same questions for lm-evaluation-harness, so that others can check us with their own tool."""

from .export import ExportedTask, export_pack

__all__ = ["ExportedTask", "export_pack"]
