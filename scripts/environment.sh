# Shared by the scripts of this folder; sourced, not run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SECONDS=0

say() { printf '[%3d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

fail() {
  say "$*" >&2
  exit 1
}

# The interpreter of the active environment, else that of .venv; for a version that PYTHON names, such as 3.12, that of .venv-3.12.
environment_python() {
  if [ -n "${PYTHON:-}" ]; then
    echo "$ROOT/.venv-$PYTHON/bin/python"
  elif [ -n "${VIRTUAL_ENV:-}" ]; then
    echo "$VIRTUAL_ENV/bin/python"
  else
    echo "$ROOT/.venv/bin/python"
  fi
}

# Where ccache is, what was compiled for one build serves the others.
compile_once() {
  if command -v ccache >/dev/null; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
  fi
}

# The interpreter of a version such as 3.12, or 3.14t for the free-threaded one; nothing where there is none. A name on the path
# may be pyenv's, which has none of that version switched on.
interpreter() {
  local found free=0
  [[ $1 != *t ]] || free=1
  for found in $(command -v "python$1" || true) "$HOME"/.pyenv/versions/"${1%t}".*/bin/"python$1"; do
    if "$found" -c "import venv, sysconfig, sys; sys.exit(bool(sysconfig.get_config_var('Py_GIL_DISABLED')) != $free)" 2>/dev/null; then
      echo "$found"
      break
    fi
  done
}

# Changes with whatever a wheel is made of.
sources_digest() {
  (cd "$ROOT" && find CMakeLists.txt pyproject.toml cpp/CMakeLists.txt cpp/cmake cpp/fastnnunet cpp/include cpp/bindings python \
    -type f ! -name '*.so' ! -name '*.py[cod]' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-16)
}

# The wheel in dist/ that scripts/wheels.sh made of these very sources for an interpreter and this machine, or nothing.
fitting_wheel() { # PYTHON
  if [ -n "$1" ] && [ -e "$ROOT/dist/sources" ] && [ "$(cat "$ROOT/dist/sources")" = "$(sources_digest)" ]; then
    local suffix
    suffix=$("$1" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
    suffix=${suffix#.cpython-}
    find "$ROOT/dist" -name "fastnnunet_loader-*-cp${suffix%%-*}-*_$(uname -m).whl"
  fi
}
