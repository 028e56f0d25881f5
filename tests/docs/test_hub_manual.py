"""The hub's manual names every setting and every command that there is, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from fin_qlora_hub.cli import app
from fin_qlora_hub.settings import Settings

HUB = Path(__file__).resolve().parents[2] / "hub"
MANUAL = "\n".join(
    path.read_text("utf-8") for path in sorted([HUB / "README.md", *HUB.glob("docs/*.md")])
)
SETTINGS = {f"FIN_QLORA_HUB_{name.upper()}" for name in Settings.model_fields}


def table() -> dict[str, str]:
    """Return the row of the table of settings for each variable."""
    rows = {}
    for line in MANUAL.splitlines():
        if line.startswith("| `FIN_QLORA_HUB_"):
            for name in re.findall(r"`([^`]*)`", line.split("|")[1]):
                rows[name.replace("...", "FIN_QLORA_HUB")] = line
    return rows


def commands(group=None, before: str = "") -> Iterator[str]:
    """Give every command as one types it."""
    for name, command in (group or get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name


def test_the_table_holds_every_setting_and_no_other() -> None:
    assert set(table()) == SETTINGS


def test_settings_that_are_named_anywhere_exist() -> None:
    assert set(re.findall(r"FIN_QLORA_HUB_[A-Z0-9_]+[A-Z0-9]", MANUAL)) <= SETTINGS


@pytest.mark.parametrize(
    "name", [name for name, field in Settings.model_fields.items() if type(field.default) is int]
)
def test_the_table_tells_the_default(name) -> None:
    default = Settings.model_fields[name].default
    told = table()[f"FIN_QLORA_HUB_{name.upper()}"].split("|")[2].replace(",", "").strip()
    number, _, unit = told.partition(" ")
    assert int(number) * {"": 1, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}[unit] == default


@pytest.mark.parametrize("command", sorted(set(commands()) - {"version"}))
def test_every_command_is_in_the_manual(command) -> None:
    first, _, second = command.partition(" ")
    start = rf"(?:fin-qlora-hub |`|or: ){first}\b"
    assert re.search(start + (rf"[ |a-z]*\b{second}\b" if second else ""), MANUAL)


def test_commands_that_the_manual_names_exist() -> None:
    known = set(commands())
    groups = {command.partition(" ")[0] for command in known}
    for first, second in re.findall(r"fin-qlora-hub ([a-z][a-z-]*)(?: ([a-z][a-z-]*)\b)?", MANUAL):
        assert first in groups
        assert first in known or not second or f"{first} {second}" in known
