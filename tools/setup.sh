#!/bin/sh
# Installs what is missing on a fresh Debian or Ubuntu that has rustup, git and make.
#
# Other make targets call it each time, so it looks before it does anything: with nothing missing it
# takes a moment, starts no package manager and needs no network. What it installs it says first. It
# needs root only to install packages; without any way to become root it prints the command to give.
#
# usage: tools/setup.sh [host] [emulator] [volumes] [captures] [gdb] [fuzz] [make]...   (the first four when none is named)
set -eu
cd "$(dirname "$0")/.."

# Debian puts some programs where only root's shells look.
have() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1
}

say() {
    printf 'setup: %s\n' "$*" >&2
}

# Adds to `packages` what the need $1 lacks. Each program is beside the package that has it.
packages=
check() {
    case $1 in
        # cargo links programs of the host with the C compiler.
        host) have cc || packages="$packages gcc libc6-dev" ;;
        # QEMU= names an emulator that somebody brought along.
        emulator)
            if [ -n "${QEMU:-}" ]; then
                have "$QEMU" || { say "QEMU=$QEMU is no program"; exit 1; }
            else
                have qemu-system-aarch64 || packages="$packages qemu-system-arm"
            fi
            ;;
        # Foreign tools that tests of volumes ask for their opinion.
        volumes)
            { have fsck.vfat && have mkfs.vfat; } || packages="$packages dosfstools"
            have mcopy || packages="$packages mtools"
            ;;
        # Reads what the program `tap` has captured.
        captures) have tcpdump || packages="$packages tcpdump" ;;
        # libFuzzer is built from C++.
        fuzz) have c++ || packages="$packages g++" ;;
        gdb) have gdb-multiarch || packages="$packages gdb-multiarch" ;;
        make) have make || packages="$packages make" ;;
        *) say "unknown need: $1"; exit 2 ;;
    esac
}

# Runs a command as root, if there is a way.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        sudo "$@"
    else
        return 126
    fi
}

apt() {
    # Another package manager may be at work on a machine that has just started: wait for it.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" >&2
}

install_packages() {
    command="apt-get install --yes --no-install-recommends$packages"
    have apt-get || { say "missing:$packages (Debian's names); install them and try again"; exit 1; }
    if ! as_root true; then
        say "these packages are missing; as root, run:"
        say "    $command"
        exit 1
    fi
    say "installing$packages"
    # Fresh machines have no package lists, and old lists name files that are gone.
    # shellcheck disable=SC2086 # a list of words
    if ! apt-get -qq --simulate --no-install-recommends install $packages >/dev/null 2>&1 ||
        ! apt install --yes --no-install-recommends $packages; then
        say "fetching package lists"
        apt update
        apt install --yes --no-install-recommends $packages
    fi
}

# Words of a list in rust-toolchain.toml, one a line.
pinned() {
    sed -n "s/^$1 *= *\\[\\(.*\\)\\]/\\1/p" rust-toolchain.toml | tr -d '" ' | tr ',' '\n'
}

# Whether toolchain, components and targets are all there. Never by a command that would install them.
rust_is_complete() {
    installed=$(RUSTUP_AUTO_INSTALL=0 rustup component list --installed 2>/dev/null) || return 1
    for component in $(pinned components) $(pinned targets | sed 's/^/rust-std-/'); do
        # The host's own components carry its name behind theirs.
        printf '%s\n' "$installed" | grep -qE "^$component(-[a-z0-9_]+-[a-z]+-linux-[a-z]+)?\$" || return 1
    done
}

setup_rust() {
    if ! have rustup; then
        say "rustup is missing; https://rustup.rs tells how to install it"
        exit 1
    fi
    if ! rust_is_complete; then
        say "installing the toolchain of rust-toolchain.toml, its components and targets"
        # Never rustup itself: that is the owner's to update.
        rustup toolchain install --no-self-update >&2
    fi
}

[ $# -gt 0 ] || set -- host emulator volumes captures
for need in "$@"; do
    check "$need"
done
[ -z "$packages" ] || install_packages
for need in "$@"; do
    [ "$need" != host ] || setup_rust
done
