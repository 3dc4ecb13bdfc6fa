#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# hubkey.h in C++11: compiled, linked with the built library, and run.

set -u
. "$HUBKEY_SRCDIR/tests/lib/tap.sh"

compiler=${CXX:-c++}
command -v "$compiler" >/dev/null || skip_all 'no C++ compiler'
# A library with AddressSanitizer in it needs the same of its program.
sanitize=()
nm -D "$HUBKEY_BUILDDIR/.libs/libhubkey.so" | grep -q __asan_init && sanitize=(-fsanitize=address,undefined)
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

ok 'it compiles without a warning' \
    "$compiler" -std=c++11 -pedantic -Wall -Wextra -Werror "${sanitize[@]}" -I"$HUBKEY_SRCDIR" -o "$dir/test" \
    "$HUBKEY_SRCDIR/tests/unit/test-hubkey-hxx.cc" -L"$HUBKEY_BUILDDIR/.libs" -lhubkey
said=$(LD_LIBRARY_PATH=$HUBKEY_BUILDDIR/.libs "$dir/test")
has 'an error of the library reaches the program' "$said" 'ok 1 - an error reaches C++'
done_testing
