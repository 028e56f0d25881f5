"""What the scorers make of answers whose worth is known.

    python benchmarks/scorers.py --data_dir DATA [--noncommercial] [--json FILE]

DATA holds FinLoRA's own test files. No model is asked: the answerers are made up, from one that is
always right to one that says nothing. The report holds figures only, no text of the files.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

from report import Row, report, table, write

from fin_qlora.errors import UsageError
from fin_qlora.evaluation.scorers import Deviation, Judged, Saved, finlora, paper, strict
from fin_qlora.tasks import Answer, Task, get
from fin_qlora.tasks.grammar import ANSWERS

#: Task and file below DATA; a grammar where the file's answers have another than the task's.
FILES: Final[tuple[tuple[str, str, Answer | None], ...]] = (
    ("fpb", "fpb/finlora/fpb_test.jsonl", None),
    ("fiqa_sa", "fiqa/finlora/fiqa_test.jsonl", None),
    ("tfns", "tfns/finlora/tfns_test.jsonl", None),
    ("nwgi", "nwgi/finlora/nwgi_test.jsonl", None),
    ("ner", "ner/finlora/ner_test.jsonl", None),
    ("xbrl_tag", "xbrl_tags/finlora/xbrl_xbrl_tags_test.jsonl", None),
    ("xbrl_tag", "xbrl_tags/finlora/xbrl_xbrl_tags_test.2025-03-13.jsonl", None),
    ("xbrl_value", "xbrl_value/finlora/xbrl_value_test.jsonl", None),
    ("xbrl_value", "xbrl_value/finlora/xbrl_value_test.2025-03-13.jsonl", None),
    ("xbrl_formula_calculation", "xbrl_formula/finlora/xbrl_formula_test.jsonl", None),
    ("finer", "finer/finlora/finer_test_batched.jsonl", "list"),
    ("fnxl", "fnxl/finlora/fnxl_test_batched.jsonl", "list"),
    ("financial_math", "financial_math/finlora/formula_test.jsonl", None),
    ("xbrl_term", "xbrl_term/finlora/xbrl_term_test.jsonl", None),
    ("financebench", "financebench/finlora/financebench_test.jsonl", None),
)

#: Names of files -> how the tables call them.
SHORT: Final = {
    "fpb_test": "fpb",
    "fiqa_test": "fiqa",
    "tfns_test": "tfns",
    "nwgi_test": "nwgi",
    "ner_test": "ner",
    "xbrl_xbrl_tags_test": "tags",
    "xbrl_xbrl_tags_test.2025-03-13": "tags 2025-03",
    "xbrl_value_test": "values",
    "xbrl_value_test.2025-03-13": "values 2025-03",
    "xbrl_formula_test": "formulas",
    "finer_test_batched": "finer",
    "fnxl_test_batched": "fnxl",
    "formula_test": "math",
    "xbrl_term_test": "terms",
    "financebench_test": "financebench",
}

#: What of the prompt comes before the answer is added by whoever asks.
_END = re.compile(r"\s*Answer: ?$")

Answerer = Callable[[Saved], Sequence[str]]


def _longer(saved: Saved) -> list[str]:
    """Return answers that begin like the right one and are another, such as its million-fold."""
    numbers = saved.grammar in ("number", "calculation")
    return [gold + (" million" if numbers else "Noncurrent") for gold in saved.golds]


def _commonest(saved: Saved) -> list[str]:
    return [Counter(saved.golds).most_common(1)[0][0]] * len(saved.golds)


#: Answerers for all files, and those that make sense for labels or for free answers alone.
FOR_ALL: Final[dict[str, Answerer]] = {
    "always right": lambda saved: saved.golds,
    "always the commonest": _commonest,
    "nothing": lambda saved: [""] * len(saved.golds),
    "right, in a sentence": lambda saved: [f"The answer is {gold}." for gold in saved.golds],
    "right, then runs on": lambda saved: [f"{gold}\n\nAnswer: none" for gold in saved.golds],
}
FOR_LABELS: Final[dict[str, Answerer]] = {
    "all labels listed": lambda saved: ["/".join(saved.labels)] * len(saved.golds),
    "none of them": lambda saved: ["I cannot say."] * len(saved.golds),
    "right, in capitals": lambda saved: [gold.upper() for gold in saved.golds],
}
FOR_FREE: Final[dict[str, Answerer]] = {
    "right beginning, wrong answer": _longer,
    "right, in quotes": lambda saved: [f'"{gold}"' for gold in saved.golds],
}


def read(path: Path, task: Task, grammar: Answer | None) -> tuple[Saved, int]:
    """Return a file's rows without answers, and how many rows it has whose own is unreadable.

    Every row stays as it was published, also where a question is asked in several wordings.
    """
    rows: list[dict[str, Any]] = []
    unreadable = 0
    chosen = grammar or task.answer
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            record = json.loads(line)
            row = {"text": _END.sub("", record["context"]), "label": str(record["target"]).strip()}
            if ANSWERS[chosen](row["label"], task.label_names) is not None:
                rows.append(row)
            else:
                unreadable += 1
    return (
        Saved(
            task=task.name,
            labels=task.label_names,
            grammar=chosen,
            texts=("",) * len(rows),
            rows=tuple(rows),
        ),
        unreadable,
    )


def put_right(saved: Saved, pair: tuple[str, str]) -> Saved:
    """Return rows in which two classes have changed places, with their right names."""
    other = {pair[0]: pair[1], pair[1]: pair[0]}
    rows = [{**row, "label": other.get(row["label"], row["label"])} for row in saved.rows]
    return replace(saved, rows=tuple(rows))


def swapped_classes(task: Task, place: str) -> tuple[str, str] | None:
    """Return the two classes that the task knows to be swapped in a file."""
    for form in task.source.forms:
        if form.files[0].path == place and "swapped" in form.settings:
            first, second = form.settings["swapped"]
            return first, second
    return None


def answered(saved: Saved, answerer: Answerer) -> Saved:
    """Return the rows with an answerer's answers."""
    return replace(saved, texts=tuple(answerer(saved)))


def _finlora(saved: Saved) -> Judged | None:
    try:
        return finlora(saved)
    except UsageError:
        return None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One answerer on one file: all scorers, and the points that each habit alone gives."""

    file: str
    answerer: str
    strict: Judged
    paper: Judged
    finlora: Judged | None
    habits: dict[str, float]

    @property
    def judged(self) -> tuple[Judged, Judged, Judged | None]:
        """Return the three judgements in the order of the tables."""
        return self.strict, self.paper, self.finlora

    def rows(self) -> Iterator[Row]:
        """Yield the figures as rows of the report."""
        side = f"{self.file}: {self.answerer}"
        for judged in self.judged:
            if judged is None:
                continue
            name = judged.scorer
            yield Row(side, f"accuracy, {name}", "share of 1", round(judged.accuracy, 4))
            if judged.weighted_f1 is not None:
                yield Row(side, f"weighted F1, {name}", "share of 1", round(judged.weighted_f1, 4))
            if judged.bounds and judged.bounds[0] != judged.bounds[1]:
                yield Row(side, f"least accuracy, {name}", "share of 1", round(judged.bounds[0], 4))
                yield Row(side, f"most accuracy, {name}", "share of 1", round(judged.bounds[1], 4))
            if judged.scored != judged.n:
                yield Row(side, f"rows counted, {name}", "rows", judged.scored)
        for habit, points in self.habits.items():
            yield Row(side, f"strict + {habit}", "points", points)


def measured(name: str, saved: Saved) -> Iterator[Line]:
    """Yield the line of every answerer on one file."""
    for title, answerer in (FOR_ALL | (FOR_LABELS if saved.labels else FOR_FREE)).items():
        one = answered(saved, answerer)
        plain = strict(one)
        alone = {
            habit: round(100 * (paper(one, deviations=(habit,)).accuracy - plain.accuracy), 2)
            for habit in get_args(Deviation)
        }
        yield Line(
            file=name,
            answerer=title,
            strict=plain,
            paper=paper(one),
            finlora=_finlora(one),
            habits={habit: points for habit, points in alone.items() if points},
        )


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    lines = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in (columns, *rows)
    ]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])


def pivoted(lines: Sequence[Line], cell: Callable[[Line], str]) -> str:
    """Return a table with a line for each answerer and a column for each file."""
    files = list(dict.fromkeys(line.file for line in lines))
    answerers = list(dict.fromkeys(line.answerer for line in lines))
    found = {(line.answerer, line.file): cell(line) for line in lines}
    return markdown(
        ("answers", *files),
        [(one, *(found.get((one, file), "") for file in files)) for one in answerers],
    )


def by_habit(lines: Sequence[Line]) -> str:
    """Return the points that each habit alone gives to the strict accuracy, over the files."""
    habits = [one for one in get_args(Deviation) if any(one in line.habits for line in lines)]
    rows = []
    for answerer in dict.fromkeys(line.answerer for line in lines):
        mine = [line.habits for line in lines if line.answerer == answerer]
        points = [[each.get(habit, 0.0) for each in mine] for habit in habits]
        rows.append((answerer, *(_span(min(each), max(each)) for each in points)))
    return markdown(("answers", *habits), rows)


def _span(low: float, high: float) -> str:
    if low == high:
        return f"{low:+.1f}" if low else ""
    return f"{low:+.1f} to {high:+.1f}"


def _accuracies(line: Line) -> str:
    return _joined(None if one is None else one.bounds or (one.accuracy,) for one in line.judged)


def _f1(line: Line) -> str:
    found = [None if one is None else one.weighted_f1 for one in line.judged]
    return _joined(None if share is None else (share,) for share in found)


def _joined(shares: Iterable[Sequence[float] | None]) -> str:
    """Return shares in percent, a range where chance decides, a dash where there is none."""
    return " / ".join(
        "-".join(dict.fromkeys(f"{100 * share:.1f}" for share in each)) if each else "–"
        for each in shares
    )


def printed(lines: Sequence[Line]) -> str:
    """Return all tables: accuracies, F1, and what each habit does."""
    labelled = [line for line in lines if line.strict.weighted_f1 is not None]
    free = [line for line in lines if line.strict.weighted_f1 is None]
    told = []
    for kind, mine in (("labels", labelled), ("free answers", free)):
        accuracies = pivoted(mine, _accuracies)
        told.append(f"Accuracy of {kind} in percent, strict / paper / finlora:\n\n{accuracies}")
        if mine is labelled:
            told.append(
                f"Weighted F1 of {kind} in percent, strict / paper / finlora:\n\n"
                f"{pivoted(mine, _f1)}"
            )
        told.append(
            f"Points that one habit alone adds to the strict accuracy of {kind}, least to most "
            f"over the files:\n\n{by_habit(mine)}"
        )
    return "\n\n".join(told)


def main() -> None:
    """Judge, print the table and, where asked, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of the data sets")
    parser.add_argument(
        "--noncommercial", action="store_true", help="also files whose licence forbids selling"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    arguments = parser.parse_args()
    rows: list[Row] = []
    lines: list[Line] = []
    for name, place, grammar in FILES:
        task, path = get(name), arguments.data_dir / place
        if not path.is_file() or (task.licence.noncommercial and not arguments.noncommercial):
            continue
        saved, unreadable = read(path, task, grammar)
        title = SHORT.get(path.stem, path.stem)
        rows.append(Row(title, "rows", "rows", len(saved.rows)))
        rows.append(Row(title, f"left out: the answer is no {saved.grammar}", "rows", unreadable))
        if (pair := swapped_classes(task, place)) is not None:
            lines += measured(title, put_right(saved, pair))
            title = f"{title}, as published"
        lines += measured(title, saved)
    print(table(rows))
    print()
    print(printed(lines))
    rows += [row for line in lines for row in line.rows()]
    if arguments.json:
        finished = report("scorers", rows, packages=("fin-qlora",))
        finished["command"] = "python benchmarks/scorers.py --data_dir DATA" + (
            " --noncommercial" if arguments.noncommercial else ""
        )
        write(arguments.json, finished)
    wrong = [
        line.file for line in lines if line.answerer == "always right" and line.strict.accuracy != 1
    ]
    if wrong or not lines:
        raise SystemExit(f"The right answer is not right, or nothing was read: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
