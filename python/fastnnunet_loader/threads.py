"""Threads of Python: how they are started, and pools of them, one with the interface of `multiprocessing.Pool`.

A thread that the system refuses is a ResourceError which says what limits the process; Python raises a RuntimeError without a
reason. Where the work can do without a thread, its caller catches the error and says so.

The standard library's `multiprocessing.pool.ThreadPool` is not enough: it creates a semaphore, and that lies in
shared memory.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from multiprocessing import TimeoutError as PoolTimeoutError
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from .errors import ResourceError
from .operating_system import memory_limits, thread_limits
from .settings import in_units

T = TypeVar("T")


def start(thread: threading.Thread, what: str) -> None:
    """Start a thread.

    Args:
        thread: that has not been started.
        what: whose it is and what was expected, as "[place] expected a thread that ...".

    Raises:
        ResourceError: the system gives the process no more threads.
    """
    with needed(what):
        twice(thread.start)


def twice(begin: Callable[[], None]) -> None:
    """Call what starts a thread; again if the system refused it, since one that has just ended may still be counted."""
    try:
        begin()
    except RuntimeError as error:
        if not _is_refusal(error):
            raise
        time.sleep(0.1)
        begin()


@contextlib.contextmanager
def needed(what: str) -> Iterator[None]:
    """Inside, a thread that the system refuses is a ResourceError; `what` as of `start`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not _is_refusal(error):
            raise
        raise _refusal(what) from error


def _is_refusal(error: BaseException) -> bool:
    """Return whether this is Python's error of a thread that the system refused."""
    return isinstance(error, RuntimeError) and "can't start new thread" in str(error)


def _refusal(what: str) -> ResourceError:
    """Return the error of a thread that the system refused; `what` as of `start`."""
    return ResourceError(f"{what}, got none: the process is at a limit of threads or memory{limits()}")


def refused(error: Exception, what: str) -> ResourceError | None:
    """Return the ResourceError of a thread that the system refused, whoever asked for it; None if `error` is another's.

    `what` as of `start`, for Python's own error; one that is a ResourceError already stays as it is.
    """
    if isinstance(error, ResourceError):
        return error
    if not _is_refusal(error):
        return None
    made = _refusal(what)
    made.__cause__ = error
    return made


def limits() -> str:
    """Return what the system allows, and what to do: the end of a sentence about a thread that it refused."""
    told = [f"{name} {limit}" + ("" if used is None else f", {used} in use") for name, limit, used in thread_limits()]
    told += [f"{name} {in_units(limit)}, {in_units(used)} in use" for limit, used, name in memory_limits()]
    return f"{' (' if told else ''}{'; '.join(told)}{')' if told else ''}; use fewer threads or processes, or raise the limit"


class Executor(ThreadPoolExecutor):
    """ThreadPoolExecutor, which goes on with the threads that it has where the system gives no more.

    Raises:
        ResourceError: from `submit` and `map`, if it has none.
    """

    def _adjust_thread_count(self) -> None:
        # Python calls it for each task, which is in the queue then.
        try:
            super()._adjust_thread_count()
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, RuntimeError) and not _is_refusal(error):
                raise
            if not self._threads:
                with needed("[threads] expected a thread of a pool"):
                    twice(super()._adjust_thread_count)


class AsyncResult(Generic[T]):
    """What a task or a group of tasks will return; the methods are those of `multiprocessing.pool.AsyncResult`."""

    def __init__(self, futures: list[Future[Any]], collect: Callable[[list[Any]], T]):
        self._futures = futures
        self._collect = collect

    def ready(self) -> bool:
        """Whether every task has ended, well or not."""
        return all(future.done() for future in self._futures)

    def successful(self) -> bool:
        """Whether every task returned; raises ValueError while one is still at work."""
        if not self.ready():
            raise ValueError("[AsyncResult.successful] expected tasks that have ended, got one still at work")
        return all(not future.cancelled() and future.exception() is None for future in self._futures)

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end of all tasks, at most `timeout` seconds."""
        wait(self._futures, timeout)

    def get(self, timeout: float | None = None) -> T:
        """Return the result; raises the first task's exception, or multiprocessing.TimeoutError after `timeout` seconds."""
        done, waiting = wait(self._futures, timeout, return_when=FIRST_EXCEPTION)
        for future in self._futures:
            if future in done and not future.cancelled() and future.exception() is not None:
                future.result()
        if waiting:
            raise PoolTimeoutError
        return self._collect([future.result() for future in self._futures])


class WorkerThread:
    """An entry of `pool._pool`, of which nnU-Net asks each whether it lives."""

    def __init__(self, index: int):
        self.index = index

    def is_alive(self) -> bool:
        """Threads of a pool live as long as the process does."""
        return True


class ThreadPool:
    """`multiprocessing.Pool` on threads: what it runs shares this process's memory, so arguments are not copied.

    processes: number of threads; never more than this process has cores, because each worker of nnU-Net's pools holds a
    case's full-size arrays and threads beyond the cores would only add to the memory.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ):
        from .system import available_cores

        cores = available_cores()
        if processes is not None and processes < 1:
            raise ValueError(f"[ThreadPool] expected processes >= 1, got {processes}")
        count = min(processes or cores, cores)
        self._executor = Executor(count, "fastnnunet-pool", cast(Any, initializer), tuple(initargs))
        self._pool = [WorkerThread(index) for index in range(count)]
        self._closed = False
        self._torch_threads = _torch_threads()

    def apply(self, func: Callable[..., T], args: Iterable[Any] = (), kwds: dict[str, Any] | None = None) -> T:
        """Call `func(*args, **kwds)` on a thread and wait for it."""
        return self.apply_async(func, args, kwds).get()

    def map(self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int | None = None) -> list[T]:
        """Call `func` for each item and return the results in order."""
        return self.map_async(func, iterable).get()

    def starmap(self, func: Callable[..., T], iterable: Iterable[Iterable[Any]], chunksize: int | None = None) -> list[T]:
        """Call `func(*item)` for each item and return the results in order."""
        return self.starmap_async(func, iterable).get()

    def imap(self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[T]:
        """Call `func` for each item; yields the results in order, each as soon as it is there."""
        futures = [self._submit(func, item) for item in iterable]
        return (future.result() for future in futures)

    # Order is allowed here, not demanded, and keeps results the same from run to run.
    imap_unordered = imap

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
        callback: Callable[[T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[T]:
        """Start `func(*args, **kwds)` on a thread."""
        return self._result([self._submit(func, *args, **(kwds or {}))], lambda r: cast(T, r[0]), callback, error_callback)

    def map_async(
        self,
        func: Callable[[Any], T],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[T]]:
        """Start `func(item)` for each item."""
        futures = [self._submit(func, item) for item in iterable]
        return self._result(futures, lambda results: list(results), callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[T]]:
        """Start `func(*item)` for each item."""
        futures = [self._submit(func, *item) for item in iterable]
        return self._result(futures, lambda results: list(results), callback, error_callback)

    def close(self) -> None:
        """Take no more tasks."""
        self._closed = True

    def terminate(self) -> None:
        """Drop the tasks that have not started; those at work end by themselves, because a thread cannot be killed."""
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait for the threads to end; raises ValueError before `close` or `terminate`."""
        if not self._closed:
            raise ValueError("[ThreadPool.join] expected a pool that was closed, got one still running")
        self._executor.shutdown(wait=True)
        self._restore_torch_threads()

    def __enter__(self) -> ThreadPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.terminate()
        if error is None:
            # A pool of processes is killed here; threads that are still writing a file must be allowed to finish it.
            self.join()

    def _submit(self, func: Callable[..., Any], *args: Any, **kwds: Any) -> Future[Any]:
        if self._closed:
            raise ValueError("[ThreadPool] expected an open pool, got one that was closed")
        return self._executor.submit(func, *args, **kwds)

    def _result(
        self,
        futures: list[Future[Any]],
        collect: Callable[[list[Any]], T],
        callback: Callable[[T], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> AsyncResult[T]:
        result: AsyncResult[T] = AsyncResult(futures, collect)
        if (callback is not None or error_callback is not None) and futures:
            lock, left = threading.Lock(), [len(futures)]

            def one_done(_: Future[Any]) -> None:
                with lock:
                    left[0] -= 1
                    if left[0]:
                        return
                try:
                    value = result.get()
                except (Exception, CancelledError) as error:
                    if error_callback is not None:
                        error_callback(error)
                else:
                    if callback is not None:
                        callback(value)

            for future in futures:
                future.add_done_callback(one_done)
        return result

    def _restore_torch_threads(self) -> None:
        # nnU-Net's workers set torch's number of threads and set it back; in one process two of them may set it back in
        # the wrong order, so the pool restores what it found.
        if self._torch_threads is not None and _torch_threads() != self._torch_threads:
            sys.modules["torch"].set_num_threads(self._torch_threads)


def _torch_threads() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


__all__ = ["AsyncResult", "Executor", "ThreadPool", "limits", "needed", "refused", "start", "twice"]
