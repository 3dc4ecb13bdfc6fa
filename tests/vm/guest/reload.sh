# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# A changed configuration is taken over by `systemctl reload`, whole or not at all.

folder=/etc/hubkey/hubkeyd.conf.d

if [ "$(daemon CanReload)" = yes ]; then
    pid=$(daemon MainPID)
    mkdir -p $folder
    printf '[slots]\nAllowUsers=hubkey-out\n' >$folder/50-vm.conf
    exits 0 "systemctl reload takes new rules over" systemctl reload hubkeyd
    exits 0 "who is named now has a token" as hubkey-out hubkeyctl token 0
    exits 3 "who is not has none" as hubkey-in hubkeyctl token 0
    printf '[slots]\nAllowUsers=hubkey-in\nNoSuchKey=1\n' >$folder/50-vm.conf
    systemctl reload hubkeyd 2>/dev/null || true
    exits 0 "rules with a mistake change nothing" as hubkey-out hubkeyctl token 0
    rm $folder/50-vm.conf
    exits 0 "without them all is as before" systemctl reload hubkeyd
    exits 0 "for those of group hubkey" as hubkey-in hubkeyctl token 0
    is "in one process all along" "$(daemon MainPID)" "$pid"
else
    skip "systemctl reload" "this version has none"
fi
