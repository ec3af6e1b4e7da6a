"""`fastnnunet run`: runs any program that uses nnU-Net, unchanged, with this package's loader and predictor."""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import CommandError
from ..operating_system import become
from .loader_options import VARIABLE, add_loader_options, as_text, check_loader_options
from .openmp import sleeping

__all__ = ["add_arguments", "interpreter", "run"]

DESCRIPTION = """\
Runs a program that uses nnU-Net with this package's loader and predictor: a console script, a Python script, or a shell
script that calls them. It covers that process and every process that it starts, and the program needs no change:

  fastnnunet run nnUNetv2_train 1 3d_fullres 0
  fastnnunet run --threads 4 --seed 1 python my_training.py
  fastnnunet run torchrun --nproc_per_node 2 my_training.py
  fastnnunet run bash all_folds.sh

Programs that do not use nnU-Net are unaffected. If a program calls fastnnunet_loader.install() itself, its settings win.
The package must be installed in the Python environment of the program.
"""

EPILOG = f"""\
If the command line is fixed, as in a container image, set the environment variable {VARIABLE} instead: to 1, or to options
of the loader. 0 or an empty value turns it off:

  docker run -e {VARIABLE}=1 IMAGE
  export {VARIABLE}="--threads 4 --on-bad-case skip"

Neither works in a Python that is started with -S, or in a program with a frozen Python. The command also lets OpenMP threads
sleep while they wait (OMP_WAIT_POLICY=PASSIVE) unless you have set that; with the variable alone, set it yourself.
Exit code: that of COMMAND; 127 if it does not exist, 126 if it cannot be run, 2 if its Python does not have this package.
"""

# Options of Python that affect which packages it finds.
_PATH_OPTIONS = set("EIPsS")
_FLAGS = re.compile(r"-[bBdEiIOPqRsSuvx]+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the loader, and the command, whose own options follow it."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "fastnnunet run [options of the loader] COMMAND ..."
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add_loader_options(parser)
    parser.add_argument("program", metavar="COMMAND", help="the program, searched for on PATH as in a shell")
    parser.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER, help="arguments of the program")


def run(args: argparse.Namespace) -> int:
    """Become the program, with the environment variable set; on Windows, run it and return its exit code."""
    check_loader_options(args)
    command = [args.program, *args.arguments]
    found = shutil.which(args.program)
    if found is None:
        wanted, code = _missing(args.program)
        print(f"fastnnunet: error: [COMMAND] expected {wanted}", file=sys.stderr)
        return code
    environment = {**os.environ, **sleeping(os.environ), VARIABLE: as_text(args)}
    if Path(found).name.startswith("nnUNetv2_"):  # other programs may use joblib's processes
        environment.setdefault("JOBLIB_MULTIPROCESSING", "0")  # otherwise joblib makes a semaphore in shared memory
    _check_environment(Path(found), command, environment)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        become(found, command, environment)
    except OSError as error:
        if error.errno == errno.ENOEXEC:  # a script without #!, which a shell runs itself
            become("/bin/sh", ["/bin/sh", found, *args.arguments], environment)
        print(f"fastnnunet: error: [COMMAND] expected a program that can be run, got {error}", file=sys.stderr)
        return 127 if error.errno == errno.ENOENT else 126


def _missing(program: str) -> tuple[str, int]:
    """Return why a program cannot be run, and the exit code that a shell would return."""
    file = Path(program)
    code = 126 if file.name != program and file.exists() else 127
    if file.suffix == ".py" and file.is_file():
        return f"a program, got the script {program!r}; write: fastnnunet run python {shlex.quote(program)}", code
    return f"a program that {'may be executed' if code == 126 else 'exists'}, got {program!r}", code


def _check_environment(found: Path, command: Sequence[str], environment: dict[str, str]) -> None:
    """Raise CommandError if the program's Python would not read the variable."""
    python = interpreter(found, command[1:])
    if python is None:
        return
    code = "import importlib.util as u, sys; print('fastnnunet_autoload' in sys.modules, u.find_spec('nnunetv2') is not None)"
    try:
        done = subprocess.run(
            [*python, "-c", code],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:
        return  # the program itself will report it
    if done.returncode != 0 or len(answers := done.stdout.split()[-2:]) != 2:
        return  # as above
    ours, theirs = (answer == "True" for answer in answers)
    if ours:
        return
    if "-S" in python[1:]:
        raise CommandError(f"[{command[0]}] expected a Python that looks into its environment, got the option -S")
    if theirs or _is_python(found.name):
        raise CommandError(
            f"[{command[0]}] expected this package in the environment of {shlex.join(python)}, got none; install it there"
        )
    # conda, poetry and similar tools are Python programs that start programs in other environments.
    print(
        f"fastnnunet: warning: [{command[0]}] the environment of {shlex.join(python)} has neither nnU-Net nor this package; "
        "what it starts has to have both",
        file=sys.stderr,
    )


def interpreter(program: Path, arguments: Sequence[str] = ()) -> list[str] | None:
    """Return the Python that runs a program, with its options that affect what it imports; None for other programs."""
    if _is_python(program.name):
        return [str(program), *_path_options(arguments)]
    if program.suffix.lower() == ".exe":  # a console script that pip made on Windows
        python = program.with_name("python.exe")
        return [str(python)] if python.is_file() else None
    try:
        with program.open("rb") as file:
            first, second = (file.readline(4096).decode("utf-8", "replace") for _ in range(2))
    except OSError:
        return None
    if not first.startswith("#!"):
        return None
    words = first[2:].split()
    if words and Path(words[0]).name == "sh" and second.startswith("'''exec' "):
        # pip writes this if the path of the interpreter is too long for the first line.
        words = shlex.split(second[len("'''exec' ") :])[:1]
    elif words and Path(words[0]).name == "env":
        words = list(itertools.dropwhile(lambda word: word.startswith("-") or "=" in word, words[1:]))
    if not words or not _is_python(Path(words[0]).name):
        return None
    python_path = shutil.which(words[0])
    return None if python_path is None else [python_path, *_path_options(words[1:])]


def _is_python(name: str) -> bool:
    return re.fullmatch(r"pythonw?[\d.]*t?(\.exe)?", name.lower()) is not None


def _path_options(arguments: Sequence[str]) -> list[str]:
    """Return those of Python's options that affect what it imports."""
    found = []
    left = iter(arguments)
    for argument in left:
        if argument in ("-W", "-X"):
            next(left, None)
        elif _FLAGS.fullmatch(argument):
            found += [f"-{letter}" for letter in argument[1:] if letter in _PATH_OPTIONS]
        elif not argument.startswith(("-W", "-X")):
            break
    return found
