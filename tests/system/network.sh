#!/bin/sh
# SPDX-License-Identifier: ISC
# A network that loses, doubles, delays, damages and makes up datagrams, in virtual time: what came
# in time is in its place, bit for bit, and every datagram is counted once. And a wall clock that is
# set during a call.
# network.sh BUILD [long]: long is the whole matrix (tests/soak/network.sh).
long=${2:-}
step=$PWD/tests/system/clock_step.c
. "$(dirname "$0")/lib.sh"

# counter NAME: its sum over all tracks and what belongs to none.
counter() {
	grep -o "\"$1\": *[0-9]*" out/s/session.json | awk -F: '{ n += $2 } END { print n + 0 }'
}

sum() {
	total=0
	for c in "$@"; do
		total=$((total + $(counter "$c")))
	done
	echo $total
}

# equal WHAT NUMBER NUMBER
equal() {
	[ "$2" -eq "$3" ] || {
		echo "$1: $2 and $3"
		return 1
	}
}

# datagrams = received + why it was not; received = sound + why it became none; lost = recovered +
# concealed + left silent.
accounts() {
	equal datagrams "$(grep -o '"datagrams":[0-9]*' offline.log | cut -d: -f2)" \
		"$(sum received auth_failed no_key short bad_version bad_padding other_payload own \
			not_voice stream_limit rtcp rtcp_bad)" &&
		equal received "$(counter received)" \
			"$(sum decoded padding duplicate late undecodable restarted held_dropped \
				dave_no_key dave_auth_failed dave_replayed dave_plain_refused)" &&
		equal lost "$(counter lost)" "$(sum recovered concealed skipped)"
}

# way TOLERANCE OPTION...: a call over such a network. What is too late for its place counts as lost.
way() {
	tolerance=$1
	shift
	rm -rf out
	offline --speakers 3 "$@" &&
		receiver --replay call.pcap --keys keys.json --out out --session-name s &&
		accounts &&
		"$build/tests/track_check" --absolute --tolerance "$tolerance" truth.json out/s
}

ways() {
	for seed in $1; do
		for loss in 0 1 5 15 30; do
			check "loss $loss %, seed $seed" way 20 --seconds "$2" --seed "$seed" --loss $loss \
				--duplicate 10
			check "loss $loss %, in bursts of 8, seed $seed" way 20 --seconds "$2" --seed "$seed" \
				--burst-loss $((loss / 6 + 1)) --burst-length 8 --duplicate 10
		done
		for depth in $3; do
			check "a tenth of all is $depth late, seed $seed" way 20 --seconds "$2" \
				--seed "$seed" --reorder 10 --reorder-depth "$depth" --loss 1
		done
		check "as much rubbish as voice, a quarter damaged, seed $seed" way 20 --seconds "$2" \
			--seed "$seed" --garbage 100 --truncate 15 --corrupt 10 --dave
	done
}

if [ -n "$long" ]; then
	ways "1 2 3 4 5 6 7 8 9 10" 120 "1 2 3 4 5 6 7 8"
	exit 0
fi
ways 1 12 "1 2 4 8"

# The wall clock goes an hour ahead, two hours back, 40 ms to and fro, and ahead again.
if ldd "$build/receiver" | grep -q asan; then
	exit 0
fi
cc -shared -fPIC -O2 -o step.so "$step"
server server.log --speakers 2 --seconds 9 --seed 3 --truth truth.json
rm -rf out
LD_PRELOAD=$dir/step.so receiver --join join.json --out out --session-name s --events \
	--duration 8 >events.log 2>receiver.log
check "a wall clock that is set: exit 0" test $? -eq 0
kill "$server" && wait "$server"
check "a wall clock that is set: it was" awk -F'"ts":' \
	'{ last = $2 + 0; if (n++ == 0) first = last } END { exit !(last - first > 3600) }' events.log
check "a wall clock that is set: every track is right" \
	"$build/tests/track_check" --tolerance 100 truth.json out/s
check "a wall clock that is set: nothing is placed anew" equal time_jumps 0 "$(counter time_jumps)"
check "a wall clock that is set: as long as it took" sh -c \
	'for n in $(grep -o "\"samples\":[0-9]*" events.log | cut -d: -f2); do [ "$n" -gt 370000 ] && [ "$n" -lt 430000 ] || exit 1; done'

exit 0
