#!/bin/sh
# SPDX-License-Identifier: ISC
# Workers that are killed, stopped, or not what they should be: what the call loses by it. Figures
# are comments of the output (#). STORM_SECONDS: how long the storm of kills lasts.
. "$(dirname "$0")/lib.sh"
storm=${STORM_SECONDS:-10}

# ---- a call of 50 speakers in four guilds, a lane each; that of guild 1000 is lane 0 ----

speakers() {
	i=0
	while [ $i -lt "$1" ]; do
		[ $i -eq 0 ] || printf ', '
		if [ $((i % 2)) -eq 0 ]; then printf '{}'; else
			printf '{ "spurt_ms": 2500, "pause_ms": 700 }'
		fi
		i=$((i + 1))
	done
}

# call SECONDS: the server is up, and the receiver records for as long. Sets $rec, $lane0, $others.
call() {
	{
		echo "{ \"seed\": 5, \"seconds\": $(($1 + 2)), \"guilds\": ["
		for g in 0 1 2 3; do
			[ $g -eq 0 ] || echo ,
			echo "{ \"guild_id\": \"$((1000 + g))\", \"speakers\": [ $(speakers $((13 - g / 2))) ] }"
		done
		echo "] }"
	} >call.json
	rm -rf out
	lane0=
	others=
	server server.log --scenario call.json --truth truth.json || cat server.log
	"$build/receiver" --join join.json --out out --workers 4 --events --duration "$1" \
		>events.log 2>receiver.log &
	rec=$!
	pids="$pids $rec"
	until [ "$(grep -c '"listening"' events.log)" -eq 4 ]; do
		kill -0 $rec 2>/dev/null || return 1
		sleep 0.1
	done
	# A look at the processes of a busy machine may miss some.
	# shellcheck disable=SC2046
	while set -- $(children); [ $# -ne 4 ]; do
		kill -0 $rec 2>/dev/null || return 1
		sleep 0.1
	done
	lane0=$1
	shift
	others="$*"
}

call_ends() {
	wait $rec
	last=$?
	kill "$server" 2>/dev/null
	wait "$server" 2>/dev/null
	return $last
}

# In the order in which they were started.
children() {
	pgrep -P $rec -x unpacker
}

# find_lane0: its worker, which changes. Sets $lane0, to nothing while there is none.
find_lane0() {
	lane0=
	for c in $(children); do
		case " $others " in
		*" $c "*) ;;
		*) lane0=$c ;;
		esac
	done
}

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

# back SIGNAL: sends it to the worker of lane 0; says how many ms later another one was there.
back() {
	old=$lane0
	from=$(now_ms)
	kill "-$1" "$old"
	while find_lane0; [ -z "$lane0" ] || [ "$lane0" = "$old" ]; do
		[ $(($(now_ms) - from)) -lt 5000 ] || return 1
	done
	took=$(($(now_ms) - from))
	echo "# a worker again after $took ms"
	[ $took -gt "$slowest" ] && slowest=$took
	return 0
}

# ---- judges ----

# session GUILD: the folder of its recording.
session() {
	echo out/"$1"-*
}

# counters FILE: of every track, and that there are tracks: nothing is missing, all is accounted for.
counters() {
	awk '
		/"received":/ { received = $2 + 0; tracks++ }
		/"decoded":/ { if ($2 + 0 != received) { print FILENAME ": " received " received, " $2 " decoded"; bad = 1 } total += $2 }
		/"(lost|recovered|concealed|skipped|duplicate|late|time_jumps|overload_dropped|overlap_dropped|undecodable|no_key|auth_failed)":/ {
			if ($2 + 0 != 0) { print FILENAME ": " $0; bad = 1 } }
		END { print "# " tracks - 1 " tracks, " total " packets"; exit bad || tracks < 2 || total < 1000 }
	' "$1"
}

# A gap that no worker saw both ends of is not counted as lost: guilds 1000 and 1001 are of one kind,
# and as many packets must have come of both, but for those under way when they ended.
all_counters() {
	for g in 1000 1001 1002 1003; do
		counters "$(session $g)/session.json" || return 1
	done
	cat "$(session 1000)/session.json" "$(session 1001)/session.json" | awk '
		/"guild_id":/ { g++ }
		/"decoded":/ { n[g] += $2 }
		END { exit n[1] < n[2] * 0.98 || n[2] < n[1] * 0.98 }'
}

# Spurts are at their place, nothing else sounds, and where a decoder is not the same to the last bit
# it is nearly so: an error of 1 is silence (or whatever, where it is all but silent). A spurt cannot
# be found by a packet that is not exact, and counts as missing then: some may.
places() {
	"$build/tests/track_check" --verbose --tolerance "$1" truth.json "$2" >places.log
	grep -c 'packets' places.log
	awk '
		/^(ok|FAIL)/ {
			lines++
			if ($0 !~ / 0 foreign samples/) { print; bad = 1 }
			n = split($0, word, " ")
			for (i = 1; i <= n; i++)
				if (word[i] == "to" && (word[i - 1] < -tolerance || word[i + 1] > tolerance)) { print; bad = 1 }
			for (i = 1; i <= n; i++)
				if (word[i] ~ /^wrong/) wrong += word[i - 1]
				else if (word[i] == "exact") exact += word[i - 1]
				else if (word[i] == "spurts") spurts += word[i - 1]
				else if (word[i] == "missing,") missing += substr(word[i - 1], 2)
		}
		/error [0-9.]*\)/ { told++; loud += $NF + 0 > 0.3 }
		END { print "# " spurts " spurts, " missing + 0 " not found; " exact " packets to the last bit, " wrong + 0 " not; of " told + 0 " of these " loud + 0 " differ by more than a third"
			exit bad || lines < 2 || loud > told / 3 || wrong > exact / 2 || missing > spurts / 2 }
	' tolerance="$1" places.log
}

# A busy machine delays the server's packets, too: exact places are judged by the replay below.
all_places() {
	places 100 "$(session 1000)"
}

others_exact() {
	for g in 1001 1002 1003; do
		"$build/tests/track_check" --tolerance 100 truth.json "$(session $g)" || return 1
	done
}

# figures: the comments of the last check.
figures() {
	grep '^#' check.log
}

# cpu_ms PID: that it has used.
cpu_ms() {
	awk '{ print ($14 + $15) * 10 }' "/proc/$1/stat"
}

# Losses that were told, with those told together.
losses() {
	awk '/unpacker lost/ { n++ } match($0, /and [0-9]+ more/) { n += substr($0, RSTART + 4) } END { print n + 0 }' receiver.log
}

# ---- kill -9, now and then ----

slowest=0
call 8
for pause in 1.0 0.9 1.1 1.03 0.97; do
	sleep $pause
	back KILL
done
check "killed five times: exit 0" call_ends
check "killed five times: another one within 500 ms" test $slowest -lt 500
check "killed five times: nothing lost, everything counted once" all_counters
figures
check "killed five times: every spurt at its place" all_places
figures
check "killed five times: other lanes as if nothing were" others_exact
check "killed five times: told five times" test "$(losses)" -eq 5

# ---- a storm ----

call $((storm + 4))
sleep 1
cpu=$(cpu_ms $rec)
from=$(now_ms)
kills=0
while [ $(($(now_ms) - from)) -lt $((storm * 1000)) ]; do
	find_lane0
	[ -n "$lane0" ] && kill -KILL "$lane0" && kills=$((kills + 1))
	sleep 0.09
done
cpu=$((($(cpu_ms $rec) - cpu) / storm))
warnings=$(grep -c 'unpacker lost' receiver.log)
check "a storm: exit 0" call_ends
echo "# $kills kills in $storm s, $warnings warnings; receiver: $cpu ms of CPU a second"
check "a storm: workers come more slowly" test $kills -ge $storm -a $kills -lt $((3 * storm + 10))
check "a storm: every loss is told, a few together" test "$(losses)" -eq $kills
check "a storm: at most three warnings a second" test "$warnings" -le $((3 * storm + 3))
check "a storm: the receiver does not spin" test $cpu -lt 500
check "a storm: nothing lost, everything counted once" all_counters
figures
check "a storm: every spurt at its place" all_places
figures
check "a storm: other lanes as if nothing were" others_exact

# ---- one that stands still ----

slowest=0
call 6
sleep 1.3
back STOP
check "stopped: exit 0" call_ends
echo "# replaced after $slowest ms"
check "stopped: another one within 2.2 s" test $slowest -gt 500 -a $slowest -lt 2200
check "stopped: said so" grep -q 'did not answer' receiver.log
check "stopped: nothing lost, everything counted once" all_counters
check "stopped: every spurt at its place" all_places
figures

# ---- what is no worker ----

# fake NAME SCRIPT: a receiver that has this beside it instead of an unpacker.
fake() {
	mkdir -p fake
	cp "$build/receiver" fake/receiver
	printf '#!/bin/sh\n%s\n' "$1" >fake/unpacker
	chmod +x fake/unpacker
}

# ends_failed WHY: the call ends with an error that says why, and the files are finished.
ends_failed() {
	rm -rf out
	server server.log --speakers 2 --seconds 20 --seed 6
	timeout -k 5 20 fake/receiver --join join.json --out out --session-name s --workers 2 \
		--events >events.log 2>receiver.log
	last=$?
	kill "$server" 2>/dev/null
	wait "$server" 2>/dev/null
	[ $last -eq 1 ] || echo "exit status $last"
	[ $last -eq 1 ] && grep -q "cannot be kept running.*$1" receiver.log &&
		grep -q '"error".*cannot be kept running' events.log &&
		tail -n 1 events.log | grep -q '"closed".*"failed"'
}
fake 'exit 3'
check "a worker that ends at once: the call fails, and says why" ends_failed "exit status 3"
fake 'exec cat /dev/urandom >&4'
check "a worker that talks nonsense: so, too" ends_failed "malformed message"
printf '#!/nowhere/to/be/found\n' >fake/unpacker
check "one that cannot be executed: so, too" ends_failed "cannot be executed"
rm fake/unpacker
check "none at all: exit 1" sh -c 'fake/receiver --join join.json --out out; [ $? -eq 1 ]'

# ---- a replay ----

echo "{ \"seed\": 11, \"seconds\": 60, \"faults\": { \"reorder\": 3, \"reorder_depth\": 2 },
	\"guilds\": [ { \"speakers\": [ $(speakers 20) ] } ] }" >offline.json
offline --scenario offline.json
check "a replay: exit 0" receiver --replay call.pcap --keys keys.json --out out --session-name a -q
"$build/receiver" --replay call.pcap --keys keys.json --out out --session-name b -q 2>receiver.log &
rec=$!
pids="$pids $rec"
kills=0
while kill -0 $rec 2>/dev/null; do
	sleep 0.1
	for c in $(children); do
		[ $kills -lt 12 ] && kill -KILL "$c" 2>/dev/null && kills=$((kills + 1))
	done
done
wait $rec
check "a replay with kills: exit 0" test $? -eq 0
echo "# $kills kills"
check "a replay with kills: there were some" test $kills -ge 3
same_lengths() {
	for f in out/a/*.wav; do
		[ "$(stat -c %s "$f")" = "$(stat -c %s "out/b/${f##*/}")" ] || return 1
	done
}
same_tracks() {
	for s in a b; do
		grep -E '"(user_id|first_sample|samples|received|decoded|silence|lost)"' out/$s/session.json >$s.txt
	done
	cmp a.txt b.txt
}
check "a replay with kills: files as long" same_lengths
check "a replay with kills: tracks begin, end and count the same" same_tracks
check "a replay with kills: nothing lost, everything counted once" counters out/b/session.json
figures
# Against the unbroken one, a second at a time: the upper bytes of samples, nearly all of which
# differ where sound is not at its place, and few where a decoder is not quite the same.
near_copy() {
	for f in out/a/*.wav; do
		cmp -l "$f" "out/b/${f##*/}"
	done | awk '
		$1 < last { flush() }
		{ last = $1; second = int($1 / 192000) }
		second != now { flush(); now = second }
		$1 % 2 == 0 { n++ }
		function flush() { if (n > worst) worst = n; n = 0 }
		END { flush(); printf "# at most %.1f %% of the upper bytes of a second differ\n", worst / 960
			exit worst > 24000 }'
}
check "a replay with kills: every sample at its place" near_copy
figures

exit 0
