#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# Where `make install` puts the page, and that --without-cockpit leaves it out.

set -u
# shellcheck source=tests/lib/tap.sh
. "${HUBKEY_SRCDIR:?}/tests/lib/tap.sh"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# configured NAME OPTION… : a build folder of its own, in which the page alone is made.
configured() {
    mkdir "$tmp/$1"
    (cd "$tmp/$1" && "$HUBKEY_SRCDIR/configure" -q --cache-file="$tmp/cache" --prefix=/usr "${@:2}" >log 2>&1)
}

install_page() {
    make -s -C "$tmp/$1" install-cockpitDATA DESTDIR="$tmp/$1/root" >"$tmp/log" 2>&1 || diagnose <"$tmp/log"
}

would_install() {
    make -C "$tmp/$1" --no-print-directory -n install-data 2>/dev/null
}

ok 'configured with another place' configured moved --with-cockpitdir=/opt/pages/hubkey
install_page moved
is 'the page goes there' "$(cd "$tmp/moved/root" && find . -name index.html)" ./opt/pages/hubkey/index.html
missing=$(cd "$HUBKEY_SRCDIR/cockpit" && for file in *.js *.css *.html *.json; do
    [ -e "$tmp/moved/root/opt/pages/hubkey/$file" ] || echo "$file"
done)
is 'with all of its files' "$missing" ''
ok 'and its translations' test -s "$tmp/moved/root/opt/pages/hubkey/po.de.js"
has 'make install does that' "$(would_install moved)" 'cockpit/index.html'

ok 'configured without it' configured without --without-cockpit
would_install without >"$tmp/would"
has 'make install does what else it does' "$(cat "$tmp/would")" 'hubkeyctl'
is 'and nothing of the page' "$(grep -c 'cockpit/[a-z]*\.' "$tmp/would")" 0
install_page without
is 'nor does its own rule' "$(find "$tmp/without/root" -type f 2>/dev/null)" ''
done_testing
