"""The address of a sample, as arguments and as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnnunet_loader.errors import SampleError
from fastnnunet_loader.sample_id import SampleId, role_name, role_number

numbers = st.integers(0, 2**48)
samples = st.builds(SampleId, numbers, numbers, numbers, st.integers(0, 5), st.integers(0, 7), st.integers(0, 3))


@given(sample=samples, ranks=st.integers(8, 16))
def test_text_is_read_back(sample: SampleId, ranks: int) -> None:
    assert SampleId.parse(sample.as_text(ranks)) == (sample, ranks)
    assert SampleId(**sample) == sample


def test_text_has_what_a_user_must_give() -> None:
    assert SampleId(3, 4, 0).as_text() == "seed=3,step=4,slot=0"
    assert SampleId(3, 4, 1, role=1, rank=2, attempt=1).as_text(4) == "seed=3,step=4,slot=1,role=val,rank=2,ranks=4,attempt=1"
    assert SampleId(3, 4, 1, role=2).as_text() == "seed=3,step=4,slot=1,role=2"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected seed=N,step=N,slot=N and what else the line has, got ''"),
        ("seed=1,step=2", "expected also slot, got 'seed=1,step=2'"),
        ("seed=1,step=2,slot=-1", "expected seed=N"),
        ("seed=1,step=2,slot=0,place=1", "expected seed=N"),
        ("seed=1,step=2,slot=0,role=test", "expected seed=N"),
        ("seed=1,step=2,slot=0,rank=2,ranks=2", "expected a rank below 2"),
    ],
)
def test_other_text_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        SampleId.parse(text)


def test_roles_have_names_and_numbers() -> None:
    assert [role_number(role) for role in ("train", "val", 0, 3)] == [0, 1, 0, 3]
    assert [role_name(role) for role in (0, 1, 2)] == ["train", "val", 2]
    with pytest.raises(ValueError, match=r"\[role\] expected 'train', 'val' or a number, got 'test'"):
        role_number("test")


def test_an_error_has_the_address_of_its_sample() -> None:
    sample = SampleId(1, 2, 3, 1, 0, 2)
    error = SampleError("it failed", case="c", file="", transform="", reason="it failed", **sample)
    assert error.sample == sample
