"""`fastnnunet doctor`: checks the software, the machine, the settings and a data set, and says what to change."""

from __future__ import annotations

import argparse
import itertools
import os

from .arguments import count

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose what is checked, and the form of the report."""
    add = parser.add_argument
    add("dataset", metavar="DATASET", nargs="?", help="name or number of a data set; all of its files are read")
    add("-c", "--configuration", metavar="CONFIG", help="check only this configuration (default: all)")
    add("-p", metavar="PLANS", default="nnUNetPlans", help="name of the plans (default: %(default)s)")
    add("--quick", action="store_true", help="read only a few cases")
    add(
        "--threads", metavar="N", type=count, help="number of threads that read files (default: the number of cores, at most 8)"
    )
    add("--json", action="store_true", help="print one JSON object instead of text")
    parser.epilog = "exit code: 0 fine, 1 warnings, 2 something will fail"


def run(args: argparse.Namespace) -> int:
    """Run the checks and print the report."""
    # Otherwise joblib, which scikit-learn imports, makes a semaphore in shared memory.
    os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")

    from .. import doctor
    from ..doctor import dataset, machine, software

    tasks: list[doctor.Task] = [*software.tasks(), *machine.tasks()]
    checks_of_dataset = None
    if args.dataset is not None:
        threads = {} if args.threads is None else {"threads": args.threads}
        checks_of_dataset = dataset.DatasetChecks(args.dataset, args.p, args.configuration, args.quick, **threads)
        # First, so that a wrong name is reported at once.
        tasks.insert(0, ("data set", checks_of_dataset.find))
    later = () if checks_of_dataset is None else checks_of_dataset.tasks()
    printer = doctor.Printer()
    show = (lambda _: None) if args.json else printer.check
    checks = doctor.run(itertools.chain(tasks, later), show, args.debug)
    if args.json:
        print(doctor.to_json(checks))
    else:
        printer.summary(checks)
    return doctor.exit_code(checks)
