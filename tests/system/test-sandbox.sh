#!/bin/bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# What ./run sandbox promises to whoever works in one.

set -u
. "$HUBKEY_SRCDIR/tests/lib/tap.sh"
[ "$(id -u)" -eq 0 ] || skip_all "needs root"

run=$HUBKEY_SRCDIR/run
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT
export run

# as USER COMMAND… : as one of the test users, with what the kernel knows of him, inside a sandbox.
as() {
    local user=$1
    shift
    setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
}
export -f as

get_token() {
    as "$1" busctl call org.hubkey /org/hubkey/slot/0 org.hubkey.Slot1 GetToken su "" 600
}
export -f get_token

passes_streams_and_exit_code() {
    local out
    out=$(printf 'in put' | "$run" sandbox sh -c 'cat; echo oops >&2; exit 7' 2>"$tmp/stderr")
    is "the exit code is the command's" $? 7
    is "stdin and stdout are the command's alone" "$out" "in put"
    has "stderr is shared" "$(cat "$tmp/stderr")" oops
    "$run" sandbox sh -c 'kill -9 $$' 2>/dev/null
    is "a command that was killed exits as in a shell" $? 137
    "$run" sandbox /nonexistent/program 2>/dev/null
    is "a command that does not exist is 127" $? 127
}

tells_the_environment() {
    local out
    # shellcheck disable=SC2016
    out=$("$run" sandbox sh -c '
        for name in DBUS_SYSTEM_BUS_ADDRESS TPM2TOOLS_TCTI HUBKEY_HUB_HOST HUBKEY_CONNECT_TO HUBKEY_CA_FILE \
            HUBKEY_HUB_ADMIN HUBKEY_DEVICE_ID HUBKEY_DEVICE_KEY HUBKEY_SANDBOX STATE_DIRECTORY; do
            eval "[ -n \"\${$name-}\" ]" || echo "$name"
        done
        [ "${HUBKEY_SOCKET-unset}" != unset ] || echo HUBKEY_SOCKET
        for file in hubkeyd.conf hubkeyd.conf.d state run client hubkeyd.log swtpm.log hub.log bus.log \
            hubkeyd.pid swtpm.pid hub.pid; do
            [ -e "$HUBKEY_SANDBOX/$file" ] || echo "$file"
        done
        case $(command -v hubkeyctl) in "$HUBKEY_SANDBOX"/*) ;; *) echo hubkeyctl ;; esac
        case $HUBKEY_CA_FILE in "$HUBKEY_SANDBOX"/*) ;; *) echo "$HUBKEY_CA_FILE" ;; esac
        case $HUBKEY_HUB_HOST in *.azure-devices.net) ;; *) echo "$HUBKEY_HUB_HOST" ;; esac
        echo looked')
    is "every variable, file and program is there" "$out" looked
}

lets_the_right_users_in() {
    local out
    # shellcheck disable=SC2016
    out=$("$run" sandbox bash -c '
        for user in hubkey-in hubkey-out; do
            as $user hubkeyctl --version >/dev/null || echo "$user cannot run hubkeyctl"
            as $user test -r "$HUBKEY_CA_FILE" || echo "$user cannot read the CA"
            as $user tpm2_getrandom 4 >/dev/null 2>&1 && echo "$user reaches the TPM"
        done
        as hubkey tpm2_getrandom 4 >/dev/null || echo "hubkey does not reach the TPM"
        [ "$(stat -c %U "/proc/$(cat "$HUBKEY_SANDBOX/hubkeyd.pid")")" = hubkey ] || echo "hubkeyd is not hubkey"
        get_token hubkey-in | grep -q SharedAccessSignature || echo "hubkey-in gets no token"
        get_token hubkey-out >/dev/null 2>&1 && echo "hubkey-out gets a token"
        echo looked' 2>&1)
    is "the test users reach what is theirs and nothing else" "$out" looked
}

restarts_each_server() {
    local server
    # shellcheck disable=SC2016
    for server in hubkeyd swtpm hub; do
        "$run" sandbox bash -euc '
            server=$1 file=$HUBKEY_SANDBOX/$1.pid
            was=$(cat "$file") ready=$(cat "$HUBKEY_SANDBOX/hub.ready")
            kill -9 "$was"
            "$run" sandbox-restart "$server"
            now=$(cat "$file")
            [ "$now" != "$was" ] && [ -d "/proc/$now" ]
            [ "$(cat "$HUBKEY_SANDBOX/hub.ready")" = "$ready" ]
            "$run" sandbox-restart "$server"    # also one that runs
            [ "$(cat "$file")" != "$now" ] && [ ! -d "/proc/$now" ]
            get_token hubkey-in | grep -q SharedAccessSignature' - "$server" 2>"$tmp/stderr"
        is "$server starts again, and everything works as before" $? 0
        diagnose <"$tmp/stderr"
    done
    "$run" sandbox-restart dbus 2>/dev/null
    is "an unknown server is a usage error" $? 2
    has "outside of a sandbox it says so" "$(env -u HUBKEY_SANDBOX "$run" sandbox-restart hub 2>&1)" "inside"
}

# A command that says which processes there are, and then waits for what never comes.
# shellcheck disable=SC2016
linger='cat "$HUBKEY_SANDBOX"/*.pid >"$1.pids"
    tail -f /dev/null & echo "$!" >>"$1.pids"
    echo "$HUBKEY_SANDBOX" >"$1.new" && mv "$1.new" "$1"
    exec tail -f /dev/null'

# start_lingering NAME : a sandbox in the background; sets $supervisor, $box and $pids.
start_lingering() {
    "$run" sandbox bash -c "$linger" - "$tmp/$1" 2>/dev/null </dev/null &
    supervisor=$!
    await 120 test -e "$tmp/$1" || { echo "Bail out! no sandbox starts" && exit 1; }
    box=$(cat "$tmp/$1")
    mapfile -t pids <"$tmp/$1.pids"
}

all_gone() {
    local pid
    for pid in "$@"; do gone "$pid" || return; done
}

ends_when_told() {
    local signal number
    for signal in HUP:129 INT:130 TERM:143; do
        number=${signal#*:} signal=${signal%:*}
        start_lingering "$signal"
        kill -"$signal" "$supervisor"
        wait "$supervisor"
        is "SIG$signal ends it with $number" $? "$number"
        ok "SIG$signal leaves no process" all_gone "${pids[@]}"
        ok "SIG$signal leaves no folder" test ! -e "$box"
    done
}

leaves_nothing_when_killed() {
    start_lingering killed
    kill -9 "$supervisor"
    wait "$supervisor" 2>/dev/null
    # The last one is the command's own background process, which is nobody's to kill any more.
    kill -9 "${pids[-1]}"
    ok "SIGKILL takes the servers along" await 10 all_gone "${pids[@]}"
    ok "SIGKILL leaves the folder" test -d "$box"
    "$run" sandbox true
    ok "and the next sandbox removes it" test ! -e "$box"
}

two_at_once() {
    local first first_supervisor
    start_lingering one && first=$box first_supervisor=$supervisor
    # shellcheck disable=SC2016
    is "two sandboxes stand side by side" \
        "$("$run" sandbox bash -c '[ "$HUBKEY_SANDBOX" != "$1" ] && [ -S "$1/control" ] &&
            [ -n "$(get_token hubkey-in)" ] && HUBKEY_SANDBOX=$1 "$run" sandbox-restart hubkeyd && echo both' \
            - "$first" 2>"$tmp/stderr")" both
    diagnose <"$tmp/stderr"
    kill "$first_supervisor"
    wait "$first_supervisor"
}

leaves_no_orphans() {
    local pid
    # shellcheck disable=SC2016
    pid=$("$run" sandbox bash -c 'tail -f /dev/null >/dev/null 2>&1 & echo $!')
    ok "a command may leave something in the background" test -n "$pid"
    ok "but it ends with the sandbox" gone "$pid"
}

notices_tmpfs() {
    local text="a queue does not stand on tmpfs" out
    case $HUBKEY_BUILDDIR:$HUBKEY_SRCDIR in
    *:/tmp/* | /tmp/*) skip "$text" "this tree lies in /tmp" && return ;;
    esac
    unshare -m true 2>/dev/null || { skip "$text" "no mount namespaces here" && return; }
    # shellcheck disable=SC2016
    out=$(unshare -m sh -c 'mount -t tmpfs tmpfs /tmp && exec "$run" sandbox sh -c "
        stat -fL -c %T \$STATE_DIRECTORY \$HUBKEY_SANDBOX/state; readlink \$STATE_DIRECTORY"' 2>"$tmp/stderr")
    has "$text" "$(cat "$tmp/stderr")" "is tmpfs"
    ok "but on a disk" test "$(grep -c tmpfs <<<"$out")" = 0
    ok "which is cleaned up as well" test ! -e "$(tail -n 1 <<<"$out")"
}

passes_streams_and_exit_code
tells_the_environment
lets_the_right_users_in
restarts_each_server
ends_when_told
leaves_nothing_when_killed
two_at_once
leaves_no_orphans
notices_tmpfs
done_testing
