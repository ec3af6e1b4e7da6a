"""python -m tests.mistakes: makes each mistake of the list in a copy of the tree, and looks whether a test sees it.

Takes two hours or three. Exits with 1 where fewer than 95 % are caught.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .fifth import FIFTH
from .first import FIRST
from .fourth import FOURTH
from .mistake import Mistake
from .ranks import RANKS
from .scripts import SCRIPTS
from .second import SECOND
from .sixth import SIXTH
from .third import THIRD
from .translated import TRANSLATED

MISTAKES = [*FIRST, *SECOND, *THIRD, *FOURTH, *FIFTH, *SIXTH, *TRANSLATED, *SCRIPTS, *RANKS]
ROOT = Path(__file__).resolve().parents[2]
SHARE = 0.95
LIMIT = 1200  # seconds for the tests of one mistake: one that never ends is one that was noticed


def main() -> int:
    """Try the mistakes and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.mistakes", description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int, help="only these, counted from 1")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mistakes", help="for the copy")
    parser.add_argument("--known-to-pass", action="store_true", help="do not run the tests without a mistake first")
    arguments = parser.parse_args()
    chosen = [(n, m) for n, m in enumerate(MISTAKES, 1) if n in (arguments.numbers or range(1, len(MISTAKES) + 1))]
    tree = Tree(arguments.folder)
    if not arguments.known_to_pass:
        tree.check_clean({mistake.tests for _, mistake in chosen})
    caught = 0
    for number, mistake in chosen:
        begin = time.monotonic()
        by = tree.caught_by(mistake)
        caught += bool(by)
        print(
            f"| {number} | {mistake.file} | {mistake.what} | {by or '**nothing**'} | {time.monotonic() - begin:.0f} s |",
            flush=True,
        )
    print(f"{caught} of {len(chosen)} caught")
    return 0 if caught >= SHARE * len(chosen) else 1


class Tree:
    """A copy of the tracked files, built."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout
        for name in filter(None, files.split("\0")):
            source, target = ROOT / name, folder / name
            if not target.exists() or target.read_bytes() != source.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        self.build = folder / "build" / "mistakes"
        pybind11 = subprocess.run(
            [sys.executable, "-m", "pybind11", "--cmakedir"], check=True, capture_output=True, encoding="utf-8"
        )
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "FASTNNUNET_BUILD_PYTHON": "ON",
            "FASTNNUNET_BUILD_TESTS": "ON",
            "Python_EXECUTABLE": sys.executable,
            "CMAKE_PREFIX_PATH": next(path for path in sys.path if path.endswith("site-packages")),
            "pybind11_DIR": pybind11.stdout.strip(),
        }
        if shutil.which("ccache"):
            options["CMAKE_CXX_COMPILER_LAUNCHER"] = "ccache"
        self.run(["cmake", "-S", ".", "-B", str(self.build), "-G", "Ninja", *(f"-D{k}={v}" for k, v in options.items())])
        self.make()

    def run(self, command: list[str]) -> None:
        """Run what has to succeed."""
        done = subprocess.run(command, cwd=self.folder, capture_output=True, encoding="utf-8")
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")

    def make(self) -> None:
        """Build the C++ tests and the package's core."""
        self.run(["cmake", "--build", str(self.build)])
        for extension in (self.build / "cpp" / "bindings").glob("_*.so"):
            target = self.folder / "python" / "fastnnunet_loader" / extension.name
            target.unlink(missing_ok=True)
            shutil.copy2(extension, target)

    def check_clean(self, tests: set[str]) -> None:
        """A test that fails anyway catches nothing."""
        words = sorted({word for several in tests for word in several.split()})
        found = self.catch2() or (self.pytest(" ".join(words)) if words else "")
        if found:
            sys.exit(f"expected the tests to pass where no mistake is made, got {found}")

    def caught_by(self, mistake: Mistake) -> str:
        """Return the first test that fails, or nothing."""
        file = self.folder / mistake.file
        right = file.read_text(encoding="utf-8")
        if right.count(mistake.right) != 1:
            sys.exit(f"[{mistake.file}] expected once, got {right.count(mistake.right)} times: {mistake.right}")
        file.write_text(right.replace(mistake.right, mistake.wrong), encoding="utf-8")
        native = mistake.file.startswith("cpp/")
        try:
            if native:
                self.make()
                if found := self.catch2():
                    return found
            return self.pytest(mistake.tests)
        finally:
            file.write_text(right, encoding="utf-8")
            if native:
                self.make()

    def catch2(self) -> str:
        """Return the first C++ test that fails, or nothing."""
        program = self.build / "cpp" / "fastnnunet_tests"
        try:
            done = subprocess.run(
                [program, "--abort", "-r", "xml"], cwd=self.folder, capture_output=True, encoding="utf-8", timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            return "the C++ tests, which do not end"
        if done.returncode == 0:
            return ""
        names = re.findall(r'<TestCase name="([^"]*)"', done.stdout)
        return f"C++: {names[-1] if names else 'a crash'}"

    def pytest(self, tests: str) -> str:
        """Return the first Python test that fails, or nothing."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "python"), "OMP_WAIT_POLICY": "PASSIVE"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests.split()]
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, encoding="utf-8", timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            return f"{tests}, which do not end"
        if done.returncode == 0:
            return ""
        if done.returncode != 1:
            sys.exit(f"expected pytest to run {tests}, got exit code {done.returncode}\n{done.stdout[-2000:]}")
        failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        return failed[0] if failed else f"{tests}: {done.stdout[-300:]}"


if __name__ == "__main__":
    sys.exit(main())
