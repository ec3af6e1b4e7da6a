"""Every optional part of OpenCV, as options of CMake that leave it out:  opencv_off.py CMakeLists.txt."""

import re
import sys
from pathlib import Path

names = re.findall(r"^\s*OCV_OPTION\((WITH_\w+)", Path(sys.argv[1]).read_text(encoding="utf-8"), re.MULTILINE)
print(*(f"-D{name}=OFF" for name in names))
