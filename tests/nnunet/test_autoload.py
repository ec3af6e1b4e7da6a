"""When a program's imports of nnU-Net make install() happen: with a small package of that name, which costs no second."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PREDICT, LOADER = "nnunetv2.inference.predict", "nnunetv2.training.dataloading.loader"
FILES = {
    "nnunetv2/__init__.py": "",
    "nnunetv2/paths.py": "",
    "nnunetv2/utilities/__init__.py": "",
    "nnunetv2/utilities/utils.py": "",
    "nnunetv2/inference/__init__.py": "",
    "nnunetv2/inference/predict.py": f"import nnunetv2.paths\nfrom {LOADER} import Loader\nwhole = True\n",
    "nnunetv2/inference/fails.py": "import nnunetv2.training.dataloading.loader\nimport nowhere_to_be_found\n",
    "nnunetv2/inference/ends.py": "import nnunetv2.training.dataloading.loader\nraise SystemExit(3)\n",
    "nnunetv2/training/__init__.py": "",
    "nnunetv2/training/dataloading/__init__.py": "",
    "nnunetv2/training/dataloading/loader.py": "class Loader:\n    pass\nwhole = True\n",
    "nnunetv2/training/losses.py": "",
    "nnunetv2_other.py": "",
    "fastnnunet_loader/__init__.py": "",
    "fastnnunet_loader/cli/__init__.py": "",
    "fastnnunet_loader/errors.py": "class CommandError(RuntimeError):\n    pass\n",
    "fastnnunet_loader/cli/running.py": """
import os, sys
calls = []
def take_over(text, alone):
    whole = sorted(name for name, module in list(sys.modules.items()) if getattr(module, "whole", False))
    calls.append([text, alone(), whole])
    what = os.environ.get("TAKE_OVER", "")
    if what == "ours":
        from fastnnunet_loader.errors import CommandError
        raise CommandError("expected\\n  one, got two")
    if what == "theirs":
        raise ZeroDivisionError("by zero")
    if what == "ends":
        raise KeyboardInterrupt
    return True
""",
}
TOLD = """
import json, sys
running = sys.modules.get("fastnnunet_loader.cli.running")
watched = any(type(finder).__module__ == "fastnnunet_autoload" for finder in sys.meta_path)
print(json.dumps([running.calls if running else [], watched]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    # Not imported here: it would install into the process of the tests.
    module = importlib.util.find_spec("fastnnunet_autoload")
    assert module is not None
    assert module.origin is not None
    shutil.copy(module.origin, folder)
    return folder


def run(folder: Path, code: str, **environment: str) -> tuple[Any, str]:
    """What install() was called with, whether imports are still watched; and what was said."""
    own = {name: value for name, value in os.environ.items() if name not in ("FASTNNUNET_RUN", "PYTHONPATH")}
    start = f"import sys; sys.path.insert(0, {str(folder)!r})\nimport fastnnunet_autoload"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"{start}\n{code}\n{TOLD}"],
        env={**own, "PYTHONDONTWRITEBYTECODE": "1", **environment}, capture_output=True, encoding="utf-8", timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        ("import json", 0),
        ("import nnunetv2_other", 0),
        ("import nnunetv2", 0),
        ("import nnunetv2.paths", 0),
        ("import nnunetv2.utilities.utils", 0),
        ("import nnunetv2.training.losses", 0),
        ("import importlib.util; assert importlib.util.find_spec('nnunetv2.paths')", 0),
        (f"import {PREDICT}", 1),
        (f"import {LOADER}", 1),
        (f"import nnunetv2.paths\nimport {LOADER}\nimport {PREDICT}", 1),
        (f"from {PREDICT} import whole", 1),
        (f"import importlib; importlib.import_module('{PREDICT}')", 1),
        ("import fastnnunet_autoload as a; a.stop(); a.stop()\nimport nnunetv2.inference.predict", 0),
    ],
)
def test_install_is_called_once_where_something_of_it_is_replaced(folder: Path, code: str, calls: int) -> None:
    (called, watched), said = run(folder, code)
    assert len(called) == calls
    assert watched == (calls == 0 and "stop()" not in code)
    assert said == ""


@pytest.mark.parametrize(
    ("environment", "text"),
    [({}, "1"), ({"FASTNNUNET_RUN": ""}, "1"), ({"FASTNNUNET_RUN": "1"}, "1"), ({"FASTNNUNET_RUN": "--seed 3"}, "--seed 3")],
)
def test_the_options_are_those_of_the_programs_start(folder: Path, environment: dict[str, str], text: str) -> None:
    code = f"import os; os.environ['FASTNNUNET_RUN'] = '--seed 9'\nimport {PREDICT}"
    assert run(folder, code, **environment)[0][0] == [[text, True, [PREDICT, LOADER]]]


def test_it_waits_for_the_end_of_the_outermost_import(folder: Path) -> None:
    """Until then a module is half made."""
    (((_, alone, whole),), _), _ = run(folder, f"import {PREDICT}")
    assert (alone, whole) == (True, [PREDICT, LOADER])


def test_a_module_that_fails_is_an_end_too_and_the_end_of_the_program_is_none(folder: Path) -> None:
    fails = "try:\n    import nnunetv2.inference.fails\nexcept ImportError as error:\n    assert 'nowhere' in str(error)"
    (called, watched), _ = run(folder, fails)
    assert ([one[2] for one in called], watched) == ([[LOADER]], False)
    ends = "try:\n    import nnunetv2.inference.ends\nexcept SystemExit:\n    pass"
    assert run(folder, ends)[0] == [[], True]
    # The next import is the one.
    (called, watched), _ = run(folder, f"{ends}\nimport nnunetv2.paths")
    assert (len(called), watched) == (1, False)


def test_a_program_that_installs_itself_is_left_to_it(folder: Path) -> None:
    """It is importing this package now, and that imports nnU-Net."""
    code = f"""
import types
name = "fastnnunet_loader.nnunet.installing.everything"
module = sys.modules[name] = types.ModuleType(name)
import {LOADER}
assert "fastnnunet_loader.cli.running" not in sys.modules
module.uninstall = lambda: None
import {PREDICT}
"""
    (called, watched), _ = run(folder, code)
    assert (len(called), watched) == (1, False)


@pytest.mark.parametrize(("what", "words"), [("ours", "expected one, got two"), ("theirs", "ZeroDivisionError: by zero")])
def test_why_it_could_not_be_installed_is_said_once(folder: Path, what: str, words: str) -> None:
    code = f"import {LOADER}\nimport {PREDICT}\nassert {PREDICT}.whole"
    (called, watched), said = run(folder, code, TAKE_OVER=what)
    assert (len(called), watched) == (1, False)
    assert said == f"fastnnunet: [FASTNNUNET_RUN] {words}; this program goes on with nnU-Net as it is\n"
    (called, _), said = run(folder, f"sys.stderr = None\n{code}", TAKE_OVER=what)  # as pythonw has it
    assert (len(called), said) == (1, "")


def test_ctrl_c_while_it_is_installed_is_the_programs_and_the_next_import_tries_again(folder: Path) -> None:
    code = f"""
import os
try:
    import {LOADER}
except KeyboardInterrupt:
    os.environ["TAKE_OVER"] = ""
else:
    raise AssertionError
import {PREDICT}
"""
    (called, watched), _ = run(folder, code, TAKE_OVER="ends")
    assert (len(called), watched) == (2, False)


def test_nothing_is_left_on_a_module(folder: Path) -> None:
    code = f"""
import importlib, inspect
import {PREDICT}, nnunetv2.paths
for name in ("nnunetv2", "nnunetv2.paths", "{PREDICT}", "{LOADER}"):
    module = sys.modules[name]
    assert module.__spec__.loader is module.__loader__
    assert "exec_module" not in vars(module.__loader__), name
    assert type(module.__loader__).__module__ == "_frozen_importlib_external"
assert "Loader" in inspect.getsource({PREDICT})
assert importlib.reload({PREDICT}) is {PREDICT}
"""
    assert len(run(folder, code)[0][0]) == 1


def test_another_finder_of_the_same_kind_is_asked_once(folder: Path) -> None:
    """One that asks all others in turn, as this one does."""
    code = f"""
class Asking:
    def find_spec(self, name, path=None, target=None):
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:
                return spec
sys.meta_path.insert(0, Asking())
import {PREDICT}
assert {PREDICT}.whole
sys.meta_path.append(object())  # one of old, which has no find_spec
"""
    (called, watched), said = run(folder, code)
    assert (len(called), watched, said) == (1, False, "")
