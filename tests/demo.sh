#!/bin/sh
# SPDX-License-Identifier: ISC
# demo.sh BUILD: a loopback call of three speakers, recorded. Leaves the files in recordings/.
set -eu
build=$1
cd "$(dirname "$0")/.."
seconds=15
dir=$(mktemp -d)
server=
cleanup() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT INT TERM

echo "A loopback voice server, three speakers talking over each other for $seconds seconds:"
"$build/tests/voiceserver" --tls --speakers 3 --seconds $seconds --loss 2 --seed 7 \
	--ca-out "$dir/ca.pem" --join-out "$dir/join.json" >"$dir/server.log" 2>&1 &
server=$!
tries=0
until [ -s "$dir/join.json" ] && [ -s "$dir/ca.pem" ]; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] && kill -0 "$server" 2>/dev/null || {
		cat "$dir/server.log" >&2
		exit 1
	}
	sleep 0.1
done

session=demo-$(date -u +%Y%m%dT%H%M%SZ)
"$build/receiver" --join "$dir/join.json" --ca-file "$dir/ca.pem" --out recordings \
	--session-name "$session" --duration $((seconds - 1))
echo
echo "The tracks and session.json are in recordings/$session"
