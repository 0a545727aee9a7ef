"""An item on a worker of a cluster: the function is kept from one item to the next, one item at a time."""

from __future__ import annotations

import os
import pickle
import threading
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from util.cpus import bound_threads, use_cpus
from util.errors import CommonError
from util.parallel import Event, carried_out, report_to, sendable

LIBRARIES = ("numpy", "scipy", "soundfile", "soxr", "torch", "av", "opencv-python-headless", "onnxruntime")

_OURS = "AV_SELD_"

_one_at_a_time = threading.Lock()
_kept: tuple[bytes, Any] | None = None


def versions() -> dict[str, str]:
    """Libraries that decide the bytes of what is made: name -> version."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, str]:
    """Environment variables of the project that go with an item: where its caches are, say."""
    return {name: value for name, value in os.environ.items() if name.startswith(_OURS)}


def run_errand(item: bytes, index: int, payload: bytes, wanted: dict[str, str], settings: dict[str, str]) -> bytes:
    """Carry out a pickled item; the pickled end of it.

    One at a time in each process, with as many threads as the worker has: what is carried out need not bear to be
    called from several threads at once.
    """
    with _one_at_a_time:
        for name in environment().keys() - settings.keys():
            del os.environ[name]
        os.environ.update(settings)
        try:
            function = _function(payload, wanted)
        except Exception as error:
            return pickle.dumps(Event(index, error=_unable(error)))
        report_to(None)
        bound_threads()
        event = carried_out(function, index, pickle.loads(item), away=True)
        if isinstance(event.error, ImportError):
            event = Event(index, error=_unable(event.error))
        return pickle.dumps(event)


def _function(payload: bytes, wanted: dict[str, str]) -> Any:
    global _kept
    if _kept is None or _kept[0] != payload:
        from distributed import get_worker

        use_cpus(get_worker().state.nthreads)
        _check_versions(wanted)
        _kept = payload, pickle.loads(payload)
    return _kept[1]


def _check_versions(wanted: dict[str, str]) -> None:
    here = versions()
    other = [f"{name} {here[name]} instead of {wanted[name]}" for name in wanted if here.get(name, "") != wanted[name]
             and name in here]  # fmt: skip
    if other:
        rule = f"has {', '.join(other)}: results would depend on where they are made; install the same versions there"
        raise CommonError(rule, path=f"worker {_address()}")


def _unable(error: Exception) -> Exception:
    """What every item meets on this worker."""
    if isinstance(error, ImportError):
        rule = f"lacks something ({error}): pip install -r requirements.txt -c constraints.txt there"
        return CommonError(rule, path=f"worker {_address()}")
    return sendable(error)


def _address() -> str:
    from distributed import get_worker

    return str(get_worker().address)
