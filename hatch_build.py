"""Puts the data folders of the repository root into the wheel of fin-qlora.

An editable install takes none: it reads recipes and schemas in the checkout, so that they are
never stale. The folders lie at the same place in an sdist, so a wheel built from one is the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHIPPED = {"recipes": ".yaml", "ds_configs": ".json", "schemas": ".json"}


class ShippedData(BuildHookInterface[Any]):
    """Maps recipes/, ds_configs/ and schemas/ to fin_qlora/_shipped/ in a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add every shipped file to the wheel; ``version`` is "standard" or "editable"."""
        if version == "editable":
            return
        for kind, suffix in SHIPPED.items():
            folder = Path(self.root, kind)
            files = sorted(folder.rglob(f"*{suffix}"))
            if not files:
                raise FileNotFoundError(f"'{folder}' holds no {suffix} file to ship.")
            for file in files:
                place = file.relative_to(folder).as_posix()
                build_data["force_include"][str(file)] = f"fin_qlora/_shipped/{kind}/{place}"
