"""Runs faults: imports everything once, then forks a process for each fault and waits for it, no longer than its limit.

It reads names of faults, a line each, and writes what came of them, a JSON object each. Environment: the data set's.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import disks, files, limits, lives, preprocessing, python_code, signals, threads  # noqa: F401  they fill FAULTS
from .fault import FAULTS, Difference, Ending, Fault
from .scene import Scene


def _inject(fault: Fault, source: Any, folder: Path, pipe: int) -> None:
    """In the process of the fault. Returns only where the fault is to end the process like a program that is done."""

    def note(text: str) -> None:
        os.write(pipe, f"{json.dumps({'note': text, 'at': time.monotonic()})}\n".encode())

    scene = Scene(source, folder, note)
    begin = time.monotonic()
    try:
        seen, kept = fault.inject(scene), True
    except Difference as difference:
        seen, kept = str(difference), False
    except Exception as error:
        if fault.ended is not None:
            raise
        seen, kept = f"{type(error).__name__}: {error}", False
    if fault.ended is not None and kept:
        return
    seconds = time.monotonic() - begin
    left = scene.left()
    result = {"seen": seen, "kept": kept, "seconds": seconds, **vars(left)}
    os.write(pipe, f"{json.dumps(result)}\n".encode())
    os._exit(0)


def _run(fault: Fault, source: Any) -> dict[str, Any]:
    # Removed by this process alone: a fault's own process may leave through here, as an ending program does.
    folder = tempfile.mkdtemp(prefix="fault-")
    Path(folder).chmod(0o755)
    output = Path(folder, "output.txt")
    read, write = os.pipe()
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(read)
        said = os.open(output, os.O_CREAT | os.O_WRONLY, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _inject(fault, source, Path(folder), write)
        raise SystemExit
    os.close(write)
    text = b""
    while (wait := begin + fault.limit - time.monotonic()) > 0 and select.select([read], [], [], wait)[0]:
        piece = os.read(read, 65536)
        if not piece:
            break
        text += piece
    os.close(read)
    status = _status(child, begin + fault.limit)
    end = time.monotonic()
    late = status is None
    if status is None:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    grace = time.monotonic() + 1
    while (strays := _of_session(child)) and time.monotonic() < grace:
        time.sleep(0.01)
    for stray in strays:
        os.kill(stray, signal.SIGKILL)
    lines = [json.loads(line) for line in text.decode().splitlines()]
    words = output.read_text(encoding="utf-8", errors="replace")
    shutil.rmtree(folder)
    notes = [line for line in lines if "note" in line]
    result = next((line for line in lines if "seen" in line), None)
    if late:
        at = f" after: {notes[-1]['note']}" if notes else ""
        result = {"seen": f"nothing for {fault.limit:g} s{at}\n{words[-2000:]}", "kept": False}
    elif result is None and fault.ended is not None and notes:
        try:
            seen, kept = fault.ended(Ending(code, end - notes[-1]["at"], words)), True
        except Difference as difference:
            seen, kept = f"{difference}\n{words[-2000:]}", False
        result = {"seen": seen, "kept": kept}
    elif result is None:
        result = {"seen": f"the process ended with {code}\n{words[-2000:]}", "kept": False}
    return {"threads": 0, "handles": 0, "buffers": 0, "seconds": end - begin, **result, "processes": len(strays)}


def _status(child: int, until: float) -> int | None:
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > until:
            return None
        time.sleep(0.002)


def _of_session(session: int) -> list[int]:
    """Processes that a fault has left behind: those of its session."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                fields = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(process.name))
    return found


def main() -> None:
    """Serve until there are no more names."""
    # What faults and the loader print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from fastnnunet_loader.nnunet.sources import open_source

    source = open_source(os.environ["FAULTS_DATASET"], "3d_fullres", 0)
    by_name = {fault.name: fault for fault in FAULTS}
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_run(by_name[line.strip()], source)), file=answers, flush=True)


if __name__ == "__main__":
    main()
