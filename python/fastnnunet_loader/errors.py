"""What can go wrong, as exceptions that name the case, the file, the transform and how to make the sample again."""

from __future__ import annotations

from .sample_id import SampleId

__all__ = [
    "BadCaseError",
    "FastnnUNetError",
    "LoaderClosedError",
    "MemoryBudgetError",
    "NotSupportedError",
    "PredictionError",
    "PreprocessingError",
    "RankError",
    "ResourceError",
    "SampleError",
    "StallError",
    "StorageError",
    "TransformError",
]


_LOG = "_fastnnunet_log"


def log_of(error: BaseException) -> str | None:
    """Return the file in which the traceback of an error stands already, or None."""
    log: str | None = getattr(error, _LOG, None)
    return log


def note_log(error: BaseException, file: str) -> None:
    """Note that the traceback of an error stands in a file."""
    setattr(error, _LOG, file)


class FastnnUNetError(RuntimeError):
    """Base of every error of this package that is not the fault of an argument (those are ValueError and TypeError)."""


class StorageError(FastnnUNetError):
    """A file that cannot be read as what it should be.

    Attributes:
        file: the file.
        reason: what was expected and what was found.
        errno: Python's `errno` of the error where Python met it, or None.
        passing: whether it may be over after a while, as where a file server does not answer.
    """

    def __init__(self, message: str, *, file: str, reason: str, errno: int | None = None, passing: bool | None = None) -> None:
        super().__init__(message)
        self.file = file
        self.reason = reason
        self.errno = errno
        if passing is None and errno is not None:
            from ._core import passing as may_pass  # commands know their errors before the core is loaded

            passing = may_pass(errno)
        self.passing = bool(passing)


class TransformError(FastnnUNetError):
    """A transform failed. What it raised is the cause."""

    def __init__(self, message: str, *, transform: str) -> None:
        super().__init__(message)
        self.transform = transform


class SampleError(FastnnUNetError):
    """A sample could not be made.

    Attributes:
        case: name of the case.
        file: the file to blame, or "".
        transform: the transform to blame, or "".
        reason: what was expected and what was found.
        seed, rank, role, step, slot, attempt: make exactly this sample again; `sample` has them together.
        reproduce: a line of Python that does.
    """

    def __init__(
        self,
        message: str,
        *,
        case: str,
        file: str,
        transform: str,
        reason: str,
        seed: int,
        rank: int,
        role: int,
        step: int,
        slot: int,
        attempt: int = 0,
    ) -> None:
        super().__init__(message)
        self.case = case
        self.file = file
        self.transform = transform
        self.reason = reason
        self.seed = seed
        self.rank = rank
        self.role = role
        self.step = step
        self.slot = slot
        self.attempt = attempt
        self.reproduce = ""

    @property
    def sample(self) -> SampleId:
        """The address of the sample."""
        return SampleId(self.seed, self.step, self.slot, self.role, self.rank, self.attempt)


class BadCaseError(SampleError):
    """A sample could not be made because its case's files are bad. `on_bad_case="skip"` goes on without such cases."""


class MemoryBudgetError(FastnnUNetError):
    """The memory budget does not hold what must be held; the message says what that is."""


class ResourceError(FastnnUNetError):
    """The system gives the process no more threads: it is at a limit of processes (`ulimit -u`, a container's) or memory."""


class LoaderClosedError(FastnnUNetError):
    """The loader was closed, or belongs to the process before a fork."""


class StallError(FastnnUNetError):
    """A batch has taken longer than `abort_after`; the message says what each thread is doing."""


class NotSupportedError(FastnnUNetError):
    """A data loader or data set does something of its own that the native loader cannot know of."""


class PredictionError(FastnnUNetError):
    """A case could not be predicted.

    Attributes:
        case: its name.
        file: the file to blame, or "".
        stage: "check", "read", "preprocess", "predict" or "export".
        reason: what was expected and what was found.
    """

    def __init__(self, *, case: str, stage: str, reason: str, file: str = "") -> None:
        super().__init__(f"[{case}] {file + ': ' if file else ''}{reason}")
        self.case = case
        self.file = file
        self.stage = stage
        self.reason = reason


class PreprocessingError(FastnnUNetError):
    """Cases of a data set could not be preprocessed, or analysed for its fingerprint.

    Attributes:
        case: name of the case; of several, the first.
        file: the file to blame, or "".
        stage: "check", "read", "preprocess", "fingerprint" or "write".
        reason: what was expected and what was found.
        others: the errors of the other cases.
    """

    def __init__(
        self, *, case: str, stage: str, reason: str, file: str = "", others: tuple[PreprocessingError, ...] = ()
    ) -> None:
        lines = [f"[{case}] {file + ': ' if file else ''}{reason}", *(f"  {error}" for error in others)]
        super().__init__("\n".join(lines))
        self.case = case
        self.file = file
        self.stage = stage
        self.reason = reason
        self.others = others


class RankError(FastnnUNetError):
    """A rank of a training on several devices failed. The message is that rank's; the cause has its traceback.

    Attributes:
        rank: its number.
        because: type and message of what the rank's error was raised from, or "".
    """

    rank: int
    because: str


class CommandError(FastnnUNetError):
    """The arguments or the set-up are wrong; the message says which values exist, or what to do."""
