#!/bin/sh
# SPDX-License-Identifier: ISC
# sigkill.sh BUILD [TIMES]: receivers that are killed at random moments, TIMES in all, and what they
# leave: files that open and lack a second at most, a manifest, and room for the next part.
. "$(dirname "$0")/lib.sh"
times=${2:-54}
part=$(((times + 2) / 3))
seed=${SEED:-$(date +%s)}
together=9
formats=format=wav+flac+mp3+opus

# Speakers who do not stop; a guild for each of the receivers that run together. In the clear: into an
# encrypted call whoever was killed comes back by a commit of the others, which takes them seconds.
talkers() {
	speakers='{ "start_ms": 0, "spurt_ms": 0, "speaking_delay_ms": 300 }, { "start_ms": 300, "spurt_ms": 0 }'
	printf '{ "seed": 8, "seconds": 14400, "guilds": ['
	slot=0
	while [ $slot -lt $together ]; do
		[ $slot -eq 0 ] || printf ','
		printf '{ "speakers": [ %s ] }' "$speakers"
		slot=$((slot + 1))
	done
	printf '] }\n'
}

# live NAME FOLDER OPTION: kills a third of all, live.
live() {
	talkers >call.json
	server "server-$2.log" --scenario call.json --max-seconds 14400 || cat "server-$2.log"
	split -l 1 -d -a 1 join.json join-
	check "$1" "$build/tests/kill_check" --live --seed "$seed" --times "$part" --parallel $together "out-$2" \
		"$build/receiver" --join "join-{slot}" --out "out-$2" --session-name "{}" -q --workers 1 \
		--sink "file:$formats$3"
	tail -n 1 check.log | sed 's/^/# /'
	kill "$server" 2>/dev/null
}

echo "# seed $seed"
live "live: every file opens and lacks a second at most" whole ""
live "live, in parts of a second: so does every part" parts ",split=1"

# As fast as it goes, every stretch of a file is that of a recording that nobody killed.
offline --speakers 3 --seconds 40 --seed 9
receiver --replay call.pcap --keys keys.json --out . --session-name whole -q \
	--sink "file:$formats,split=6" 2>receiver.log
check "a replay that nobody kills is right" test -f whole/session.json
check "replays: what is in the files is what was sent" \
	"$build/tests/kill_check" --reference whole --seed "$seed" --times "$part" --parallel 3 --from 0 \
	--to 2500 out "$build/receiver" --replay call.pcap --keys keys.json --out out \
	--session-name "{}" -q --workers 1 --sink "file:$formats,split=6"
tail -n 1 check.log | sed 's/^/# /'

# Started again with the same name: what is there stays as it is.
sums() {
	find again again-2 -type f -exec sha256sum {} + 2>/dev/null | sort -k 2
}
continues() {
	sed -n 's/^ "continues": "\(.*\)",*$/\1/p' "$1/session.json"
}
talkers >call.json
server server-again.log --scenario call.json --max-seconds 600 || cat server-again.log
head -n 1 join.json >join-0
for n in 1 2 3; do
	sums >sums.$n
	"$build/receiver" --join join-0 --out . --session-name again -q --sink "file:$formats" &
	pid=$!
	pids="$pids $pid"
	sleep 2
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
done
kill "$server" 2>/dev/null
sums >sums.4
check "restarted: every part has its files" test -f again/session.json -a \
	-f again-2/200000000000000001.flac -a -f again-3/200000000000000001.opus
check "nothing of the parts before was touched" sh -c \
	'[ -s sums.2 ] && grep -Fxq -f sums.2 sums.3 && [ -z "$(grep -Fxv -f sums.3 sums.2)" ] && cmp sums.3 sums.4'
check "the manifests say what goes on where" test "$(continues again),$(continues again-2),$(continues again-3)" = ",again,again-2"
rm -rf out
mkdir out
check "parts of before are converted as they are" "$build/convert" -f flac -o out again again-2

exit 0
