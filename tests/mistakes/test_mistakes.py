"""The list names code and tests that are there: whoever moves or rewords either changes the list as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from .__main__ import MISTAKES
from .mistake import Mistake

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.file}: {mistake.what}")
def test_the_right_code_occurs_once(mistake: Mistake) -> None:
    assert (ROOT / mistake.file).read_text(encoding="utf-8").count(mistake.right) == 1
    assert mistake.wrong != mistake.right


@pytest.mark.parametrize("tests", sorted({mistake.tests for mistake in MISTAKES}))
def test_the_tests_that_have_to_see_it_exist(tests: str) -> None:
    assert [name for name in tests.split() if not (ROOT / name).exists()] == []
