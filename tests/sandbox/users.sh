# shellcheck shell=bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The people of the sandbox: hubkey runs the daemon, hubkey-in is in group hubkey and may have tokens, hubkey-out is
# not and may not. They must stand in passwd (dbus-daemon refuses a uid that does not), so they are made once and stay.

make_users() {
    local lock
    getent passwd hubkey hubkey-in hubkey-out >/dev/null && in_group_hubkey && return
    exec {lock}>/run/hubkey-users.lock
    flock "$lock"
    make_user hubkey
    make_user hubkey-in
    make_user hubkey-out
    in_group_hubkey || usermod --append --groups hubkey hubkey-in
    exec {lock}>&-
}

make_user() {
    getent passwd "$1" >/dev/null && return
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$1"
}

in_group_hubkey() {
    id -nG hubkey-in 2>/dev/null | tr ' ' '\n' | grep -qx hubkey
}
