"""Puts the JSON Schemas into the distributions of fin-qlora-hub.

They live once, in schemas/ of the repository, beside this project's folder. An sdist carries them
as schemas/, and a wheel as fin_qlora_hub/_shipped/schemas/, whether it is built in the checkout or
from that sdist. An editable install takes none: it reads them in the checkout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACES = {"sdist": "schemas", "wheel": "fin_qlora_hub/_shipped/schemas"}


class ShippedSchemas(BuildHookInterface[Any]):
    """Maps schemas/ of the checkout, or of the sdist, into what is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add every schema; ``version`` is "standard" or "editable"."""
        if version == "editable":
            return
        own, beside = Path(self.root, "schemas"), Path(self.root).parent / "schemas"
        folder = own if own.is_dir() else beside
        files = sorted(folder.glob("*.json"))
        if not files:
            raise FileNotFoundError(f"'{folder}' holds no .json file to ship.")
        for file in files:
            build_data["force_include"][str(file)] = f"{PLACES[self.target_name]}/{file.name}"
