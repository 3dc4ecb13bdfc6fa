#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# Azure's own Node.js clients. The one over HTTP on the way of bench-send, its key in memory, its messages nowhere but
# there; and the one that has keys in a TPM:
#
#     bench-node.sh node-post     one event a request
#     bench-node.sh node-drain    20 000 events in batches of 500: events a second
#     bench-node.sh node-tpm      an HMAC with slot 0's key

set -u
here=$(dirname "${BASH_SOURCE[0]}")

# shellcheck source=tests/lib/npm.sh
. "$here/../lib/npm.sh"

cannot() {
    printf 'bench: %s\n' "the Node.js client cannot run here: $1" >&2
    exit 77
}

# run SCRIPT SOURCE FOLDER [ROW]
run() {
    local script=$1 source=$2 folder=${HUBKEY_BUILDDIR:?}/$3
    { command -v node && command -v npm; } >/dev/null || cannot 'node and npm are not there'
    install_modules "$source" "$folder" || cannot "it could not be installed, see $folder/install.log"
    exec node "$here/$script" "$folder" "${@:4}"
}

case ${1:-} in
    node-tpm) run bench-node-tpm.js "$here/node-tpm" tests/bench/node-tpm-client ;;
    *) run bench-node.js "$here/../hub/node" tests/hub/node-clients "$@" ;;
esac
