#!/bin/sh
# SPDX-License-Identifier: ISC
# A voice gateway that is cut, stalls, talks nonsense, or is none at all: the session recovers and
# its recording is whole, or it ends with a reason.
. "$(dirname "$0")/lib.sh"

# scenario COUNT KIND EVENTS: encrypted calls of two speakers; the n-th has "KIND": n. Somebody is
# removed from the group and added again, and somebody leaves and comes back.
scenario() {
	awk -v n="$1" -v kind="$2" -v events="$3" 'BEGIN {
		printf "{\"seed\":5,\"seconds\":7,\"heartbeat_ms\":500,\"guilds\":["
		for (i = 1; i <= n; i++)
			printf "%s{\"dave\":true,\"%s\":%d,\"speakers\":[{\"speaking_delay_ms\":300}," \
				"{\"present\":[{\"to_ms\":3500},{\"from_ms\":4500}]}]," \
				"\"events\":[%s]}", (i > 1 ? "," : ""), kind, i, events
		printf "]}\n"
	}' >"$2.json"
}

# record NAME SECONDS OPTION...: in a folder of its own: server.log, events.log, receiver.log, out/.
record() {
	mkdir "$1"
	(
		cd "$1" || exit 1
		seconds=$2
		shift 2
		"$build/tests/voiceserver" --media "$media" --join-out join.json --truth truth.json \
			--max-seconds 55 "$@" >server.log 2>&1 &
		server=$!
		tries=0
		until [ -s join.json ] || [ $tries -gt 100 ]; do
			tries=$((tries + 1))
			sleep 0.1
		done
		sleep 0.2
		receiver --join join.json --out out --events --duration $seconds >events.log 2>receiver.log
		echo $? >status
		kill $server 2>/dev/null
		wait $server
	)
}

# whole FOLDER CALLS: both speakers of every call were recorded, and of what came of them nine packets
# of ten and more are sound. (Which sample is where, the replays judge: a busy machine is late.)
whole() {
	for s in "$1"/out/*/session.json; do
		received=$(total received "$s")
		decoded=$(total decoded "$s")
		[ "$received" -ge 300 ] && [ $((decoded * 10)) -ge $((received * 9)) ] &&
			[ "$(find "${s%/*}" -name '*.wav' | wc -l)" -eq 2 ] ||
			echo "$s: $received received, $decoded sound"
	done >whole.log
	cat whole.log
	[ ! -s whole.log ] && [ "$(find "$1"/out -name session.json | wc -l)" -eq "$2" ]
}

# total COUNTER FILE
total() {
	grep -o "\"$1\": *[0-9]*" "$2" | awk -F: '{ n += $2 } END { print n + 0 }'
}

# count PATTERN FILE WANTED
count() {
	n=$(grep -c "$1" "$2")
	[ "$n" -eq "$3" ] || {
		echo "$n of $3: $1"
		return 1
	}
}

# ended FOLDER CALLS: each has said why, once, and finished its files.
ended() {
	count '"event":"closed"' "$1/events.log" "$2" && count '"reason":"."' "$1/events.log" 0 &&
		! grep -L '"state": *"complete"' "$1"/out/*/session.json | grep -q .
}

# Every connection behind a cut says Identify or Resume: those that had not begun, the former.
anew_or_resumed() {
	identified=$(grep -c '"event":"identified"' cut/server.log)
	resumed=$(grep -c '"event":"resumed"' cut/server.log)
	[ $((identified + resumed)) -ge 88 ] && [ "$resumed" -ge 20 ] || {
		echo "$identified identified, $resumed resumed"
		return 1
	}
}

# heard FOLDER TRACKS CALLS: so many tracks at least, in so many calls at least (one that stalls early
# may still be connecting when the time is over).
heard() {
	tracks=$(find "$1"/out -name '*.wav' -size +20k | wc -l)
	calls=$(find "$1"/out -name '*.wav' -size +20k | xargs -n 1 dirname | sort -u | wc -l)
	[ "$tracks" -ge "$2" ] && [ "$calls" -ge "$3" ] || {
		echo "$tracks tracks in $calls calls"
		return 1
	}
}

# as_expected KIND REASON: what a server that is none was given up for.
as_expected() {
	id=$(sed -n "s/.*\"guild_id\":\"\([0-9]*\)\",\"kind\":\"$1\".*/\1/p" rogue/server.log)
	[ -n "$id" ] && grep '"event":"closed"' rogue/events.log | grep "\"guild_id\":\"$id\"" |
		grep "$2"
}

scenario 44 cut_after '{"at_ms":1500,"do":"dave_churn"}'
scenario 44 stall_after '{"at_ms":1500,"do":"dave_churn"}'
scenario 2 junk ''
sed 's/"junk":[0-9]*,//g; s/"events":\[\]/"events":[{"at_ms":2500,"do":"junk"},{"at_ms":5800,"do":"fragment","size":1,"length_ms":10}]/g' \
	junk.json >j.json

record rogue 60 --rogue all &
record cut 16 --scenario ../cut_after.json
record stall 27 --scenario ../stall_after.json &
record junk 9 --scenario ../j.json
wait

check "cut after every message of a session's life: 44 of them" \
	count '"event":"cutting"' cut/server.log 44
check "cut: each call ends, with a reason" ended cut 44
check "cut: what stood is resumed, what did not begins anew" \
	anew_or_resumed
check "cut: both speakers are whole" whole cut 44

check "stalled after every message: 44 of them" count '"event":"stalling"' stall/server.log 44
check "stalled: each call ends, with a reason" ended stall 44
check "stalled: the calls are heard" heard stall 80 42

check "nonsense in every message, bytes in frames of one: each call ends with a reason" ended junk 2
check "nonsense: both speakers are whole" whole junk 2

# Servers that are none
check "bad servers: exit status 3" grep -qx 3 rogue/status
check "bad servers: each of them is given up, with a reason" count '"event":"closed"' rogue/events.log 16
for kind in not-found redirect garbage tls-garbage tls-plain wrong-accept; do
	check "$kind: could not connect" as_expected $kind '"unreachable".*could not connect: ..'
done
for kind in large-frame claimed-frame endless-message; do
	check "$kind: more than 1 MiB" as_expected $kind '"unreachable".*more than 1 MiB'
done
for kind in empty-fragments pings bad-frames; do
	check "$kind: gives up" as_expected $kind '"unreachable".*after 6 attempts'
done
check "hangs-up: gives up resuming" as_expected hangs-up '"unreachable".*4015'
check "large-nonsense: is borne" as_expected large-nonsense '4006'
check "a byte every 10 ms is understood" as_expected slow-bytes '4004'
check "a frame a byte is understood" as_expected slow-frames '4004'

exit 0
