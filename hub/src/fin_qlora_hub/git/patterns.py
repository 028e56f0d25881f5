"""The patterns of .gitignore and .gitattributes, matched in a time that none can stretch.

A pattern is split at its slashes, and each part is matched by going forward with one place to come
back to. The steps of a request are counted: patterns that ask for too many are refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.text import quoted

MAX_LINE_LENGTH = 512
MAX_STEPS = 4_000_000
_ANY_DEPTH = "**"
_CLASSES = {"alpha": str.isalpha, "digit": str.isdigit, "alnum": str.isalnum, "space": str.isspace}
_CLASSES |= {"upper": str.isupper, "lower": str.islower}


class Budget:
    """How many steps are left."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Count some steps; raises BadRequestError once there are too many."""
        self._left -= steps
        if self._left < 0:
            raise BadRequestError(
                "The patterns are too many or too intricate for so many files: use fewer '*', "
                "or send fewer files at once."
            )


@dataclass(frozen=True)
class _Any:
    """`*`: any number of characters."""


@dataclass(frozen=True)
class _Set:
    """`?` or `[a-z]`: one character of some, or of all but some."""

    ranges: tuple[tuple[str, str], ...] = ()
    classes: tuple[str, ...] = ()
    negated: bool = True

    def holds(self, character: str) -> bool:
        """Say whether a character belongs."""
        inside = any(low <= character <= high for low, high in self.ranges)
        inside = inside or any(_CLASSES[name](character) for name in self.classes)
        return inside != self.negated


_Token = str | _Any | _Set


@dataclass
class _Segment:
    """One part of a rule, between slashes; remembers what it was asked before."""

    tokens: tuple[_Token, ...]
    _answers: dict[str, bool] = field(default_factory=dict)

    def matches(self, name: str, budget: Budget) -> bool:
        """Say whether the part matches a whole file or folder name."""
        answer = self._answers.get(name)
        if answer is None:
            answer = self._answers[name] = _glob(self.tokens, name, budget)
        budget.spend(1)
        return answer


@dataclass(frozen=True)
class Pattern:
    """One line of such a file, without what it says of the files that match."""

    segments: tuple[_Segment | None, ...]  # None stands for any number of folders
    negated: bool
    folders_only: bool

    def matches(self, names: Sequence[str], budget: Budget) -> bool:
        """Say whether it matches the path that consists of these names."""
        here = again = 0
        part, back = 0, -1
        while here < len(names):
            ended = part == len(self.segments)
            segment = None if ended else self.segments[part]
            if segment is None and not ended:
                if part == len(self.segments) - 1:
                    return True  # "a/**" is all that is inside a
                back, again = part, here
                part += 1
            elif segment is not None and segment.matches(names[here], budget):
                part, here = part + 1, here + 1
            elif back >= 0:
                again += 1
                part, here = back + 1, again
                budget.spend(1)
            else:
                return False
        return part == len(self.segments)


def read_pattern(line: str) -> Pattern | None:
    """Read a line; None for one that says nothing. Raises BadRequestError."""
    if len(line) > MAX_LINE_LENGTH:
        raise BadRequestError(
            f"The pattern {quoted(line)} has more than {MAX_LINE_LENGTH} characters: shorten it."
        )
    while line.endswith(" ") and not line.endswith("\\ "):
        line = line[:-1]
    if not line or line.startswith("#"):
        return None
    negated = line.startswith("!")
    text = line.removeprefix("!")
    folders_only = text.endswith("/")
    text = text.rstrip("/") if folders_only else text
    anchored = "/" in text
    parts = [part for part in text.split("/") if part]
    if not parts:
        return None
    segments: list[_Segment | None] = [] if anchored else [None]
    for part in parts:
        if part != _ANY_DEPTH:
            segments.append(_Segment(_tokens(part, line)))
        elif not segments or segments[-1] is not None:
            segments.append(None)
    if segments == [None]:  # "**" alone: everything
        segments.append(_Segment((_Any(),)))
    return Pattern(tuple(segments), negated, folders_only)


def _tokens(part: str, line: str) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    position = 0
    while position < len(part):
        character = part[position]
        position += 1
        if character == "*":
            if not tokens or tokens[-1] != _Any():
                tokens.append(_Any())
        elif character == "?":
            tokens.append(_Set())
        elif character == "[":
            found, position = _set(part, position, line)
            tokens.append(found)
        elif character == "\\":
            if position == len(part):
                raise BadRequestError(
                    f"The pattern {quoted(line)} ends with a backslash: write '\\\\' for one."
                )
            tokens.append(part[position])
            position += 1
        else:
            tokens.append(character)
    return tuple(tokens)


def _set(part: str, position: int, line: str) -> tuple[_Set, int]:
    negated = part[position : position + 1] in ("!", "^")
    position += negated
    ranges: list[tuple[str, str]] = []
    classes: list[str] = []
    first = True
    while position < len(part) and (first or part[position] != "]"):
        first = False
        end = part.find(":]", position)
        if part.startswith("[:", position) and part[position + 2 : max(end, 0)] in _CLASSES:
            classes.append(part[position + 2 : end])
            position = end + 2
            continue
        low, position = _member(part, position)
        high = low
        if part[position : position + 1] == "-" and part[position + 1 : position + 2] not in "]":
            high, position = _member(part, position + 1)
        ranges.append((low, high))
    if position >= len(part):
        raise BadRequestError(
            f"The pattern {quoted(line)} opens a '[' that it never closes: close it, or write "
            "'\\['."
        )
    return _Set(tuple(ranges), tuple(classes), negated), position + 1


def _member(part: str, position: int) -> tuple[str, int]:
    if part[position] == "\\" and position + 1 < len(part):
        position += 1
    return part[position], position + 1


def _glob(tokens: Sequence[_Token], name: str, budget: Budget) -> bool:
    here = again = token = 0
    back = -1
    steps = 0
    while here < len(name):
        steps += 1
        if steps > 1000:
            budget.spend(steps)
            steps = 0
        wanted = tokens[token] if token < len(tokens) else None
        if isinstance(wanted, _Any):
            back, again = token, here
            token += 1
        elif wanted == name[here] or (isinstance(wanted, _Set) and wanted.holds(name[here])):
            token, here = token + 1, here + 1
        elif back >= 0:
            again += 1
            token, here = back + 1, again
        else:
            budget.spend(steps)
            return False
    budget.spend(steps)
    return all(isinstance(left, _Any) for left in tokens[token:])
