"""What a function's source says, if the function is what its source says."""

from __future__ import annotations

import ast
import functools
import linecache
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from tokenize import TokenError
from types import CodeType, FunctionType
from typing import Any

from .tokens import digest, normalised

__all__ = ["Described", "UnknownSourceError", "describe", "place"]


class UnknownSourceError(Exception):
    """A function whose source cannot be read, or is not what runs; the text says which."""


@dataclass(frozen=True)
class Described:
    """A function's source."""

    digest: str
    globals: tuple[str, ...]  # names that its code, nested code included, looks for in its module
    attributes: tuple[str, ...]  # names after a dot
    imports: tuple[tuple[str, str], ...]  # (module, name) that it imports when it is called


@dataclass(frozen=True)
class _Entry:
    code: CodeType
    defaults: tuple[Any, ...] | None
    keywords: dict[str, Any] | None
    found: Described | str


_described: weakref.WeakKeyDictionary[FunctionType, _Entry] = weakref.WeakKeyDictionary()


def place(function: FunctionType) -> str:
    """`file:line`."""
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"


def describe(function: FunctionType) -> Described:
    """Reads a function's source; once, as long as the function stays what it is.

    Raises:
        UnknownSourceError: there is none, or the function does something else.
    """
    entry = _described.get(function)
    if (
        entry is None
        or entry.code is not function.__code__
        or entry.defaults is not function.__defaults__
        or entry.keywords != function.__kwdefaults__
    ):
        try:
            found: Described | str = _read(function)
        except UnknownSourceError as error:
            found = str(error)
        keywords = function.__kwdefaults__
        entry = _Entry(function.__code__, function.__defaults__, None if keywords is None else dict(keywords), found)
        _described[function] = entry
    if isinstance(entry.found, str):
        raise UnknownSourceError(entry.found)
    return entry.found


class _File:
    """A file's functions by where they begin: (line, name)."""

    def __init__(self, text: str, name: str) -> None:
        tree = ast.parse(text)
        self.lines = text.splitlines(keepends=True)
        self.nodes: dict[tuple[int, str], ast.FunctionDef | ast.AsyncFunctionDef] = {}
        for node in _statements(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                self.nodes[first, node.name] = node
        self.codes = {
            (code.co_firstlineno, code.co_name): code for code in _nested(compile(tree, name, "exec", dont_inherit=True))
        }


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements in a node; expressions, which are many more, hold none."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for part in getattr(node, field, ()):
            yield part
            yield from _statements(part)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


@functools.lru_cache(maxsize=256)
def _file(name: str, text: str) -> _File | None:
    try:
        return _File(text, name)
    except (SyntaxError, ValueError):
        return None


def _read(function: FunctionType) -> Described:
    code = function.__code__
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    file = _file(code.co_filename, text) if text else None
    at = (code.co_firstlineno, code.co_name)
    if file is None or at not in file.nodes:
        raise UnknownSourceError("whose source cannot be read")
    if file.codes.get(at) != code:
        raise UnknownSourceError("which is not what its source says")
    node = file.nodes[at]
    if not _has_its_defaults(function, node):
        raise UnknownSourceError("with other default values than its source says")
    assert node.end_lineno is not None
    try:
        found = digest(normalised("".join(file.lines[at[0] - 1 : node.end_lineno])))
    except (TokenError, SyntaxError) as error:
        raise UnknownSourceError("whose source cannot be read") from error
    names = {name for nested in _nested(code) for name in nested.co_names}
    loaded, attributes, imports = set(), set(), set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            loaded.add(part.id)
        elif isinstance(part, ast.Attribute):
            attributes.add(part.attr)
        elif isinstance(part, ast.ImportFrom) and part.module is not None and not part.level:
            imports |= {(part.module, alias.name) for alias in part.names}
    attributes |= names - loaded  # and private ones as they are inside of their class
    return Described(found, tuple(sorted(names & loaded)), tuple(sorted(attributes)), tuple(sorted(imports)))


def _has_its_defaults(function: FunctionType, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the default values that the source gives as plain values are the function's."""
    arguments = node.args
    given = function.__defaults__ or ()
    if len(given) != len(arguments.defaults):
        return False
    pairs = list(zip(arguments.defaults, given, strict=True))
    keywords = function.__kwdefaults__ or {}
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if (default is None) != (argument.arg not in keywords):
            return False
        if default is not None:
            pairs.append((default, keywords[argument.arg]))
    for expression, value in pairs:
        try:
            expected = ast.literal_eval(expression)
        except (ValueError, TypeError):
            continue  # made when the module was loaded
        if repr(expected) != repr(value):
            return False
    return True
