"""Fetches a source distribution of PyPI, whose setup is not run:  source_archive.py NAME VERSION FOLDER.

`pip download` would run it to learn what else the package needs, which an old one cannot tell a new Python.
"""

import hashlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path


def setting(name: str, default: str = "") -> str:
    """A setting of pip's, such as that of another index."""
    command = [sys.executable, "-m", "pip", "config", "get", f"global.{name}"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    return os.environ.get(f"PIP_{name.upper().replace('-', '_')}") or done.stdout.strip() or default


def fetched(request: str | urllib.request.Request, trusted: ssl.SSLContext) -> bytes:
    """What an address answers; asked again where the network fails, as pip does."""
    for wait in (1, 5, 20, None):
        try:
            with urllib.request.urlopen(request, timeout=120, context=trusted) as answer:
                return bytes(answer.read())
        except (OSError, http.client.HTTPException):
            if wait is None:
                raise
            time.sleep(wait)
    raise AssertionError


def main(name: str, version: str, folder: str) -> None:
    """The archive lies in `folder` afterwards, and is the one that the index names."""
    index = setting("index-url", "https://pypi.org/simple").rstrip("/")
    trusted = ssl.create_default_context(cafile=setting("cert") or None)
    request = urllib.request.Request(f"{index}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    files = json.loads(fetched(request, trusted))["files"]
    wanted = f"{name}-{version}".replace("-", "_").lower()
    for file in files:
        if file["filename"].removesuffix(".tar.gz").replace("-", "_").lower() == wanted:
            content = fetched(urllib.parse.urljoin(f"{index}/{name}/", file["url"]), trusted)
            if hashlib.sha256(content).hexdigest() != file["hashes"]["sha256"]:
                sys.exit(f"expected the archive that the index names, got another one: {file['filename']}")
            path = Path(folder) / file["filename"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            return
    sys.exit(f"expected a source distribution {name} {version} in {index}, found none")


if __name__ == "__main__":
    main(*sys.argv[1:])
