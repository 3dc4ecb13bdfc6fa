# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# Every decision is a record of the journal, with fields of its own.

# found FIELD=VALUE… : how many records of hubkeyd's unit have all of these.
found() {
    journalctl --sync
    journalctl --boot --output=cat --output-fields=MESSAGE _SYSTEMD_UNIT=hubkeyd.service "$@" 2>/dev/null | wc -l
}

in_uid=$(id -u hubkey-in) out_uid=$(id -u hubkey-out)
is "a token that was given" \
    "$(found HUBKEY_DECISION=allowed HUBKEY_SLOT=0 HUBKEY_UID="$in_uid" HUBKEY_SCOPE=messages/events)" 1
is "one that was denied" "$(found HUBKEY_DECISION=denied HUBKEY_SLOT=0 HUBKEY_UID="$out_uid" PRIORITY=5)" 1
fields=$(journalctl --boot --output=json HUBKEY_DECISION=allowed HUBKEY_UID="$in_uid")
for field in HUBKEY_EVENT HUBKEY_CALLER HUBKEY_TTL HUBKEY_TOKEN_ID HUBKEY_RULE; do
    has "it has $field" "$fields" "\"$field\":"
done
ok "no record has a token" test "$(journalctl --boot --output=export | grep -ac 'sig=')" = 0

if has_command audit; then
    exits 0 "hubkeyctl audit reads them" hubkeyctl audit --user hubkey-out
    has "and shows the refusal" "$said" denied
else
    skip "hubkeyctl audit" "this version has none"
fi
