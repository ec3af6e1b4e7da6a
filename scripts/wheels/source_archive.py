"""Fetches a source distribution of PyPI, whose setup is not run:  source_archive.py NAME VERSION FOLDER.

`pip download` would run it to learn what else the package needs.
"""

import hashlib
import json
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path


def setting(name: str, default: str) -> str:
    """A setting of pip's, such as that of another index."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "get", name], capture_output=True, encoding="utf-8")
    return done.stdout.strip() or default


def main(name: str, version: str, folder: str) -> None:
    """The archive lies in `folder` afterwards, and is the one that the index names."""
    index = setting("global.index-url", "https://pypi.org/simple").rstrip("/")
    request = urllib.request.Request(f"{index}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    wanted = f"{name}-{version}".replace("-", "_").lower()
    for file in files:
        if file["filename"].removesuffix(".tar.gz").replace("-", "_").lower() == wanted:
            with urllib.request.urlopen(urllib.parse.urljoin(f"{index}/{name}/", file["url"]), timeout=600) as answer:
                content = answer.read()
            if hashlib.sha256(content).hexdigest() != file["hashes"]["sha256"]:
                sys.exit(f"expected the archive that the index names, got another one: {file['filename']}")
            path = Path(folder) / file["filename"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            return
    sys.exit(f"expected a source distribution {name} {version} in {index}, found none")


if __name__ == "__main__":
    main(*sys.argv[1:])
