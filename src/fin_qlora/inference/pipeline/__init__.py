"""A model in stages, one a process, for bases that do not fit one device."""

from .loading import load_staged
from .report import PipelineReport, StageReport
from .splitting import Split, split
from .staged import StagedModel

__all__ = ["PipelineReport", "Split", "StageReport", "StagedModel", "load_staged", "split"]
