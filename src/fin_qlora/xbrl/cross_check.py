"""Our numbers beside Arelle's: the same filing, read by a second, independent program."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from ..errors import DataError, MissingDependencyError
from .documents import parse
from .facts import Filing
from .limits import Limits
from .names import ISO_4217, XBRLI
from .numbers import plain_text
from .places import Opened
from .reader import Bundle
from .stub_schemas import write_stubs

_SECONDS = 600
_SHOWN = 5
_UNREAD: Final = "(ixTransformValueError)"
_WORDS: Final = "Arelle has no SEC number words (numwordsen) without its EDGAR plugin"

#: (concept, entity, period, dimensions, unit, value or "nil"), names as {namespace}name
Reading = tuple[str, str, str, tuple[tuple[str, str], ...], str, str]


@dataclass(frozen=True, kw_only=True)
class CrossCheck:
    """How our numbers compare with Arelle's, every fact element counted.

    Args:
        equal: elements that both read alike.
        explained: reason -> elements that differ for it.
        unexplained: elements that only one of the two reads so.
        examples: the first few of those.
        failed: why Arelle could not be asked; empty where it was.
    """

    ours: int
    theirs: int
    equal: int
    explained: Mapping[str, int] = field(default_factory=dict)
    unexplained: int = 0
    examples: tuple[str, ...] = ()
    failed: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain JSON values."""
        return asdict(self)


def require_arelle() -> None:
    """Raise MissingDependencyError where Arelle is not installed."""
    if importlib.util.find_spec("arelle") is None:
        raise MissingDependencyError(
            "The cross-check needs Arelle, which is not installed.",
            fix="Install it with: pip install 'fin-qlora[xbrl-check]'",
        )


def cross_check(root: Path, bundle: Bundle, filing: Filing) -> CrossCheck:
    """Compare the numbers of a filing with Arelle's, read offline in a process of its own.

    An instance is read without its schemas; inline documents with schemas that declare just the
    names they use. Raises MissingDependencyError where Arelle is not installed.
    """
    require_arelle()
    ours = _ours(filing)
    try:
        theirs, unread = _theirs(root, bundle)
    except DataError as error:
        return CrossCheck(ours=sum(ours.values()), theirs=0, equal=0, failed=error.message)
    return compare(ours, theirs, unread)


def compare(
    ours: Counter[Reading], theirs: Counter[Reading], unread: Counter[tuple[str, ...]]
) -> CrossCheck:
    """Count equal, explained and unexplained elements of two readings.

    Args:
        unread: the facts, without value, that Arelle says it cannot transform.
    """
    only_ours, only_theirs = ours - theirs, theirs - ours
    explained = 0
    for reading in sorted(only_ours.elements()):
        if unread[_about(reading)] > 0:
            unread[_about(reading)] -= 1
            only_ours[reading] -= 1
            explained += 1
    left = sum((+only_ours).values()) + sum(only_theirs.values()) + sum((+unread).values())
    examples = [f"only ours: {_shown(r)}" for r in sorted(+only_ours)[:_SHOWN]]
    examples += [f"only Arelle's: {_shown(r)}" for r in sorted(only_theirs)[:_SHOWN]]
    return CrossCheck(
        ours=sum(ours.values()),
        theirs=sum(theirs.values()) + explained + sum((+unread).values()),
        equal=sum((ours & theirs).values()),
        explained={_WORDS: explained} if explained else {},
        unexplained=left,
        examples=tuple(examples),
    )


def _about(reading: Reading) -> tuple[str, ...]:
    concept, entity, period, dimensions, unit, _ = reading
    return concept, entity, period, str(dimensions), unit


def _shown(reading: Reading) -> str:
    concept, _, period, dimensions, unit, value = reading
    members = " ".join(f"{axis}={member}" for axis, member in dimensions)
    return f"{concept} {period} {members} {value} {unit}"[:300]


def _ours(filing: Filing) -> Counter[Reading]:
    names = filing.namespaces

    def clark(text: str) -> str:
        prefix, colon, name = text.partition(":")
        return f"{{{names[prefix]}}}{name}" if colon and prefix in names else text

    found: Counter[Reading] = Counter()
    for fact in filing.numbers:
        context = fact.key.context
        dimensions = sorted(
            (clark(str(d.axis)), d.member if d.typed else clark(d.member))
            for d in context.dimensions
        )
        unit = "/".join(
            "*".join(sorted(clark(measure) for measure in side.split("*")))
            for side in (fact.key.unit or "").split("/")
        )
        value = "nil" if fact.value is None else plain_text(fact.value)
        found[
            clark(str(fact.key.concept)),
            context.entity,
            str(context.period),
            tuple(dimensions),
            unit,
            value,
        ] += 1
    return found


def _theirs(root: Path, bundle: Bundle) -> tuple[Counter[Reading], Counter[tuple[str, ...]]]:
    inline = bundle.documents[0].kind == "inline"
    with tempfile.TemporaryDirectory(prefix="fin-qlora-arelle-") as name:
        folder = Path(name)
        (folder / "cache").mkdir()
        with Opened(root, bundle.place, limits=Limits()) as opened:
            contents = {d.name: opened.read(d.name).lstrip() for d in bundle.documents}
        for file, content in contents.items():
            (folder / file).write_bytes(content)
        if inline:
            roots = [parse(c, name=file, limits=Limits()) for file, c in contents.items()]
            write_stubs(roots, bundle.schema, folder)
            del roots
        facts = _run(folder, list(contents), skip_dts=not inline)
    found: Counter[Reading] = Counter()
    unread: Counter[tuple[str, ...]] = Counter()
    for fact in facts:
        reading = (
            fact["concept"],
            fact["entity"],
            fact["period"],
            tuple((axis, member) for axis, member in fact["dimensions"]),
            _unit(fact["unit"]),
            "nil" if fact["nil"] else _number(fact["value"]),
        )
        if fact["value"] == _UNREAD:
            unread[_about(reading)] += 1
        else:
            found[reading] += 1
    return found, unread


def _run(folder: Path, entry: Sequence[str], *, skip_dts: bool) -> list[dict[str, Any]]:
    out = folder / "facts.json"
    request = folder / "request.json"
    request.write_text(
        json.dumps(
            {"folder": str(folder), "entry": list(entry), "skip_dts": skip_dts, "out": str(out)}
        ),
        "utf-8",
    )
    command = [sys.executable, "-m", f"{__package__}.arelle_reading", str(request)]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "cache")}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"Arelle did not end within {_SECONDS} seconds.") from None
    if done.returncode or not out.exists():
        said = (done.stderr or done.stdout).strip().splitlines()
        raise DataError(f"Arelle ended with {done.returncode}: {said[-1][:200] if said else ''}")
    facts: list[dict[str, Any]] = json.loads(out.read_text("utf-8"))
    return facts


def _unit(sides: Sequence[Sequence[str]]) -> str:
    plain = [[_measure(measure) for measure in side] for side in sides]
    return "/".join("*".join(sorted(side)) for side in plain if side)


def _measure(name: str) -> str:
    for namespace in (ISO_4217, XBRLI):
        if name.startswith(f"{{{namespace}}}"):
            return name.rpartition("}")[2]
    return name


def _number(text: str) -> str:
    try:
        return plain_text(Decimal(text.strip()))
    except InvalidOperation:
        return text
