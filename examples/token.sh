#!/bin/sh
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# Telemetry from a shell: a token by busctl, then one POST by curl. The token goes to curl on standard input, because
# everybody can read what stands on a command line.
#
# Usage: token.sh [SLOT] < MESSAGE         needs busctl and curl, and membership of group hubkey
set -eu

slot=${1:-0}
object=/org/hubkey/slot/$slot
# ask VERB ARGUMENT...: what stands in quotes in busctl's answer; no host, device ID or token has a quote inside. busctl
# says itself why there is no answer, and set -e ends us then.
ask() {
    verb=$1
    shift
    answer=$(busctl "$verb" org.hubkey "$object" org.hubkey.Slot1 "$@")
    answer=${answer#*\"}
    printf %s "${answer%%\"*}"
}

host=$(ask get-property HostName)
device=$(ask get-property DeviceId)
token=$(ask call GetToken su messages/events 600)

# Device IDs may hold % and the like, which mean something in a URL: encode all but letters, digits and - . _ ~
encoded=$(printf %s "$device" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g')

# curl reads the message from a file here, since its standard input is the configuration with the token.
message=$(mktemp)
trap 'rm -f "$message"' EXIT
cat >"$message"

curl --config - <<END
url = "https://$host/devices/$encoded/messages/events?api-version=2021-04-12"
header = "Authorization: $token"
header = "Content-Type: application/octet-stream"
data-binary = "@$message"
fail-with-body
silent
show-error
max-time = 30
${HUBKEY_CONNECT_TO:+connect-to = \"$HUBKEY_CONNECT_TO\"}
${HUBKEY_CA_FILE:+cacert = \"$HUBKEY_CA_FILE\"}
END
echo "sent for $device" >&2
