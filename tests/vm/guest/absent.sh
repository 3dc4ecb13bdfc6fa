# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The TPM comes later than hubkeyd: its unit must not have closed the door before there was anything behind it.

ok "hubkeyd runs without a TPM" await "$patience" tpm_state_is absent
exits 4 "and a caller reads what is missing" provision_as root 0
has "by its name" "$said" /dev/tpmrm0
before=$(daemon MainPID)
give_tpm
ok "the TPM appears" await "$patience" test -c /dev/tpmrm0
ok "hubkeyd finds it: a key goes into slot 0" await "$patience" provisions
ok "TpmState is ready" tpm_state_is ready
is "without being started again" "$(daemon MainPID)" "$before"
