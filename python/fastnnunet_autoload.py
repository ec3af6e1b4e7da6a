"""Puts fastnnunet_loader under a program that uses nnU-Net, where the environment variable FASTNNUNET_RUN asks for it.

`fastnnunet_autoload.pth` imports this when Python starts. It has to cost nothing in programs without nnU-Net, so it imports
only what Python has loaded by then, and waits: when nnU-Net's modules have been imported, `fastnnunet_loader.install()` is
called, before the program gets any name of theirs.
"""

import _thread
import os
import sys

TYPE_CHECKING = False  # as typing has it, without an import of it
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["REPLACED", "VARIABLE", "stop"]

VARIABLE = "FASTNNUNET_RUN"
"""Unset, empty or "0": off. "1": on. Else on, with the options of the loader that it holds ("--threads 4 --seed 1")."""

REPLACED = (
    "nnunetv2.dataset_conversion.Dataset",
    "nnunetv2.dataset_conversion.convert_MSD_dataset",
    "nnunetv2.ensembling.",
    "nnunetv2.evaluation.",
    "nnunetv2.experiment_planning.",
    "nnunetv2.inference.",
    "nnunetv2.postprocessing.",
    "nnunetv2.preprocessing.cropping.",
    "nnunetv2.preprocessing.preprocessors.",
    "nnunetv2.preprocessing.resampling.default_resampling",
    "nnunetv2.run.run_training",
    "nnunetv2.training.dataloading.",
    "nnunetv2.training.nnUNetTrainer.",
    "nnunetv2.utilities.overlay_plots",
)
"""What the names of the modules in which install() replaces something begin with. A program that imports none of them, but
perhaps nnU-Net's paths, is left alone."""


class _Watcher:
    """A finder that finds nothing itself: it notes when imports of nnU-Net's modules begin and end.

    An import of one module imports others. install() has to wait for the end of the outermost one, and for that of other
    threads, for until then some modules are half made.
    """

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._depth: dict[int, int] = {}  # of each thread that is importing nnU-Net
        self._asked: set[tuple[int, str]] = set()
        self._installing: int | None = None  # the thread that is
        self._stopped = False
        self._options = os.environ.get(VARIABLE) or "1"

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """The module as the other finders find it, watched if it is one of nnU-Net's."""
        asked = (_thread.get_ident(), name)
        if not f"{name}.".startswith("nnunetv2.") or asked in self._asked:
            return None
        self._asked.add(asked)  # another finder like this one may ask us in turn
        try:
            others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
            specs = (finder.find_spec(name, path, target) for finder in others)
            spec = next((spec for spec in specs if spec is not None), None)
        finally:
            self._asked.discard(asked)
        if spec is not None and spec.loader is not None:
            self._watch(spec.loader)
        return spec

    def _watch(self, loader: "Loader") -> None:
        load = getattr(loader, "exec_module", None)
        if load is None or isinstance(loader, type) or not hasattr(loader, "__dict__"):
            return  # no loader of nnU-Net's modules is like this

        def exec_module(module: "ModuleType") -> None:
            vars(loader).pop("exec_module", None)  # nobody who looks at the module later finds this
            self._enter()
            try:
                load(module)
            except Exception:
                self._leave()
                raise
            except BaseException:  # somebody wants the program to end
                self._leave(install=False)
                raise
            self._leave()

        # Of this loader only. Its class is Python's, and what it can do besides is asked for by runpy, inspect and others.
        loader.exec_module = exec_module  # type: ignore[method-assign]

    def _enter(self) -> None:
        me = _thread.get_ident()
        with self._lock:
            self._depth[me] = self._depth.get(me, 0) + 1

    def _leave(self, install: bool = True) -> None:
        me = _thread.get_ident()
        with self._lock:
            self._depth[me] -= 1
            if self._depth[me] > 0:
                return
            del self._depth[me]
            if not install or self._depth or self._stopped or self._installing is not None:
                return
            if _half_made("fastnnunet_loader.nnunet.installing.everything", "uninstall"):
                return
            # `python -m` runs a module under another name.
            main = getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", "")
            if not any(name.startswith(REPLACED) for name in [*sys.modules, main]):
                return
            self._installing = me
        try:
            while not self._install():
                with self._lock:
                    if self._depth:  # else the other thread has ended meanwhile, and left it to this one
                        self._installing = None
                        return
        except BaseException:
            self._installing = None
            raise
        self.stop()

    def _install(self) -> bool:
        """Install, or say why not; False where another thread, which is importing nnU-Net now, is to do it at its end."""
        try:
            from fastnnunet_loader.cli.running import take_over

            return take_over(self._options, lambda: not self._depth)
        except Exception as error:
            if sys.stderr is not None:
                ours = type(error).__module__.startswith("fastnnunet_loader.")
                said = " ".join(str(error if ours else f"{type(error).__name__}: {error}").split())
                print(f"fastnnunet: [{VARIABLE}] {said}; this program goes on with nnU-Net as it is", file=sys.stderr)
            return True

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped = True
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def forked(self) -> None:
        """In the child of a fork: the other threads, and the imports that they were in, are the parent's."""
        self._lock = _thread.allocate_lock()
        me = _thread.get_ident()
        self._depth = {me: self._depth[me]} if me in self._depth else {}
        self._installing = me if self._installing == me else None
        self._asked.clear()


def _half_made(name: str, last: str) -> bool:
    """Whether somebody is importing a module: the program itself, which calls install() next, imports nnU-Net by that."""
    module = sys.modules.get(name)
    return module is not None and not hasattr(module, last)


_watcher = _Watcher()
sys.meta_path.insert(0, _watcher)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watcher.forked)


def stop() -> None:
    """Leave this process alone from now on: what runs in it installs by itself what it needs."""
    _watcher.stop()
