# shellcheck shell=bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The test suite: automake's `make check`, and one line at the end that counts its TAP cases.

: "${build_dir=}"

# check : runs every test of $build_dir; true when none failed.
check() {
    local made=0
    find "$build_dir" -name '*.trs' -delete
    rm -rf -- "$build_dir/sandbox-logs"
    step "testing in ${build_dir##*/}/"
    make_here check >"$build_dir/check.log" 2>&1 </dev/null || made=$?
    show_failures
    sum_up "$made"
}

# Automake leaves one NAME.trs a test program, with a line `:test-result: RESULT CASE` for each of its cases.
count() {
    find "$build_dir" -name '*.trs' -exec cat {} + | grep -cE "^:test-result: ($1)\b" || true
}

# failed_logs : the logs of the test programs with a case that failed.
failed_logs() {
    # grep has a result of its own when it finds none.
    { find "$build_dir" -name '*.trs' -exec grep -lE '^:test-result: (FAIL|XPASS|ERROR)\b' {} + || true; } |
        sed 's|\.trs$|.log|' | sort
}

show_failures() {
    local log
    failed_logs | while read -r log; do
        printf '\n==== %s\n' "$log"
        tail -n 200 -- "$log"
    done
}

# Once more in a few lines, because the end of a long log is what everybody reads first.
name_failures() {
    local log
    failed_logs | while read -r log; do
        grep -E '^(FAIL|XPASS|ERROR): ' -- "$log" || true
    done
}

# sum_up STATUS : STATUS is make's; one that no test accounts for (a test that does not compile) counts as a failure.
sum_up() {
    local passed failed skipped
    passed=$(count 'PASS|XFAIL') failed=$(count 'FAIL|XPASS|ERROR') skipped=$(count SKIP)
    if [ "$failed" -eq 0 ] && { [ "$1" -ne 0 ] || [ "$passed" -eq 0 ]; }; then
        tail -n 60 -- "$build_dir/check.log"
        printf '\n==== make check failed (%s), the whole log: %s\n' "$1" "$build_dir/check.log"
        failed=1
    fi
    name_failures
    printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ]
}
