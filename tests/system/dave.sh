#!/bin/sh
# SPDX-License-Identifier: ISC
# End-to-end encrypted calls: captures with their keys, and live as a member of the group.
. "$(dirname "$0")/lib.sh"

offline --dave --speakers 4 --seconds 20 --seed 1
check "a capture with keys: exit 0" receiver --replay call.pcap --keys keys.json --out out --session-name a -q
check "a capture with keys: every track is right" "$build/tests/track_check" --absolute truth.json out/a
sed 's/"dave"/"nothing"/' keys.json >plain.json
receiver --replay call.pcap --keys plain.json --out out --session-name b -q 2>replay.log
check "without keys: nothing decrypts" sh -c '! grep -q "\"dave_opened\": [1-9]" out/b/session.json'

cat >call.json <<'END'
{ "seed": 3, "seconds": 16, "tls": true,
  "guilds": [ { "dave": true, "speakers": [ {}, {}, { "present": [ { "to_ms": 5000 }, { "from_ms": 9000 } ] } ],
    "events": [ { "at_ms": 2000, "do": "cut" },
                { "at_ms": 7000, "do": "dave_recreate" } ] } ] }
END
server server.log --scenario call.json --ca-out ca.pem --truth truth.json || cat server.log
receiver --join join.json --ca-file ca.pem --out out --session-name c --events --duration 15 >events.log 2>receiver.log
check "live: exit 0" test $? -eq 0
kill "$server" 2>/dev/null
wait "$server" 2>/dev/null
check "live, with leaving, coming back, a cut and a new group: every track is right" "$build/tests/track_check" --tolerance 100 truth.json out/c
check "a privacy code for every epoch" sh -c '[ "$(grep -c "\"privacy_code\"" events.log)" -ge 3 ]'
check "thirty digits, in the manifest, too" grep -qE '"code": "[0-9]{30}"' out/c/session.json
check "no frame was refused" sh -c '! grep -qE "\"dave_(auth_failed|replayed|no_key|plain_refused)\": [1-9]" out/c/session.json'

exit 0
