"""Arelle's reading of one filing, run as a program of its own: JSON on a file, never a network.

    python -m fin_qlora.xbrl.arelle_reading REQUEST

REQUEST is a JSON file: ``folder``, ``entry`` (file names), ``skip_dts``, ``out``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

MEMORY = 6 * 2**30


def main(request: Path) -> None:
    """Read the filing and write its numeric facts to the file that the request names."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    asked = json.loads(request.read_text("utf-8"))
    folder = Path(asked["folder"])

    from arelle.api.Session import Session
    from arelle.logging.handlers.StructuredMessageLogHandler import StructuredMessageLogHandler
    from arelle.RuntimeOptions import RuntimeOptions

    entries = [str(folder / name) for name in asked["entry"]]
    several = len(entries) > 1
    entry = entries[0]
    if several:
        entry = json.dumps([{"ixds": [{"file": file} for file in entries]}])
    options = RuntimeOptions(
        entrypointFile=entry,
        internetConnectivity="offline",
        skipDTS=asked["skip_dts"],
        disablePersistentConfig=True,
        cacheDirectory=str(folder / "cache"),
        keepOpen=True,
        plugins="inlineXbrlDocumentSet" if several else None,
        logLevel="ERROR",
    )
    with Session() as session:
        session.run(options, logHandler=StructuredMessageLogHandler())
        models = session.get_models()
        facts = [fact for model in models for fact in _facts(model)]
    Path(asked["out"]).write_text(json.dumps(facts), "utf-8")


def _facts(model: Any) -> Iterator[dict[str, Any]]:
    for fact in getattr(model, "factsInInstance", ()) or ():
        yield from _one(model, fact)
    for fact in getattr(model, "undefinedFacts", ()) or ():
        if fact not in model.factsInInstance:
            yield from _one(model, fact)


def _one(model: Any, fact: Any) -> Iterator[dict[str, Any]]:
    unit = model.units.get(fact.unitID) if fact.unitID else None
    context = model.contexts.get(fact.contextID)
    if unit is None or context is None:
        return
    multiplied, divided = unit.measures
    yield {
        "concept": fact.qname.clarkNotation,
        "entity": context.entityIdentifier[1],
        "period": _period(context),
        "dimensions": sorted(_dimensions(context)),
        "unit": [_names(multiplied), _names(divided)],
        "nil": fact.get("{http://www.w3.org/2001/XMLSchema-instance}nil") in ("true", "1"),
        "value": str(fact.value),
    }


def _period(context: Any) -> str:
    if context.isForeverPeriod:
        return "forever"
    day = timedelta(days=1)  # Arelle keeps an end as the midnight after it
    if context.isInstantPeriod:
        return str((context.instantDatetime - day).date())
    return f"{context.startDatetime.date()}/{(context.endDatetime - day).date()}"


def _dimensions(context: Any) -> Iterator[tuple[str, str]]:
    for axis, value in context.qnameDims.items():
        if value.isExplicit:
            yield axis.clarkNotation, value.memberQname.clarkNotation
        else:
            yield axis.clarkNotation, " ".join(value.typedMember.stringValue.split())


def _names(measures: Any) -> list[str]:
    return sorted(measure.clarkNotation for measure in measures)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
