#!/bin/sh
# SPDX-License-Identifier: ISC
# The real programs against the voice server, live.
. "$(dirname "$0")/lib.sh"

wss="--tls --ca-out ca.pem"

# exit_status STATUS: of the last receiver, which wrote receiver.log.
exit_status() {
	[ "$last" -eq "$1" ] || {
		echo "exit status $last, wanted $1"
		cat receiver.log
		return 1
	}
}

# record SERVER-OPTIONS RECEIVER-OPTIONS: a call to its end or the receiver's.
record() {
	rm -rf out
	# shellcheck disable=SC2086
	server server.log $1 --truth truth.json || {
		cat server.log
		return 1
	}
	# shellcheck disable=SC2086
	receiver --join join.json --out out --session-name s --events $2 >events.log 2>receiver.log
	last=$?
	kill "$server" 2>/dev/null
	wait "$server" 2>/dev/null
	return 0
}

# A busy machine delays the server's packets, too: places are judged by replays.
right() {
	"$build/tests/track_check" --tolerance 100 truth.json out/s
}

# wss, both modes
record "$wss --speakers 4 --seconds 6 --seed 1" "--ca-file ca.pem --duration 5"
check "wss, AES-GCM: exit 0" exit_status 0
check "wss, AES-GCM: every track is right" right
check "events: ready before the first file" sh -c 'grep -o "\"event\":\"[a-z_]*\"" events.log | grep -n . | grep -m1 ready | grep -qE "^[1-6]:"'
check "events: closed is the last" sh -c 'tail -n 1 events.log | grep -q "\"closed\""'
check "the token is nowhere" sh -c 'token=$(grep -o "\"token\":\"[^\"]*\"" join.json | cut -d\" -f4); [ -n "$token" ] && ! grep -rq "$token" events.log receiver.log out'
check "folders 0700, files 0600" sh -c '[ "$(stat -c %a out/s)" = 700 ] && ! find out/s -type f ! -perm 600 | grep -q .'
check "echoes of our keepalives are counted" grep -qE '"not_voice": ?[1-9]' out/s/session.json
record "--mode aead_xchacha20_poly1305_rtpsize --speakers 3 --seconds 5 --seed 2" "--duration 4"
check "ws, XChaCha20: every track is right" right

# faults of the network
record "$wss --speakers 4 --seconds 6 --seed 3 --reorder 5 --reorder-depth 2 --duplicate 3 --garbage 20" "--ca-file ca.pem --duration 5"
check "a bad network: every track is right" right

# faults of the gateway
cat >faults.json <<'END'
{ "seed": 4, "seconds": 9, "tls": true,
  "guilds": [ { "speakers": [ {}, {} ],
    "events": [ { "at_ms": 1500, "do": "cut" },
                { "at_ms": 5000, "do": "close", "code": 4015 } ] } ] }
END
record "--scenario faults.json --ca-out ca.pem" "--ca-file ca.pem --duration 8"
check "cut, 4015: every track is right" right
check "and it said that it reconnected" grep -q '"reconnected"' events.log

# certificates
record "$wss --cert wrong-host --seconds 3" "--ca-file ca.pem"
check "a wrong host name: exit 1" exit_status 1
check "and why" grep -q 'certificate of localhost refused: .*mismatch' receiver.log
record "$wss --cert expired --seconds 3" "--ca-file ca.pem"
check "an expired certificate: exit 1" exit_status 1
check "and why" grep -q 'certificate of localhost refused: .*expired' receiver.log
record "$wss --seconds 3" ""
check "an unknown root: exit 1" exit_status 1

# turned away
for code in 4004 4014 4006; do
	echo "{ \"seed\": 5, \"seconds\": 4, \"guilds\": [ { \"speakers\": [ {} ], \"events\": [ { \"at_ms\": 1500, \"do\": \"close\", \"code\": $code } ] } ] }" >close.json
	record "--scenario close.json" ""
	check "closed with $code: exit 3" exit_status 3
	check "closed with $code: the files are finished" grep -q '"complete"' out/s/session.json
done

# signals
server server.log --speakers 2 --seconds 20 --seed 6
"$build/receiver" --join join.json --out out --session-name t >receiver.log 2>&1 &
pid=$!
pids="$pids $pid"
sleep 2
kill -INT "$pid"
wait "$pid"
check "SIGINT: exit 0" test $? -eq 0
check "SIGINT: the files are finished" grep -q '"complete"' out/t/session.json

# a worker dies while it works
"$build/receiver" --join join.json --out out --session-name u --workers 2 --events >events.log 2>receiver.log &
pid=$!
pids="$pids $pid"
sleep 2
pkill -KILL -P "$pid" -x unpacker
sleep 2
kill -TERM "$pid"
wait "$pid"
check "workers killed: exit 0" test $? -eq 0
check "workers killed: said so" grep -q 'unpacker lost (killed by signal 9), replaced' receiver.log
check "workers killed: sound goes on behind" sh -c 'grep -q "worker_lost" out/u/session.json && [ "$(grep -c file_closed events.log)" -eq 2 ]'
kill "$server" 2>/dev/null

exit 0
