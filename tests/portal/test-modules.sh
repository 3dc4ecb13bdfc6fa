#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# Those modules of the page that need no browser.

set -u
# shellcheck source=tests/lib/tap.sh
. "${HUBKEY_SRCDIR:?}/tests/lib/tap.sh"

command -v node >/dev/null || skip_all 'node is not here'
exec node "$HUBKEY_SRCDIR/tests/portal/modules.js"
