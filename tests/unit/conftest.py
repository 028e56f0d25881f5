"""The unit tests that draw their examples draw the same ones at every run."""

from __future__ import annotations

from pathlib import Path

from hypothesis import configuration, settings

configuration.set_hypothesis_home_dir(Path(__file__).parents[2] / ".cache" / "hypothesis")
# The same examples at every run, none kept on disk, and no limit of time on a shared machine.
settings.register_profile("steady", derandomize=True, database=None, deadline=None)
settings.load_profile("steady")
