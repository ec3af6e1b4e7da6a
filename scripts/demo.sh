#!/usr/bin/env bash
# The demo, from nothing: sets up, then trains an nnU-Net on a small real data set.  scripts/demo.sh [options of fastnnunet demo]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
"$ROOT/scripts/setup.sh" demo
exec "$(environment_python)" -m fastnnunet_loader.cli demo "$@"
