"""Makes python/fastnnunet_loader/known/sources.json: what nnU-Net's code looks like in the versions that are known.

    python scripts/known_sources.py [--write] [--versions FOLDER]

Each version is installed by pip, without what it needs, into a folder of its own; what it needs has to be installed where this
runs. Prints what is new, what is gone, and each member that is not the same in all versions: whoever adds a version reads these
differences, and names in `known/roots.py` (OTHER_MEANING) what no longer means what the native code does.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent / "python"
sys.path.insert(0, str(PACKAGE))

from fastnnunet_loader.known import roots  # noqa: E402
from fastnnunet_loader.known.table import FILE  # noqa: E402
from fastnnunet_loader.known.walk import Found, Walk  # noqa: E402

VERSIONS = {
    "nnunetv2": ("2.6.0", "2.6.2", "2.6.3", "2.6.4", "2.7.0", "2.8.0", "2.8.1"),
    "batchgeneratorsv2": ("0.3.5", "0.3.6"),
    "batchgenerators": ("0.25.1", "0.25.2", "0.25.3", "0.25.4", "0.25.5"),
    "acvl_utils": ("0.2.3", "0.2.4", "0.2.5", "0.2.6"),
}

Table = dict[str, dict[str, dict[str, str]]]


def main() -> int:
    """See the file's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table; without it the differences are printed only")
    parser.add_argument("--versions", type=Path, help="where versions are kept for the next time")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(walked()))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        made = table(options.versions or Path(scratch))
    before: Table = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    for line in differences(before, made):
        print(line)
    if options.write:
        FILE.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


def walked() -> dict[str, str]:
    """What this process's packages have, by key."""
    found: dict[str, str] = {}

    def visit(one: Found) -> None:
        assert found.setdefault(one.key, one.fingerprint) == one.fingerprint, one
        assert one.fingerprint, one

    walk = Walk(visit)
    for where, names in (entry for entries in roots.ROOTS.values() for entry in entries):
        module, _, name = where.partition(":")
        try:
            root: Any = importlib.import_module(module)
            walk.root(getattr(root, name) if name else root, names.split())
        except (ModuleNotFoundError, AttributeError) as error:
            print(f"{where}: {error}", file=sys.stderr)
    return found


def installed(package: str, version: str, folder: Path) -> Path:
    """The folder of one version."""
    target = folder / f"{package}-{version}"
    if not target.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", f"--target={target}"]
        subprocess.run([*command, f"{package}=={version}"], check=True)
    return target


def combinations() -> Iterator[dict[str, str]]:
    """Every version once, beside the latest of the others."""
    latest = {package: versions[-1] for package, versions in VERSIONS.items()}
    yield latest
    for package, versions in VERSIONS.items():
        for version in versions[:-1]:
            yield {**latest, package: version}


def table(folder: Path) -> Table:
    """{package: {key: {fingerprint: versions}}} of all versions."""
    made: dict[str, dict[str, dict[str, list[str]]]] = {package: {} for package in VERSIONS}
    for chosen in combinations():
        folders = [str(installed(package, version, folder)) for package, version in chosen.items()]
        done = subprocess.run(
            [sys.executable, __file__, "--here"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*folders, str(PACKAGE)])},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            encoding="utf-8",
        )
        for key, fingerprint in json.loads(done.stdout.splitlines()[-1]).items():
            package = key.split(".")[0].split(":")[0]
            if not means_otherwise(key, chosen[package]):
                versions = made[package].setdefault(key, {}).setdefault(fingerprint, [])
                if chosen[package] not in versions:
                    versions.append(chosen[package])
    return {
        package: {
            key: {fingerprint: " ".join(sorted(versions)) for fingerprint, versions in known.items()}
            for key, known in entries.items()
        }
        for package, entries in made.items()
    }


def means_otherwise(key: str, version: str) -> bool:
    """Whether native code does not stand for this member as it is in that version."""
    return any(
        (key == entry or (entry.endswith("*") and key.startswith(entry[:-1]))) and version in versions.split()
        for entry, versions in roots.OTHER_MEANING.items()
    )


def differences(before: Table, now: Table) -> Iterator[str]:
    """In words, a line for each key."""
    for package, entries in now.items():
        old = before.get(package, {})
        every = set(VERSIONS[package])
        for key in sorted(old.keys() | entries.keys()):
            known = entries.get(key, {})
            state = "gone" if key not in entries else "new" if key not in old else "changed" if old[key] != known else ""
            several = len(known) > 1 or {version for versions in known.values() for version in versions.split()} != every
            if state or several:
                print_known = ", ".join(f"{fingerprint} ({versions})" for fingerprint, versions in known.items())
                yield f"{state or 'varies':8}{key}  {print_known if several else ''}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
