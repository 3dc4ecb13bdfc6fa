# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The machine's administrator lets a user provision, by a rule of polkit; nobody else may.

rules=/etc/polkit-1/rules.d/10-hubkey-vm.rules

if [ -e "$root/usr/share/polkit-1/actions/org.hubkey.policy" ]; then
    exits 3 "without a rule a user may not provision" provision_as hubkey-in 1
    mkdir -p "${rules%/*}"
    cat >$rules <<'END_OF_RULES'
polkit.addRule(function(action, subject) {
    if (action.id == "org.hubkey.provision" && subject.user == "hubkey-in")
        return polkit.Result.YES;
});
END_OF_RULES
    chmod 644 $rules
    systemctl restart polkit
    exits 0 "with one it may" provision_as hubkey-in 1
    ok "and the slot gives tokens" gives_a_token 1
    exits 3 "a rule for one is none for another" provision_as hubkey-out 2
    exits 3 "and one for provisioning is none for clearing" as hubkey-in hubkeyctl clear 1 --yes
    exits 0 "root clears it" hubkeyctl clear 1 --yes
else
    skip "polkit" "this version has no actions"
fi
