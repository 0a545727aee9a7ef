"""The one error type for bad input: a message that names the file, the place and the rule."""

from __future__ import annotations

import os


class InputError(ValueError):
    """Bad input from the user: a file, a flag or a folder.

    Command lines print its message as one line and exit with status 2; everything else is a defect and keeps its
    traceback.

    Parameters
    ----------
    rule : what is wrong and what would be right, one sentence without a line break
    path : the file or folder at fault, if there is one
    place : where in the file: "line 12", "3.2 s", "channel 4"
    """

    def __init__(self, rule: str, *, path: str | os.PathLike[str] | None = None, place: str | None = None):
        self.rule, self.path, self.place = rule, None if path is None else os.fspath(path), place
        parts = [part for part in (self.path, place) if part]
        super().__init__(": ".join([*parts, rule]).replace("\n", " "))


class CommonError(InputError):
    """Bad input that every other item of a job would meet as well: a full disk, a package that a worker lacks."""
