"""The real text that the tiny base may read, with the part of it that is held back.

Only text whose licence lets the weights be given away: narrative of SEC filings, XBRL term
definitions (MIT), financial mathematics questions (MIT) and the *text* of the TFNS tweets (MIT).
Labels are never read.
"""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from ...errors import MissingFileError

HELD_OUT_FILINGS = ("MCD_10-K_2023-12-31", "TACI_10-K_2014-12-31")
HELD_OUT_EVERY = 20

_BLOCK_TAGS = frozenset(
    "p div td th tr table li ul ol br hr h1 h2 h3 h4 h5 h6 body section".split()
)
_SKIPPED_TAGS = frozenset({"script", "style", "ix:header", "head"})
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z“\"(])")
_ADDRESS = re.compile(r"https?://\S+")
_BLANKS = re.compile(r"\s+")
_EXPLAIN = re.compile(r"^Explain this XBRL term briefly in one sentence: (.*)\. Answer:$", re.S)
_QUESTION = re.compile(r'Explanation: (.*?)\. Question: +"(.*)"\. Answer:$', re.S)


@dataclass(frozen=True)
class Definition:
    """One XBRL term and the sentence that defines it."""

    term: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """What is trained on and, beside it, what is held back to measure perplexity."""

    tweets: tuple[str, ...]
    paragraphs: tuple[tuple[str, ...], ...]
    definitions: tuple[Definition, ...]
    questions: tuple[str, ...]
    held_out: dict[str, tuple[str, ...]]
    counts: dict[str, int]


def normalised(text: str) -> str:
    """Make two tweets comparable: no web address, one case, single blanks."""
    return _BLANKS.sub(" ", _ADDRESS.sub(" ", text)).strip().lower()


class _Blocks(HTMLParser):
    """Collects the visible text of an HTML document, one string for each block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self._parts: list[str] = []
        self._skipping = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED_TAGS:
            self._skipping += 1
        if tag in _BLOCK_TAGS:
            self.flush()

    def handle_endtag(self, tag: str) -> None:
        if tag in _SKIPPED_TAGS and self._skipping:
            self._skipping -= 1
        if tag in _BLOCK_TAGS:
            self.flush()

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self._parts.append(data)

    def flush(self) -> None:
        text = _BLANKS.sub(" ", "".join(self._parts)).strip()
        self._parts = []
        if text:
            self.blocks.append(text)


def html_blocks(document: str) -> list[str]:
    """Return the visible text blocks of an HTML document in reading order."""
    parser = _Blocks()
    parser.feed(document)
    parser.close()
    parser.flush()
    return parser.blocks


def _is_narrative(sentence: str) -> bool:
    words = sentence.split()
    letters = sum(character.isalpha() or character == " " for character in sentence)
    return (
        8 <= len(words) <= 90
        and sentence[-1] in ".!?"
        and letters >= 0.85 * len(sentence)
        and not sentence.isupper()
    )


def _documents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.iterdir()):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    yield name, archive.read(name)
        else:
            yield path.name, path.read_bytes()


def _filing_blocks(folder: Path) -> Iterator[str]:
    for name, content in _documents(folder):
        if name.endswith((".htm", ".html")):
            yield from html_blocks(content.decode("utf-8", errors="replace"))
        elif name.endswith(".xml") and not re.search(r"_(lab|cal|def|pre)\.xml$", name):
            for element in ElementTree.fromstring(content).iter():
                if element.text and len(element.text) > 200 and "<" in element.text:
                    yield from html_blocks(element.text)


def filing_paragraphs(folder: Path, seen: set[str]) -> list[tuple[str, ...]]:
    """Read the narrative sentences of one filing, in order, paragraph by paragraph.

    `seen` holds the normalised sentences met so far; a sentence is taken once over all filings.
    """
    paragraphs: list[tuple[str, ...]] = []
    for block in _filing_blocks(folder):
        kept: list[str] = []
        for sentence in _SENTENCE_END.split(block):
            key = re.sub(r"[\d\W]+", " ", sentence.lower()).strip()
            if _is_narrative(sentence) and key not in seen:
                seen.add(key)
                kept.append(sentence)
        if kept:
            paragraphs.append(tuple(kept))
    return paragraphs


def _json_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _tweets(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [row["text"].strip() for row in csv.DictReader(stream)]


def _definitions(path: Path) -> list[Definition]:
    found: dict[str, Definition] = {}
    for row in _json_lines(path):
        match = _EXPLAIN.match(row["context"])
        if match:
            found.setdefault(row["target"], Definition(match.group(1), row["target"]))
    return list(found.values())


def read_corpus(data_dir: Path) -> Corpus:
    """Read every source below `data_dir` and hold a part of each back.

    Tweets whose normalised text is also in the TFNS validation file are dropped; of the rest,
    and of the definitions, each twentieth is held back, of the filings two whole documents.
    Raises MissingFileError where a source file is not there.
    """
    tfns, terms = data_dir / "tfns", data_dir / "xbrl_term" / "finlora"
    needed = [
        tfns / "sent_train.csv",
        tfns / "sent_valid.csv",
        terms / "xbrl_term_train.jsonl",
        data_dir / "financial_math" / "finlora" / "formula_train.jsonl",
        data_dir / "filings" / "index.jsonl",
    ]
    for path in needed:
        if not path.is_file():
            raise MissingFileError(
                f"The tiny base needs {path}, which is not there.",
                fix="Point --data_dir at the folder of the public data sets.",
            )
    counts: dict[str, int] = {}

    validation = {normalised(text) for text in _tweets(needed[1])}
    distinct: dict[str, str] = {}
    for text in _tweets(needed[0]):
        distinct.setdefault(normalised(text), text)
    counts["tweets dropped, also in the validation file"] = sum(
        key in validation for key in distinct
    )
    tweets = [text for key, text in distinct.items() if key and key not in validation]

    definitions = _definitions(needed[2])

    questions: dict[str, None] = {}
    for row in _json_lines(needed[3]):
        match = _QUESTION.search(row["context"])
        if match:
            questions.setdefault(_BLANKS.sub(" ", match.group(2)).strip())

    seen: set[str] = set()
    paragraphs: list[tuple[str, ...]] = []
    held_paragraphs: list[tuple[str, ...]] = []
    folders = sorted(path for path in (data_dir / "filings").iterdir() if path.is_dir())
    for folder in folders:
        if folder.name not in HELD_OUT_FILINGS:
            paragraphs += filing_paragraphs(folder, seen)
    # Read last, so that a sentence shared with a trained filing is not counted as unseen.
    for name in HELD_OUT_FILINGS:
        held_paragraphs += filing_paragraphs(data_dir / "filings" / name, seen)

    held_out = {
        "filings": tuple(" ".join(paragraph) for paragraph in held_paragraphs),
        "definitions": tuple(d.text for d in definitions[::HELD_OUT_EVERY]),
        "tweets": tuple(tweets[::HELD_OUT_EVERY]),
    }
    kept_tweets = tuple(t for i, t in enumerate(tweets) if i % HELD_OUT_EVERY)
    kept_definitions = tuple(d for i, d in enumerate(definitions) if i % HELD_OUT_EVERY)
    counts |= {
        "tweets": len(kept_tweets),
        "definitions": len(kept_definitions),
        "mathematics questions": len(questions),
        "filings": len(folders) - len(HELD_OUT_FILINGS),
        "filing paragraphs": len(paragraphs),
        "filing sentences": sum(len(paragraph) for paragraph in paragraphs),
        "held-out tweets": len(held_out["tweets"]),
        "held-out definitions": len(held_out["definitions"]),
        "held-out filing sentences": sum(len(paragraph) for paragraph in held_paragraphs),
    }
    return Corpus(
        tweets=kept_tweets,
        paragraphs=tuple(paragraphs),
        definitions=kept_definitions,
        questions=tuple(questions),
        held_out=held_out,
        counts=counts,
    )
