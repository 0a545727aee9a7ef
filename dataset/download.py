"""`python -m dataset download NAME`: fetch a data set, check it, unpack it into its layout."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from tqdm import tqdm

from dataset.catalogue import CATALOGUE, DataSet, Source, chosen, dataset_named
from dataset.layouts import LAYOUTS
from detection.models import URL_VARIABLE as YOLOX_VARIABLE
from util.cache import cache_folder
from util.download import fetch, megabytes, read_json_of
from util.errors import CommonError, InputError
from util.files import read_json, write_json
from util.split_zip import open_zip

URL = "https://zenodo.org"
URL_VARIABLE = "AV_SELD_ZENODO_URL"  # environment variable: a mirror of URL
UNPACKED = 1.4  # bytes of sound that a byte of an archive holds, about: until its directory says it
PROVENANCE = "downloads.json"
_SPARE = 100e6  # that stays free


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `python -m dataset download`."""
    parser.add_argument("name", help=f"one of {', '.join(CATALOGUE)}; see python -m dataset list")
    parser.add_argument(
        "--only", default="", metavar="A,B", help="archives to fetch, foa_dev,metadata_dev; without it all of them"
    )
    parser.add_argument(
        "--to",
        metavar="DIR",
        help="data root to make, or to add to [data_NAME, as list NAME says; weights: the cache of the project, which "
        "is where they are looked for]",
    )
    parser.add_argument("--keep-archives", action="store_true", help="archives stay in DIR/archives when unpacked")
    parser.add_argument("--plan", action="store_true", help="say what would be done, and how much disk it needs")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def run(args: argparse.Namespace) -> int:
    """Fetch, check and unpack; what was done before, and is still there, is not done again.

    Raises
    ------
    InputError : no such data set or archive, too little disk, a broken or wrong file, no way to the server
    """
    row = dataset_named(args.name)
    only = [name.strip() for name in args.only.split(",") if name.strip()]
    root = Path(args.to) if args.to else cache_folder() if row.weights else Path(row.folder)
    if root.exists() and not root.is_dir():
        raise InputError("is a file; --to needs a folder", path=root)
    files = chosen(row, known_files(row), only)
    done = _done(root)
    lost = _lost(root, files, done.get(row.name, {}))
    todo = [file for file in files if file.name not in done.get(row.name, {}) or file.archive in lost]
    _say(row, root, files, todo, lost)
    if args.plan or not todo:
        return 0
    _check_space(root, todo, args.only == "")
    for parts in _by_archive(todo, files):
        again = lost.get(parts[0].archive)
        _one(row, parts, root, done, again, progress=not args.quiet, keep=args.keep_archives)
    if row.layout is not None:
        _describe(row, root)
    print(f"done: {root}")
    return 0


def zenodo_url() -> str:
    """Where records are: Zenodo, or a mirror of it."""
    return (os.environ.get(URL_VARIABLE) or URL).rstrip("/")


def known_files(row: DataSet) -> list[Source]:
    """The files of a data set, with the checksums and sizes of its records where they can be reached.

    Raises
    ------
    InputError : the record cannot be reached, and the table does not know the files
    """
    if row.record is None:
        return list(row.files)
    records = dict.fromkeys([row.record, *(file.record for file in row.files if file.record is not None)])
    found: dict[int, dict[str, Source] | None] = {number: _of_record(number) for number in records}
    for number, listed in found.items():
        if listed is None:
            if not row.files:
                rule = "cannot be reached, and nothing else says what files there are; try again later"
                raise InputError(rule, path=f"{zenodo_url()}/records/{number}")
            print(f"record {number} cannot be reached; sizes and checksums are those of the table")
    if not row.files:
        return [file for listed in found.values() for file in (listed or {}).values()]
    files = []
    for file in row.files:
        listed = found[file.record or row.record]
        said = None if listed is None else listed.get(file.name)
        if listed is not None and said is None:
            print(f"record {file.record or row.record} does not list {file.name}: it is left out")
            continue
        files.append(file if said is None else replace(file, size=said.size, checksum=said.checksum or file.checksum))
    # parts of the same archives that only the records know
    archives = {(file.archive, file.record or row.record) for file in files if file.is_archive}
    named = {file.name for file in files}
    for number, listed in found.items():
        others = (file for file in (listed or {}).values() if file.is_archive and file.name not in named)
        files += [file for file in others if (file.archive, number) in archives]
    return files


def _of_record(number: int) -> dict[str, Source] | None:
    """Files of a record by name; None where it cannot be reached, or says something else."""
    found = read_json_of(f"{zenodo_url()}/api/records/{number}")
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(files, list):
        return None
    listed = {}
    for one in files:
        if not isinstance(one, dict) or not re.fullmatch(r"[^./\\\0][^/\\\0]*", str(one.get("key", ""))):
            return None  # a name that is no name of a file
        checksum, size = one.get("checksum"), one.get("size")
        listed[one["key"]] = Source(
            one["key"],
            size if isinstance(size, int) and size >= 0 else None,
            checksum if isinstance(checksum, str) and checksum.partition(":")[0] in ("md5", "sha256") else None,
            number,
        )
    return listed


def url_of(row: DataSet, file: Source) -> str:
    """Address of a file."""
    if row.record is None:
        return f"{(os.environ.get(YOLOX_VARIABLE) or row.url).rstrip('/')}/{quote(file.name)}"
    return f"{zenodo_url()}/api/records/{file.record or row.record}/files/{quote(file.name)}/content"


def _by_archive(todo: Sequence[Source], files: Sequence[Source]) -> list[list[Source]]:
    """The files to fetch, parts of one archive together and in order; of an archive always all parts."""
    names = dict.fromkeys(file.archive for file in todo)
    return [sorted((one for one in files if one.archive == name), key=lambda one: one.order) for name in names]


def _done(root: Path) -> dict[str, dict[str, Any]]:
    """What was fetched into a root before: data set -> file name -> what it was."""
    path = root / PROVENANCE
    if not path.is_file():
        return {}
    found = read_json(path)
    sets = list(found.values()) if isinstance(found, dict) else [found]
    files = [one for files in sets if isinstance(files, dict) for one in files.values()]
    if not all(isinstance(one, dict) for one in (*sets, *files)) or not all(map(_holds_names, files)):
        raise InputError("must be a json object, data set -> file -> what it was; delete it to start again", path=path)
    return found


def _holds_names(file: Mapping[str, Any]) -> bool:
    held = file.get("holds", [])
    return isinstance(held, list) and all(isinstance(name, str) for name in held)


def _lost(root: Path, files: Sequence[Source], done: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """What was put below the root before and is no longer there: archive -> its files, as `Path.as_posix`.

    Only what is missing counts: a file that was edited stays as it is.
    """
    lost: dict[str, set[str]] = {}
    for file in files:
        held = done.get(file.name, {}).get("holds", [])
        if missing := {name for name in held if not (root / name).exists()}:
            lost.setdefault(file.archive, set()).update(missing)
    return lost


def _say(
    row: DataSet, root: Path, files: Sequence[Source], todo: Sequence[Source], lost: Mapping[str, set[str]]
) -> None:
    print(f"{row.title}, licence {row.licence}; cite {row.citation}")
    for archive, names in lost.items():
        print(f"{archive}: {len(names)} of its files are gone, as {min(names)}; it is fetched again for them alone")
    if len(todo) < len(files):
        print(f"{len(files) - len(todo)} of {len(files)} files are there already")
    if not todo:
        print(f"nothing to do: {root} (delete its {PROVENANCE} to fetch all of it again)")
        return
    known, unknown = _sizes(todo)
    least = " and more: the size of " + ", ".join(unknown) + " is not known" if unknown else ""
    print(f"to download: {megabytes(known)}{least}")
    print(f"disk: about {megabytes(needed(todo))}{' and more' if unknown else ''} in {root} while it is unpacked")
    if changed := _changed(row, todo):
        print(f"the record has other checksums than the table, and is believed: {', '.join(changed)}")
    nameless = [file.name for file in todo if file.checksum is None]
    if nameless:
        print(f"no checksum is known of {', '.join(nameless)}: only their size is checked, where it is known")


def _changed(row: DataSet, files: Sequence[Source]) -> list[str]:
    """Names of the files of which the record has another checksum than the table."""
    table = {file.name: file.checksum for file in row.files}
    return [file.name for file in files if table.get(file.name) not in (None, file.checksum)]


def _sizes(files: Sequence[Source]) -> tuple[int, list[str]]:
    """Bytes that are known, and names of the files whose size is not."""
    return sum(file.size or 0 for file in files), [file.name for file in files if file.size is None]


def needed(files: Sequence[Source]) -> int:
    """Bytes of disk: everything unpacked, and the largest archive, which is there until it is unpacked."""
    archives: dict[str, int] = {}
    for file in files:
        archives[file.archive] = archives.get(file.archive, 0) + (file.size or 0)
    return round(sum(UNPACKED * size for size in archives.values()) + max(archives.values(), default=0))


def _free(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _check_space(root: Path, todo: Sequence[Source], whole: bool) -> None:
    need, free = needed(todo) + _SPARE, _free(root.absolute())
    if need > free:
        hint = "; --only foa_dev,metadata_dev takes less" if whole else ""
        rule = f"needs about {megabytes(need)} of disk, {megabytes(free)} are free{hint}"
        raise CommonError(rule, path=root)


def _one(
    row: DataSet,
    parts: Sequence[Source],
    root: Path,
    done: dict[str, Any],
    again: set[str] | None,
    *,
    progress: bool,
    keep: bool,
) -> None:
    """Fetch one archive, or one file, put what is in it to its place, and remember that it is there.

    Parameters
    ----------
    again : files of it that are gone, the others are left as they are; None: it was not there before
    """
    folder = root / "archives" if parts[0].is_archive else root
    paths = [
        fetch(url_of(row, part), folder / part.name, size=part.size, checksum=part.checksum, progress=progress)
        for part in parts
    ]
    made = paths
    if parts[0].is_archive:
        made = unpack(paths, root, parts[0].archive, _folders(row), only=again, progress=progress)
        if not keep:
            for path in paths:
                path.unlink()
            with contextlib.suppress(OSError):  # another archive's parts may lie there
                folder.rmdir()
    known = done.setdefault(row.name, {})
    known |= {part.name: {"size": part.size, "checksum": part.checksum, "from": url_of(row, part)} for part in parts}
    known[parts[-1].name]["holds"] = [path.relative_to(root).as_posix() for path in made]
    write_json(root / PROVENANCE, done)


def _folders(row: DataSet) -> Mapping[str, str]:
    """Names of the folders that the layout has below its root, in lower case -> as they are."""
    if row.layout is None:
        return {}
    layout = LAYOUTS[row.layout]
    kinds = [*layout.audio.values(), "metadata", "video"]
    return {f"{kind}_{stage}": f"{kind}_{stage}" for kind in kinds for stage in ("dev", "eval")}


def unpack(
    parts: Sequence[Path],
    root: Path,
    archive: str,
    folders: Mapping[str, str],
    *,
    only: set[str] | None = None,
    progress: bool = True,
) -> list[Path]:
    """Unpack an archive below a root: files appear whole or not at all, under the folders of the layout.

    What lies above such a folder inside of the archive is left away; an archive "foa_dev" without that folder inside
    goes into one.

    Parameters
    ----------
    only : places below the root that are to be filled; None: all

    Returns
    -------
    places of all files of the archive

    Raises
    ------
    InputError : it is no zip archive, a file in it is damaged, or would land outside of the root
    CommonError : too little disk
    """
    temporary = root / f".unpack-{archive}"
    with open_zip(parts) as opened:
        entries = [entry for entry in opened.infolist() if not entry.is_dir() and not _litter(entry.filename)]
        targets = {entry.filename: _target(entry.filename, archive, folders, parts[-1]) for entry in entries}
        places = [root / target for target in targets.values()]
        if only is not None:
            entries = [entry for entry in entries if targets[entry.filename].as_posix() in only]
            targets = {entry.filename: targets[entry.filename] for entry in entries}
        total, free = sum(entry.file_size for entry in entries), _free(root.absolute())
        if total + _SPARE > free:
            rule = f"unpacks to {megabytes(total)}, {megabytes(free)} are free; it stays, the same command goes on"
            raise CommonError(rule, path=parts[-1])
        once: dict[Path, str] = {}
        for name, target in targets.items():
            if once.setdefault(target, name) != name:
                raise InputError(f"holds two files for one place, {once[target]} and {name}", path=parts[-1])
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            with tqdm(total=total, unit="B", unit_scale=True, desc=f"unpack {archive}", disable=not progress) as bar:
                for entry in entries:
                    _extract(opened, entry, temporary / targets[entry.filename], parts[-1], bar)
            for target in targets.values():
                (root / target).parent.mkdir(parents=True, exist_ok=True)
                os.replace(temporary / target, root / target)
        except OSError as error:
            raise CommonError(f"cannot be written ({error.strerror})", path=error.filename or root) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return places


def _litter(name: str) -> bool:
    """What systems leave in archives: __MACOSX, .DS_Store."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return "__MACOSX" in parts or any(part.startswith("._") or part == ".DS_Store" for part in parts)


def _target(name: str, archive: str, folders: Mapping[str, str], path: Path) -> Path:
    """Where a file of an archive goes, below the root.

    Raises
    ------
    InputError : outside of it
    """
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or not place.parts or ":" in place.parts[0]:
        raise InputError(f"holds a file that would land outside of the folder: {name[:80]}", path=path)
    parts = [part for part in place.parts if part != "."]
    at = next((number for number, part in enumerate(parts[:-1]) if part.lower() in folders), None)
    if at is not None:
        return Path(folders[parts[at].lower()], *parts[at + 1 :])
    if archive.lower() in folders:
        return Path(folders[archive.lower()], *parts)
    return Path(*parts)


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, archive: Path, bar: tqdm) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with opened.open(entry) as source, open(path, "wb") as file:
            for block in _blocks(source):
                file.write(block)
                bar.update(len(block))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"is damaged ({error})", path=archive, place=entry.filename) from None
    except ValueError as error:
        raise InputError(f"is damaged ({error})", path=archive, place=entry.filename) from None
    except OSError as error:
        if error.errno is None:
            raise InputError(f"is damaged ({error})", path=archive, place=entry.filename) from None
        raise
    if path.stat().st_size != entry.file_size:
        raise InputError("is damaged: a file in it is shorter than it says", path=archive, place=entry.filename)


def _blocks(source: Any) -> Iterator[bytes]:
    import zlib

    try:
        while block := source.read(1 << 18):
            yield block
    except zlib.error as error:
        raise zipfile.BadZipFile(str(error)) from None


def _describe(row: DataSet, root: Path) -> None:
    """dataset.json of a root that has none; of one that the data set joins, the layout that it then has."""
    path = root / "dataset.json"
    about = {"name": row.title, "layout": row.layout, "licence": row.licence, "citation": row.citation}
    found = read_json(path) if path.exists() else None
    if found is None:
        write_json(path, about)
    elif row.joins and isinstance(found, dict) and found.get("layout") == row.joins:
        write_json(path, {**found, "name": f"{found.get('name', row.joins)}; {row.title}", "layout": row.layout})
