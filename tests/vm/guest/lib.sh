# shellcheck shell=bash disable=SC2034  # the parts use it
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# What the cases in the machine share.

: "${root:=/hubkey/root}" "${programs:=/hubkey/bin}"
host=vm.azure-devices.net
key=aHVia2V5LXZtLWFjY2VwdGFuY2Uta2V5LTAxMjM0NTY=
# A slow machine: an emulated processor, and a host that has other things to do.
patience=60

# as USER COMMAND… : with the user's groups, as a login would give them.
as() {
    setpriv --reuid "$1" --regid "$1" --init-groups --no-new-privs -- "${@:2}"
}

# exits CODE TEXT COMMAND… : the case passes when the command ends with CODE; what it said is in $said.
exits() {
    local wanted=$1 text=$2 code=0
    shift 2
    said=$("$@" 2>&1 </dev/null) || code=$?
    is "$text" "$code" "$wanted"
    [ "$code" = "$wanted" ] || diagnose <<<"$said"
}

daemon() {
    systemctl show --value --property "$1" hubkeyd
}

property() {
    busctl --json=short get-property org.hubkey "$1" "$2" "$3" 2>/dev/null | sed 's/.*"data":"\{0,1\}\([^"}]*\).*/\1/'
}

tpm_state_is() {
    [ "$(property /org/hubkey org.hubkey.Manager1 TpmState)" = "$1" ]
}

provisions() {
    provision_as root 0 >/dev/null 2>&1
}

# take_tpm, give_tpm : the kernel's driver lets go of the TPM, as if it were not there, and takes it again.
driver=/sys/bus/platform/drivers/tpm_tis

take_tpm() {
    local path
    path=$(readlink -f /sys/class/tpm/tpm*/device)
    tpm_device=${path##*/}
    echo "$tpm_device" >$driver/unbind
}

give_tpm() {
    echo "$tpm_device" >$driver/bind
}

generation() {
    property /org/hubkey/slot/0 org.hubkey.Slot1 Generation
}

# provision_as USER SLOT
provision_as() {
    printf 'HostName=%s;DeviceId=vm-%s;SharedAccessKey=%s\n' "$host" "$2" "$key" |
        as "$1" hubkeyctl provision "$2" --connection-string-file -
}

gives_a_token() {
    [[ $(hubkeyctl token "${1:-0}" 2>/dev/null) == "SharedAccessSignature sr=$host"* ]]
}

# has_command WORD : not every version of hubkeyctl has all of them.
has_command() {
    hubkeyctl --help | grep -qw -- "$1"
}
