#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The official Node.js device clients against the test hub. They are installed into the build folder, as package-lock.json
# says and without running anything of theirs; where that is not possible, the test is skipped.

set -u
here=${HUBKEY_SRCDIR:?}/tests/hub
work=${HUBKEY_BUILDDIR:?}/tests/hub/node-clients

# shellcheck source=tests/lib/tap.sh
. "$HUBKEY_SRCDIR/tests/lib/tap.sh"

install_clients() {
    mkdir -p "$work" && cd "$work" || return
    cmp -s "$here/node/package-lock.json" installed.json && return
    rm -rf node_modules installed.json
    cp "$here/node/package.json" "$here/node/package-lock.json" .
    chmod u+w package.json package-lock.json
    HOME=$work npm_config_cache=$work/cache timeout -k 5 120 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error \
        --fetch-retries=1 --fetch-timeout=30000 --update-notifier=false >install.log 2>&1 </dev/null || return
    rm -rf cache
    mv package-lock.json installed.json
}

{ command -v node && command -v npm; } >/dev/null || skip_all 'node and npm are not here'
install_clients || skip_all "the clients could not be installed, see $work/install.log"
exec node "$here/node/clients.js" "$work"
