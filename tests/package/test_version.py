"""pyproject.toml holds the version; the extension, the command and the changelog agree with it."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.cli import command as cli

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^## \[(?P<version>[^]]+)\](?: - (?P<date>\S+))?$", re.MULTILINE)


def written() -> str:
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    return str(version)


def numbers(version: str) -> tuple[int, ...]:
    """1.2.0rc1 -> (1, 2, 0)."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    assert found, version
    return tuple(map(int, found.groups()))


def test_the_extension_has_the_version_of_pyproject() -> None:
    assert fl.__version__ == written()


def test_the_command_prints_the_version_of_pyproject(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"fastnnunet-loader {written()}\n"


@pytest.mark.parametrize(
    ("file", "own_version"),
    [
        ("CMakeLists.txt", r"project\([^)]*VERSION\s+\d"),
        ("cpp/bindings/CMakeLists.txt", r"_VERSION=\"\d"),
        ("CITATION.cff", r"^version:"),
    ],
)
def test_no_other_file_has_a_version_of_its_own(file: str, own_version: str) -> None:
    """Nobody would update it at the next release."""
    assert re.search(own_version, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE) is None


def test_the_changelog_lists_releases_from_the_latest_to_the_first() -> None:
    first, *releases = SECTION.finditer((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert (first["version"], first["date"]) == ("Unreleased", None)
    assert releases
    versions = [numbers(release["version"]) for release in releases]
    dates = [datetime.date.fromisoformat(release["date"]) for release in releases]
    assert versions == sorted(set(versions), reverse=True)
    assert dates == sorted(dates, reverse=True)


def test_the_version_is_the_latest_release_or_later_with_dev() -> None:
    """A build of the main branch must not be mistaken for a release, so its version is a later one with .dev0."""
    _, latest, *_ = SECTION.finditer((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if written() != latest["version"]:
        assert numbers(written()) > numbers(latest["version"])
        assert ".dev" in written() or "rc" in written()
