# shellcheck shell=bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# Debian's kernel for cloud machines, unpacked and not installed: nothing of this machine's own boot is touched. It is
# kept in the build folder, so that it is fetched once.

: "${build_dir=}"

# fetch_kernel : sets $kernel_dir, where the package is unpacked.
fetch_kernel() {
    local name log=$build_dir/kernel.log
    kernel_dir=$build_dir/kernel
    [ ! -e "$kernel_dir/boot" ] || return 0
    name=$(apt-cache depends --important linux-image-cloud-amd64 2>/dev/null |
        sed -n 's/.* \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$name" ] || fail "apt knows no linux-image-cloud-amd64. Run: apt-get update"
    step "fetching $name"
    rm -rf -- "$kernel_dir" "$kernel_dir.new"
    mkdir -p -- "$kernel_dir.new"
    : >"$log"
    (cd "$kernel_dir.new" && quietly "$log" apt-get -q download "$name") || exit 1
    quietly "$log" dpkg-deb -x "$kernel_dir.new"/*.deb "$kernel_dir.new" || exit 1
    rm -f -- "$kernel_dir.new"/*.deb
    mv -- "$kernel_dir.new" "$kernel_dir"
}
