# shellcheck shell=bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# ./run fuzz: libFuzzer on what stands in tests/fuzz, one after the other. What it learns stays in build-fuzz/corpus and
# is where the next run begins; what it finds is a file, for the corpus in tests/fuzz once it is mended.

: "${here:?}" "${build_dir=}"

fuzz_longest=86400 # seconds

# all_fuzzers : their names.
all_fuzzers() {
    find "$here/tests/fuzz" -name 'fuzz-*.c' -printf '%f\n' | sed 's/^fuzz-//; s/\.c$//' | sort
}

# check_fuzz_usage SECONDS NAME… : ends the script where there is no such fuzzer.
check_fuzz_usage() {
    local name near all
    mapfile -t all < <(all_fuzzers)
    [ "${#1}" -le 5 ] && [ "$1" -ge 1 ] && [ "$1" -le "$fuzz_longest" ] ||
        usage "fuzz takes 1 to $fuzz_longest seconds, not $1. See: ./run --help"
    shift
    for name; do
        [[ " ${all[*]} " == *" $name "* ]] && continue
        near=$(nearest "$name" "${all[@]}")
        usage "there is no fuzzer $name.${near:+ Did you mean $near?} There are: ${all[*]}"
    done
}

# fuzz SECONDS NAME… : true when nothing was found.
fuzz() {
    local seconds=$1 names=("${@:2}") name found=0
    [ "${#names[@]}" -gt 0 ] || mapfile -t names < <(all_fuzzers)
    local each=$(((seconds + ${#names[@]} - 1) / ${#names[@]}))
    mkdir -p -- "$build_dir/found"
    for name in "${names[@]}"; do
        fuzz_one "$name" "$each" || found=1
    done
    return "$found"
}

# fuzz_one NAME SECONDS
fuzz_one() {
    local name=$1 learned=$build_dir/corpus/$1 log=$build_dir/fuzz-$1.log program=$build_dir/tests/fuzz/fuzz-$1
    mkdir -p -- "$learned"
    step "fuzzing $name for $2 s"
    if "$program" -max_total_time="$2" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build_dir/found/$name-" "$learned" "$here/tests/fuzz/corpus/$name" \
        >"$log" 2>&1 </dev/null; then
        printf '%s: %s inputs, nothing found\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
        return
    fi
    grep -E '^(ERROR|SUMMARY|\*\*|.*runtime error|.*Assertion)|ERROR:' "$log" | head -n 5
    printf '%s: FOUND %s\n  again: %s FILE   log: %s\n' "$name" \
        "$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)" "$program" "$log"
    return 1
}
