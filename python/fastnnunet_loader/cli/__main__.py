"""`python -m fastnnunet_loader.cli` is the command `fastnnunet`."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
