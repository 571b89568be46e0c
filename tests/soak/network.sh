#!/bin/sh
# SPDX-License-Identifier: ISC
# network.sh BUILD: tests/system/network.sh over ten seeds and two minutes each, and the servers that
# keep somebody waiting. Some minutes.
build=$1
status=0
"$(dirname "$0")/../system/network.sh" "$build" long | grep '^not ok' && status=1

dir=$(mktemp -d)
"$build/tests/voiceserver" --rogue silent,tls-silent,no-hello,no-ready --join-out "$dir/join.json" \
	--max-seconds 400 >"$dir/server.log" 2>&1 &
server=$!
sleep 1
timeout 400 "$build/receiver" --join "$dir/join.json" --out "$dir/out" --events >"$dir/events.log"
kill $server
[ "$(grep -c '"code":"unreachable","reason":"gave up' "$dir/events.log")" -eq 4 ] || {
	echo "not ok - servers that keep somebody waiting are given up"
	cat "$dir/events.log"
	status=1
}
rm -rf "$dir"
exit $status
