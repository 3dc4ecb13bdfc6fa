# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The TPM goes away under a running hubkeyd and comes back.

before=$(daemon MainPID)
ok "tokens flow" gives_a_token
take_tpm
ok "the machine has no TPM any more" test ! -e /dev/tpmrm0
exits 4 "a caller reads what is missing" hubkeyctl token 0 --scope gone
give_tpm
ok "the TPM comes back" await "$patience" test -c /dev/tpmrm0
ok "tokens flow again" await "$patience" gives_a_token 0
is "from the same process" "$(daemon MainPID)" "$before"
