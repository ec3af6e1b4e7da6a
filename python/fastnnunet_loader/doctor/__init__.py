"""What `fastnnunet doctor` checks: the software, the machine, nnU-Net's folders, and every file of a data set.

Each check is a function that returns a `Check`, or a list of them.
"""

from .report import Check, Printer, Task, Verdict, exit_code, run, to_json

__all__ = ["Check", "Printer", "Task", "Verdict", "exit_code", "run", "to_json"]
