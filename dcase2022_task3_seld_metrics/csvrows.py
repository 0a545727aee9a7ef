"""csv files -> numbers: all files of a folder at once where they are regular, line by line where they are not.

A row is `frame, class[, source], values`; what the values mean is the layout's business (`layouts`). Numbers are read
as Python's `int` and `float` read them: frame, class and source must be integers.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dcase2022_task3_seld_metrics.notices import Notices, refuse_first
from dcase2022_task3_seld_metrics.parts import read_in_parts
from util.columns import Chosen, choose, left_out_in_words, named
from util.errors import InputError
from util.parallel import HERE, Where
from util.text import CsvText, decoded, fields_of, is_header, parse_csv, read_bytes, separator_of, shown

WIDEST = 7
_PLAIN = b"0123456789+-.eE, \r\n"
_NAMES = ("frame", "class", "source")
_ANGLES, _VECTOR = ("azimuth", "elevation"), ("x", "y", "z")


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
    columns : what the headers of the files say that the columns are, and the unit of the distance ("m", "cm") or None;
        None where no file has a header that is believed
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
    columns: tuple[tuple[str, ...], str | None] | None = None

    def refuse(self, rows: np.ndarray, rule: str) -> None:
        """Raise InputError for the first of the rows (n,) bool, if there is one."""
        if rows.any():
            at = int(np.argmax(rows))
            raise InputError(rule, path=self.paths[self.file[at]], place=f"line {self.line[at]}")

    def refuse_first(self, broken: Sequence[tuple[np.ndarray, str]]) -> None:
        """Raise InputError for the first row that breaks one of the rules, each with the rows (n,) bool that do."""
        refuse_first(broken, self.paths, self.file, self.line)


@dataclass(frozen=True)
class Grammar:
    """What the rows of a file may look like.

    Attributes
    ----------
    integers : number of columns -> which of them must be integers; rows of other widths are dropped
    header : "no": none; "always": the first line is skipped, whatever it is (one that contradicts the columns is
        refused); "names": the first line may be a header, and then says which columns there are
    columns : the columns in their order, for "always"; for "names", where there is but one choice
    whole : integers may be written with a point, as 3.0
    wider : a row with more columns than any known width counts as one of the widest
    narrow : rule broken by a row that is too narrow; None: it is dropped like any unknown width
    """

    integers: dict[int, tuple[int, ...]]
    header: str = "no"
    wider: bool = False
    narrow: str | None = None
    columns: tuple[str, ...] | None = None
    whole: bool = False


_Block = tuple[np.ndarray, ...]  # line, width, frame, class, source, values


def read_csv_rows(paths: Sequence[Path], grammar: Grammar, notices: Notices, where: Where = HERE) -> CsvRows:
    """Read files of one kind.

    Parameters
    ----------
    where : they are read; does not change what is found, nor what is said of it

    Raises
    ------
    InputError : unreadable file, blank line before the end, a header where none is due or of other columns, text where
        a number is due; with file and line
    """
    parts = read_in_parts(partial(_part_of, grammar=grammar), paths, where)
    for part in parts:
        if part.error is not None:  # no headers, so nothing can be said of them
            raise part.error
    read = [part.value for part in parts if part.value is not None]
    opened = [one for found in read for one in found.opened]
    columns = _told(opened, paths, grammar, notices)
    for part, found in zip(parts, read):
        part.remarks.tell_to(notices)
        if found.refused is not None:
            raise found.refused
    blocks = [block for found in read for block in found.blocks]
    lines, widths, frames, classes, sources, values = (
        [np.concatenate(column) for column in zip(*blocks)] if blocks else list(_no_rows())
    )
    last = np.concatenate([found.last for found in read], axis=1) if read else np.zeros((2, 0), dtype=np.int64)
    file = np.repeat(np.arange(len(paths)), [len(block[0]) for block in blocks])
    rows = CsvRows(tuple(paths), file, lines, widths, frames, classes, sources, values, last[0], last[1], columns)
    if columns is not None:
        named_here = np.array([one.columns is not None for one in opened])
        due = f"is not as wide as the header, which names {len(columns[0])} columns"
        rows.refuse(named_here[file] & (rows.width != len(columns[0])), due)
    return rows


@dataclass(frozen=True, eq=False)
class _Part:
    """Some files.

    Attributes
    ----------
    opened : without their content
    blocks : the rows of each
    last : (2, files) largest frame number, columns of the last line
    refused : what is wrong with a row, which counts after what is wrong with the headers of all files
    """

    opened: list[_Opened]
    blocks: list[_Block]
    last: np.ndarray
    refused: InputError | None = None


def _part_of(paths: Sequence[Path], notices: Notices, *, grammar: Grammar) -> _Part:
    """Read some files: those that are regular all at once.

    Raises
    ------
    InputError : a file cannot be read, or its header is not understood
    """
    opened = [_opened(path, grammar) for path in paths]
    contents, skips = [one.content for one in opened], [one.skipped for one in opened]
    opened = [replace(one, content=b"") for one in opened]
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
            try:
                blocks[index], last[0, index], last[1, index] = _irregular_rows(
                    contents[index], path, grammar, skips[index], notices
                )
            except InputError as error:
                return _Part(opened, [], last, error)
    return _Part(opened, [blocks[index] for index in range(len(paths))], last)


@dataclass(frozen=True)
class _Opened:
    """A file on the way to numbers.

    Attributes
    ----------
    content : its rows, separated by commas, in the order that is understood
    skipped : lines above them: the header
    columns, unit : what the header says that the columns are, and the unit of the distance
    left_out : columns of the file that are not among the content
    no_header : a first line is skipped that is none
    """

    content: bytes
    skipped: int = 0
    columns: tuple[str, ...] | None = None
    unit: str | None = None
    left_out: tuple[str, ...] = ()
    no_header: bool = False


class _HeaderGrammar(NamedTuple):
    """What of a grammar says how a header is understood."""

    header: str
    columns: tuple[str, ...] | None


@dataclass(frozen=True)
class _Header:
    """What is done with a header: the columns to take (None for a source that is not there), and what they are."""

    places: tuple[int | None, ...]
    columns: tuple[str, ...]
    unit: str | None
    left_out: tuple[str, ...]

    @property
    def natural(self) -> bool:
        """Whether the columns stand as they are understood."""
        return self.places == tuple(range(len(self.places))) and not self.left_out


def _opened(path: Path, grammar: Grammar) -> _Opened:
    """Read a file and bring it into the common form; rows of plain numbers are passed on as they are."""
    content = read_bytes(path)
    first = content[: content.find(b"\n") + 1 or None]
    plain = not first.translate(None, _PLAIN) and b"\r" not in first[:-2]
    if plain and (b"," in first or not first.strip()) and not first.rstrip().endswith(b","):
        if grammar.header != "always" or not first:
            return _Opened(content)
        return _Opened(content[len(first) :], 1, no_header=True)
    if grammar.header != "no" and first.isascii() and b"\r" not in first[:-2]:  # a plain header above plain rows
        line = first.decode("ascii").strip()
        separator = separator_of(line)
        if separator == "," and '"' not in line and not line.endswith(",") and is_header(line.split(",")):
            header = _understood(tuple(fields_of(line, separator)), grammar, path, 1)
            if header.natural:
                return _Opened(content[len(first) :], 1, header.columns, header.unit)
    return _rewritten(content, path, grammar)


def _rewritten(content: bytes, path: Path, grammar: Grammar) -> _Opened:
    """A file of any form -> its rows line by line, separated by commas, in the order that is understood."""
    text = decoded(content, path=path)
    lines = text.split("\n")
    found = parse_csv(text, path=path)
    header = None
    if found.header is not None and grammar.header != "no":
        header = _understood(found.header, grammar, path, found.header_line)
    rows = [""] * len(lines)
    if found.header is not None and header is None:  # refused as a row, where headers are not known
        rows[found.header_line - 1] = ",".join(found.header)
    for number, row in zip(found.lines, found.rows):
        rows[number - 1] = ",".join(row if header is None else _chosen_fields(row, header, path, number))
    if lines[-1] == "":
        rows.pop()
    skipped = found.hint_line if header is None else found.header_line
    no_header = grammar.header == "always" and not skipped and bool(rows)
    skipped = 1 if no_header else skipped
    body = "".join(f"{row}\n" for row in rows[skipped:]).encode()
    if header is None:
        return _Opened(body, skipped, no_header=no_header)
    return _Opened(body, skipped, header.columns, header.unit, header.left_out)


def _chosen_fields(row: list[str], header: _Header, path: Path, number: int) -> list[str]:
    taken = [place for place in header.places if place is not None]
    width = len(taken) + len(header.left_out)
    if not max(taken) < len(row) <= width:
        raise InputError(f"has {len(row)} columns, the header names {width}", path=path, place=f"line {number}")
    return ["0" if place is None else row[place] for place in header.places]


@lru_cache(maxsize=64)  # the files of a folder have one header
def _columns_of(header: tuple[str, ...], grammar: _HeaderGrammar) -> _Header:
    units = {"azimuth": "deg", "elevation": "deg"}
    if grammar.columns is not None:
        if grammar.header == "always":
            units["distance"] = "cm"
        return _header(choose(header, grammar.columns, units=units), grammar.columns)
    names = {named(name).name for name in header if name}
    is_vector = set(_VECTOR) <= names and not set(_ANGLES) <= names
    wanted = ("frame", "class", "source", *(_VECTOR if is_vector else _ANGLES), "distance")
    chosen = choose(header, wanted, optional=("source", "distance"), units=units)
    if "distance" not in chosen.positions:
        wanted = wanted[:-1]
        if "source" not in chosen.positions and not is_vector:
            wanted = tuple(name for name in wanted if name != "source")
    return _header(chosen, wanted)


def _header(chosen: Chosen, wanted: tuple[str, ...]) -> _Header:
    if chosen.units.get("distance") not in (None, "m", "cm"):
        raise InputError("the header gives the distance in millimetres; metres and centimetres are understood")
    places = tuple(chosen.positions.get(name) for name in wanted)
    return _Header(places, wanted, chosen.units.get("distance"), chosen.left_out)


def _understood(fields: tuple[str, ...], grammar: Grammar, path: Path, number: int) -> _Header:
    """What a header says; of the official layout that skips it, whether it agrees."""
    key = _HeaderGrammar(grammar.header, grammar.columns)
    due = grammar.columns or ()
    try:
        header = _columns_of(fields, key)
    except InputError as error:
        if grammar.header == "always" and not any(named(field).name in due for field in fields):
            return _Header(tuple(range(len(due))), due, None, ())  # no known name, nothing that it contradicts
        raise InputError(error.rule, path=path, place=f"line {number}") from None
    if grammar.header == "names" or header.places == tuple(range(len(due))):
        return header
    rule = f"the header contradicts the layout, whose columns are {','.join(due)}; layout auto takes them by name"
    raise InputError(rule, path=path, place=f"line {number}")


def _told(
    opened: Sequence[_Opened], paths: Sequence[Path], grammar: Grammar, notices: Notices
) -> tuple[tuple[str, ...], str | None] | None:
    """Say what of the files is left out; what their headers agree on.

    Raises
    ------
    InputError : the headers of two files name other columns
    """
    left_out: dict[tuple[str, ...], list[Path]] = {}
    first = Path()
    named_by: tuple[tuple[str, ...], str | None] | None = None
    for path, one in zip(paths, opened):
        if one.no_header:
            notices.tell("no header, yet the official reader skips this line (Q14)", path=path, place="line 1")
        if one.left_out:
            left_out.setdefault(one.left_out, []).append(path)
        if one.columns is not None:
            if named_by is None:
                first, named_by = path, (one.columns, one.unit)
            if (one.columns, one.unit) != named_by:
                rule = f"the header names other columns than that of {first} ({','.join(named_by[0])})"
                raise InputError(f"{rule}: {','.join(one.columns)}", path=path, place=f"line {one.skipped}")
    for names, files in left_out.items():
        more = f" (and in {len(files) - 1} more files)" if len(files) > 1 else ""
        notices.tell(left_out_in_words(names) + more, path=files[0], place="line 1")
    if named_by is None or grammar.header != "names":
        return None
    return named_by


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
    lines = _lines_of(content, path)
    filled = len(lines)
    while filled and not lines[filled - 1].strip():
        filled -= 1
    if filled < len(lines):
        notices.tell("blank line at the end is skipped", path=path, place=f"line {filled + 1 + skipped}")
    whole = _whole if grammar.whole else int
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
        if width == 1 and grammar.narrow:
            raise InputError(f"has 1 columns, {grammar.narrow}, found '{shown(fields[0])}'", path=path, place=place)
        frame = int(_number(whole, fields[0], "frame", path, place))
        frames.append(frame)
        if width < narrowest and grammar.narrow:
            raise InputError(f"has {width} columns, {grammar.narrow}", path=path, place=place)
        known = widest if grammar.wider and width > widest else width
        if known not in grammar.integers:
            dropped.append((number, width))
            continue
        integers = grammar.integers[known]
        numbers = [
            _number(whole if column in integers else float, fields[column], _field_name(column, known), path, place)
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
    *integer_columns, fractions = zip(*rows)
    whole_numbers = (np.array(column, dtype=np.int64) for column in integer_columns)
    block = *whole_numbers, np.array(fractions, dtype=np.float64)
    return block, max(frames), width


def _field_name(column: int, width: int) -> str:
    if width > 4 and column < 3:
        return _NAMES[column]
    return "class" if column == 1 else f"column {column + 1}"


def _lines_of(content: bytes, path: Path) -> list[str]:
    """Lines of a file in the common form: empty cells at the end of a row are no columns."""
    text = decoded(content, path=path)
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    if '"' in text or ";" in text or "\t" in text or ",\n" in text or text.endswith(","):
        found: CsvText = parse_csv(text, path=path)
        rows = [""] * len(lines)
        for number, row in zip(found.lines, found.rows):
            rows[number - 1] = ",".join(row)
        if found.header is not None:
            rows[found.header_line - 1] = ",".join(found.header)
        return rows
    return lines


def _whole(field: str) -> int:
    """An integer, also one that is written with a point."""
    try:
        return int(field)
    except ValueError:
        value = float(field)
        if not value.is_integer():
            raise ValueError from None
        return int(value)


def _number(kind: Callable[[str], float], field: str, name: str, path: Path, place: str) -> float:
    try:
        value = kind(field)
    except (ValueError, OverflowError):
        found = f"found '{shown(field.strip())}'" if field.strip() else "and is empty"
        rule = f"{name} must be {'a number' if kind is float else 'an integer'}, {found}"
        raise InputError(rule, path=path, place=place) from None
    if kind is not float and not -(2**63) <= value < 2**63:
        raise InputError(f"{name} is an integer beyond 64 bits", path=path, place=place)
    return value
