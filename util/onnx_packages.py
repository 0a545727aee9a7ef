"""The packages that write ONNX files; nobody needs them to run one."""

from __future__ import annotations

import importlib

from util.errors import CommonError

INSTALL = "pip install -r requirements-export.txt -c constraints.txt"


def check_onnx_packages(what: str, *names: str) -> None:
    """Refuse where a package is missing.

    Parameters
    ----------
    what : what needs them, as "-export"
    names : of modules, as "onnx"

    Raises
    ------
    CommonError : with the command that installs them
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CommonError(f"{what} needs the package {name} ({error}): {INSTALL}") from None
