"""`python -m fastnnunet_loader` is the command `fastnnunet`."""

import sys

from .cli.command import main

if __name__ == "__main__":
    sys.exit(main())
