#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# What is installed for systemd, judged by systemd's own tools; nothing is started. ./run vm tries it in a machine.

set -u
. "$HUBKEY_SRCDIR/tests/lib/tap.sh"

# Tenths. Every line of the unit that is lost costs one or two.
exposure_max=10
unit=$HUBKEY_BUILDDIR/daemon/hubkeyd.service
stage=$HUBKEY_BUILDDIR/stage
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT

exposed() {
    systemd-analyze security --offline=true --no-pager --threshold=$exposure_max "$1" >"$tmp/exposure" 2>&1
}

says_little() {
    local code=0
    exposed "$unit" || code=$?
    is "the unit's exposure is at most ${exposure_max} tenths" "$code" 0
    [ "$code" -eq 0 ] || diagnose <"$tmp/exposure"
    grep -v '^CapabilityBoundingSet=\|^SystemCallFilter=\|^PrivateNetwork=' "$unit" >"$tmp/hubkeyd.service"
    ok "that of a unit without three of its lines is not" test "$(exposed "$tmp/hubkeyd.service"; echo $?)" -ne 0
}

# The programs need not be installed for this: the staged ones stand in for them.
is_understood() {
    local bindir sbindir out
    bindir=$(sed -n 's/^bindir=//p' "$HUBKEY_BUILDDIR/stage.stamp")
    sbindir=$(sed -n 's/^sbindir=//p' "$HUBKEY_BUILDDIR/stage.stamp")
    sed -e "s,$sbindir/hubkeyd,$stage&,g" -e "s,$bindir/hubkeyctl,$stage&,g" "$unit" >"$tmp/hubkeyd.service"
    out=$(systemd-analyze verify --man=no "$tmp/hubkeyd.service" 2>&1)
    is "systemd understands the unit" $? 0
    is "and has nothing to say about it" "$out" ""
}

makes_users() {
    local root=$tmp/root
    mkdir -p "$root/etc"
    printf 'root:x:0:0::/root:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\ntss:x:900:\n' >"$root/etc/group"
    : >"$root/etc/shadow" && : >"$root/etc/gshadow"
    ok "systemd-sysusers makes the user" systemd-sysusers --root="$root" "$HUBKEY_SRCDIR/daemon/hubkey.sysusers.conf"
    has "hubkey" "$(cat "$root/etc/passwd")" hubkey:x:
    ok "with a group of its own" grep -q '^hubkey:' "$root/etc/group"
    ok "in group tss" grep -q '^tss:.*[:,]hubkey' "$root/etc/group"
}

makes_directories() {
    local root=$tmp/root
    ok "systemd-tmpfiles makes the directories" \
        systemd-tmpfiles --root="$root" --create "$HUBKEY_SRCDIR/daemon/hubkey.tmpfiles.conf"
    is "the state is the daemon's alone" "$(stat -c %a "$root/var/lib/hubkey")" 700
    is "everybody may enter the run-time directory" "$(stat -c %a "$root/run/hubkey")" 755
    is "both belong to the user that was made" "$(stat -c %u "$root/var/lib/hubkey" "$root/run/hubkey" | sort -u)" \
        "$(sed -n 's/^hubkey:x:\([0-9]*\):.*/\1/p' "$root/etc/passwd")"
}

# The bus starts what the unit is called, and what it would start without systemd is what the unit starts.
agrees_with_the_bus() {
    local service=$HUBKEY_BUILDDIR/dbus/org.hubkey.service
    is "the activation file names the unit" "$(sed -n 's/^SystemdService=//p' "$service")" hubkeyd.service
    is "and the name that the unit waits for" "$(sed -n 's/^Name=//p' "$service")" "$(sed -n 's/^BusName=//p' "$unit")"
    is "and the same program" "$(sed -n 's/^Exec=//p' "$service")" "$(sed -n 's/^ExecStart=//p' "$unit")"
    is "as the same user" "$(sed -n 's/^User=//p' "$service")" "$(sed -n 's/^User=//p' "$unit")"
}

[ "$(id -u)" -eq 0 ] || skip_all "needs root"
command -v systemd-analyze >/dev/null || skip_all "systemd is not installed"
says_little
is_understood
makes_users
makes_directories
agrees_with_the_bus
done_testing
