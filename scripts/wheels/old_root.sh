#!/usr/bin/env bash
# A root file system of RHEL 8's age, from Ubuntu's archive:  scripts/wheels/old_root.sh FOLDER
#
# Ubuntu 18.04, whose C++ library is that of GCC 8 as in RHEL 8, with RHEL 8's glibc 2.28 in the place of 2.27, and CPython 3.12.
# Both are built with the compiler of Ubuntu 18.04, in a second root, FOLDER.build. GLIBC names a folder with the sources of
# glibc 2.28; without it, they are fetched from GNU. Needs root and debootstrap, and takes 20 minutes on two cores.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
root=$1 build=$1.build archive=http://archive.ubuntu.com/ubuntu

# Debian does not have Ubuntu's keys, so what is fetched here is not checked.
# CPython 3.12 asks for OpenSSL 1.1.1, which came with an update.
bionic() { # FOLDER, PACKAGES, PACKAGES OF UPDATES
  debootstrap --variant=minbase --no-check-gpg --components=main,universe "--include=$2" bionic "$1" $archive >"$1.log" 2>&1 ||
    { tail -n 5 "$1.log" >&2 && fail "expected debootstrap to make $1"; }
  cp /etc/resolv.conf "$1/etc/resolv.conf"
  printf 'deb [trusted=yes] %s %s main\n' "$archive" bionic "$archive" bionic-updates >"$1/etc/apt/sources.list"
  chroot "$1" bash -euc "apt-get -o APT::Sandbox::User=root -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -o APT::Sandbox::User=root -qq install --yes $3" >>"$1.log" 2>&1 ||
    { tail -n 5 "$1.log" >&2 && fail "expected updates of $3 in $1"; }
}

if [ ! -e "$build/made" ]; then
  say "compiler of Ubuntu 18.04"
  rm -rf --one-file-system "$build"
  mkdir -p "$build"
  bionic "$build" build-essential,bison,gawk,python3,zlib1g-dev,libffi-dev,libbz2-dev,liblzma-dev,xz-utils libssl-dev
  mkdir "$build/build"
  if [ -n "${GLIBC:-}" ]; then
    cp -r "$GLIBC" "$build/build/glibc-2.28"
  else
    curl --fail --silent --show-error https://ftp.gnu.org/gnu/glibc/glibc-2.28.tar.xz | tar -xJ -C "$build/build"
  fi
  curl --fail --silent --show-error $archive/pool/main/p/python3.12/python3.12_3.12.3.orig.tar.xz | tar -xJ -C "$build/build"
  say "glibc 2.28 and CPython 3.12"
  # CPython has semaphores for its processes only if /dev/shm works while it is configured.
  mkdir -p "$build/dev/shm"
  unshare --mount chroot "$build" bash -euc '
    mount -t tmpfs tmpfs /dev/shm
    mkdir -p /build/glibc-build && cd /build/glibc-build
    ../glibc-2.28/configure --prefix=/usr --libdir=/usr/lib/x86_64-linux-gnu libc_cv_slibdir=/lib/x86_64-linux-gnu \
      --disable-werror --disable-profile --disable-nscd --without-selinux
    make -j"$(nproc)"
    make install_root=/build/glibc install
    cd /build/Python-3.12.3
    ./configure --prefix=/opt/python3.12
    make -j"$(nproc)"
    make install' >"$build.log" 2>&1 || { tail -n 20 "$build.log" >&2 && fail "expected glibc and CPython to be built, see $build.log"; }
  touch "$build/made"
fi

rm -rf --one-file-system "$root"
mkdir -p "$root"
bionic "$root" ca-certificates,libffi6,zlib1g,libbz2-1.0,liblzma5,libstdc++6,libgomp1 libssl1.1
cp -r "$build/opt/python3.12" "$root/opt/"
ln -s /opt/python3.12/bin/python3 "$root/usr/local/bin/python3"
# Names of the old files that no link of the new ones replaces are taken away, so that no program finds both.
cp -a "$build"/build/glibc/lib/x86_64-linux-gnu/. "$root/lib/x86_64-linux-gnu/"
rm -f "$root"/lib/x86_64-linux-gnu/*-2.27.so
ln -sfn /lib/x86_64-linux-gnu/ld-2.28.so "$root/lib64/ld-linux-x86-64.so.2"
cp "$build/build/glibc/usr/bin/ldd" "$root/usr/bin/ldd"
chroot "$root" /sbin/ldconfig
[ "$(chroot "$root" python3 -c 'import platform, ssl, _multiprocessing as m; m.SemLock; print(platform.libc_ver()[1])')" = 2.28 ] ||
  fail "expected glibc 2.28 and a CPython with semaphores in $root"
