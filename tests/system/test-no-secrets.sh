#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# Runs after all other tests and looks through everything they and the servers they started have logged: no key, no
# signature, no connection string may stand there.

set -u
. "$HUBKEY_SRCDIR/tests/lib/tap.sh"

# A signature is 44 characters of base64, percent-encoded in a token; a connection string carries the key openly.
patterns='sig=[A-Za-z0-9%+/]{30,}|SharedAccessKey=[^;[:space:]]{8,}|SharedAccessSignature=SharedAccessSignature'

# logs : all of the suite so far, but for our own.
logs() {
    find "$HUBKEY_BUILDDIR/tests" "$HUBKEY_LOG_DIR" -name '*.log' ! -name 'test-no-secrets*' 2>/dev/null
}

# device_keys : each sandbox's key, in base64 as it left it beside its logs, and in hex as a careless dump would show it.
device_keys() {
    find "$HUBKEY_LOG_DIR" -name device-key -exec cat {} + 2>/dev/null | while read -r key; do
        printf '%s\n' "$key"
        printf '%s' "$key" | base64 -d | od -An -v -tx1 | tr -d ' \n'
        echo
    done
}

# leaks FILES… : prints every file with something secret in it.
leaks() {
    grep -lE "$patterns" -- "$@"
    grep -liFf <(device_keys) -- "$@"
}

# sees TEXT SECRET : the search would find it.
sees() {
    local sample
    sample=$(mktemp)
    echo "a log line with $2 in it" >"$sample"
    is "the search sees $1" "$(leaks "$sample" | head -n 1)" "$sample"
    rm -f -- "$sample"
}

finds_what_it_looks_for() {
    local key
    sees "a signature" 'sr=h%2Fdevices%2Fd&sig=abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG%3D&se=1'
    sees "a connection string" 'HostName=h;DeviceId=d;SharedAccessKey=c2VjcmV0LXNlY3JldA=='
    mapfile -t keys < <(device_keys)
    for key in "${keys[@]: -2}"; do sees "a device key" "$key"; done
}

mapfile -t files < <(logs)
[ "${#files[@]}" -gt 0 ] || skip_all "no other test has run"
finds_what_it_looks_for
diagnose <<<"${#files[@]} logs"
is "nothing secret in any log" "$(leaks "${files[@]}" | sort -u)" ""
done_testing
