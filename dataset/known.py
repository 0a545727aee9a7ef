"""`python -m dataset list`: the data sets and weights that are known."""

from __future__ import annotations

import argparse
import json

from dataset.catalogue import CATALOGUE, DataSet, Source, dataset_named
from util.download import megabytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `python -m dataset list`."""
    parser.add_argument("name", nargs="?", help="one data set: its files, sizes, checksums, citation")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Print the table, or one row of it.

    Raises
    ------
    InputError : no such data set
    """
    rows = list(CATALOGUE.values()) if args.name is None else [dataset_named(args.name)]
    if args.json:
        print(json.dumps([as_json(row) for row in rows], indent=1))
    elif args.name is None:
        print(table(rows))
    else:
        print(details(rows[0]))
    return 0


def size_of(row: DataSet | Source) -> str:
    """Size in words: "3.4 GB", "3.4 GB + ?" where some is not known, "?"."""
    if row.size is None:
        return "?"
    return megabytes(row.size) + ("" if isinstance(row, Source) or row.size_complete else " + ?")


def _hours(row: DataSet) -> str:
    return "-" if row.weights else "?" if row.hours is None else f"{row.hours:.1f}"


def table(rows: list[DataSet]) -> str:
    """Two lines per data set, the second with title and citation; "?" is what is not known."""
    head = ("name", "edition", "hours", "formats", "licence", "size", "comes from")
    lines = [(row.name, row.edition, _hours(row), row.formats, row.licence, size_of(row), row.place) for row in rows]
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in [head, *lines]]
    for number, row in reversed(list(enumerate(rows, start=1))):
        text.insert(number + 1, f"    {row.title}; {row.citation}")
    text += [
        "",
        "?: not known here; the record is asked when something is downloaded. hours: of sound.",
        "python -m dataset list NAME: its files and remarks. python -m dataset download NAME --to DIR fetches it.",
    ]
    return "\n".join(text)


def details(row: DataSet) -> str:
    """All that is known of a data set."""
    lines = [
        f"{row.name}: {row.title}",
        f"edition     {row.edition}",
        f"hours       {_hours(row)}",
        f"formats     {row.formats}",
        f"licence     {row.licence}",
        f"size        {size_of(row)} to download",
        f"comes from  {row.place}",
        f"citation    {row.citation}",
        f"layout      {row.layout or 'none'}",
        f"goes to     {'the cache' if row.weights else row.folder}, unless --to says otherwise",
    ]
    if row.remark:
        lines.append(f"remark      {row.remark}")
    lines.append("")
    if not row.files:
        lines.append("files: those that the record lists")
    width = max((len(file.name) for file in row.files), default=0)
    for file in row.files:
        lines.append(f"  {file.name:{width}}  {size_of(file):>9}  {file.checksum or 'checksum ?'}")
    return "\n".join(lines)


def as_json(row: DataSet) -> dict[str, object]:
    """All that is known of a data set, for programs; null is not known."""
    files = [{"name": file.name, "size": file.size, "checksum": file.checksum} for file in row.files]
    keys = ("name", "title", "edition", "hours", "formats", "licence", "citation", "layout", "remark")
    return {**{key: getattr(row, key) for key in keys}, "from": row.place, "files": files}
