# shellcheck shell=bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# How ./run talks: always on stderr, because stdout belongs to what it runs, and in exit codes.

# say WORDS… : one line for the person who watches.
say() {
    printf 'run: %s\n' "$*" >&2
}

# step WORDS… : progress, of interest only to somebody who sits in front of it.
step() {
    if [ -t 2 ]; then say "$@"; fi
}

# fail WORDS… : ends ./run, something did not work.
fail() {
    say "$@"
    exit 1
}

# usage WORDS… : ends ./run, it was asked for something it does not have.
usage() {
    say "$@"
    exit 2
}

# need_root COMMAND… : ends ./run with the line that would have worked.
need_root() {
    [ "$(id -u)" -eq 0 ] || usage "this needs root. Run: sudo ./run $*"
}

# quietly LOG COMMAND… : the command's output goes to LOG; its end is shown only when the command fails.
quietly() {
    local log=$1
    shift
    "$@" >>"$log" 2>&1 </dev/null && return 0
    say "this failed: $*"
    tail -n 60 -- "$log" >&2
    say "the whole log: $log"
    return 1
}

# nearest WORD CHOICE… : prints the choice that is the fewest keystrokes away from WORD, nothing when none is near.
nearest() {
    local word=$1
    shift
    printf '%s\n' "$@" | awk -v word="$word" '
        function least(a, b, c) { return a < b ? (a < c ? a : c) : (b < c ? b : c) }
        function distance(a, b,    i, j, row, corner, above) {
            for (j = 0; j <= length(b); j++) row[j] = j
            for (i = 1; i <= length(a); i++) {
                corner = row[0]; row[0] = i
                for (j = 1; j <= length(b); j++) {
                    above = row[j]
                    row[j] = least(above + 1, row[j - 1] + 1, corner + (substr(a, i, 1) != substr(b, j, 1)))
                    corner = above
                }
            }
            return row[length(b)]
        }
        BEGIN { best = 4 }
        { d = index($0, word) == 1 ? 1 : distance(word, $0); if (d < best && d < length($0)) { best = d; choice = $0 } }
        END { if (choice != "") print choice }'
}
