"""The cases of a prediction, handed out one by one to workers of a Ray cluster, and again where a worker dies."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CommandError, FastnnUNetError, PredictionError
from ..prediction.export.outputs import remove_leftovers
from ..prediction.images.checks import Checked
from ..prediction.session.progress import Progress
from ..system import available_cores
from .worker import Failure, Orders, Worker, with_threads

__all__ = ["Orders", "Shares", "predict", "shares"]

IN_FLIGHT = 2
"""Cases that a worker has at once: one is prepared and exported while another is in the network."""

WAIT_TOLD = 60.0
"""Seconds after which it is said that no worker is at work."""

CPUS = 8
"""Processors of a worker without a GPU."""

OBJECT_STORE = 80 * 2**20
"""Bytes of shared memory that Ray takes on this machine for a cluster of its own, its smallest. No image goes through it."""


@dataclass(frozen=True)
class Shares:
    """How a cluster is divided among workers."""

    workers: int
    cpus: int
    gpus: int
    """Of one worker: 1 or 0."""
    neighbours: int
    """Workers on one machine, at the most."""


def shares(nodes: Sequence[dict[str, float]], device: str, cpus: int | None) -> Shares:
    """Divide a cluster: a worker for each GPU, or without GPUs one for every `cpus` processors of a machine.

    Args:
        nodes: the "CPU" and "GPU" of each machine, as Ray counts them.
        device: "cuda" or "cpu".
        cpus: processors of a worker; None for a machine's divided by its GPUs, or for 8 or all that it has.

    Raises:
        CommandError: no machine has room for a worker.
    """
    have = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    if device == "cuda":
        usable = [(c, g) for c, g in have if g and c]
        if not usable:
            raise CommandError("[--ray] expected machines with GPUs in the cluster, got none; -device cpu predicts without")
        each = cpus or max(1, min(c // g for c, g in usable))
        counts = [min(g, c // each) for c, g in usable]
    else:
        usable = [(c, g) for c, g in have if c]
        each = cpus or min([CPUS, *(c for c, _ in usable)])
        counts = [c // each for c, _ in usable]
    if not sum(counts):
        most = max((c for c, _ in have), default=0)
        raise CommandError(f"[--ray-cpus] expected at most {most}, as many as a machine has, got {cpus or each}")
    return Shares(sum(counts), each, int(device == "cuda"), max(counts))


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Yield the module ray, connected. A cluster that a program has joined already is used, and stays."""
    import ray

    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address == "local":
        options |= {"num_cpus": available_cores(), "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise CommandError(
            f"[--ray] expected 'local', 'auto' or the address of a Ray cluster, got {address!r}: {error}"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


@dataclass(eq=False)
class _Task:
    checked: Checked
    before: tuple[tuple[int, int] | None, ...]
    """The output files when the run began."""
    deaths: int = 0
    """Workers that died while they had the case."""

    @property
    def name(self) -> str:
        return self.checked[0].name


@dataclass(eq=False)
class _Member:
    actor: Any
    name: str
    started: bool = False
    tasks: list[_Task] = field(default_factory=list)

    def takes(self, task: _Task) -> bool:
        """Whether a case may be added. One that was there when a worker died is alone, so that no other is blamed again."""
        if not self.started or len(self.tasks) >= IN_FLIGHT:
            return False
        return not self.tasks or not (task.deaths or self.tasks[0].deaths)


def predict(
    checked: Sequence[Checked],
    orders: Orders,
    *,
    address: str,
    cpus: int | None,
    tries: int,
    on_bad_case: str,
    progress: bool,
    say: Callable[[str], None],
) -> list[PredictionError]:
    """Predict cases on a cluster, and return the errors of bad ones.

    Args:
        checked: cases that `Session.check` has returned, with absolute paths that all machines have.
        orders: for all workers.
        address: "local", "auto" or an address of Ray's.
        cpus: processors of a worker, or None; see `shares`.
        tries: how often a case is tried whose worker dies.
        on_bad_case: "raise" to hand out no more cases after a bad one and raise its error, or "skip".
        progress: whether to show one line of progress for all workers.
        say: called with messages for the user.

    Raises:
        CommandError: there is no such cluster, or a machine of it cannot predict.
        PredictionError: the first bad case, unless bad cases are skipped.
    """
    from .. import __version__

    with _cluster(address) as ray:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        divided = shares(nodes, orders.predictor.device, cpus)
        divided_orders = with_threads(orders, divided.cpus, divided.neighbours, __version__)
        count = min(divided.workers, len(checked))
        share = "a GPU and " * divided.gpus + f"{divided.cpus} of its processors"
        say(
            f"{count} of {divided.workers} workers of Ray, each on a machine with {share}; a case whose worker dies is tried "
            f"{tries} times in all"
        )
        fleet = Fleet(ray, divided, divided_orders, tries, on_bad_case, say)
        line = Progress(len(checked), None) if progress else None
        try:
            return fleet.run(checked, count, line)
        finally:
            if line is not None:
                line.close()
            fleet.close()
            remove_leftovers(orders.output)


class Fleet:
    """Workers, and who has which case."""

    def __init__(
        self, ray: Any, divided: Shares, orders: Orders, tries: int, on_bad_case: str, say: Callable[[str], None]
    ) -> None:
        self._ray = ray
        self._orders = orders
        self._tries = tries
        self._on_bad_case = on_bad_case
        self._say = say
        self._actor = ray.remote(
            num_cpus=divided.cpus, num_gpus=divided.gpus, max_restarts=0, max_task_retries=0, max_concurrency=IN_FLIGHT + 1
        )(Worker)
        self._members: list[_Member] = []
        self._calls: dict[Any, tuple[_Member, _Task | None]] = {}  # what Ray will answer: of a start, or of a case
        self._waiting: deque[_Task] = deque()
        self._made = 0
        self._failed_starts = 0  # in a row
        self._heard = time.monotonic()
        self.errors: list[PredictionError] = []

    def run(self, checked: Sequence[Checked], workers: int, progress: Progress | None) -> list[PredictionError]:
        """Predict all cases; see `predict`."""
        self._waiting.extend(_Task(one, self._written(one)) for one in checked)
        for _ in range(workers):
            self._add_member()
        while self._waiting or any(member.tasks for member in self._members):
            self._hand_out(progress)
            answered, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=1.0)
            self._tell_of_wait(bool(answered))
            for call in answered:
                member, task = self._calls.pop(call)
                self._answer(call, member, task, progress)
        if self.errors and self._on_bad_case == "raise":
            raise self.errors[0]
        return self.errors

    def _tell_of_wait(self, answered: bool) -> None:
        """Say now and then that nobody is at work: machines may have left the cluster, or others use them."""
        now = time.monotonic()
        if answered or any(member.tasks for member in self._members):
            self._heard = now
        elif now - self._heard > WAIT_TOLD:
            self._heard = now
            self._say(f"waiting for Ray to start a worker; {len(self._waiting)} cases are left")

    def close(self) -> None:
        """End all workers, and remove what they were writing."""
        busy = [member.actor.abandon.remote() for member in self._members if member.tasks]
        with contextlib.suppress(Exception):
            self._ray.wait(busy, num_returns=len(busy), timeout=5.0)
        for member in self._members:
            with contextlib.suppress(Exception):
                self._ray.kill(member.actor)
        self._members.clear()

    def _add_member(self) -> None:
        self._made += 1
        member = _Member(self._actor.remote(self._orders), f"worker {self._made}")
        self._members.append(member)
        self._calls[member.actor.start.remote()] = member, None

    def _hand_out(self, progress: Progress | None) -> None:
        for member in sorted(self._members, key=lambda member: len(member.tasks)):
            if self._waiting and member.takes(self._waiting[0]):
                task = self._waiting.popleft()
                member.tasks.append(task)
                self._calls[member.actor.predict.remote(task.checked)] = member, task
                self._show(member, progress)

    def _answer(self, call: Any, member: _Member, task: _Task | None, progress: Progress | None) -> None:
        exceptions = self._ray.exceptions
        try:
            answer = self._ray.get(call)
        except exceptions.RayTaskError as error:  # raised by the worker's own code
            cause = error.cause
            if task is None or not isinstance(cause, Exception):
                raise _own(cause, error) from error
            self._dead(member, f"{type(cause).__name__}: {cause}", progress)
        except exceptions.RayError as error:
            self._dead(member, " ".join(str(error).split())[:200], progress)
        else:
            if task is None:
                member.started, self._failed_starts = True, 0
                member.name = f"{answer} {member.name}"
                return
            member.tasks.remove(task)
            self._show(member, progress)
            self._finish(task, answer, progress)

    def _dead(self, member: _Member, why: str, progress: Progress | None) -> None:
        if member not in self._members:  # each of its calls tells it
            return
        self._members.remove(member)
        for call in [call for call, (whose, _) in self._calls.items() if whose is member]:
            del self._calls[call]
        with contextlib.suppress(Exception):
            self._ray.kill(member.actor)
        if progress is not None:
            progress.stage(member.name, None)
        names = ", ".join(task.name for task in member.tasks) or "no case"
        self._say(f"{member.name} died with {names}: {why}")
        if not member.started:
            self._failed_starts += 1
            if self._failed_starts >= self._tries:
                raise CommandError(f"[--ray] expected workers that start, got {self._failed_starts} that died: {why}")
        remove_leftovers(self._orders.output)
        again = []
        for task in member.tasks:
            task.deaths += 1
            if all(
                now is not None and now != before for now, before in zip(self._written(task.checked), task.before, strict=True)
            ):
                self._finish(task, None, progress)  # it died between the last file and the answer
            elif task.deaths >= self._tries:
                reason = f"prediction failed: {task.deaths} workers died while they had the case, the last one of: {why}"
                self._finish(task, Failure("predict", reason, task.checked[0].files[0]), progress)
            else:
                again.append(task)
        member.tasks.clear()
        if not self.errors or self._on_bad_case == "skip":
            self._waiting.extend(again)
        if self._waiting:
            self._add_member()

    def _finish(self, task: _Task, failure: Failure | None, progress: Progress | None) -> None:
        if failure is not None:
            self.errors.append(failure.error(task.name))
            if self._on_bad_case == "raise":
                self._waiting.clear()
        if progress is not None:
            progress.done(well=failure is None)

    def _show(self, member: _Member, progress: Progress | None) -> None:
        if progress is not None:
            progress.stage(member.name, ", ".join(task.name for task in member.tasks) or None)

    def _written(self, checked: Checked) -> tuple[tuple[int, int] | None, ...]:
        """Return what tells each output file of a case from another one; None for one that is not there."""
        case, _ = checked
        found: list[tuple[int, int] | None] = []
        for file in outputs_of(case.target or "", self._orders):
            try:
                status = file.stat()
                found.append((status.st_ino, status.st_mtime_ns))
            except OSError:
                found.append(None)
        return tuple(found)


def outputs_of(target: str, orders: Orders) -> list[Path]:
    """Return the files of a case that are moved to their place last, when the others are there."""
    ending = orders.ending
    return [Path(f"{target}{end}") for end in ([ending, ".npz"] if orders.save_probabilities else [ending])]


def _own(cause: Any, error: Exception) -> Exception:
    """Return an error of a worker's start: one of this package, or Ray's words for it."""
    if isinstance(cause, FastnnUNetError):
        return cause
    return CommandError(f"[--ray] expected a worker that starts, got {type(cause).__name__}: {cause or error}")
