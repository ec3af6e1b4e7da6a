#!/usr/bin/env bash
# Runs a command of the environment that scripts/setup.sh makes, even if the environment is not active, as in a git hook.
#
#   scripts/in_environment.sh COMMAND [ARGUMENT ...]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python=$(environment_python)
[ -x "$python" ] || fail "expected an environment with the linters in ${python%/bin/python}: run scripts/setup.sh test,lint"
PATH=${python%/*}:$PATH
command -v "$1" >/dev/null || fail "expected $1 in ${python%/*}: run scripts/setup.sh test,lint"
exec "$@"
