"""Text files of users: encodings, line ends, separators and headers, understood in one place for every reader.

Spreadsheets, other systems and other programs write the same rows in many ways: with a byte order mark, as UTF-16, with
semicolons and decimal commas, with empty cells at the end of every row. What is clear is read; nothing is guessed of
what is not, and no row is passed over.
"""

from __future__ import annotations

import codecs
import csv
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from util.errors import InputError

logger = logging.getLogger(__name__)

_MARKS = (  # the longer ones first: UTF-32 begins as UTF-16 does
    (codecs.BOM_UTF8, "utf-8-sig", "a byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+(?:[eE][+-]?\d+)?\s*")
_SHOWN = 40  # characters of a field in a message
_said: set[str] = set()


def is_number(field: str) -> bool:
    """Whether Python's `float` reads it."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def shown(text: str, limit: int = _SHOWN) -> str:
    """A piece of a file for a message: cut, and every character that the eye would miss or mistake is escaped.

    A byte order mark, a no-break space or a typographic minus look like nothing, a space or "-".
    """
    plain = (c if (c.isascii() and c.isprintable()) or c.isalpha() else ascii(c)[1:-1] for c in text[:limit])
    return "".join(plain)


def read_text(path: str | os.PathLike[str], kind: str = "csv") -> str:
    """The text of a file: UTF-8, with or without a mark, or UTF-16 or UTF-32 that says so; line ends "\\n".

    Parameters
    ----------
    kind : what the file should be, for messages

    Raises
    ------
    InputError : no such file, cannot be read, no text, text of another encoding
    """
    return decoded(read_bytes(path), path=path, kind=kind)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.

    Raises
    ------
    InputError : no such file, cannot be read
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except (OSError, ValueError) as error:  # a folder, no permission; a zero byte in the name
        raise InputError(f"cannot be read ({getattr(error, 'strerror', None) or error})", path=path) from None


def decoded(content: bytes, *, path: str | os.PathLike[str] | None = None, kind: str = "csv") -> str:
    """As `read_text`, from the bytes of a file; `path` only names it in messages."""
    encoding = next((encoding for mark, encoding, _ in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _no_text(content, encoding, error, path, kind) from None
    if "\0" in text:
        if encoding == "utf-8" and _is_utf16(content):
            raise InputError(f"is no {kind}: UTF-16 without a byte order mark; save it as UTF-8", path=path)
        raise InputError(f"is no {kind}: not a text file", path=path)
    if "\ufeff" in text:  # a second mark, and those of files that were joined
        text = text.replace("\ufeff", "")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _no_text(
    content: bytes, encoding: str, error: UnicodeDecodeError, path: str | os.PathLike[str] | None, kind: str
) -> InputError:
    if b"\0" in content and encoding == "utf-8" and not _is_utf16(content):
        return InputError(f"is no {kind}: not a text file", path=path)
    if encoding != "utf-8":
        return InputError(f"is no {kind}: not a text file ({encoding} that breaks off)", path=path)
    before = content[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    rule = f"is no {kind}: not a text file in UTF-8 (byte 0x{content[error.start]:02x}); save it as UTF-8"
    return InputError(rule, path=path, place=f"line {before.count(10) + 1}")


def _is_utf16(content: bytes) -> bool:
    """Whether every second byte is zero, as in UTF-16 text of Latin letters and digits."""
    head = content[:200]
    return len(head) > 3 and any(not any(head[first::2]) and all(head[1 - first :: 2]) for first in (0, 1))


@dataclass(frozen=True)
class CsvText:
    """The rows of a csv file as text.

    Attributes
    ----------
    rows : fields of every row, without those that are empty at its end
    lines : number of the line of each row, from 1
    header : names in the first line, where that is a header; else None
    header_line : its number, 0 without one
    hint_line : number of the line that names the separator, as Excel writes it, 0 without one
    separator : what stands between the columns, " " for any number of spaces
    """

    rows: list[list[str]]
    lines: list[int]
    header: tuple[str, ...] | None = None
    header_line: int = 0
    hint_line: int = 0
    separator: str = ","


def is_header(fields: Sequence[str]) -> bool:
    """Whether the fields of a first line are names of columns: no number among them, and a letter somewhere."""
    filled = [field for field in fields if field.strip()]
    return any(c.isalpha() for field in filled for c in field) and not any(is_number(field) for field in filled)


def separator_of(line: str) -> str:
    """What stands between the columns of a line: ";", tab, "," or " " (any number of them).

    A comma may be a decimal comma where a semicolon or a tab separates.
    """
    if ";" in line:
        return ";"
    if "\t" in line:
        fields = line.split("\t")
        if "," not in line or all(_DECIMAL_COMMA.fullmatch(field) for field in fields if "," in field):
            return "\t"
    if "," not in line and (fields := line.split()) and len(fields) > 1:
        if all(is_number(field) for field in fields) or is_header(fields):
            return " "
    return ","


def fields_of(line: str, separator: str) -> list[str]:
    """The fields of a line without spaces around them, decimal commas made points, quotation marks taken off.

    Raises
    ------
    csv.Error : a quotation mark that has no end, a field of more than 128 KiB
    """
    if separator == " ":
        return line.split()
    if '"' in line:
        fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True), [])
    else:
        fields = line.split(separator)
    fields = [field.strip() for field in fields]
    if separator != ",":
        fields = [field.replace(",", ".") if _DECIMAL_COMMA.fullmatch(field) else field for field in fields]
    while fields and not fields[-1]:
        fields.pop()
    return fields


def parse_csv(text: str, *, path: str | os.PathLike[str] | None = None) -> CsvText:
    """Text with line ends "\\n" -> its rows; lines without any field are left out.

    The separator is that of the first line. A first line is a header where it is one (`is_header`).

    Raises
    ------
    InputError : quotation marks that do not fit together
    """
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not numbered:
        return CsvText([], [])
    hint = re.fullmatch(r"sep=(.)", numbered[0][1].strip(" "), re.IGNORECASE)  # a line that Excel writes and reads
    hint_line = numbered[0][0] if hint is not None and len(numbered) > 1 else 0
    if hint_line:
        numbered.pop(0)
    separator = hint[1] if hint is not None and hint_line else separator_of(numbered[0][1])
    plain = separator == "," and '"' not in text and ",\n" not in text and not text.rstrip(" \t").endswith(",")
    first = _fields(numbered[0], separator, path)
    while not first and len(numbered) > 1:  # a row of empty cells
        numbered.pop(0)
        first = _fields(numbered[0], separator, path)
    header = None
    if is_header(first):
        header = tuple(first)
        header_line = numbered.pop(0)[0]
    if plain:
        rows = [line.split(",") for _, line in numbered]
    else:
        rows = [_fields(one, separator, path) for one in numbered]
        numbered = [one for one, row in zip(numbered, rows) if row]
        rows = [row for row in rows if row]
    lines = [number for number, _ in numbered]
    return CsvText(rows, lines, header, 0 if header is None else header_line, hint_line, separator)


def _fields(numbered: tuple[int, str], separator: str, path: str | os.PathLike[str] | None) -> list[str]:
    try:
        return fields_of(numbered[1], separator)
    except csv.Error as error:
        raise InputError(f"cannot be split into columns ({error})", path=path, place=f"line {numbered[0]}") from None


def unusual_rows(text: str, found: CsvText) -> tuple[str, ...]:
    """What is unusual about the rows of a csv, in words.

    Parameters
    ----------
    found : `parse_csv` of the text
    """
    forms, separator = [], found.separator
    if separator != ",":
        named = {";": "semicolons", "\t": "tabs", " ": "spaces"}.get(separator, f"'{separator}'")
        forms.append(f"{named} between the columns")
        if any(_DECIMAL_COMMA.fullmatch(field) for line in text.split("\n") for field in line.split(separator)):
            forms.append("decimal commas")
    if '"' in text:
        forms.append("quotation marks")
    if separator == "," and (",\n" in text or text.rstrip().endswith(",")):
        forms.append("commas at the end of rows")
    if found.header is not None:
        forms.append("a header")
    return tuple(forms)


def unquoted(line: str) -> str:
    """A path or a name as a spreadsheet may write it: in quotation marks, with empty cells behind."""
    line = line.strip().rstrip(",;\t ")
    return line[1:-1] if len(line) > 1 and line[0] == line[-1] == '"' else line


def unusual_bytes(content: bytes) -> tuple[str, ...]:
    """What is unusual about the bytes of a text file, in words."""
    forms = [words for mark, _, words in _MARKS if content.startswith(mark)][:1]
    if b"\0" not in content and b"\r" in content.replace(b"\r\n", b""):
        forms.append("line ends of old Macs (CR)")
    return tuple(forms)


def say_once(rule: str, path: str | os.PathLike[str] | None = None) -> None:
    """Log a remark on a file; the same words on other files are not repeated in this process."""
    if rule not in _said:
        _said.add(rule)
        logger.warning("%s", rule if path is None else f"{os.fspath(path)}: {rule}")
