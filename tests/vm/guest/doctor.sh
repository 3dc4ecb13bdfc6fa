# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# hubkeyctl doctor looks at a machine where all is as it should be.

if has_command doctor; then
    code=0
    said=$(hubkeyctl doctor 2>&1 </dev/null) || code=$?
    diagnose <<<"$said"
    ok "hubkeyctl doctor finds the machine well, or says what to mend" test "$code" -le 1
else
    skip "hubkeyctl doctor" "this version has none"
fi
