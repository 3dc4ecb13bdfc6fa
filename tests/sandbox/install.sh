# shellcheck shell=bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The Debian packages that hubkey is built, tested and linted with. dpkg-query decides what is missing; when nothing
# is, neither apt nor the network is touched.

# gcc only recommends libc6-dev, and recommended packages are not installed.
# shellcheck disable=SC2034  # the lists are used by name
packages_build=(
    gcc libc6-dev make autoconf automake libtool pkgconf
    libcurl4-openssl-dev libdbus-1-dev libglib2.0-dev libjansson-dev libmicrohttpd-dev libsqlite3-dev libssl-dev
    libtss2-dev zlib1g-dev
)

# dbus-daemon and dbus-bin instead of dbus: the program without the service. systemd for busctl, which needs no service.
# shellcheck disable=SC2034
packages_test=(
    swtpm swtpm-tools tpm2-tools libtss2-tcti-swtpm0 dbus-daemon dbus-bin systemd util-linux passwd procps
    python3 python3-dbus python3-gi curl sqlite3 openssl
)

# shellcheck disable=SC2034
packages_check=(g++ mandoc polkitd bash-completion strace valgrind)

# libFuzzer is in the second. ./run check replays what it found with gcc, and needs neither.
# shellcheck disable=SC2034
packages_fuzz=(clang libclang-rt-14-dev)

# What hubkeyd is held against; no service of it is ever started.
# shellcheck disable=SC2034
packages_bench=(tpm2-abrmd libtss2-tcti-tabrmd0 libtpm2-pkcs11-1 libtpm2-pkcs11-tools softhsm2)

# The machine has the root of this host, so what it runs is installed here. qemu-system-common has virtiofsd.
# shellcheck disable=SC2034
packages_vm=(qemu-system-x86 qemu-system-common busybox-static kmod dbus udev tpm-udev polkitd)

# The page in Cockpit, and a browser to drive it. Recommended packages stay away here too: cockpit-ws alone would bring
# none of the shell that has "Administrative access", which is in cockpit-system. sudo is how Cockpit gets that access.
# shellcheck disable=SC2034
packages_portal=(cockpit-bridge cockpit-system cockpit-ws sudo)
# shellcheck disable=SC2034
packages_browser=(chromium fonts-dejavu-core)

# install_packages SET… : SET is build, test, check, fuzz, bench, vm, portal or browser.
install_packages() {
    local set wanted=() missing=()
    for set in "$@"; do
        local -n list=packages_$set
        wanted+=("${list[@]}")
    done
    # The official IoT Hub SDK runs on whatever Node.js is there; only a machine without any gets Debian's.
    if [[ " $* " == *" check "* ]]; then
        command -v node >/dev/null || wanted+=(nodejs)
        command -v npm >/dev/null || wanted+=(npm)
    fi
    mapfile -t missing < <(packages_missing "${wanted[@]}")
    [ "${#missing[@]}" -eq 0 ] || install_missing "${missing[@]}"
}

# install_if_possible SET… : where it is not, the tests that need the packages say so, and are skipped.
install_if_possible() {
    (install_packages "$@") || say "going on without: $*"
}

packages_missing() {
    printf '%s\n' "$@" | sort -u | comm -23 - <(
        # An unknown package makes dpkg-query fail and complain; that is an answer here, not an error.
        dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | sed -n 's/ installed$//p' | sort -u
    )
}

install_missing() {
    [ "$(id -u)" -eq 0 ] ||
        usage "packages are missing. Run as root: apt-get install --no-install-recommends $*"
    (
        # Somebody else's ./run may be at it; then nothing is missing any more when our turn comes.
        exec {lock}>/run/hubkey-install.lock
        flock "$lock"
        mapfile -t missing < <(packages_missing "$@")
        [ "${#missing[@]}" -gt 0 ] || exit 0
        say "installing ${missing[*]}"
        trap allow_services EXIT
        forbid_services
        apt_install "${missing[@]}"
    )
}

# Packages may bring services; this machine did not ask for them to run. An own policy of the machine is left alone.
policy=/usr/sbin/policy-rc.d
forbid_services() {
    [ -e "$policy" ] && return
    printf '#!/bin/sh\n# made by hubkey ./run while it installs packages\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

allow_services() {
    if grep -qs 'made by hubkey' "$policy"; then rm -f -- "$policy"; fi
}

apt_install() {
    local log get=(apt-get -q -y --no-remove -o DPkg::Lock::Timeout=300)
    log=$(mktemp /tmp/hubkey-install.XXXXXX)
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
    # A source that does not answer need not be one that we use: what counts is whether the packages can be had.
    "${get[@]}" update >>"$log" 2>&1 </dev/null || true
    quietly "$log" "${get[@]}" --no-install-recommends install "$@" || exit 1
    rm -f -- "$log"
}
