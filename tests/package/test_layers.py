"""The rooms of the package import only from the rooms below them: the contracts are in pyproject.toml."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """The linter silences every logger that there is, of other tests as well."""
    loggers = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    silent = {logger: logger.disabled for logger in loggers}
    yield
    for logger, disabled in silent.items():
        logger.disabled = disabled


@pytest.mark.parametrize("contract", ["layers", "prediction", "circles"])
def test_the_package_keeps_its_contract(contract: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(str(ROOT / "pyproject.toml"), limit_to_contracts=(contract,), no_cache=True, no_logo=True)
    assert code == 0, capsys.readouterr().out


def test_imports_inside_functions_count() -> None:
    """`install()` imports nnU-Net's side only when it is called."""
    graph = grimp.build_graph("fastnnunet_loader", cache_dir=None)
    assert graph.direct_import_exists(importer="fastnnunet_loader", imported="fastnnunet_loader.nnunet")
