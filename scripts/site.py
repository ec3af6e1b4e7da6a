"""A hook of mkdocs: files at the top of the repository become pages, and links follow them.

README.md and its neighbours are written for the repository. On the site they are the pages of `PAGES`; a link to one of them,
or to a file in docs, becomes a link between pages. A file that has no page is linked in the repository if its address is
known (`repo_url`), and else named.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "guide.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
# Code between fences or back quotes is left alone: it may have brackets and parentheses too.
_CODE_OR_LINK = re.compile(
    r"(?P<code>^```.*?^```|`[^`\n]+`(?!\]))|\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)", re.MULTILINE | re.DOTALL
)
_log = get_plugin_logger("site")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs."""
    for file, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / file).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Make links of the repository links of the site."""
    place = page.file.src_uri
    source = next((file for file, name in PAGES.items() if name == place), f"docs/{place}")

    def link(match: re.Match[str]) -> str:
        text, target = match["text"], match["target"]
        if match["code"] or re.match(r"[a-z]+:|#|/", target):
            return match[0]
        path, hash_sign, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if path in PAGES or path.startswith("docs/"):
            there = PAGES.get(path, path.removeprefix("docs/"))
            return f"[{text}]({os.path.relpath(there, posixpath.dirname(place) or '.')}{hash_sign}{anchor})"
        if not (ROOT / path).exists():
            _log.warning(f"{source}: the link to '{target}' leads nowhere")
        if config.repo_url:
            return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{path}{hash_sign}{anchor})"
        return text if posixpath.basename(path) in text else f"{text}, `{path}`"

    return _CODE_OR_LINK.sub(link, markdown)
