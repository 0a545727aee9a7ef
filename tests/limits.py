"""A limit on the size of files stands for the end of a disk, on systems that know one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest

needs_file_limit = pytest.mark.skipif(
    importlib.util.find_spec("resource") is None, reason="this system has no limit on the size of files"
)


def file_limit(size: int) -> Callable[[], None]:
    """What a child process calls first (`preexec_fn`), so that no file of its grows beyond `size` bytes."""

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit
