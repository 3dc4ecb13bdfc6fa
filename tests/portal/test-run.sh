#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# ./run portal, as a newcomer starts it: prints an address that answers, ends on Ctrl-C, leaves nothing.

set -u
# shellcheck source=tests/lib/tap.sh
. "${HUBKEY_SRCDIR:?}/tests/lib/tap.sh"

[ "$(id -u)" = 0 ] || skip_all 'needs root'
grep -q ^cockpitdir= "${HUBKEY_BUILDDIR:?}/stage.stamp" || skip_all 'configured --without-cockpit'
why=$(/usr/bin/python3 "$HUBKEY_SRCDIR/tests/portal/portal.py" why-not)
[ -z "$why" ] || skip_all "Cockpit cannot run here: $why"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
set -m # in a group of its own, as a terminal has it: Ctrl-C goes to all of it
"$HUBKEY_SRCDIR/run" portal >"$tmp/out" 2>"$tmp/err" &
pid=$!

says() {
    grep -q "$1" "$tmp/out" || gone "$pid"
}

await 60 says 'Ctrl-C ends it'
url=$(sed -n 's/^Open //p' "$tmp/out")
ok 'prints an address of this machine' test "${url#http://127.0.0.1:}" != "$url"
ok 'with a user and a password' grep -q 'user hubkey-in, password ..*: may turn on administrative access' "$tmp/out"
has 'a login page is there' "$(curl -s "$url")" 'login-user-input'
portal=$(pgrep -g "$pid" -f '^/usr/bin/python3 [^ ]*portal.py run')
box=$(sed -z -n 's/^HUBKEY_SANDBOX=//p' "/proc/$portal/environ" | tr -d '\0')
ok 'in a sandbox' test -d "$box"
kill -INT -- "-$pid"
wait "$pid"
is 'Ctrl-C ends it' $? 130
ok 'the address does not answer any more' test -z "$(curl -s "$url")"
ok 'nothing of it stays' test -n "$box" -a ! -e "$box"
grep -v '^ok' "$tmp/err" | diagnose
done_testing
