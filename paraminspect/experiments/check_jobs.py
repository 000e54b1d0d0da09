"""Several sources checked one after the other, or in processes of their own at the same time; the order is kept."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

from paraminspect.errors import UserError
from paraminspect.experiments.check import Checked, CheckRequest, Reading, check_or_failure, failed_report, unread
from paraminspect.isolation.issued_warnings import collected_warnings, warnings_collected
from paraminspect.isolation.process import before_a_signal

STDIN = "-"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """Return how many cores this process may use."""
    with contextlib.suppress(AttributeError):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_all(
    sources: Sequence[str], request: CheckRequest, jobs: int = 1, reading: Reading = unread
) -> Iterator[Checked]:
    """Yield what is found in each source, in their order, whatever becomes of the others.

    With several `jobs` as many processes work, each with its share of the cores. A process that ends before its time,
    as one that is out of memory does, is a failure of the source it was at.
    """
    elsewhere = [source for source in sources if source != STDIN]
    jobs = min(jobs, len(elsewhere))
    if jobs > 1:
        yield from _in_processes(sources, request, jobs)
        return
    for number, source in enumerate(sources):
        if number:
            gc.collect()  # the model before may be as large as this one
        yield _checked(source, request, reading)


def _checked(source: str, request: CheckRequest, reading: Reading = unread) -> Checked:
    found = check_or_failure(source, request, reading)
    return found._replace(warnings=tuple(collected_warnings()))


def _in_processes(sources: Sequence[str], request: CheckRequest, jobs: int) -> Iterator[Checked]:
    """Yield what `check_all` does; what is read from standard input is checked here, for no other process has it."""
    results: list[Future[Checked]] = [Future() for _ in sources]
    waiting: queue.SimpleQueue[tuple[str, Future[Checked]]] = queue.SimpleQueue()
    for source, result in zip(sources, results, strict=True):
        if source != STDIN:
            waiting.put((source, result))
    workers = [_Worker(request, max(cores() // jobs, 1)) for _ in range(jobs)]

    def end() -> None:
        for worker in workers:
            worker.end()

    with before_a_signal(end):
        try:
            for worker in workers:
                threading.Thread(target=worker.work, args=(waiting,), daemon=True).start()
            for source, result in zip(sources, results, strict=True):
                yield _checked(source, request) if source == STDIN else result.result()
        finally:
            end()


class _Worker:
    """A process that checks one source after the other, and the next process in its place where it dies."""

    def __init__(self, request: CheckRequest, threads: int) -> None:
        self._request, self._threads = request, threads
        self._process: Any = None
        self._connection: Connection[Any, Any] | None = None
        self._ended = False

    def work(self, waiting: queue.SimpleQueue[tuple[str, Future[Checked]]]) -> None:
        """Check what waits until nothing does."""
        with contextlib.suppress(queue.Empty):
            while not self._ended:
                source, result = waiting.get_nowait()
                try:
                    result.set_result(self._check(source))
                except BaseException as error:  # whoever waits for the result has to hear of it
                    result.set_exception(error)

    def _check(self, source: str) -> Checked:
        if self._connection is None:
            self._start()
        assert self._connection is not None
        try:
            self._connection.send(source)
            found: Checked = self._connection.recv()
        except (EOFError, OSError):
            self._connection.close()
            self._connection = None
            self._process.join()
            return Checked(failed_report(source, _died(self._process.exitcode)))
        return found

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._request, self._threads), daemon=True)
        with _interrupts_held():
            self._process.start()
        theirs.close()

    def end(self) -> None:
        """End the process at once; a signal may call it."""
        self._ended = True
        if self._process is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.kill()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let a process be started without Ctrl-C reaching it before it can answer: it inherits what a thread holds."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _died(code: int | None) -> UserError:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            hint = "the system may have run out of memory: fewer --jobs need less" if name == "SIGKILL" else ""
            return UserError(f"the process that checked it was ended by {name}", hint=hint, code="process-died")
    return UserError(f"the process that checked it ended with exit code {code}", code="process-died")


def _serve(connection: Connection[Any, Any], request: CheckRequest, threads: int) -> None:
    """Check each source that comes, in a process of its own; stdout is the answer's, which others write."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    for name in _THREADS:
        given = os.environ.get(name, "")
        os.environ[name] = str(min(threads, int(given)) if given.isdigit() and int(given) else threads)
    gc.disable()
    with warnings_collected():
        while True:
            try:
                source = connection.recv()
            except (EOFError, OSError):
                return
            connection.send(_checked(source, request))
            gc.collect()
