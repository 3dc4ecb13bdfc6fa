# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# hubkeyd is killed: systemd starts it again, the slot is what it was, and no core is left.

cores=/var/tmp/cores

is_another_process() {
    local now
    now=$(daemon MainPID)
    [ "$now" != 0 ] && [ "$now" != "$1" ]
}

# killed_by SIGNAL
killed_by() {
    local before generation
    before=$(daemon MainPID) generation=$(generation)
    kill -s "$1" "$before"
    ok "after SIG$1 hubkeyd runs again" await "$patience" is_another_process "$before"
    ok "tokens flow" await "$patience" gives_a_token
    is "the generation is the same" "$(generation)" "$generation"
}

mkdir -m 1777 $cores
echo "$cores/%e.%p" >/proc/sys/kernel/core_pattern
# In braces: what the shell says of it is no news here.
{ bash -c 'ulimit -c unlimited && kill -s SEGV $$; exit 1' || true; } >/dev/null 2>&1
is "a program that crashes leaves a core" "$(find $cores -name 'bash.*' | wc -l)" 1
killed_by KILL
killed_by SEGV
is "hubkeyd leaves none" "$(find $cores -name 'hubkeyd*' | wc -l)" 0
