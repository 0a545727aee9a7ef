"""What every command line of the project shares: bad input ends in one line and status 2."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Callable

from util.cpus import share_cpus
from util.errors import InputError

share_cpus()  # here, since every command line passes here before it imports PyTorch


def run_main(main: Callable[[list[str] | None], int | None], argv: list[str] | None = None) -> int:
    """Run a command line: its exit status; 2 after one line on standard error for bad input, 130 if interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return main(argv) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output ("| head") has gone
        sys.stderr.close()
        return 141
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        print(f"error: {error.filename or 'a file'}: cannot be written ({error.strerror})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
