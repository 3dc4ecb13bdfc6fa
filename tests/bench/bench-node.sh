#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The official Node.js client over HTTP on the way of bench-send, its key in memory, its messages nowhere but there:
#
#     bench-node.sh node-post     one event a request
#     bench-node.sh node-drain    20 000 events in batches of 500: events a second

set -u
here=$(dirname "${BASH_SOURCE[0]}")
work=${HUBKEY_BUILDDIR:?}/tests/hub/node-clients

# shellcheck source=tests/lib/npm.sh
. "$here/../lib/npm.sh"

cannot() {
    printf 'bench: %s\n' "the Node.js client cannot run here: $1" >&2
    exit 77
}

{ command -v node && command -v npm; } >/dev/null || cannot 'node and npm are not there'
install_modules "$here/../hub/node" "$work" || cannot "it could not be installed, see $work/install.log"
exec node "$here/bench-node.js" "$work" "$@"
