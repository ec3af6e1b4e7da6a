"""The form in which sources are compared: every token counts, and nothing else does."""

from __future__ import annotations

import io
import linecache
import tokenize
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import acvl_utils.cropping_and_padding.bounding_boxes
import batchgeneratorsv2.transforms.intensity.contrast
import batchgeneratorsv2.transforms.noise.gaussian_blur
import batchgeneratorsv2.transforms.spatial.spatial
import nnunetv2.training.dataloading.data_loader
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fastnnunet_loader import known
from fastnnunet_loader.known.source import UnknownSourceError, describe
from fastnnunet_loader.known.tokens import digest, normalised

FUNCTIONS = [
    nnunetv2.training.dataloading.data_loader.nnUNetDataLoader.get_bbox,
    nnunetv2.training.dataloading.data_loader.nnUNetDataLoader.generate_train_batch,
    acvl_utils.cropping_and_padding.bounding_boxes.crop_and_pad_nd,
    batchgeneratorsv2.transforms.intensity.contrast.BGContrast.sample_contrast,
    batchgeneratorsv2.transforms.noise.gaussian_blur.blur_dimension,
    batchgeneratorsv2.transforms.spatial.spatial.SpatialTransform._apply_to_segmentation,
]
COUNTED = (tokenize.NAME, tokenize.NUMBER, tokenize.OP, tokenize.STRING)


def text_of(function: Any) -> tuple[list[str], int, int]:
    """The lines of its file, and the part of them that is the function: (first, last + 1), from 0."""
    import inspect

    lines = Path(function.__code__.co_filename).read_text(encoding="utf-8").splitlines(keepends=True)
    body, first = inspect.getsourcelines(function)
    return lines, first - 1, first - 1 + len(body)


def loaded(function: Any, text: str, folder: Path) -> FunctionType:
    """The same function out of another text of its module, which takes the module's place in nobody's eyes but its own."""
    file = folder / f"{abs(hash(text))}.py"
    file.write_text(text, encoding="utf-8")
    module = ModuleType(function.__module__)
    module.__file__ = str(file)
    exec(compile(text, str(file), "exec", dont_inherit=True), vars(module))
    found: Any = module
    for name in function.__qualname__.split("."):
        found = vars(found)[name]
    assert isinstance(found, FunctionType)
    return found


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_a_copy_is_known(function: Any, tmp_path: Path) -> None:
    lines, _, _ = text_of(function)
    copy = loaded(function, "".join(lines), tmp_path)
    assert copy is not function
    assert known.changed(copy) == []


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_comments_blank_lines_indentation_and_docstrings_do_not_count(function: Any, tmp_path: Path) -> None:
    lines, first, last = text_of(function)
    body = lines[first:last]
    changed = [body[0]]
    for number, line in enumerate(body[1:], 1):
        if is_between_statements(body, number):
            changed += ["\n", "# a comment\n", "   \n"]
        changed.append(line)
    assert len(changed) > len(body)
    text = "".join([*lines[:first], *changed, *lines[last:]])
    copy = loaded(function, text, tmp_path)
    assert copy.__code__.co_firstlineno == function.__code__.co_firstlineno
    assert describe(copy).digest == describe(function).digest
    assert known.changed(copy) == []
    source = "def f(a):\n    '''What it does.'''\n    if a:\n        return 1  # one\n"
    assert normalised(source) == normalised(
        "def f( a ) :\n  'Other'\n\n  if a :\n      # no\n      return (1)\n".replace("(1)", "1")
    )
    assert normalised(source) != normalised(source.replace("        return 1  # one", "        pass\n    return 1"))


def is_between_statements(lines: list[str], number: int) -> bool:
    """Whether a new line may stand before this one: it is not inside of a string, or after a backslash."""
    if lines[number - 1].rstrip().endswith("\\"):
        return False
    try:
        for token in tokenize.generate_tokens(io.StringIO("".join(lines)).readline):
            if token.start[0] <= number < token.end[0]:
                return False
    except (tokenize.TokenError, IndentationError):
        pass
    return True


def edited(token: tokenize.TokenInfo) -> str:
    if token.type == tokenize.NAME:
        return {"and": "or", "or": "and", "True": "False", "False": "True", "not": ""}.get(token.string, token.string + "_")
    if token.type == tokenize.NUMBER:
        return token.string + "1"
    if token.type == tokenize.STRING:
        return token.string[:-1] + "!" + token.string[-1] if not token.string.endswith('"""') else ""
    return {"+": "-", "-": "+", "*": "/", "//": "/", "<": "<=", ">": ">=", "==": "!=", "<=": "<", ">=": ">"}.get(
        token.string, ""
    )


@given(st.data())
def test_every_token_counts(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    function = data.draw(st.sampled_from(FUNCTIONS))
    lines, first, last = text_of(function)
    body = lines[first:last]
    tokens = [t for t in tokenize.generate_tokens(io.StringIO("".join(body)).readline) if t.type in COUNTED]
    token = data.draw(st.sampled_from(tokens))
    assume(edited(token) and token.string not in (function.__name__, "def") and token.start[0] == token.end[0])
    row = token.start[0] - 1
    assume("'''" not in body[row] and '"""' not in body[row])  # a docstring
    body[row] = body[row][: token.start[1]] + edited(token) + body[row][token.end[1] :]
    text = "".join([*lines[:first], *body, *lines[last:]])
    try:
        copy = loaded(function, text, tmp_path_factory.mktemp("edited"))
    except (SyntaxError, NameError, AttributeError, TypeError):
        assume(False)
    assert describe(copy).digest != describe(function).digest
    (change,) = known.changed(copy)[:1]
    assert change.name.endswith(function.__name__)
    assert f"{copy.__code__.co_filename}:{copy.__code__.co_firstlineno}" in str(change)


def test_the_same_on_every_python() -> None:
    source = (
        "@decorated(a=1)\n"
        "def f(a: int, /, *b, c=0x1F, **d) -> 'str':\n"
        "    '''Docstring.'''\n"
        "    x = f\"{a!r:>{c}} {{}} {f'{b}'}\" 'more' \\\n"
        "        b'bytes'  # comment\n"
        "\n"
        "    async def g(): await x[1:2, ...]; return lambda: (yield)\n"
        "    return a if a != b else [i for i in b]\n"
    )
    assert digest(normalised(source)) == "eb764ee58d48"


def test_a_function_without_its_source_is_not_known(tmp_path: Path) -> None:
    function = FUNCTIONS[3]
    lines, _, _ = text_of(function)
    # Other code than the file has by now; the file is not there; another function's code.
    text = "".join(lines)
    copy = loaded(function, text, tmp_path)
    Path(copy.__code__.co_filename).write_text(text.replace("0.5", "0.7"), encoding="utf-8")
    linecache.clearcache()
    with pytest.raises(UnknownSourceError, match="not what its source says"):
        describe(copy)
    gone = loaded(function, text + "\n", tmp_path)
    Path(gone.__code__.co_filename).unlink()
    linecache.clearcache()
    with pytest.raises(UnknownSourceError, match="cannot be read"):
        describe(gone)
    copy = loaded(function, text + "\n\n", tmp_path)
    assert known.changed(copy) == []
    copy.__code__ = (lambda self, *args, **kwargs: 1).__code__
    assert "test_tokens.py" in str(known.changed(copy)[0])


def test_default_values_count(monkeypatch: pytest.MonkeyPatch) -> None:
    function: Any = nnunetv2.training.dataloading.data_loader.nnUNetDataLoader.get_bbox
    assert known.changed(function) == []
    monkeypatch.setattr(function, "__defaults__", (3, False))
    assert "other default values" in str(known.changed(function)[0])
    monkeypatch.undo()
    assert known.changed(function) == []


def test_default_values_of_keywords_count_whenever_they_change(tmp_path: Path) -> None:
    """Of one function, of which the first look is remembered."""
    file = tmp_path / "functions.py"
    file.write_text("def function(a, b=1, *, c, d=2, e='x'):\n    return a, b, c, d, e\n", encoding="utf-8")
    module = ModuleType("functions")
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec", dont_inherit=True), vars(module))
    function: Any = module.function
    before = describe(function)
    keywords = function.__kwdefaults__
    for changed in ({"d": 3, "e": "x"}, {"d": 2, "e": "y"}, {"d": 2}, {"c": 1, "d": 2, "e": "x"}, None):
        function.__kwdefaults__ = changed
        with pytest.raises(UnknownSourceError, match="other default values"):
            describe(function)
        function.__kwdefaults__ = keywords
        assert describe(function) == before
    keywords["d"] = 3  # in place
    with pytest.raises(UnknownSourceError, match="other default values"):
        describe(function)
    keywords["d"] = 2
    for defaults in ((2,), (), (1, 1), (True,), None):
        function.__defaults__ = defaults
        with pytest.raises(UnknownSourceError, match="other default values"):
            describe(function)
        function.__defaults__ = (1,)
        assert describe(function) == before


def test_a_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "functions.py"
    for text in ("def function(a):\n    return a\n", "def function(a):\n    return a + 1\n"):
        file.write_text(text, encoding="utf-8")
        module = ModuleType("functions")
        exec(compile(text, str(file), "exec", dont_inherit=True), vars(module))
        assert describe(module.function).digest == digest(normalised(text))
