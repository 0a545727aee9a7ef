"""csv files -> numbers: all files of a folder at once where they are regular, line by line where they are not.

A row is `frame, class[, source], values`; what the values mean is the layout's business (`layouts`). Numbers are read
as Python's `int` and `float` read them: frame, class and source must be integers.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcase2022_task3_seld_metrics.notices import Notices
from util.errors import InputError

WIDEST = 7
_PLAIN = b"0123456789+-.eE, \r\n"
_NAMES = ("frame", "class", "source")


@dataclass(frozen=True, eq=False)
class CsvRows:
    """The rows of some files, file by file, line by line.

    Attributes
    ----------
    paths : the files
    file, line, width : (n,) index of the file, line number from 1, number of columns
    frame, class_index, source : (n,) int64; source 0 where the row has none
    values : (n, 4) float64, what follows; NaN where the row ends earlier
    last_frame : (files,) largest frame number of any row of the file, dropped ones included; -1: no row
    last_width : (files,) number of columns of the last line, 0: no row
    """

    paths: tuple[Path, ...]
    file: np.ndarray
    line: np.ndarray
    width: np.ndarray
    frame: np.ndarray
    class_index: np.ndarray
    source: np.ndarray
    values: np.ndarray
    last_frame: np.ndarray
    last_width: np.ndarray

    def refuse(self, rows: np.ndarray, rule: str) -> None:
        """Raise InputError for the first of the rows (n,) bool, if there is one."""
        if rows.any():
            at = int(np.argmax(rows))
            raise InputError(rule, path=self.paths[self.file[at]], place=f"line {self.line[at]}")


@dataclass(frozen=True)
class Grammar:
    """What the rows of a file may look like.

    Attributes
    ----------
    integers : number of columns -> which of them must be integers; rows of other widths are dropped
    header : "no": none; "always": the first line is skipped, whatever it is; "maybe": skipped where it is no number
    wider : a row with more columns than any known width counts as one of the widest
    narrow : rule broken by a row that is too narrow; None: it is dropped like any unknown width
    """

    integers: dict[int, tuple[int, ...]]
    header: str = "no"
    wider: bool = False
    narrow: str | None = None


_Block = tuple[np.ndarray, ...]  # line, width, frame, class, source, values


def read_csv_rows(paths: Sequence[Path], grammar: Grammar, notices: Notices) -> CsvRows:
    """Read files of one kind.

    Raises
    ------
    InputError : unreadable file, blank line before the end, header, text where a number is due; with file and line
    """
    contents = [_bytes_of(path) for path in paths]
    first_lines = [content[: content.find(b"\n") + 1 or None] for content in contents]
    skips = [_skips(first, grammar, path, notices) for first, path in zip(first_lines, paths)]
    contents = [
        content[len(first) :] if skip else content for content, first, skip in zip(contents, first_lines, skips)
    ]
    blocks: dict[int, _Block] = {}
    last = np.full((2, len(paths)), [[-1], [0]], dtype=np.int64)
    regular: dict[int, list[int]] = {}
    for index, content in enumerate(contents):
        width = content[: content.find(b"\n") if b"\n" in content else None].count(b",") + 1
        if width in grammar.integers and content:
            regular.setdefault(width, []).append(index)
    for width, members in regular.items():
        for group in (members, *([one] for one in members)):  # all at once; if that fails, each on its own
            if group[0] in blocks:
                continue
            table = _regular_rows([contents[index] for index in group], width, grammar.integers[width])
            if table is None:
                continue
            for index, block in zip(group, table):
                blocks[index] = tuple(part if place else part + skips[index] for place, part in enumerate(block))
                last[:, index] = block[2].max(), width
    for index, path in enumerate(paths):
        if index not in blocks:
            blocks[index], last[0, index], last[1, index] = _irregular_rows(
                contents[index], path, grammar, skips[index], notices
            )
    in_order = [blocks[index] for index in range(len(paths))]
    columns = [np.concatenate(column) for column in zip(*in_order)] if in_order else list(_no_rows())
    file = np.repeat(np.arange(len(paths)), [len(block[0]) for block in in_order])
    return CsvRows(tuple(paths), file, *columns, *last)


def _bytes_of(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from None


def _is_integer(text: str | bytes) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def _skips(first: bytes, grammar: Grammar, path: Path, notices: Notices) -> bool:
    """Whether the first line is passed over."""
    if not first or grammar.header == "no":
        return False
    has_header = not _is_integer(first.split(b",")[0])
    if grammar.header == "always" and not has_header:
        notices.tell("no header, yet the official reader skips this line (Q14)", path=path, place="line 1")
    return has_header or grammar.header == "always"


def _no_rows() -> _Block:
    nothing = np.zeros(0, dtype=np.int64)
    return nothing, nothing, nothing, nothing, nothing, np.zeros((0, WIDEST - 3))


def _regular_rows(contents: list[bytes], width: int, integers: tuple[int, ...]) -> list[_Block] | None:
    """Files whose rows all have `width` columns of plain numbers; None where they are not so."""
    joined = b"".join(content if content.endswith(b"\n") else content + b"\n" for content in contents)
    if joined.translate(None, _PLAIN) or (b"\r" in joined and b"\r" in joined.replace(b"\r\n", b"")):
        return None
    kinds = np.dtype([(f"f{column}", np.int64 if column in integers else np.float64) for column in range(width)])
    try:
        table = np.loadtxt(io.BytesIO(joined), delimiter=",", dtype=kinds, comments=None, ndmin=1)
    except ValueError:
        return None
    lengths = [content.count(b"\n") + (not content.endswith(b"\n")) for content in contents]
    if len(table) != sum(lengths):  # blank lines were passed over
        return None
    with_source = width > 4
    values = np.full((len(table), WIDEST - 3), np.nan)
    for place, column in enumerate(range(2 + with_source, width)):
        values[:, place] = table[f"f{column}"]
    frame, class_index = np.ascontiguousarray(table["f0"]), np.ascontiguousarray(table["f1"])
    source = np.ascontiguousarray(table["f2"]) if with_source else np.zeros(len(table), dtype=np.int64)
    widths = np.full(len(table), width)
    ends = np.cumsum(lengths)
    return [
        (
            np.arange(1, end - start + 1),
            widths[start:end],
            frame[start:end],
            class_index[start:end],
            source[start:end],
            values[start:end],
        )
        for start, end in zip(ends - lengths, ends)
    ]


def _irregular_rows(
    content: bytes, path: Path, grammar: Grammar, skipped: int, notices: Notices
) -> tuple[_Block, int, int]:
    """Any file, line by line; largest frame (-1: no row) and width of the last row with it."""
    try:
        lines = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except UnicodeDecodeError:
        raise InputError("is no csv: not a text file", path=path) from None
    if lines[-1] == "":
        lines.pop()
    filled = len(lines)
    while filled and not lines[filled - 1].strip():
        filled -= 1
    if filled < len(lines):
        notices.tell("blank line at the end is skipped", path=path, place=f"line {filled + 1 + skipped}")
    widest, narrowest = max(grammar.integers), min(grammar.integers)
    rows: list[tuple[Any, ...]] = []
    frames: list[int] = []
    dropped: list[tuple[int, int]] = []
    width = 0
    for number, text in enumerate(lines[:filled], start=1 + skipped):
        place = f"line {number}"
        if not text.strip():
            raise InputError("is blank", path=path, place=place)
        fields = text.strip().split(",")
        width = len(fields)
        frame = int(_number(int, fields[0], "frame", path, place))
        frames.append(frame)
        if width < narrowest and grammar.narrow:
            raise InputError(f"has {width} columns, {grammar.narrow}", path=path, place=place)
        known = widest if grammar.wider and width > widest else width
        if known not in grammar.integers:
            dropped.append((number, width))
            continue
        integers = grammar.integers[known]
        numbers = [
            _number(int if column in integers else float, fields[column], _field_name(column, known), path, place)
            for column in range(1, known)
        ]
        source = numbers.pop(1) if known > 4 else 0
        values = (numbers[1:] + [np.nan] * WIDEST)[: WIDEST - 3]
        rows.append((number, known, frame, numbers[0], source, values))
    if dropped:
        number, width_dropped = dropped[0]
        more = f" ({len(dropped)} rows of this file)" if len(dropped) > 1 else ""
        rule = f"has {width_dropped} columns, which this layout passes over (Q2){more}"
        notices.tell(rule, path=path, place=f"line {number}")
    if not rows:
        return _no_rows(), max(frames, default=-1), width
    *whole, fractions = zip(*rows)
    block = *(_int64(column, path) for column in whole), np.array(fractions, dtype=np.float64)
    return block, max(frames), width


def _field_name(column: int, width: int) -> str:
    if width > 4 and column < 3:
        return _NAMES[column]
    return "class" if column == 1 else f"column {column + 1}"


def _int64(values: Sequence[int], path: Path) -> np.ndarray:
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        raise InputError("holds an integer beyond 64 bits", path=path) from None


def _number(kind: Callable[[str], float], field: str, name: str, path: Path, place: str) -> float:
    try:
        return kind(field)
    except ValueError:
        rule = f"{name} must be {'an integer' if kind is int else 'a number'}, found '{field.strip()[:40]}'"
        raise InputError(rule, path=path, place=place) from None
