#!/usr/bin/env bash
# Debian's source packages of the libraries that a wheel contains:  scripts/wheels/sources.sh FOLDER
#
# apt checks their signatures. Its lists are kept apart from those of the system, so that this needs no root.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
folder=$(mkdir -p "$1" && cd "$1" && pwd)
# Of Highway the next release has the version with files for CMake.
packages=(onetbb/bookworm opencv/bookworm zlib/bookworm highway/trixie eigen3/bookworm catch2/bookworm)

mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/apt/empty"
for release in bookworm trixie; do
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main"
done >"$folder/apt/sources.list"
options=(-o "Dir::Etc::SourceList=$folder/apt/sources.list" -o "Dir::Etc::SourceParts=$folder/apt/empty"
  -o "Dir::State::Lists=$folder/apt/lists" -o "Dir::Cache=$folder/apt/cache")
apt-get "${options[@]}" -qq update
cd "$folder"
for entry in "${packages[@]}"; do
  package=${entry%/*}
  if [ ! -d "$package" ]; then
    say "source of $package"
    rm -rf "$package.part"
    mkdir "$package.part"
    (cd "$package.part" && apt-get "${options[@]}" -qq source --download-only "$entry" >/dev/null)
    # The first archive of a package is the upstream release; Debian's changes are for its own packaging.
    archive=$(find "$package.part" -name '*.orig.tar.*' ! -name '*.asc' | sort | head -n 1)
    mkdir "$package.part/source"
    tar -xf "$archive" -C "$package.part/source" --strip-components=1
    mv "$package.part/source" "$package"
    rm -rf "$package.part"
  fi
done
