"""The site is built without a warning, and what it names exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import DOCS, ROOT

import fastnnunet_loader as fl


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    warnings = [line for line in done.stdout.splitlines() if not line.startswith("INFO")]
    assert (done.returncode, warnings) == (0, []), done.stdout
    return folder


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    """Strictness covers links of pages and those that the hook changes."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[here](../LICENSE) [there](../nothing.md)\n", encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(
        f"site_name: none\nstrict: true\nhooks: ['{ROOT / 'scripts' / 'site.py'}']\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 1
    assert "docs/index.md: the link to '../nothing.md' leads nowhere" in done.stderr
    assert "LICENSE" not in done.stderr


def test_the_api_has_every_public_name(site: Path) -> None:
    html = (site / "api" / "index.html").read_text(encoding="utf-8")
    missing = [name for name in fl.__all__ if name != "__version__" and f'id="fastnnunet_loader.{name}"' not in html]
    assert missing == []


def test_links_for_language_models_lead_to_pages(site: Path) -> None:
    links = re.findall(r"\]\(([^)]*)\)", (site / "llms.txt").read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if not (site / link / "index.html").is_file()] == []


def test_nothing_is_loaded_from_other_servers(site: Path) -> None:
    loaded = []
    for file in site.rglob("*.html"):
        html = file.read_text(encoding="utf-8")
        loaded += re.findall(r'<(?:script|img|iframe)[^>]*src="(https?://[^"]*)"', html)
        loaded += re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect)"[^>]*href="(https?://[^"]*)"', html)
    assert loaded == []


@pytest.mark.parametrize("file", [str(f.relative_to(ROOT)) for f in [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]])
def test_links_of_the_repository_lead_somewhere(file: str) -> None:
    """As they are read in the repository, where no site is built."""
    text = re.sub(r"^```.*?^```", "", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`(?!\])", "", text)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (ROOT / file).parent / path if path else ROOT / file
        if not there.exists() or (anchor and anchor not in anchors_of(there)):
            lost.append(target)
    assert lost == []


def anchors_of(file: Path) -> set[str]:
    """GitHub's names of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
