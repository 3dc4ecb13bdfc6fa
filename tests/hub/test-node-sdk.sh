#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The official Node.js device clients against the test hub. They are installed into the build folder; where that is not
# possible, the test is skipped.

set -u
here=${HUBKEY_SRCDIR:?}/tests/hub
work=${HUBKEY_BUILDDIR:?}/tests/hub/node-clients

# shellcheck source=tests/lib/tap.sh
. "$HUBKEY_SRCDIR/tests/lib/tap.sh"
# shellcheck source=tests/lib/npm.sh
. "$HUBKEY_SRCDIR/tests/lib/npm.sh"

{ command -v node && command -v npm; } >/dev/null || skip_all 'node and npm are not here'
install_modules "$here/node" "$work" || skip_all "the clients could not be installed, see $work/install.log"
exec node "$here/node/clients.js" "$work"
