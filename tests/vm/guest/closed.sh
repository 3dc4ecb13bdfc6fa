# shellcheck shell=bash disable=SC2154  # what lib.sh and the parts before give
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# What a hubkeyd that somebody has taken over could do: a probe stands in its place, in a unit that is the same but for
# its name. The same probe as the same user outside shows that it is the unit that keeps the doors closed.

unit=/run/systemd/system/hubkey-probe.service
folders=(/srv/hubkey-probe /etc/hubkey/hubkey-probe /run/hubkey-everybody /usr/lib/hubkey-probe)

make_unit() {
    # A bus name is one unit's only, and the probe's directories have names of their own.
    sed -e '/^BusName=/d' -e 's/^Type=.*/Type=oneshot/' \
        -e '/^NoExecPaths=/s,/\(run\|lib\)/hubkey\>,&-probe,g' /usr/lib/systemd/system/hubkeyd.service >$unit
    mkdir -p $unit.d
    cat >$unit.d/probe.conf <<END_OF_UNIT
[Service]
Restart=no
StateDirectory=
StateDirectory=hubkey-probe
RuntimeDirectory=
RuntimeDirectory=hubkey-probe
BindReadOnlyPaths=
BindReadOnlyPaths=/usr/lib -/usr/lib64 $programs/hubkey-probe:/usr/sbin/hubkeyd
StandardOutput=truncate:/run/hubkey-inside
END_OF_UNIT
    systemctl daemon-reload
}

# What everybody could use, were it not for the unit.
open_doors() {
    mkdir -m 1777 "${folders[@]}"
    mknod -m 666 /dev/hubkey-probe c 4 65
    install -d -m 700 -o hubkey -g hubkey /var/lib/hubkey-outside
}

run_outside() {
    STATE_DIRECTORY=/var/lib/hubkey-outside RUNTIME_DIRECTORY=/var/lib/hubkey-outside \
        setpriv --reuid hubkey --regid hubkey --init-groups "$programs/hubkey-probe"
}

# answer WHERE ATTEMPT
answer() {
    sed -n "s,^$2  *,,p" "/run/hubkey-$1"
}

make_unit
open_doors
run_outside >/run/hubkey-outside
exits 0 "the probe runs in hubkeyd's place" systemctl start hubkey-probe

# Attempts, and what the kernel says inside. Outside, all of them work.
while read -r attempt inside; do
    is "outside: $attempt" "$(answer outside "$attempt")" works
    is "inside: $attempt" "$(answer inside "$attempt")" "$inside"
done <<'END_OF_TABLE'
socket-unix works
socket-inet EAFNOSUPPORT
socket-inet-datagram EAFNOSUPPORT
socket-inet6 EAFNOSUPPORT
socket-netlink EAFNOSUPPORT
create-state works
create-/srv/hubkey-probe EROFS
create-/etc/hubkey/hubkey-probe EROFS
create-/run/hubkey-everybody EROFS
create-/usr/lib/hubkey-probe EROFS
create-/dev/shm EACCES
create-/tmp EACCES
create-/var/tmp EACCES
read-home EACCES
read-other-process ENOENT
read-kernel ENOENT
device-null works
device-tpm works
device-other EPERM
run-program EACCES
run-own-file EACCES
run-runtime-file EACCES
run-memory EPERM
writable-code EPERM
user-namespace EPERM
personality EPERM
trace EPERM
setuid-file EPERM
END_OF_TABLE

is "nothing that can be written can be run" "$(answer inside open-mount)" ""
ok "outside, that is not so" test -n "$(answer outside open-mount)"
ok "the network is another one" test "$(answer inside network-namespace)" != "$(answer outside network-namespace)"
for set in CapBnd CapEff; do is "no capability in $set" "$(answer inside $set)" 0000000000000000; done
is "no way to more rights" "$(answer inside NoNewPrivs)" 1
rm -rf $unit $unit.d "${folders[@]}" /dev/hubkey-probe
systemctl daemon-reload
