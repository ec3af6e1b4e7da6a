"""Files in archives of a limited size:  parts.py FOLDER_OF_FILES FOLDER_FOR_PARTS BYTES KIT.

The largest first, each into the first part that has room. The name of a part tells its kit and how many parts there are.
"""

import sys
import tarfile
from pathlib import Path

files, parts, limit, kit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
content: list[list[Path]] = []
OVERHEAD = 2048  # of a file in an archive: a header, one for its time, and what fills its last block


def size(group: list[Path]) -> int:
    """Bytes of an archive with these files, at most."""
    return tarfile.RECORDSIZE + sum(file.stat().st_size + OVERHEAD for file in group)


for file in sorted(files.iterdir(), key=lambda file: -file.stat().st_size):
    if size([file]) > limit:
        sys.exit(f"expected files of at most {limit} bytes, got {file.stat().st_size} in {file.name}")
    for group in content:
        if size([*group, file]) <= limit:
            group.append(file)
            break
    else:
        content.append([file])
for number, group in enumerate(content, 1):
    # Wheels are compressed already.
    with tarfile.open(parts / f"part-{kit}-{number:02d}-of-{len(content):02d}.tar", "w") as archive:
        for file in group:
            archive.add(file, file.name)
