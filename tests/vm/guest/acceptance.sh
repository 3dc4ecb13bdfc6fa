#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The acceptance of hubkey in a booted machine, as TAP. Each part is a file; they build on each other in this order.

set -u
here=/hubkey/guest
for part in ../lib/tap lib; do
    # shellcheck source=/dev/null
    . "$here/$part.sh"
done

# tell_journal : what the units that take part have said.
tell_journal() {
    journalctl --boot --no-pager --output=short-monotonic --lines=200 -u hubkeyd -u hubkey-probe -u dbus -u polkit |
        diagnose
}

for part in machine install activation absent tokens files records closed restart reload polkit doctor figures gone; do
    printf '# ---- %s\n' "$part"
    # shellcheck source=/dev/null
    . "$here/$part.sh"
    # Every case would wait for it, each its time.
    [ $part != activation ] || [ "$(daemon ActiveState)" = active ] ||
        { tell_journal && echo 'Bail out! hubkeyd does not run' && exit 1; }
done

[ "${tap_failed:?}" -eq 0 ] || tell_journal
done_testing
