"""Source text in a form in which only what it does counts: the same on every version of Python."""

from __future__ import annotations

import hashlib
import io
import tokenize
from collections.abc import Iterator

__all__ = ["digest", "normalised"]

_DROPPED = {tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER}
_MARKS = {tokenize.NEWLINE: "\n", tokenize.INDENT: ">", tokenize.DEDENT: "<"}
# From Python 3.12 on an f-string is several tokens (and a t-string from 3.14 on); before it was one.
_OPENING = {getattr(tokenize, name) for name in ("FSTRING_START", "TSTRING_START") if hasattr(tokenize, name)}
_CLOSING = {getattr(tokenize, name) for name in ("FSTRING_END", "TSTRING_END") if hasattr(tokenize, name)}


def _tokens(source: str) -> Iterator[tuple[int, str]]:
    lines = source.splitlines(keepends=True)
    open_strings = 0
    begin = (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _OPENING:
            begin = begin if open_strings else token.start
            open_strings += 1
        elif token.type in _CLOSING:
            open_strings -= 1
            if not open_strings:
                yield tokenize.STRING, _between(lines, begin, token.end)
        elif not open_strings and token.type not in _DROPPED:
            yield token.type, _MARKS.get(token.type, token.string)


def _between(lines: list[str], begin: tuple[int, int], end: tuple[int, int]) -> str:
    """The text from one (row, column) to another; rows count from 1."""
    part = lines[begin[0] - 1 : end[0]]
    part[-1] = part[-1][: end[1]]
    part[0] = part[0][begin[1] :]
    return "".join(part)


def normalised(source: str) -> str:
    """The tokens of a whole statement, one to a line, without comments, blank lines, widths of indentation and docstrings.

    Raises:
        tokenize.TokenError, SyntaxError: it is not Python.
    """
    found: list[str] = []
    statement: list[tuple[int, str]] = []
    for kind, text in _tokens(source):
        if kind in (tokenize.INDENT, tokenize.DEDENT):
            found.append(text)
            continue
        statement.append((kind, text))
        if kind == tokenize.NEWLINE:
            if any(of not in (tokenize.STRING, tokenize.NEWLINE) for of, _ in statement):
                found += [text for _, text in statement]
            statement = []
    found += [text for _, text in statement]
    return "\x00".join(found)


def digest(text: str) -> str:
    """What stands for a text in the table."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
