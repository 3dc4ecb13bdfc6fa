# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# What hubkey tells of itself, in a sandbox: its records of decisions, its metrics, and what the doctor finds.

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/lib/tap.sh
. "$source_dir/tests/lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
[ -n "${HUBKEY_SANDBOX:-}" ] || exec "$source_dir/run" sandbox bash "${BASH_SOURCE[0]}"

log=$HUBKEY_SANDBOX/hubkeyd.log
work=$(mktemp -d /tmp/hk-tell.XXXXXX)
trap 'rm -rf "$work"' EXIT

as() { setpriv --reuid "$1" --regid "$1" --init-groups -- "${@:2}"; }
records() { hubkeyctl audit --json --file "$log" "$@"; }

# ---- audit ----

token=$(as hubkey-in hubkeyctl token 0 --ttl 77)
id=$(printf %s "$token" | sha256sum | cut -c1-16)
as hubkey-out hubkeyctl token 0 2>/dev/null
has "a token that was given is recorded by its identifier" "$(records --user hubkey-in)" "\"token_id\":\"$id\""
has "with what was asked" "$(records --user hubkey-in)" '"scope":"","ttl":77,"rule":"group-hubkey"'
has "a refusal is recorded with its rule" "$(records --user hubkey-out)" '"decision":"denied"'
is "one record a decision" "$(records --user hubkey-out | wc -l)" 1
is "slots are told apart" "$(records --slot 1 | wc -l)" 0
is "all of them lie before now" "$(records --since +1h | wc -l)" 0
is "and in the last hour" "$(records --since -1h | wc -l)" "$(records | wc -l)"
has "the table has a head" "$(hubkeyctl audit --file - <"$log" | head -1)" "TIME "
is "and no colours where there is no terminal" "$(hubkeyctl audit --file "$log" | grep -c $'\033')" 0
hubkeyctl audit --since soon --file "$log" 2>"$work/error"
is "a moment that is none is a usage error" $? 2
has "which says what moments are" "$(cat "$work/error")" '"2026-11-24 10:00"'

cat >"$work/journalctl" <<'END'
#!/bin/sh
printf '%s ' "$@" >&2
echo '{"__REALTIME_TIMESTAMP":"1800000000000000","HUBKEY_EVENT":"token","HUBKEY_DECISION":"denied","HUBKEY_UID":"0"}'
exit ${JOURNAL_FAILS:-0}
END
chmod 755 "$work/journalctl"
PATH=$work:$PATH hubkeyctl audit --json --since @1700000000 >"$work/out" 2>"$work/error"
is "the journal is read" "$(cat "$work/out")" '{"time":1800000000000,"event":"token","decision":"denied","uid":0}'
has "of hubkeyd's unit alone" "$(cat "$work/error")" "--unit=hubkeyd.service "
has "from the moment on" "$(cat "$work/error")" "--since=@1700000000 "
PATH=$work:$PATH JOURNAL_FAILS=1 hubkeyctl audit >/dev/null 2>&1
is "a journal that cannot be read is a failure" $? 1

for i in $(seq 70); do
    echo "as $i"
done >"$work/seq"
while read -r _; do
    as hubkey-out gdbus call --system -d org.hubkey -o /org/hubkey/slot/0 -m org.hubkey.Slot1.GetToken '' 0
done <"$work/seq" >/dev/null 2>&1
is "a user who is refused over and over does not fill the log" "$(records --user hubkey-out | wc -l)" 60

# One who may have tokens, and asks for them as fast as hubkeyd answers.
flood='
import os, sys
sys.path.insert(0, sys.argv[1] + "/tests/lib")
from rawbus import Connection, body
at, left = Connection(os.environ["HUBKEY_SOCKET"], "hubkey-in", is_bus=False), 3000
path, name, arguments = "/org/hubkey/slot/0", "org.hubkey.Slot1", body("su", "flood", 0)
while left:
    serials = [at.post(path, name, "GetToken", arguments) for _ in range(20)]
    for serial in serials:
        text = at.answer(serial).text()
        assert text.startswith("SharedAccessSignature "), text
    left -= 20
'
/usr/bin/python3 -c "$flood" "$source_dir"
is "3000 tokens are given in a row" $? 0
# Of one token, each second that it is given in may have so many records for themselves and one that counts the others.
# A token is given for a second, and may be answered in the next; so that is at most three seconds of the log.
allowed=$(sed -n 's/^#define AUDIT_ALLOWED_PER_SECOND \([0-9]*\) .*/\1/p' "$source_dir/daemon/audit-fold.h")
sum='
import collections, json, sys
rows = [row for row in map(json.loads, sys.stdin) if row.get("scope") == "flood"]
most = max(collections.Counter(row["token_id"] for row in rows).values(), default=0)
print(sum(row.get("count", 1) for row in rows), most <= 3 * (int(sys.argv[1]) + 1))
'
flooded() { records --user hubkey-in | /usr/bin/python3 -c "$sum" "$allowed"; }
all_told() { [ "$(flooded)" = "3000 True" ]; }
await 10 all_told
is "every one is in the log, and most of them together" "$(flooded)" "3000 True"
has "the table shows how many" "$(hubkeyctl audit --file "$log" --user hubkey-in)" " more token "

# ---- metrics ----

metrics=$HUBKEY_SANDBOX/run/hubkey.prom
printf '[hubkeyd]\nMetricsFile=%s\n' "$metrics" >"$HUBKEY_SANDBOX/hubkeyd.conf.d/metrics.conf"
kill -TERM "$(cat "$HUBKEY_SANDBOX/hubkeyd.pid")"
"$source_dir/run" sandbox-restart hubkeyd
ok "metrics are written" await 20 test -s "$metrics"
is "for everybody to read" "$(stat -c %a "$metrics")" 644
hubkeyctl token 0 >/dev/null
kill -TERM "$(cat "$HUBKEY_SANDBOX/hubkeyd.pid")" # writes them once more
"$source_dir/run" sandbox-restart hubkeyd
mv "$metrics" "$work/metrics" && ok "and again" await 30 test -s "$metrics"
# The text format, strictly: HELP, TYPE, then samples of that name, each once, and nothing else.
strict='
import re, sys
seen, samples, name, kind = set(), {}, None, None
for line in open(sys.argv[1], newline=""):
    assert line.endswith("\n"), line
    if match := re.fullmatch(r"# HELP ([a-z0-9_]+) [^\\\n]+\.\n", line):
        assert kind is None or name in {key.split("{")[0] for key in samples}, name
        name, kind = match[1], None
        assert name not in seen, name
        seen.add(name)
    elif match := re.fullmatch(r"# TYPE ([a-z0-9_]+) (counter|gauge)\n", line):
        assert match[1] == name and kind is None, line
        kind = match[2]
        assert (kind == "counter") == name.endswith("_total"), line
    else:
        match = re.fullmatch(r"(([a-z0-9_]+)(?:\{state=\"[a-z-]+\"\})?) ([0-9]+(?:\.[0-9]+)?)\n", line)
        assert match and match[2] == name and kind and match[1] not in samples, line
        samples[match[1]] = float(match[3])
states = [key for key in samples if key.startswith("hubkey_tpm_state{")]
assert len(states) == 7 and sum(samples[key] for key in states) == 1, states
for key in sys.argv[2:]:
    print(key, samples[key])
'
is "they are what Prometheus reads, and true" "$(/usr/bin/python3 -c "$strict" "$metrics" \
    'hubkey_tpm_state{state="ready"}' 'hubkey_slots{state="ready"}' hubkey_tokens_denied_total 2>&1)" \
    'hubkey_tpm_state{state="ready"} 1.0
hubkey_slots{state="ready"} 1.0
hubkey_tokens_denied_total 0.0'

printf '[hubkeyd]\nMetricsFile=/proc/none/hubkey.prom\n' >"$HUBKEY_SANDBOX/hubkeyd.conf.d/metrics.conf"
kill -TERM "$(cat "$HUBKEY_SANDBOX/hubkeyd.pid")"
"$source_dir/run" sandbox-restart hubkeyd
has "what cannot be written is said" "$(cat "$log")" "MetricsFile=/proc/none/hubkey.prom cannot be written"
gives_token() { hubkeyctl token 0 >/dev/null; }
ok "and disturbs nothing" gives_token
rm "$HUBKEY_SANDBOX/hubkeyd.conf.d/metrics.conf"

# ---- doctor ----

# hubkeyd --check-config reads /etc, so the sandbox's own is put in its place.
cat >"$work/hubkeyd" <<END
#!/bin/sh
exec $(command -v hubkeyd) --config $HUBKEY_SANDBOX/hubkeyd.conf "\$@"
END
chmod 755 "$work" "$work/hubkeyd"
doctor() { PATH=$work:$PATH hubkeyctl doctor --json "$@" >"$work/doctor"; }
found() { grep -q "\"check\":\"$1\",\"level\":\"$2\".*$3" "$work/doctor"; }

doctor --network
is "a healthy sandbox needs no mending" $? 0
ok "the configuration is good" found config ok ''
ok "hubkeyd answers" found bus ok 'hubkeyd answers'
ok "the TPM tells of itself" found tpm ok 'made by IBM'
ok "handles are told by whom they are" found tpm ok '0x81000001: the storage root key'
ok "an owner without a password is pointed out" found tpm warning 'owner has no password'
ok "slots are ready" found slots ok '1 slot is ready'
ok "the clock is looked at" grep -q '"check":"clock"' "$work/doctor"
ok "the hub is reached" found network ok 'its clock agrees'

as hubkey-out hubkeyctl doctor >"$work/less"
has "who is not root is told what is not seen" "$(cat "$work/less")" "for root to see"

printf '[hubkeyd]\nTokenGranularity=0\n' >"$HUBKEY_SANDBOX/hubkeyd.conf.d/bad.conf"
doctor
is "a mistake in the configuration must be mended" $? 1
ok "it is found with file and line" found config bad 'bad.conf:2: TokenGranularity'
rm "$HUBKEY_SANDBOX/hubkeyd.conf.d/bad.conf"

# A hub whose clock is ten minutes ahead.
cat >"$work/hub.py" <<'END'
import http.server, ssl, sys, time
class Hub(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(404)
        self.end_headers()
    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + 600)
server = http.server.HTTPServer(("127.0.0.1", 0), Hub)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + "/cert.pem", sys.argv[1] + "/key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
END
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 \
    -subj "/CN=$HUBKEY_HUB_HOST" -addext "subjectAltName=DNS:$HUBKEY_HUB_HOST" 2>/dev/null
coproc hub { exec setpriv --pdeathsig KILL /usr/bin/python3 "$work/hub.py" "$work" 2>/dev/null; }
read -r port <&"${hub[0]}"
HUBKEY_CONNECT_TO=::127.0.0.1:$port HUBKEY_CA_FILE=$work/cert.pem doctor --network
is "a clock that is off must be mended" $? 1
ok "it is told by how much" found network bad '\(599\|600\|601\) s behind'
kill "$hub_PID"
HUBKEY_CONNECT_TO=::127.0.0.1:1 doctor --network
ok "a hub out of reach is found" found network bad 'cannot be reached by TLS'
HUBKEY_CA_FILE=/dev/null doctor --network
ok "so is one that cannot be trusted" found network bad 'ca-certificates'

tpm2_changeauth -c owner secret
mends() { ! doctor; } # it exits 1
# What hubkeyd tells of the TPM may be a second old.
owner_missing() { mends && found tpm bad 'OwnerAuthFile='; }
ok "an owner's password that hubkeyd lacks must be mended" await 10 owner_missing
ok "it is named with what to do" found tpm bad 'OwnerAuthFile='
tpm2_changeauth -c owner -p secret
tpm2_evictcontrol -C o -c 0x81000100 >/dev/null
gdbus call --system -d org.hubkey -o /org/hubkey/slot/0 -m org.hubkey.Slot1.ReportRejected 1 '' >/dev/null
await 10 sh -c 'hubkeyctl list | grep -q tampered'
doctor
is "a slot whose key is gone must be mended" $? 1
ok "it is told why" found slots bad 'slot 0 is tampered: its key is gone'
ok "and what mends it" found slots bad '"mend":"hubkeyctl clear 0"'

kill -KILL "$(cat "$HUBKEY_SANDBOX/swtpm.pid")"
gone() { mends && found tpm bad 'no TPM answers'; }
ok "a TPM that is gone must be mended" await 20 gone
DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere doctor
ok "a bus that is not there must be mended" found bus bad 'systemctl start dbus'

done_testing
