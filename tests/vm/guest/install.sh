# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# Installs what `make install` installs, by the steps of the README, on a machine that knows nothing of hubkey.

forget_hubkey() {
    local user
    for user in hubkey-in hubkey-out hubkey; do
        if getent passwd $user; then userdel $user; fi
        if getent group $user; then groupdel $user; fi
    done >/dev/null
    rm -rf /var/lib/hubkey /etc/hubkey
}

# Lines of FOLDER/PAGE.
documentation() {
    daemon Documentation | grep -o 'man:[^"]*' | sed 's,man:\(.*\)(\(.\)),man\2/\1.\2,'
}

forget_hubkey
# Folders that are there keep their modes.
tar -C "$root" -c . | tar -C / -x --no-overwrite-dir --no-same-owner
exits 0 "the user is made from the sysusers file" systemd-sysusers
is "hubkeyd's user is in no groups but its own and that of the TPM" \
    "$(id -nG hubkey | tr ' ' '\n' | sort | xargs)" "hubkey tss"
is "nobody logs in as hubkeyd" "$(getent passwd hubkey | cut -d: -f7)" /usr/sbin/nologin
exits 0 "the directories are made from the tmpfiles file" systemd-tmpfiles --create hubkey.tmpfiles.conf
useradd --system --user-group --no-create-home --groups hubkey hubkey-in
useradd --system --user-group --no-create-home hubkey-out
systemctl daemon-reload
# The bus may not run yet, for want of anybody who uses it.
systemctl try-reload-or-restart dbus
exits 0 "systemd understands the unit" systemd-analyze verify --man=no hubkeyd.service
is "and has nothing to say about it" "$said" ""
ok "the unit names its pages" test -n "$(documentation)"
for page in $(documentation); do
    ok "$page is installed" test -e "$root/usr/share/man/$page"
done
