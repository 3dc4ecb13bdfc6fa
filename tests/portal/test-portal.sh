#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The page in a real Cockpit, driven by a real browser, beside a sandbox. Skipped where one of them cannot be had.

set -u
here=${HUBKEY_SRCDIR:?}/tests/portal
modules=${HUBKEY_BUILDDIR:?}/tests/portal/modules

# shellcheck source=tests/lib/tap.sh
. "$HUBKEY_SRCDIR/tests/lib/tap.sh"
# shellcheck source=tests/lib/npm.sh
. "$HUBKEY_SRCDIR/tests/lib/npm.sh"

[ "$(id -u)" = 0 ] || skip_all 'needs root'
grep -q ^cockpitdir= "$HUBKEY_BUILDDIR/stage.stamp" || skip_all 'configured --without-cockpit'
why=$(/usr/bin/python3 "$here/portal.py" why-not)
[ -z "$why" ] || skip_all "Cockpit cannot run here: $why"
[ -x /usr/bin/chromium ] || skip_all 'chromium is not here'
{ command -v node && command -v npm; } >/dev/null || skip_all 'node and npm are not here'
install_modules "$here/node" "$modules" || skip_all "playwright-core could not be installed, see $modules/install.log"
exec "$HUBKEY_SRCDIR/run" sandbox unshare --mount --propagation private \
    /usr/bin/python3 "$here/portal.py" run node "$here/drive.js" "$modules"
