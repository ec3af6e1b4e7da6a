"""What pip would install, but torch and its libraries, as requirements:  names.py REPORT."""

import json
import re
import sys
from pathlib import Path

OF_TORCH = re.compile(r"torch|triton|nvidia-(?!ml-py).*|cuda-.*|fastnnunet-loader")
for item in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["install"]:
    name, version = item["metadata"]["name"], item["metadata"]["version"]
    if not OF_TORCH.fullmatch(name.lower()):
        print(f"{name}=={version}")
