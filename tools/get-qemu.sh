#!/usr/bin/env bash
# Gets QEMU 11 from Debian's packages, and with --kernel a Linux guest for it, into a folder of its own.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/get-qemu.sh [--kernel] [DIR]

Gets QEMU 11, which has vfio-user, from Debian's trixie-backports into DIR (./.qemu when left out).
Nothing is installed, no root is needed, and the system's own apt is not touched: packages are downloaded
with apt-get into DIR, checked against Debian's signing keys, and unpacked there (38 MB to fetch, 170 MB unpacked).
Run again it does nothing. The last line, alone on standard output, is what to put into VIOMMU_QEMU:

  VIOMMU_QEMU=$(tools/get-qemu.sh) npm test

  --kernel   also get Debian's Linux 6.12 with some of its modules, and busybox, into DIR/kernel (110 MB to fetch)
  --help     this text

Environment:
  VIOMMU_DEBIAN_MIRROR    mirror to fetch from; http://deb.debian.org/debian when unset
  VIOMMU_DEBIAN_KEYRING   Debian's keys; /usr/share/keyrings/debian-archive-keyring.gpg when unset
TEXT
}

say() { printf 'get-qemu: %s\n' "$*" >&2; }
fail() {
  say "$@"
  exit 1
}

kernel=no
dir=
for argument in "$@"; do
  case $argument in
    --kernel) kernel=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) fail "unknown option $argument; see --help" ;;
    *)
      [ -z "$dir" ] || fail "one folder only, not both $dir and $argument; see --help"
      dir=$argument
      ;;
  esac
done
dir=${dir:-.qemu}
mirror=${VIOMMU_DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=${VIOMMU_DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}

mkdir -p "$dir" || fail "cannot make the folder $dir; give one that you may write to"
dir=$(cd "$dir" && pwd)
wrapper=$dir/qemu-system-x86_64

# The version that the wrapper runs, such as 11.1; fails when it does not run.
version() { "$wrapper" --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\.[0-9]*\).*/\1/p' | grep .; }
has_qemu() {
  local found
  [ -x "$wrapper" ] && found=$(version) && [ "${found%%.*}" -ge 11 ]
}
has_kernel() { [ -f "$dir/kernel/vmlinuz" ] && [ -x "$dir/kernel/busybox" ]; }

work=$dir/.work
cleanup() { rm -rf "$work"; }

# apt with every file of its own under $work: it reads none of the system's sources or lists and writes nowhere else.
apt_options=(
  -o "Dir::State=$work/state" -o "Dir::State::status=$work/status" -o "Dir::State::lists=$work/lists"
  -o "Dir::Cache=$work/cache" -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o APT::Architecture=amd64
  -o APT::Architectures::=amd64 -o APT::Install-Recommends=false -o APT::Sandbox::User="$(id -un)"
  -o Debug::NoLocking=1 -o Acquire::Retries=3 -o Acquire::Languages=none -o APT::Update::Error-Mode=any
)
prepare_apt() {
  [ ! -f "$work/sources.list" ] || return 0
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    fail 'this needs apt-get and dpkg-deb (any Debian or Ubuntu has them); elsewhere install QEMU 11 yourself and set VIOMMU_QEMU'
  [ -r "$keyring" ] ||
    fail "Debian's keys are not at $keyring; install the package debian-archive-keyring or set VIOMMU_DEBIAN_KEYRING"
  rm -rf "$work"
  trap cleanup EXIT
  mkdir -p "$work"/{state,lists/partial,cache/archives/partial}
  : >"$work/status"
  for suite in trixie trixie-backports; do
    echo "deb [signed-by=$keyring] $mirror $suite main"
  done >"$work/sources.list"
  say "reading the lists of $mirror"
  apt-get "${apt_options[@]}" -q update >"$work/log" 2>&1 ||
    fail "cannot read Debian's lists from $mirror; check the network, or set VIOMMU_DEBIAN_MIRROR:
$(grep -E '^[EW]:' "$work/log" | head -n 5)"
}

fetch() {
  "$@" >"$work/log" 2>&1 || fail "a download failed; run again:
$(grep -E '^[EW]:' "$work/log" | head -n 5)"
}

get_qemu() {
  prepare_apt
  say 'fetching QEMU and its libraries'
  # To an empty status file nothing is installed, so this fetches every library too, the C library included.
  fetch apt-get "${apt_options[@]}" -y -q --download-only -t trixie-backports install qemu-system-x86
  rm -rf "$dir/root"
  for package in "$work"/cache/archives/*.deb; do dpkg-deb -x "$package" "$dir/root"; done
  # The dynamic loader of the same release runs it, so that the system's own C library does not matter.
  cat >"$wrapper" <<'WRAPPER'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/root
libraries=$root/usr/lib/x86_64-linux-gnu
export QEMU_MODULE_DIR="$libraries/qemu"
exec "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$libraries:$libraries/systemd" \
  "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" \
  -L "$root/usr/lib/ipxe/qemu" "$@"
WRAPPER
  chmod +x "$wrapper"
  found=$(version) || fail "what was fetched does not run: $("$wrapper" --version 2>&1 | head -n 1)"
  [ "${found%%.*}" -ge 11 ] || fail "trixie-backports has QEMU $found, and 11 or later is needed"
  say "QEMU $found is ready"
}

get_kernel() {
  prepare_apt
  local image
  # The package without a version in its name depends on the one that is current.
  image=$(apt-cache "${apt_options[@]}" depends linux-image-amd64/trixie 2>/dev/null |
    sed -n 's/.*Depends: \(linux-image-6\.[^ ]*\)$/\1/p' | head -n 1)
  [ -n "$image" ] || fail 'trixie has no linux-image-6.x-amd64'
  say "fetching $image and busybox"
  mkdir -p "$work/kernel" "$work/unpacked"
  (cd "$work/kernel" && fetch apt-get "${apt_options[@]}" -q download "$image" busybox-static/trixie)
  for package in "$work/kernel"/*.deb; do dpkg-deb -x "$package" "$work/unpacked"; done
  rm -rf "$dir/kernel"
  mkdir -p "$dir/kernel/modules"
  local drivers
  drivers=$(echo "$work"/unpacked/usr/lib/modules/*/kernel/drivers)
  for module in net/ethernet/intel/e1000/e1000 net/ethernet/intel/e1000e/e1000e; do
    cp "$drivers/$module".ko* "$dir/kernel/modules/" || fail "$image has no module $module"
  done
  cp "$work"/unpacked/usr/bin/busybox "$dir/kernel/busybox"
  cp "$work"/unpacked/boot/vmlinuz-* "$dir/kernel/vmlinuz"
  say "$image is ready in $dir/kernel"
}

if has_qemu; then say "QEMU $(version) is there already"; else get_qemu; fi
if [ "$kernel" = yes ]; then
  if has_kernel; then say 'the kernel is there already'; else get_kernel; fi
fi
echo "$wrapper"
