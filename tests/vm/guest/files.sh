# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# What hubkeyd keeps, and who can read it.

open_files() {
    find /var/lib/hubkey -mindepth 1 \( -perm /077 -o ! -user hubkey \)
}

is "the state directory is hubkeyd's alone" "$(stat -c '%U:%G %a' /var/lib/hubkey)" "hubkey:hubkey 700"
ok "it holds the slot" test -n "$(ls /var/lib/hubkey)"
is "and nothing in it is anybody else's" "$(open_files)" ""
is "everybody may enter the run-time directory" "$(stat -c '%U:%G %a' /run/hubkey)" "hubkey:hubkey 755"
exits 2 "a user in group hubkey cannot read the state" as hubkey-in ls /var/lib/hubkey
