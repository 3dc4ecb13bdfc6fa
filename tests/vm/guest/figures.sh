# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# What the kernel's resource manager costs: figures to read, none to reach (the processor is emulated). /dev/tpm0, or
# whatever number it has by now, is the TPM without it. On a busy host read the medians as orders of magnitude.

# figure ROW COMMAND… : the command prints "ROW MEDIAN P99 us".
figure() {
    local row=$1 name median p99 unit
    shift
    # shellcheck disable=SC2034
    if read -r name median p99 unit < <("$@" 2>&1) && [[ $median =~ ^[0-9.]+$ ]]; then
        awk -v row="$row" -v m="$median" -v p="$p99" \
            'BEGIN { printf "# %-44s median %9.0f us, p99 %9.0f us, %6.0f/s\n", row, m, p, 1e6 / m }'
    else
        echo "# $row: not measured ($name $median $p99 $unit)"
    fi
}

raw() {
    TPM2TOOLS_TCTI=device:$1 HUBKEY_BENCH_SAMPLES=200 "$programs/bench-tpm" "$2"
}

token() {
    HUBKEY_BENCH_SAMPLES=200 "$programs/bench-bus" "$1"
}

for device in /dev/tpm[0-9] /dev/tpmrm0; do
    figure "TPM2_HMAC, persistent key, $device" raw "$device" raw-hmac
    figure "TPM2_Load, HMAC, FlushContext, $device" raw "$device" raw-load-hmac
done
figure "token, slot 0, never asked for before" token token-fresh
figure "token, slot 0, shared" token token-shared
