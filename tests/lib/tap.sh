# shellcheck shell=bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# TAP for tests written in shell: source this, call ok or is for each case, and done_testing at the end.

tap_cases=0 tap_failed=0

# skip_all REASON : nothing here can run.
skip_all() {
    printf '1..0 # SKIP %s\n' "$1"
    exit 0
}

# ok TEXT COMMAND… : the case passes when the command succeeds.
ok() {
    local text=$1
    shift
    tap_cases=$((tap_cases + 1))
    if "$@"; then
        printf 'ok %d - %s\n' "$tap_cases" "$text"
    else
        tap_failed=$((tap_failed + 1))
        printf 'not ok %d - %s\n# failed: %s\n' "$tap_cases" "$text" "${*//$'\n'/ }"
    fi
}

# is TEXT GOT WANTED : the case passes when both are the same string.
is() {
    ok "$1" test "$2" = "$3"
}

# has TEXT STRING PART : the case passes when STRING contains PART.
has() {
    ok "$1" contains "$2" "$3"
}

contains() {
    [[ $1 == *"$2"* ]]
}

# skip TEXT REASON : the case cannot run here.
skip() {
    tap_cases=$((tap_cases + 1))
    printf 'ok %d - %s # SKIP %s\n' "$tap_cases" "$1" "$2"
}

# diagnose : what stdin says goes into the log, as TAP wants comments.
diagnose() {
    sed 's/^/# /'
}

done_testing() {
    printf '1..%d\n' "$tap_cases"
    [ "$tap_failed" -eq 0 ]
}

# await SECONDS COMMAND… : looks until the command succeeds; false when it did not in that time.
await() {
    local deadline=$((SECONDS + $1)) never
    shift
    # A pipe that nobody writes into: reading from it is a pause that needs no process.
    exec {never}<> <(:)
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        read -r -t 0.05 -u "$never" || true
    done
    exec {never}>&-
}

# gone PID : a zombie is gone, although kill -0 would find it.
gone() {
    local state
    state=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || return 0
    [[ $state == [ZX]* ]]
}
