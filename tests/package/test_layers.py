"""The rooms of the package import only from the rooms below them: the contracts are in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("contract", ["layers", "prediction", "circles"])
def test_the_package_keeps_its_contract(contract: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(str(ROOT / "pyproject.toml"), limit_to_contracts=(contract,), no_cache=True, no_logo=True)
    assert code == 0, capsys.readouterr().out


def test_imports_inside_functions_count() -> None:
    """`install()` imports nnU-Net's side only when it is called."""
    graph = grimp.build_graph("fastnnunet_loader", cache_dir=None)
    assert graph.direct_import_exists(importer="fastnnunet_loader", imported="fastnnunet_loader.nnunet")
