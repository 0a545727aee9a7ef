"""Items on a cluster, through Dask: a scheduler that runs, or one that is started by a batch system or over ssh."""

from __future__ import annotations

import logging
import pickle
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from util.errors import CommonError, InputError
from util.parallel import Event, Item, Result
from util.text import read_text

_IN_FLIGHT = 2000  # tasks that the scheduler knows at a time
_TIMEOUT_S = 20
_BATCH_SYSTEMS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "oar": "OARCluster",
    "condor": "HTCondorCluster",
}
INSTALL = "pip install -r requirements-cluster.txt -c constraints.txt"
ATTEMPTS = 3  # workers that may die at one item, of a scheduler that we start

log = logging.getLogger(__name__)


def on_cluster(function: Callable[[Item], Result], items: Sequence[Item], address: str) -> Generator[Event, None, None]:
    """The ends of the items, as they come; see `util.parallel.each`."""
    try:
        from distributed import KilledWorker

        from util.shipping import Code, code_archive
    except ImportError as error:
        raise CommonError(f"--cluster needs Dask ({error}): {INSTALL}") from None
    with _client(address) as client:
        client.register_plugin(Code(code_archive()))
        if not client.scheduler_info(n_workers=-1)["workers"]:
            log.info("%s: waiting for the first worker", client.dashboard_link)
        job = _Job(client, function, items)
        suspects: list[int] = []
        todo = iter(range(len(items)))
        running = job.submit([index for _, index in zip(range(_IN_FLIGHT), todo)])
        try:
            for ended, future in enumerate(running, 1):
                event = job.end_of(future)
                if isinstance(event.error, KilledWorker):  # it, or another item that the same worker had
                    suspects.append(event.index)
                else:
                    yield event
                if ended % (_IN_FLIGHT // 4) == 0:
                    running.update(job.futures([index for _, index in zip(range(_IN_FLIGHT // 4), todo)]))
            for index in suspects:  # alone, which shows whose fault it was
                (event,) = map(job.end_of, job.submit([index]))
                if isinstance(event.error, KilledWorker):
                    rule = "the workers that worked on it died, one after the other (out of memory?)"
                    event = Event(index, error=InputError(rule))
                yield event
        finally:
            client.cancel(list(job.flying.values()), force=True)


class _Job:
    """The items of one call as tasks of the scheduler."""

    def __init__(self, client: Any, function: Callable[[Item], Result], items: Sequence[Item]):
        from util.errand import environment, versions
        from util.shipping import same

        self.client, self.items, self.name = client, items, uuid.uuid4().hex[:12]
        payload = client.submit(same, pickle.dumps(function), key=f"function-{self.name}", pure=False)
        self.arguments = {
            "payload": payload,
            "versions": versions(),
            "environment": environment(),
            "pure": False,
            "retries": 0,
        }
        self.numbers: dict[str, int] = {}  # of the items by key of their task
        self.flying: dict[str, Any] = {}

    def futures(self, indices: Sequence[int]) -> list[Any]:
        """Tasks of some items."""
        from util.shipping import run

        if not indices:
            return []
        first = len(self.numbers)
        keys = [f"item-{self.name}-{first + place}" for place in range(len(indices))]
        self.numbers.update(zip(keys, indices))
        sent = [pickle.dumps(self.items[index]) for index in indices]
        made = self.client.map(run, sent, indices, key=keys, **self.arguments)
        self.flying.update(zip(keys, made))
        return made

    def submit(self, indices: Sequence[int]) -> Any:
        """Tasks of some items, as they end."""
        from distributed import as_completed

        return as_completed(self.futures(indices), loop=self.client.loop, raise_errors=False)

    def end_of(self, future: Any) -> Event:
        """What became of a task."""
        index = self.numbers[future.key]
        if future.status == "finished":
            event = pickle.loads(future.result())
        else:
            event = Event(index, error=future.exception() or RuntimeError("the scheduler lost an item"))
        del self.flying[future.key]
        return event


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """A connection to the scheduler; a cluster that was started for it ends with it."""
    import dask
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.WARNING)  # a scheduler that we start tells its whole life
    with dask.config.set({"distributed.scheduler.allowed-failures": ATTEMPTS - 1}):
        cluster = _started(address)
        try:
            target = {"scheduler_file": address} if address.endswith(".json") else {"address": cluster or address}
            try:
                client = Client(**target, timeout=_TIMEOUT_S, set_as_default=False)
            except (OSError, ValueError) as error:
                rule = f"--cluster {address}: no scheduler answers there ({str(error).splitlines()[0][:100]})"
                raise CommonError(rule) from None
            with client:
                yield client
        finally:
            if cluster is not None:
                cluster.close()


def _started(address: str) -> Any:
    """The cluster that an address asks to be started; None: it names a scheduler that runs."""
    kind, _, rest = address.partition(":")
    if kind in _BATCH_SYSTEMS:
        return _batch_system(kind, Path(rest))
    if kind == "ssh":
        return _over_ssh([host for host in rest.split(",") if host])
    if address.endswith(".json"):
        if not Path(address).is_file():
            raise CommonError("no such file: the scheduler writes it (dask scheduler --scheduler-file)", path=address)
        return None
    if "://" not in address:
        known = ", ".join(f"{name}:FILE" for name in _BATCH_SYSTEMS)
        raise CommonError(
            f"--cluster {address}: give tcp://HOST:PORT, a scheduler's json file, ssh:HOST,HOST or {known}"
        )
    return None


def _batch_system(kind: str, path: Path) -> Any:
    """Workers as jobs of a batch system; the file has settings of dask-jobqueue, and `jobs`, how many to ask for."""
    import yaml

    try:
        import dask_jobqueue
    except ImportError as error:
        raise CommonError(f"--cluster {kind}:{path} needs dask-jobqueue ({error}): {INSTALL}") from None
    try:
        settings = yaml.safe_load(read_text(path, "yaml"))
    except yaml.YAMLError as error:
        raise CommonError(f"is no YAML ({' '.join(str(error).split())[:120]})", path=path) from None
    if not isinstance(settings, Mapping) or not settings:
        raise CommonError("must hold settings of dask-jobqueue, as cores: 8", path=path)
    given = dict(settings)
    jobs = given.pop("jobs", 1)
    if not isinstance(jobs, int) or jobs < 1:
        raise CommonError(f"jobs must be how many jobs to ask for, found {jobs!r}", path=path)
    # one process a core, each with one thread: an item holds the interpreter
    given.setdefault("processes", given.get("cores", 1))
    try:
        cluster = getattr(dask_jobqueue, _BATCH_SYSTEMS[kind])(**given)
    except (TypeError, ValueError) as error:
        raise CommonError(f"is refused by dask-jobqueue: {str(error).splitlines()[0]}", path=path) from None
    cluster.scale(jobs=jobs)
    return cluster


def _over_ssh(hosts: list[str]) -> Any:
    """A scheduler on the first host and processes on every host, over ssh; "node1*16" has 16 of them."""
    if not hosts:
        raise CommonError("--cluster ssh: names no host (ssh:node1*8,node2*8)")
    names: list[str] = []
    for host in hosts:
        name, _, count = host.partition("*")
        if not name or not (count or "1").isdigit():
            raise CommonError(f"--cluster ssh: {host}: give HOST, or HOST*N for N processes")
        names += [name] * int(count or 1)
    try:
        from distributed import SSHCluster

        return SSHCluster([names[0], *names], worker_options={"nthreads": 1})
    except ImportError as error:
        raise CommonError(f"--cluster ssh needs asyncssh ({error}): {INSTALL}") from None
    except (OSError, RuntimeError) as error:
        raise CommonError(f"--cluster ssh:{','.join(hosts)}: {str(error).splitlines()[0]}") from None
