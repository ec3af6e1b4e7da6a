"""The blocks of code of the documentation's pages."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(str(file.relative_to(DOCS)) for file in DOCS.rglob("*.md"))
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SNIPPET = re.compile(r'^--8<-- "(.*)"$', re.MULTILINE)


IMAGE = "nnunet:cuda"  # of examples/jobs/Dockerfile: its program is fastnnunet


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    page: str
    language: str
    text: str

    @property
    def name(self) -> str:
        """The page and the first line, which tell blocks apart."""
        return f"{self.page}: {self.text.splitlines()[0]}"

    def commands(self) -> list[list[str]]:
        """The calls of `fastnnunet`, split into words; without those that a shell would still change."""
        found = []
        for line in self.text.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            call: list[str] = []
            for word in [*lexer, ";"]:
                if word not in (";", "&&", "||", "|"):
                    call.append(word)
                    continue
                if "fastnnunet" in call and not any(part.startswith("$") for part in call):
                    found.append(call[call.index("fastnnunet") :])
                elif IMAGE in call and "--entrypoint" not in call and "run" in call:
                    found.append(["fastnnunet", *call[call.index(IMAGE) + 1 :]])
                call = []
        return found


def _inserted(match: re.Match[str]) -> str:
    return (ROOT / match[1]).read_text(encoding="utf-8").rstrip("\n")


def blocks_of(file: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = file.read_text(encoding="utf-8")
    page = str(file.relative_to(DOCS if file.is_relative_to(DOCS) else ROOT))
    return [Block(page, match["language"], _SNIPPET.sub(_inserted, match["text"])) for match in _FENCE.finditer(text)]
