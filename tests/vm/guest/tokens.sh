# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# Users have tokens of the key that went into the machine's TPM, or not.

unescape() {
    printf '%b' "${1//%/\\x}"
}

# is_signed TOKEN : its signature is the HMAC of what it says, by the key that was provisioned.
is_signed() {
    local sr sig se hex mac
    [[ $1 =~ sr=([^&]*)\&sig=([^&]*)\&se=([0-9]*)$ ]] || return
    sr=${BASH_REMATCH[1]} sig=${BASH_REMATCH[2]} se=${BASH_REMATCH[3]}
    hex=$(base64 -d <<<"$key" | od -An -tx1 | tr -d ' \n')
    mac=$(printf '%s\n%s' "$sr" "$se" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$hex" -binary | base64)
    [ "$mac" = "$(unescape "$sig")" ]
}

exits 3 "a user may not provision" provision_as hubkey-in 1
exits 0 "root has a token" hubkeyctl token 0
ok "signed by the key" is_signed "$said"
exits 0 "a user in group hubkey has one" as hubkey-in hubkeyctl token 0 --scope messages/events
ok "signed by the key too" is_signed "$said"
exits 3 "a user who is not has none" as hubkey-out hubkeyctl token 0
has "and reads who it was taken for" "$said" hubkey-out
exits 1 "nobody but tss reaches the TPM past hubkeyd" as hubkey-in dd if=/dev/tpmrm0 count=0
