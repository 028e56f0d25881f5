"""The documents agree with the repository: links lead somewhere, commands and versions exist."""

import re
from pathlib import Path

import pytest
import yaml

import fin_qlora

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "ds_configs/*.md", "hub/**/*.md", "recipes/**/*.md")
    for path in ROOT.glob(pattern)
)
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
)


def headings(text: str) -> set[str]:
    """The anchors that a forge makes of the headings of a page."""
    found = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in found}


@each_document
def test_every_link_inside_the_repository_leads_somewhere(document):
    text = document.read_text("utf-8")
    broken = []
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        if not target.exists() or (anchor and anchor not in headings(target.read_text("utf-8"))):
            broken.append(link)
    assert broken == []


@each_document
def test_every_make_target_that_is_named_exists(document):
    named = set(
        re.findall(r"(?:`|^ {4}|^|\$ )make ([a-z]+)\b", document.read_text("utf-8"), re.MULTILINE)
    )
    assert named <= TARGETS


def test_changelog_and_citation_name_the_version():
    headline = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headline is not None
    assert headline[1] == fin_qlora.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == fin_qlora.__version__
    assert "Quantized Low-Rank Adaptation" in citation["references"][0]["title"]
