#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# How ./run answers, decides what to install, and counts. Nothing is built, installed or started here.

set -u
. "$HUBKEY_SRCDIR/tests/lib/tap.sh"

# The parts themselves, for what can only be seen from inside.
for part in say install; do
    # shellcheck source=/dev/null
    . "$HUBKEY_SRCDIR/tests/sandbox/$part.sh"
done

run=$HUBKEY_SRCDIR/run
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT

# answers CODE PART WORDS… : ./run WORDS exits with CODE and says PART.
answers() {
    local code=$1 part=$2 out
    shift 2
    out=$("$run" "$@" 2>&1 </dev/null)
    is "./run $* exits with $code" $? "$code"
    has "./run $* says: $part" "$out" "$part"
}

names_the_right_command() {
    answers 0 "Usage: ./run COMMAND" --help
    answers 0 "Usage: ./run COMMAND" sandbox --help
    answers 2 "Usage: ./run COMMAND"
    answers 2 "Did you mean ./run sandbox?" sandbx
    answers 2 "Did you mean ./run check?" chekc
    answers 2 "Did you mean ./run build?" biuld
    answers 2 "there is no command xyzzyplugh. See" xyzzyplugh
    answers 2 "unknown option --sanitisers" build --sanitisers
    answers 2 "takes no argument fast" build fast
    answers 2 "takes no argument fast" vm fast
    answers 2 "there is no fuzzer recrod. Did you mean record?" fuzz 5 recrod
    answers 2 "fuzz takes 1 to 86400 seconds, not 0" fuzz 0
    answers 2 "one of hubkeyd, swtpm, hub, bus" sandbox-restart dbus
    if [ "$(id -u)" -eq 0 ]; then
        answers 2 "soak takes a number of tokens from 100 on, or client" soak clinet
        answers 2 "soak client takes a number of seconds" soak client 0
    fi
}

# as_nobody COMMAND… : without root's rights, whoever runs the test.
as_nobody() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid nobody --regid nogroup --clear-groups -- "$@"; else "$@"; fi
}

needs_root() {
    local command out
    # Of a tree that everybody can read: ours may lie in somebody's home.
    mkdir -p "$tmp/tree/tests" && cp "$run" "$tmp/tree/" &&
        cp -R "$HUBKEY_SRCDIR/tests/sandbox" "$HUBKEY_SRCDIR/tests/vm" "$tmp/tree/tests/"
    chmod -R a+rX "$tmp"
    for command in demo check bench vm "sandbox true"; do
        # shellcheck disable=SC2086
        out=$(as_nobody "$tmp/tree/run" $command 2>&1 </dev/null)
        is "$command needs root" $? 2
        has "$command says how" "$out" "sudo ./run $command"
    done
}

# Stand-ins for what the parts call: somebody who is not root, and an apt that must not be reached.
an_ordinary_user() {
    # shellcheck disable=SC2317  # install_missing calls it
    id() { echo 1000; }
    "$@"
}

without_apt() {
    # shellcheck disable=SC2317
    apt-get() { echo called; }
    "$@"
}

decides_what_is_missing() {
    local out
    out=$(packages_missing dpkg hubkey-no-such-package coreutils)
    is "an installed package is not missing, an unknown one is" "$out" hubkey-no-such-package
    out=$(an_ordinary_user install_missing one two 2>&1)
    is "who is not root cannot install" $? 2
    has "but reads the exact command" "$out" "apt-get install --no-install-recommends one two"
    # shellcheck disable=SC2034  # install_packages takes the list by its name
    packages_build=(dpkg)
    is "nothing missing, no apt" "$(without_apt install_packages build; echo $?)" 0
}

# What `make check` would do: leaves RESULTS of one test program and its log behind, and ends with STATUS. It is run by
# a shell as strict as ./run itself.
# shellcheck disable=SC2016
check_alone='for part in say build check; do . "$here/tests/sandbox/$part.sh"; done
    make_here() {
        printf "%s\n" "FAIL: a 2 - two" "the log of a" >"$build_dir/a.log"
        [ "${#results[@]}" -eq 0 ] || printf ":test-result: %s\n" "${results[@]}" >"$build_dir/a.trs"
        return "$status"
    }
    status=$1 results=("${@:2}") && check'

# counts EXPECTED STATUS RESULTS… : what check says of these results, after a make that ended with STATUS.
counts() {
    local expected=$1
    shift
    rm -rf -- "$tmp/build" && mkdir "$tmp/build"
    here=$HUBKEY_SRCDIR build_dir=$tmp/build bash -euo pipefail -c "$check_alone" - "$@" >"$tmp/out" 2>&1
    is "make $1 with results '${*:2}'" "$?:$(tail -n 1 "$tmp/out")" "$expected"
}

adds_up() {
    counts "0:1 passed, 0 failed, 0 skipped" 0 "PASS 1"
    counts "0:2 passed, 0 failed, 1 skipped" 0 "PASS 1" "XFAIL 2" "SKIP 3"
    counts "1:1 passed, 3 failed, 0 skipped" 2 "PASS 1" "FAIL 2" "ERROR 3" "XPASS 4"
    has "a failed test's log is shown" "$(cat "$tmp/out")" "the log of a"
    is "and the failed case is named right before the sum" "$(tail -n 2 "$tmp/out" | head -n 1)" "FAIL: a 2 - two"
    counts "1:1 passed, 1 failed, 0 skipped" 2 "PASS 1"
    counts "1:0 passed, 1 failed, 1 skipped" 0 "SKIP 1"
    counts "1:0 passed, 1 failed, 0 skipped" 0
}

names_the_right_command
needs_root
decides_what_is_missing
adds_up
done_testing
