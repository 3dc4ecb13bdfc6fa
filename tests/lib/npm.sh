# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# install_modules SOURCE FOLDER : puts the Node.js packages that package-lock.json in SOURCE names into FOLDER, without
# running anything of theirs. False, with install.log there, where that is not possible.

install_modules() {
    local source=$1 folder=$2
    mkdir -p "$folder" || return
    cmp -s "$source/package-lock.json" "$folder/installed.json" && return
    rm -rf "$folder/node_modules" "$folder/installed.json"
    cp "$source/package.json" "$source/package-lock.json" "$folder"
    chmod u+w "$folder/package.json" "$folder/package-lock.json"
    (cd "$folder" && HOME=$folder npm_config_cache=$folder/cache timeout -k 5 120 npm ci --ignore-scripts --no-audit \
        --no-fund --loglevel=error --fetch-retries=1 --fetch-timeout=30000 --update-notifier=false) \
        >"$folder/install.log" 2>&1 </dev/null || return
    rm -rf "$folder/cache"
    mv "$folder/package-lock.json" "$folder/installed.json"
}
