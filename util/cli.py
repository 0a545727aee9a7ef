"""What every command line of the project shares: bad input ends in one line and status 2."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from util.errors import InputError

# Threads that wait for their siblings by spinning stop everything as soon as another program wants a core: a training
# step then took 2.6 s, against 0.17 s with threads that sleep. Read when PyTorch's OpenMP is loaded, so it stands where
# every command line passes before it imports PyTorch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def run_main(main: Callable[[list[str] | None], int | None], argv: list[str] | None = None) -> int:
    """Run a command line: its exit status; 2 after one line on standard error for bad input, 130 if interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return main(argv) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output ("| head") has gone
        sys.stderr.close()
        return 141
