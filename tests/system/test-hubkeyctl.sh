#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# hubkeyctl against real servers: each command, each exit code, and what people get wrong.

set -u
. "$HUBKEY_SRCDIR/tests/lib/tap.sh"
[ "$(id -u)" -eq 0 ] || skip_all "needs root"
[ -n "${HUBKEY_SANDBOX-}" ] || exec "$HUBKEY_SRCDIR/run" sandbox bash "${BASH_SOURCE[0]}"

tmp=$(mktemp -d)
chmod 755 "$tmp"
trap 'rm -rf -- "$tmp"' EXIT
key=QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=
string="HostName=$HUBKEY_HUB_HOST;DeviceId=second;SharedAccessKey=$key"
printf '%s\n' "$key" >"$tmp/key"
printf '%s' "$string" >"$tmp/string"

# ctl ARGUMENTS… : sets $out, $err and $code.
ctl() {
    out=$(hubkeyctl "$@" 2>"$tmp/err" </dev/null)
    code=$? err=$(cat "$tmp/err")
}

# ctl_with INPUT ARGUMENTS… : the same with INPUT (no newline added) on stdin.
ctl_with() {
    local input=$1
    shift
    out=$(printf '%s' "$input" | hubkeyctl "$@" 2>"$tmp/err")
    code=$? err=$(cat "$tmp/err")
}

# ctl_as USER ARGUMENTS…
ctl_as() {
    local user=$1
    shift
    out=$(setpriv --reuid "$user" --regid "$user" --init-groups -- hubkeyctl "$@" 2>"$tmp/err" </dev/null)
    code=$? err=$(cat "$tmp/err")
}

# field NAME : of the last JSON object in $out.
field() {
    tail -n 1 <<<"$out" | /usr/bin/python3 -c 'import json, sys; v = json.load(sys.stdin)
for name in sys.argv[1].split("."): v = v[name]
print(json.dumps(v) if isinstance(v, (dict, list, bool)) or v is None else v)' "$1"
}

# refused CODE PART TEXT : how the last call ended.
refused() {
    is "$3: exit $1" "$code" "$1"
    has "$3: says why" "$err" "$2"
    is "$3: prints nothing" "$out" ""
}

admin() {
    curl -sS --max-time 20 "$@"
}

# bodies DEVICE : what the hub has of the device, a line each, in order.
bodies() {
    admin "$HUBKEY_HUB_ADMIN/messages?device=$1&limit=10000" | /usr/bin/python3 -c '
import base64, json, sys
for m in json.load(sys.stdin)["messages"]: print(base64.b64decode(m["body"]).decode())'
}

usage_errors() {
    ctl
    refused 2 "hubkeyctl --help" "nothing to do"
    ctl stauts
    refused 2 'did you mean "status"' "a misspelt command"
    ctl queue fulsh 0
    refused 2 'did you mean "queue flush"' "a misspelt verb"
    ctl xyzzy
    refused 2 'no command "xyzzy"' "a word that is near to nothing"
    ctl queue
    refused 2 "status, list, peek, flush, pump" "queue without a verb"
    for slot in x -1 65536 007 '' 1e3; do
        ctl show "$slot"
        is "slot \"$slot\" is exit 2" "$code" 2
    done
    ctl show
    refused 2 "needs an argument" "a missing argument"
    ctl show 0 1
    refused 2 'argument "1"' "an argument too many"
    ctl list --frob
    refused 2 "--frob" "an unknown option"
    ctl token 0 --ttl soon
    refused 2 "--ttl" "a lifetime that is no number"
    ctl send 0 --wait -5
    refused 2 "--wait" "a time below nothing"
    ctl queue status
    refused 2 "--queue FILE" "a queue that nobody named"
    ctl queue --queue /nonexistent/q --json status
    refused 1 "/nonexistent" "options before the verb"
    ctl --ttl never token 0
    refused 2 "--ttl" "options before the command"
}

help_and_manual() {
    local commands command page
    page=$(cat "$HUBKEY_SRCDIR/docs/hubkeyctl.1")
    ctl --help
    is "--help is exit 0" "$code" 0
    commands=$(sed -n '/^Commands:/,/^$/s/^  \(.*[a-z]\)   *[a-z].*/\1/p' <<<"$out" | sed 's/  .*//')
    ok "the overview lists the commands" test "$(wc -l <<<"$commands")" -gt 10
    while read -r command; do
        # shellcheck disable=SC2086
        ctl $command --help
        is "$command --help is exit 0" "$code" 0
        has "$command --help has a usage line" "$out" "Usage: hubkeyctl $command"
        has "$command is in hubkeyctl(1)" "${page//.It Cm /.Cm }" ".Cm $command"
        while read -r option; do
            has "$command: $option is in hubkeyctl(1)" "$page" "\\-${option//-/\\-}"
            has "$command: $option is completed" "$(cat "$HUBKEY_SRCDIR/tools/hubkeyctl.bash")" "--$option"
        done < <(sed -n 's/^ .*--\([a-z-]*\) .*/\1/p' <<<"$out")
    done <<<"$commands"
    ctl help token
    has "help COMMAND is the same" "$out" "Usage: hubkeyctl token"
    ctl --version
    ok "--version says which" grep -Eq '^hubkeyctl [0-9]+\.[0-9]+\.[0-9]+$' <<<"$out"
}

keys_that_are_wrong() {
    local name
    ctl provision 1
    refused 2 "--connection-string-file" "no key at all"
    ctl provision 1 --host-name "$HUBKEY_HUB_HOST" --device-id a
    refused 2 "--key-file is missing" "half a form"
    ctl provision 1 --connection-string-file "$tmp/string" --device-id a
    refused 2 "leave out" "both forms"
    ctl provision 1 --connection-string-file "$tmp/none"
    refused 1 "$tmp/none" "a file that is not there"
    ctl_with '' provision 1 --connection-string-file -
    refused 1 "stdin is empty" "nothing on stdin"
    ctl_with "$key!" provision 1 --host-name "$HUBKEY_HUB_HOST" --device-id a --key-file -
    refused 1 "not base64" "a key that is not base64"
    ok "and the key is not shown" test "${err#*QUJDREVG}" = "$err"
    ctl_with "$(head -c 1025 /dev/zero | base64 -w 0)" \
        provision 1 --host-name "$HUBKEY_HUB_HOST" --device-id a --key-file -
    refused 1 "1025 bytes" "a key that is too long"
    ctl_with "HostName=$HUBKEY_HUB_HOST;SharedAccessKeyName=iothubowner;SharedAccessKey=$key" \
        provision 1 --connection-string-file -
    refused 1 "not of the hub" "the hub's own connection string"
    for name in 'a b' 'a/b' . ''; do
        ctl provision 1 --host-name "$HUBKEY_HUB_HOST" --device-id "$name" --key-file "$tmp/key"
        refused 1 DeviceId "device ID \"$name\""
    done
    ctl provision 0 --connection-string-file "$tmp/string"
    refused 1 "hubkeyctl clear 0" "a slot in use"
    ctl provision 10 --connection-string-file "$tmp/string" --storage tpm
    refused 1 "a slot above 9 is kept in a file" "a slot that the TPM has no room for"
    ctl provision 1 --connection-string-file "$tmp/string" --storage disk
    refused 2 "tpm or file" "no such storage"
    ctl provision 1 --audience sb://a/b --device-id a --key-file "$tmp/key"
    refused 2 "not both" "a device's and an audience's"
    ctl provision 1 --audience sb://a/b --key-file "$tmp/key"
    refused 2 "--key-name is missing" "half an audience"
    pasted="Endpoint=sb://a.b/;SharedAccessKeyName=send;SharedAccessKey=$key"
    ctl_with "$pasted" provision 1 --audience sb://a.b/c --key-name send --key-file -
    refused 1 "not a key" "a connection string for the key of an audience"
    ctl_with "\"$key\"" provision 1 --audience sb://a.b/c --key-name send --key-file -
    refused 1 "quotes" "a key of an audience in quotes"
    ctl provision 1 --audience "$pasted" --key-name send --key-file "$tmp/key"
    refused 1 "Audience looks like a connection string" "a connection string for an audience"
    ok "and the key in it is not shown" test "${err#*QUJDREVG}" = "$err"
    ctl rotate 0
    refused 2 "--undo" "rotate to nothing"
    ctl rotate 0 --undo --key-file "$tmp/key"
    refused 2 "only one of" "rotate both ways"
    ctl rotate 0 --undo
    refused 1 "no earlier key" "nothing to undo"
    ctl rotate 7 --key-file "$tmp/key"
    refused 1 "empty" "rotate an empty slot"
    ctl adopt 0
    refused 2 "no terminal" "adopt without words or a terminal"
    ctl adopt 0 --name 00
    refused 2 "go together" "adopt by halves"
    ctl adopt 0 --host-name "$HUBKEY_HUB_HOST" --device-id a --name 00
    refused 1 "68 lower-case" "adopt by a bad name"
    ctl_as hubkey-in provision 1 --connection-string-file "$tmp/string"
    refused 3 "hubkey-in" "provision by somebody else"
    ctl list --json
    is "none of them left anything behind" "$(wc -l <<<"$out")" 1
}

slots() {
    ctl_with "$string" provision 1 --connection-string-file -
    is "provision by connection string" "$code" 0
    ctl provision 2 --host-name "$HUBKEY_HUB_HOST" --device-id "third.\$'" --key-file "$tmp/key" --json
    is "provision by parts" "$code:$(field slot):$(field device_id)" "0:2:third.\$'"
    ctl list --json
    is "list has a line for each" "$(wc -l <<<"$out")" 3
    is "with the bus's names" "$(field slot),$(field state),$(field storage),$(field host_name)" \
        "2,ready,tpm,$HUBKEY_HUB_HOST"
    ctl list
    has "list for people" "$out" "SLOT  STATE  STORAGE  HOST NAME"
    ok "without colours in a pipe" test "${out#*$'\e'}" = "$out"
    ctl_as hubkey-out show 1
    has "anybody may see who a device is" "$out" "second"
    ctl --json show 1
    is "show --json" "$(field device_id),$(field generation),$(field can_undo),$(field max_ttl)" "second,1,false,86400"
    ctl show 9
    refused 1 "empty" "an empty slot"
    ctl status --json
    is "status --json" "$(field tpm_state),$(field slots),$(field slots_ready)" "ready,3,3"
    ok "counts what was done" test "$(field statistics.tpm_operations)" -gt 0
    ctl status
    has "status for people" "$out" "TPM:"
}

clearing() {
    ctl clear 1
    refused 2 "--yes" "clear without a terminal"
    ctl_as hubkey-in clear 1 --yes
    refused 3 "hubkey-in" "clear by somebody else"
    out=$(script -qec "hubkeyctl clear 1" /dev/null 2>&1 <<<n)
    is "no on a terminal is exit 1" $? 1
    has "and it had said whose key" "$out" "second"
    ctl show 1 --json
    is "and the key is still there" "$(field state)" ready
    out=$(script -qec "hubkeyctl clear 1" /dev/null 2>&1 <<<y)
    is "yes on a terminal is exit 0" $? 0
    ctl show 1
    refused 1 empty "the slot that was cleared"
    ctl clear 1 --yes
    is "there is nothing to clear twice" "$code" 1
    ctl clear 2 --yes --json
    is "clear --yes --json" "$code:$(field slot):$(field state)" 0:2:empty
}

tokens() {
    local now
    now=$(date +%s)
    ctl_as hubkey-in token 0 --ttl 600
    is "a token for a member of group hubkey" "$code" 0
    ok "is one line and nothing else" grep -Eqx 'SharedAccessSignature sr=[^&]+&sig=[^&]+&se=[0-9]+' <<<"$out"
    is "stderr is empty" "$err" ""
    ctl token 0 --ttl 600 --scope messages/events --json
    ok "expires is in seconds" test "$(field expires)" -ge $((now + 600)) -a "$(field expires)" -le $((now + 640))
    has "the scope is in it" "$(field token)" "%2Fmessages%2Fevents&"
    ctl_as hubkey-out token 0
    refused 3 "hubkey-out" "a token for nobody"
    ctl token 0 --ttl 86401
    refused 1 86400 "a lifetime above the limit"
    ctl token 0 --scope a//b
    refused 1 scope "a scope that is none"
    ctl token 5
    refused 1 "slot 5" "a token of an empty slot"
}

sending() {
    admin -X DELETE "$HUBKEY_HUB_ADMIN/messages"
    ctl_with $'one\ntwo\n\nlast' send 0 --ack --property a=1 -p b=2 --content-type application/json --encoding utf-8
    is "send is exit 0 when all arrived" "$code" 0
    is "a line each, also the empty and the last one" "$(bodies "$HUBKEY_DEVICE_ID")" $'one\ntwo\n\nlast'
    is "--ack prints them" "$(cut -d' ' -f1 <<<"$out" | paste -sd' ')" "1 2 3 4"
    is "and their ids are the hub's" "$(cut -d' ' -f2 <<<"$out")" "$(admin "$HUBKEY_HUB_ADMIN/messages" |
        /usr/bin/python3 -c 'import json, sys
for m in json.load(sys.stdin)["messages"]: print(m["messageId"])')"
    has "properties arrive" "$(admin "$HUBKEY_HUB_ADMIN/messages" | tr -d ' ')" '"b":"2"'
    ctl_with $'x\n' send 0 --json --ack
    has "--json: the acks" "$(head -n 1 <<<"$out")" '{"seq":5,"id":"'
    is "--json: and the end" "$(field accepted),$(field delivered),$(field waiting),$(field dead),$(field refused)" \
        "1,1,0,0,0"

    admin -X DELETE "$HUBKEY_HUB_ADMIN/messages"
    out=$(seq 5000 | hubkeyctl send 0 --wait 60 2>&1)
    is "5000 lines at once" $? 0
    is "arrive in order" "$(bodies "$HUBKEY_DEVICE_ID" | md5sum)" "$(seq 5000 | md5sum)"
}

sending_what_is_wrong() {
    admin -X DELETE "$HUBKEY_HUB_ADMIN/messages"
    out=$( (echo a && head -c 300000 /dev/zero | tr '\0' x && printf '\nb\n') | hubkeyctl send 0 2>"$tmp/err")
    is "a line that is too long is exit 1" $? 1
    has "is told by its number" "$(cat "$tmp/err")" "line 2 "
    is "and the others arrive" "$(bodies "$HUBKEY_DEVICE_ID")" $'a\nb'
    ctl_with x send 0 --property novalue
    refused 2 NAME=VALUE "a property without a value"
    ctl_with x send 0 --property 'na me=x'
    refused 2 name "a property the hub would not take"
    ctl_with x send 0 --queue /proc/none/queue
    is "a queue that cannot be made is exit 1" "$code" 1
    ctl_with '' send 0
    is "no line at all is exit 0" "$code" 0
    is "none of it is in the queue" "$(hubkeyctl queue status 0 --json | grep -o '"waiting":[0-9]*')" '"waiting":0'
}

# A message that the hub refuses for good, alone: it is kept aside, and the one behind it arrives.
dead_letter() {
    local dead
    admin -X DELETE "$HUBKEY_HUB_ADMIN/messages"
    has "the hub refuses the batch, then its first half" \
        "$(admin -d '{"kind":"status","code":413,"count":2}' "$HUBKEY_HUB_ADMIN/faults")" id
    ctl_with $'bad\ngood\n' send 0 --json --wait 60
    is "a dead letter is exit 1" "$code" 1
    is "and counted" "$(field accepted),$(field delivered),$(field waiting),$(field dead)" 2,1,0,1
    has "and told" "$err" "1 line"
    is "the other line arrives" "$(bodies "$HUBKEY_DEVICE_ID")" good
    dead=$(hubkeyctl queue status 0 --json | grep -o '"dead":[0-9]*')
    is "it is kept" "$dead" '"dead":1'
    ctl queue drop 0
    is "drop means those that wait" "$(hubkeyctl queue status 0 --json | grep -o '"dead":[0-9]*')" "$dead"
    ctl queue drop 0 --dead
    is "drop --dead means it" "$(hubkeyctl queue status 0 --json | grep -o '"dead":[0-9]*')" '"dead":0'
}

# A queue goes with the device whose lines it took, until somebody says otherwise.
another_device() {
    local file=$tmp/other.queue
    admin -d "{\"deviceId\":\"second\",\"primaryKey\":\"$key\"}" "$HUBKEY_HUB_ADMIN/devices" >/dev/null
    ctl provision 1 --connection-string-file "$tmp/string"
    ctl_with $'for slot 0\n' send 0 --queue-only --queue "$file"
    ctl queue rebind 0 --queue "$file"
    is "rebind to slot 0" "$code" 0
    ctl queue flush 1 --queue "$file" --wait 2
    is "another slot does not send it" "$code" 5
    is "nothing came" "$(bodies second)" ""
    ctl queue rebind 1 --queue "$file"
    has "rebind says to whom" "$out" "second at $HUBKEY_HUB_HOST"
    ctl queue flush 1 --queue "$file" --wait 30
    is "then it does" "$code:$(bodies second)" "0:for slot 0"
    ctl clear 1 --yes
    is "clear afterwards" "$code" 0
}

# Nothing is lost while the hub is away, and the words say how to go on.
hub_away() {
    local fault
    admin -X DELETE "$HUBKEY_HUB_ADMIN/messages"
    fault=$(admin -d '{"kind":"refuse-connect"}' "$HUBKEY_HUB_ADMIN/faults")
    has "the hub is cut off" "$fault" id
    ctl_with $'1\n2\n' send 0 --wait 1
    is "lines that wait are exit 5" "$code" 5
    has "and the command to send them is named" "$err" "hubkeyctl queue flush 0"
    ctl_with $'3\n' send 0 --queue-only
    is "--queue-only does not mind" "$code" 0
    ctl queue flush 0 --wait 1
    refused 5 "3 messages still wait" "a flush in vain"
    ctl queue status 0 --json
    is "the queue has them" "$(field waiting)" 3
    is "and the sum is right" "$(field accepted)" \
        "$(($(field delivered) + $(field waiting) + $(field dead) + $(field dropped) + $(field removed)))"
    is "and it says whose" "$(field host_name),$(field device_id)" "$HUBKEY_HUB_HOST,$HUBKEY_DEVICE_ID"
    admin -X DELETE "$HUBKEY_HUB_ADMIN/faults"
    ctl queue flush --queue "$STATE_DIRECTORY/slot-0.queue"
    is "flush sends them, the slot found by the queue's owner" "$code" 0
    is "in order" "$(bodies "$HUBKEY_DEVICE_ID")" $'1\n2\n3'
}

queues() {
    local file=$tmp/q.queue holder fifo=$tmp/fifo
    ctl queue status --queue "$tmp/none.queue"
    is "a queue that is not there is exit 1" "$code" 1
    ctl_with $'a\nb\n' send 0 --queue-only --queue "$file"
    ctl queue drop --queue "$file" --json
    is "drop" "$code:$(field removed)" 0:2
    ctl queue status --queue "$file" --json
    is "is counted as removed" "$(field waiting),$(field removed)" 0,2
    ctl_with a send 0 --queue-only --queue "$file"
    out=$(script -qec "hubkeyctl queue drop --queue $file" /dev/null 2>&1 <<<n)
    is "on a terminal it asks" $? 1

    # Somebody sends from it: a sender whose input does not end.
    mkfifo "$fifo"
    hubkeyctl send 0 --queue "$file" <"$fifo" >/dev/null 2>"$tmp/holder" &
    holder=$!
    exec 3>"$fifo"
    is "a sender holds the queue" "$(await 20 holds "$file" "$holder" && echo yes)" yes
    ctl queue drop --queue "$file"
    refused 6 "" "drop beside a sender"
    ctl queue rebind 0 --queue "$file"
    refused 6 "" "rebind beside a sender"
    ctl queue flush 0 --queue "$file" --wait 20
    is "flush beside a sender waits for it" "$code" 0
    printf 'whole\nhalf' >&3
    is "a line is taken as soon as it is there" "$(await 20 delivered "$file" 2 && echo yes)" yes
    kill -TERM "$holder"
    wait "$holder"
    is "SIGTERM ends it with what was read delivered" $? 0
    has "and tells of the half line" "$(cat "$tmp/holder")" "unfinished line"
    exec 3>&-

    ctl queue rebind --queue "$file" --json
    is "rebind to nobody" "$code:$(field device_id)" 0:
    ctl queue rebind 0 --queue "$file" --json
    is "rebind to the slot's device" "$code:$(field device_id)" "0:$HUBKEY_DEVICE_ID"
    ctl queue rebind 8 --queue "$file"
    is "not to an empty slot" "$code" 1
}

holds() {
    [ "$(hubkeyctl queue status --queue "$1" --json | grep -o '"holder_pid":[0-9]*')" = "\"holder_pid\":$2" ]
}

delivered() {
    [ "$(hubkeyctl queue status --queue "$1" --json | grep -o '"delivered":[0-9]*')" = "\"delivered\":$2" ]
}

servers_away() {
    ctl --socket /nonexistent/socket status
    refused 5 /nonexistent/socket "a socket that is not there"
    out=$(HUBKEY_SOCKET="" DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent hubkeyctl list 2>/dev/null)
    is "no bus is exit 5" $? 5
    out=$(hubkeyctl list 2>/dev/null >/dev/full)
    is "a full disk under stdout is exit 1" $? 1

    kill -9 "$(cat "$HUBKEY_SANDBOX/swtpm.pid")"
    await 30 fails_with 4 token 0 --ttl 4321
    is "no TPM is exit 4" "$code" 4
    ctl status
    is "but status still tells" "$code" 0
    "$HUBKEY_SRCDIR/run" sandbox-restart swtpm 2>/dev/null
    kill -9 "$(cat "$HUBKEY_SANDBOX/hubkeyd.pid")"
    await 30 fails_with 5 token 0
    is "no hubkeyd is exit 5" "$code" 5
    ctl list
    refused 5 "hubkeyd" "list without hubkeyd"
    "$HUBKEY_SRCDIR/run" sandbox-restart hubkeyd 2>/dev/null
    await 30 fails_with 0 token 0
    is "and all is well afterwards" "$code" 0
}

fails_with() {
    local wanted=$1
    shift
    ctl "$@"
    [ "$code" = "$wanted" ]
}

completes() {
    # shellcheck disable=SC2016
    out=$(bash -c '
        . "$HUBKEY_SRCDIR/tools/hubkeyctl.bash"
        complete_words() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) && _hubkeyctl && echo "${COMPREPLY[*]}"; }
        complete_words hubkeyctl pro
        complete_words hubkeyctl --json queue st
        complete_words hubkeyctl send 0 --a
        complete_words hubkeyctl show ""')
    is "bash completes commands, verbs, options and slots" "$out" $'provision\nstatus\n--ack\n0'
}

usage_errors
help_and_manual
keys_that_are_wrong
slots
clearing
tokens
completes
sending
sending_what_is_wrong
dead_letter
another_device
hub_away
queues
servers_away
done_testing
