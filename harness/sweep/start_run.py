"""Start one run in a fresh process with one GPU, so that a peak is its own and a crash costs only one run.

A run outlives the command that started it by _GRACE seconds at most, since it would disturb the next measurement.

Children are forked from a server that has the libraries loaded. If an import initialised CUDA in that server, a fork
would break it, and runs are spawned instead: slower to start, otherwise the same.
"""

from __future__ import annotations

import contextlib
import functools
import io
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from harness.errors import UserError
from harness.measurement.gpu_driver import before_this_process, visible_gpus
from harness.measurement.machine import describe_environment, device_kind
from harness.records import results_folder
from harness.records.reading import RECORD_FILE, RUN_FILES, read_record
from harness.records.record import Failure, Record
from harness.sweep.one_gpu import one_gpu, show_only

_PRELOADED = "harness.sweep.preload"
_GRACE = 10  # seconds in which an interrupted run may still write its record


class Watcher(Protocol):
    """Shows what a run does; without one the run writes to the terminal itself."""

    def now(self, text: str) -> None:
        """A message that is replaced by the next."""
        ...

    def note(self, text: str) -> None:
        """A message that stays."""
        ...


def carry_out(
    config: Mapping[str, Any], planned: Record, folder: Path, title: str, watcher: Watcher | None = None
) -> Record:
    """Carry out a planned run in a separate process; returns its record, however it ended."""
    kills = _out_of_memory_kills()
    for file in RUN_FILES:  # an attempt that is not ok gives way to the new one
        (folder / file).unlink(missing_ok=True)
    with one_gpu(watcher.note if watcher else print) as gpu:
        started = time.time()
        child = _in_a_process(config, planned, folder, title, watcher, gpu)
    if (folder / RECORD_FILE).exists():
        return read_record(folder / RECORD_FILE)
    record = _obituary(planned, child.exitcode, _out_of_memory_kills() > kills, started)
    results_folder.save_run(folder, record, {}, record.config)
    return record


def _in_a_process(
    config: Mapping[str, Any], planned: Record, folder: Path, title: str, watcher: Watcher | None, gpu: str | None
) -> Any:
    """Run `_child` in a new process and wait for its end; returns the process."""
    context = _context(start_method())
    ours, theirs = context.Pipe(duplex=False) if watcher else (None, None)
    child = context.Process(target=_child, args=(dict(config), planned, folder, title, theirs, gpu))
    child.start()
    try:
        if watcher and ours and theirs:
            theirs.close()
            _listen(child, ours, watcher)
        child.join()
    except KeyboardInterrupt:
        child.terminate()  # where the interruption came to this process alone
        child.join(timeout=_GRACE)
        child.kill()
        raise
    return child


def _listen(child: Any, pipe: Connection, watcher: Watcher) -> None:
    """Forward a run's messages until it ends."""
    show = {"now": watcher.now, "note": watcher.note}
    with pipe, contextlib.suppress(EOFError, OSError):
        while pipe in wait([pipe, child.sentinel]):
            kind, text = pipe.recv()
            show[kind](text)


def begin() -> None:
    """Let the fork server load its libraries in the background."""
    _context("forkserver")
    forkserver.ensure_running()


@functools.cache
def start_method() -> str:
    """forkserver, or spawn where forking the server would break CUDA."""
    if device_kind() == "cpu":
        return "forkserver"
    context = _context("forkserver")
    receive, send = context.Pipe(duplex=False)
    probe = context.Process(target=_report_cuda, args=(send,))
    probe.start()
    probe.join()
    return "spawn" if not receive.poll() or receive.recv() else "forkserver"


def _report_cuda(send: Any) -> None:
    """In a forked child: was CUDA initialised in the server? (`is_initialized` alone says no after a bad fork.)"""
    import torch

    send.send(torch.cuda.is_initialized() or torch.cuda._is_in_bad_fork())


def _context(method: str) -> Any:
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([_PRELOADED])
    return context


class _Notes(io.TextIOBase):
    """Standard output of a run that is watched: each line is a note."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._line = pipe, ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _tell(self._pipe, "note", line)
        return len(text)


def _tell(pipe: Connection, kind: str, text: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        pipe.send((kind, text))


def _child(
    config: dict[str, Any], planned: Record, folder: Path, title: str, pipe: Connection | None, gpu: str | None
) -> None:
    show_only(gpu)
    before_this_process()
    import harness.sweep.preload  # noqa: F401  (quiet; and a spawned child has nothing loaded yet)
    from harness.inference import baselines
    from harness.progress import Progress
    from harness.run import run
    from harness.settings import Settings

    progress = Progress(title)
    if pipe:
        progress.show = functools.partial(_tell, pipe, "now")
        sys.stdout = _Notes(pipe)
    started = time.time()
    try:
        _end_with_the_parent()
        _check_device()
        progress.step("loading", 0, 0)
        record, answers = run(Settings(config), planned, progress)
        _ignore_interruptions()
    except BaseException as cause:  # whatever ended the run is what its record says
        _ignore_interruptions()
        record, answers = _failure(cause, planned, started), {}
    progress.clear()
    results_folder.save_run(folder, record, answers, record.config)
    if record.status == "ok":
        baselines.keep(Settings(config), folder.parents[2])


def _check_device() -> None:
    """UserError if torch cannot use the GPU that the driver lists: the run would compute on the CPU under its name."""
    import torch

    if visible_gpus() and not torch.cuda.is_available():
        raise UserError(
            f"The driver lists {visible_gpus()[0].name}, but torch {torch.__version__} cannot use it: the driver may "
            "be too old for this torch. CUDA_VISIBLE_DEVICES= (empty) runs on the CPU."
        )


def _end_with_the_parent() -> None:
    """Interrupt this process, once, when it is told to end or when the one that started it has ended."""
    why = "told to end"

    def interrupt(*_: Any) -> None:
        _ignore_interruptions()
        raise KeyboardInterrupt(why)

    def watch() -> None:
        nonlocal why
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        why = "the command that started it has ended"
        signal.pthread_kill(main, signal.SIGTERM)
        time.sleep(_GRACE)
        os._exit(1)

    main = threading.get_ident()
    signal.signal(signal.SIGTERM, interrupt)
    threading.Thread(target=watch, daemon=True).start()


def _ignore_interruptions() -> None:
    """Ignore further interruptions while the record is written, for at most _GRACE seconds."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _failure(cause: BaseException, planned: Record, started: float) -> Record:
    from harness.errors import Diverged
    from harness.measurement.out_of_memory import is_out_of_memory

    kinds = ((Diverged, "diverged"), (KeyboardInterrupt, "interrupted"), (BaseException, "failed"))
    status = "oom" if is_out_of_memory(cause) else next(name for kind, name in kinds if isinstance(cause, kind))
    written = "".join(traceback.format_exception(cause))
    return _ended(planned, status, type(cause).__name__, str(cause), written, started)


def _obituary(planned: Record, exitcode: int | None, out_of_memory: bool, started: float) -> Record:
    """The record of a process that died without writing one."""
    if exitcode is not None and exitcode < 0:
        how = f"was killed by {signal.Signals(-exitcode).name}"
    else:
        how = f"ended with exit code {exitcode}"
    status = "oom" if exitcode == -signal.SIGKILL and out_of_memory else "crashed"
    return _ended(planned, status, "ProcessDied", f"the run's process {how}", "", started)


def _ended(planned: Record, status: str, kind: str, message: str, written: str, started: float) -> Record:
    return replace(
        planned,
        status=status,
        error=Failure(kind, message, written),
        environment=describe_environment(planned.environment.data_sha256, started),
    )


def _out_of_memory_kills() -> int:
    """How many processes of this control group the kernel has killed for memory; 0 where it does not say."""
    for path in _memory_events():
        for line in path.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def _memory_events() -> list[Path]:
    membership = Path("/proc/self/cgroup")
    if not membership.exists():
        return []
    paths = []
    for line in membership.read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            paths.append(Path("/sys/fs/cgroup") / group.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            paths.append(Path("/sys/fs/cgroup/memory") / group.lstrip("/") / "memory.oom_control")
    return [path for path in paths if path.exists() and os.access(path, os.R_OK)]
