"""JSON lines as columns: every field is checked in one array operation, and a line by line search
happens only to name the line of an error that is already certain.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from pcache.errors import TraceError
from pcache.trace.source import Source
from pcache.types import F8, I8

__all__ = ["MAX_SYMBOL", "MAX_TOKENS", "Records", "first_record", "parse_records", "shown"]

MAX_TOKENS = 1 << 24
"""Most tokens of one prompt or one output; also what a symbol of an image can count."""

MAX_SYMBOL = (1 << 53) - 1
"""Largest token or block id: the largest integer that every JSON reader keeps exactly."""

_Object = dict[str, Any]


def _no_repeats(pairs: list[tuple[str, Any]]) -> _Object:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"field {shown(twice)} appears twice")
    return value


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


_DECODER = json.JSONDecoder(object_pairs_hook=_no_repeats, parse_constant=_no_constant)


def shown(value: object) -> str:
    """A value as errors quote it, short and on one line."""
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Records:
    """Objects of the same kind with the lines they came from.

    `path` is what precedes a field's name in errors: `prompt.` for the objects in field `prompt`.
    """

    def __init__(self, label: str, lines: Sequence[int], objects: list[_Object], path: str = ""):
        self.label, self.lines, self.objects, self.path = label, lines, objects, path

    def __len__(self) -> int:
        return len(self.objects)

    def fail(self, at: int, problem: str) -> NoReturn:
        """Raise the TraceError that names the line of record `at`."""
        raise TraceError(self.label, self.lines[at], problem)

    def reject(self, at: int, field: str, value: object, expected: str) -> NoReturn:
        """Raise the TraceError for one value of one field."""
        name = f"{self.path}{field}"
        if value is None and field not in self.objects[at]:
            self.fail(at, f"field '{name}' is missing; expected {expected}")
        self.fail(at, f"field '{name}' is {shown(value)}; expected {expected}")

    def check_fields(self, required: Iterable[str], optional: Iterable[str] = ()) -> None:
        """Every object has all required fields and none that is neither required nor optional."""
        needed = set(required)
        known = needed | set(optional)
        shapes = set(map(tuple, self.objects))
        if all(needed <= set(shape) <= known for shape in shapes):
            return
        for at, fields in enumerate(self.objects):
            for name in fields:
                if name not in known:
                    self.fail(
                        at,
                        f"unknown field '{self.path}{name}'; this format has "
                        f"{', '.join(sorted(known))}: rename or remove it",
                    )
            if missing := sorted(needed - set(fields)):
                self.fail(at, f"field '{self.path}{missing[0]}' is missing; every line needs it")

    def values(self, field: str, default: object = None) -> list[Any]:
        """The field of every object, unchecked."""
        return [fields.get(field, default) for fields in self.objects]

    def integers(self, field: str, low: int, high: int, default: int | None = None) -> I8:
        """The field as int64 [len]; booleans and floats are not integers."""
        values = self.values(field, default)
        if set(map(type, values)) <= {int}:
            try:
                array = np.array(values, dtype=np.int64)
            except OverflowError:
                array = np.array([-1], dtype=np.int64)
            if not len(array) or (array.min() >= low and array.max() <= high):
                return array
        for at, value in enumerate(values):
            if type(value) is not int or not low <= value <= high:
                self.reject(at, field, value, f"an integer from {low:,} to {high:,}")
        return array

    def numbers(self, field: str, low: float, high: float) -> F8:
        """The field as float64 [len], finite."""
        values = self.values(field)
        if set(map(type, values)) <= {int, float}:
            try:
                array = np.array(values, dtype=np.float64)
            except OverflowError:
                array = np.array([np.nan])
            if bool(np.all((array >= low) & (array <= high))):
                return array
        for at, value in enumerate(values):
            if type(value) not in (int, float) or not low <= value <= high:
                self.reject(at, field, value, f"a number from {low:,g} to {high:,g}")
        return array

    def strings(self, field: str, default: str | None = None) -> list[str]:
        """The field as text that can be written as UTF-8."""
        values = self.values(field, default)
        if set(map(type, values)) <= {str} and _encodable("".join(values)):
            return values
        for at, value in enumerate(values):
            if type(value) is not str or not _encodable(value):
                self.reject(at, field, value, "valid Unicode text")
        return values

    def integer_lists(self, field: str, low: int, high: int) -> tuple[I8, I8]:
        """The field's lists end to end, int64 [total], and their lengths, int64 [len]."""
        lists = self.values(field)
        for at, value in enumerate(lists):
            if type(value) is not list:
                self.reject(at, field, value, "a list of integers")
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        if set(map(type, chain.from_iterable(lists))) <= {int}:
            try:
                flat = np.fromiter(chain.from_iterable(lists), np.int64, int(lengths.sum()))
            except OverflowError:
                flat = np.array([low - 1], dtype=np.int64)
            if not len(flat) or (flat.min() >= low and flat.max() <= high):
                return flat, lengths
        for at, value in enumerate(lists):
            for element in value:
                if type(element) is not int or not low <= element <= high:
                    self.reject(at, field, element, f"integers from {low:,} to {high:,} only")
        return flat, lengths

    def nested(self, field: str) -> Records:
        """The objects in one field, with errors that name the whole path."""
        values = self.values(field)
        if set(map(type, values)) > {dict} or (values and set(map(type, values)) != {dict}):
            for at, value in enumerate(values):
                if type(value) is not dict:
                    self.reject(at, field, value, "an object")
        return Records(self.label, self.lines, values, f"{self.path}{field}.")

    def select(self, which: Sequence[int]) -> Records:
        """Some of the records, in the given order."""
        return Records(
            self.label,
            [self.lines[at] for at in which],
            [self.objects[at] for at in which],
            self.path,
        )


def first_record(source: Source) -> tuple[int, str]:
    """Number and text of the first line that is not blank."""
    for number, line in enumerate(source.lines(), start=1):
        if line.strip():
            return number, line
    raise TraceError(source.label, None, "no line holds a request; expected one request a line")


def parse_records(source: Source, limit: int | None = None) -> Records:
    """Parse one JSON object a line, blank lines apart; at most `limit` of them."""
    numbers: list[int] = []
    objects: list[_Object] = []
    lines = source.lines()
    for number, line in enumerate(lines, start=1):
        if not line or line.isspace():
            continue
        if limit is not None and len(objects) == limit:
            break
        try:
            value = _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            cut_off = number == len(lines) and not source.text.endswith("\n")
            raise TraceError(source.label, number, _broken(error, cut_off)) from error
        if type(value) is not dict:
            raise TraceError(
                source.label, number, f"{shown(value)} is not an object; expected {{...}} a line"
            )
        numbers.append(number)
        objects.append(value)
    if not objects:
        raise TraceError(source.label, None, "no line holds a request; expected one a line")
    return Records(source.label, numbers, objects)


def _broken(error: Exception, cut_off: bool) -> str:
    if isinstance(error, RecursionError):
        return "JSON nested too deeply; expected one flat request object a line"
    if isinstance(error, json.JSONDecodeError):
        what = f"not valid JSON ({error.msg} at column {error.colno})"
        if cut_off:
            return f"{what}; the file ends in mid-line: write or fetch it again, or drop this line"
        return f"{what}; expected one JSON object a line"
    reason = str(error)
    if "digits" in reason:
        reason = "a number with thousands of digits"
    return f"not valid JSON ({reason}); correct the line"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
