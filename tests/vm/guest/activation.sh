# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The first call on the bus starts hubkeyd, as its unit.

is "nobody has asked yet: hubkeyd does not run" "$(daemon ActiveState)" inactive
exits 0 "a user without any right asks for the version" as hubkey-out busctl get-property org.hubkey /org/hubkey \
    org.hubkey.Manager1 Version
is "hubkeyd runs" "$(daemon ActiveState)" active
pid=$(daemon MainPID)
is "what runs is what was installed" "$(readlink "/proc/$pid/exe")" /usr/sbin/hubkeyd
is "as its own user" "$(stat -c %U "/proc/$pid")" hubkey
has "in its own unit" "$(cat "/proc/$pid/cgroup")" /system.slice/hubkeyd.service
bus=(busctl call org.freedesktop.DBus / org.freedesktop.DBus)
is "and owns the name" "$("${bus[@]}" GetConnectionUnixProcessID s org.hubkey)" "u $pid"
exits 1 "nobody else may own it" as hubkey-out "${bus[@]}" RequestName su org.hubkey 4
