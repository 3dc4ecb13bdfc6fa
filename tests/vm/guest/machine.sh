# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# What the other cases stand on: the machine is what they take it for.

belongs_to_tss() {
    [ "$(stat -c '%U:%G %a' /dev/tpmrm0)" = "tss:tss 660" ]
}

is "systemd runs the machine" "$(cat /proc/1/comm)" systemd
ok "the kernel found a TPM" await "$patience" test -c /dev/tpmrm0
ok "its device belongs to group tss" await "$patience" belongs_to_tss

# A TPM that comes back gets a new number from the kernel while anything still knows of the old one.
mkdir -p /run/udev/rules.d
cat >/run/udev/rules.d/99-hubkey-vm.rules <<'END_OF_RULES'
KERNEL=="tpmrm[1-9]", SYMLINK+="tpmrm0"
END_OF_RULES
udevadm control --reload

# Gone until absent.sh brings it back.
take_tpm
ok "without its driver there is none" test ! -e /dev/tpmrm0
