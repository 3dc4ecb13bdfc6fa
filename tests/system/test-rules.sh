#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# hubkeyctl why and reload against a real hubkeyd: rules that change while it runs, and what is wrong with them.

set -u
. "$HUBKEY_SRCDIR/tests/lib/tap.sh"
[ "$(id -u)" -eq 0 ] || skip_all "needs root"
[ -n "${HUBKEY_SANDBOX-}" ] || exec "$HUBKEY_SRCDIR/run" sandbox bash "${BASH_SOURCE[0]}"

tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT
rules=$HUBKEY_SANDBOX/hubkeyd.conf.d/rules.conf

# ctl ARGUMENTS… : sets $out, $err and $code.
ctl() {
    out=$(hubkeyctl "$@" 2>"$tmp/err" </dev/null)
    code=$? err=$(cat "$tmp/err")
}

# ctl_as USER ARGUMENTS…
ctl_as() {
    local user=$1
    shift
    out=$(setpriv --reuid "$user" --regid "$user" --init-groups -- hubkeyctl "$@" 2>"$tmp/err" </dev/null)
    code=$? err=$(cat "$tmp/err")
}

# says TEXT CODE PART : how the last call ended, and what it printed.
says() {
    is "$1: exit $2" "$code" "$2"
    has "$1: $3" "$out$err" "$3"
}

write() {
    printf '%s\n' "$@" >"$rules"
}

# ---- what is wrong ----

ctl why
says "why without a slot" 2 "needs an argument"
ctl why 0 --user no-such-user-here
says "why about nobody" 1 'there is no user "no-such-user-here"'
ctl why 0 --scope a//b
says "why with a bad scope" 1 "segment 2"
ctl why 65536
says "why about no slot" 2 "0 to 65535"
ctl reload now
says "reload with an argument" 2 'does not take the argument "now"'

# ---- the default rules ----

ctl why 0
says "root about itself" 0 "by the rule root"
ctl why 0 --user hubkey-in
says "a member of the group" 0 "group-hubkey"
ctl why 0 --user hubkey-out
says "no member" 3 "usermod -aG hubkey hubkey-out"
ctl why 0 --user "$(id -u hubkey-in)"
says "by number" 0 "(hubkey-in)"
ctl why 0 --user 4000000
says "a number without a name" 3 "uid 4000000 may not"
ctl_as hubkey-in why 0
says "the member about itself" 0 "group-hubkey"
ctl_as hubkey-out why 0
says "the other about itself" 3 "you are uid $(id -u hubkey-out) (hubkey-out)"
ctl_as hubkey-out why 0 --user hubkey-in
is "about others: exit 3" "$code" 3
is "about others: no answer" "$out" ""
ctl why 0 --user hubkey-out --json
is "in JSON" "$(sed 's/"advice":".*"/"advice":""/' <<<"$out")" \
    "{\"slot\":0,\"uid\":$(id -u hubkey-out),\"user\":\"hubkey-out\",\"scope\":\"\",\"allowed\":false,$(
    )\"rule\":\"outside-group-hubkey\",\"advice\":\"\"}"

# ---- other rules ----

write '[slot 0]' AllowUsers=hubkey-out Scopes=files RequestsPerMinute=2
ctl_as hubkey-out token 0 --scope files
is "written is not read: exit 3" "$code" 3
ctl_as hubkey-in reload
is "reload is for administrators: exit 3" "$code" 3
ctl reload
says "reload" 0 "read anew"
ctl why 0 --user hubkey-out --scope files/up
says "by the new rules" 0 "AllowUsers"
ctl why 0 --user hubkey-out
says "but not the whole identity" 3 "rule Scopes"
ctl why 0 --user hubkey-in --scope files
says "and who was in is out" 3 "AllowUsers=hubkey-in in [slot 0]"
ctl_as hubkey-in token 0 --scope files
is "who is out gets no token: exit 3" "$code" 3
ctl_as hubkey-out token 0 --scope files
says "who is in gets one" 0 "SharedAccessSignature sr="
ctl_as hubkey-out token 0 --scope files
is "and a second one: exit 0" "$code" 0
ctl_as hubkey-out token 0 --scope files
says "and no third one in a minute" 1 "retry in "
ctl token 0 --scope files
is "root's own requests count apart: exit 0" "$code" 0

# ---- all or nothing ----

write '[slots]' AllowUsers=hubkey-in '' '[slot 0]' AllowUsers=hubkey-in Scopes=/ MaxTtl=never
ctl reload
says "a bad file" 1 "$rules:7: MaxTtl: \"never\" is not a whole number"
ctl why 0 --user hubkey-out --scope files
is "changes nothing: exit 0" "$code" 0
ctl why 1 --user hubkey-in
says "not even what is right in it" 0 "group-hubkey"
write '[hubkeyd]' Tcti=device:/dev/null '[slot 0]' AllowUsers=hubkey-in
ctl reload --json
is "reload in JSON" "$out" '{"reloaded":true}'
has "what waits for a restart is told" "$(cat "$HUBKEY_SANDBOX/hubkeyd.log")" \
    "Tcti=device:/dev/null will hold when hubkeyd is started again"
ctl_as hubkey-in token 0
is "and tokens go on: exit 0" "$code" 0

# ---- by signal ----

denied() {
    hubkeyctl why 0 --user hubkey-in >/dev/null 2>&1
    [ $? -eq 3 ]
}
write '[slot 0]' AllowUsers=hubkey-out
kill -HUP "$(cat "$HUBKEY_SANDBOX/hubkeyd.pid")"
ok "SIGHUP reads it too" await 10 denied
pid=$(cat "$HUBKEY_SANDBOX/hubkeyd.pid")
write nonsense
kill -HUP "$pid"
logged() {
    grep -qF "$rules:1: " "$HUBKEY_SANDBOX/hubkeyd.log"
}
ok "and tells the log what is wrong" await 10 logged
ctl_as hubkey-out token 0
is "and goes on: exit 0" "$code" 0

done_testing
