#!/bin/sh
# SPDX-License-Identifier: ISC
# long.sh BUILD FOLDER SECONDS DAVE(0|1): a call of twenty speakers, so long in virtual time, in
# FOLDER: generated, recorded, and judged. samples.csv has what was seen of the processes.
set -eu
build=$(cd "$1" && pwd)
soak=$(cd "$(dirname "$0")" && pwd)
cd "$2"
seconds=$3
dave=$4
bad=0

# is NAME STATUS FIGURES
is() {
	if [ "$2" -eq 0 ]; then echo "ok   $1: $3"; else
		echo "FAIL $1: $3"
		bad=1
	fi
}

rm -rf s samples.csv
"$build/tests/align_call" . 60
awk -v seconds="$seconds" -v dave="$dave" -v seed=3 -f "$soak/call.awk" >call.json
"$build/tests/voiceserver" --offline --scenario call.json --media . --pcap call.pcap \
	--keys-out keys.json --truth truth.json >offline.log

"$build/receiver" --replay call.pcap --keys keys.json --out . --session-name s -q --workers 1 \
	--sink file:format=wav,channels=1 &
pid=$!
trap 'kill $pid 2>/dev/null || true' EXIT

# Virtual time is where the longest file ends.
rss() {
	awk '/^VmRSS/ { print $2 }' "/proc/$1/status" 2>/dev/null || true
}
fds() {
	ls "/proc/$1/fd" 2>/dev/null | wc -l
}
while kill -0 $pid 2>/dev/null; do
	longest=$(stat -c %s s/*.wav 2>/dev/null | sort -n | tail -n 1)
	worker=$(pgrep -P $pid -x unpacker || true)
	if [ -n "$longest" ] && [ -n "$worker" ]; then
		echo "$((longest / 96000)),$(rss $pid),$(fds $pid),$(rss "$worker"),$(fds "$worker")"
	fi
	sleep "${SAMPLE:-0.25}"
done >samples.csv
status=0
wait $pid || status=$?
is "recorded to the end" $status "$(grep -c . samples.csv) samples of the processes"

# After ten minutes: the median of the first tenth against that of the last tenth.
awk -F , -v from=600 '
	$1 >= from && NF == 5 && $2 > 0 && $4 > 0 { n++; for (i = 2; i <= 5; i++) v[n, i] = $i }
	function median(first, i,    k, m, list) {
		m = int(n / 10) + 1
		for (k = 1; k <= m; k++) list[k] = v[first + k - 1, i]
		sort(list, m)
		return list[int((m + 1) / 2)]
	}
	function sort(list, m,    a, b, t) {
		for (a = 2; a <= m; a++)
			for (b = a; b > 1 && list[b] < list[b - 1]; b--) {
				t = list[b]; list[b] = list[b - 1]; list[b - 1] = t
			}
	}
	function say(name, i, share,    a, b, ok) {
		a = median(1, i); b = median(n - int(n / 10), i)
		ok = b <= a * share
		printf "%s %s: %d, then %d (%+.2f %%)\n", (ok ? "ok  " : "FAIL"), name, a, b,
			100 * (b / a - 1)
		if (!ok) bad = 1
	}
	END {
		if (n < 8) { print "FAIL only " n " samples after ten minutes"; exit 1 }
		say("RSS of the receiver, KiB", 2, 1.01)
		say("RSS of the unpacker, KiB", 4, 1.01)
		if (v[1, 3] > 0) say("descriptors of the receiver", 3, 1)
		if (v[1, 5] > 0) say("descriptors of the unpacker", 5, 1)
		exit bad
	}' samples.csv || bad=1

# Where everything is, and that nothing is anywhere else.
# Among so many, the ear takes a noise for a beep now and then: up to three are let pass where every
# stretch is exact and nothing else sounds.
pass='0 not heard, [0-3] not due; off by 1?[0-9]\.[0-9]+ ms .* ([0-9]+) stretches, .* \1 exact, 0 missing, 0 misplaced; 0 samples of nobody$'
for group in 0 1 2 3; do
	"$build/tests/align_check" -g $group truth.json s "errors-$group.csv" >align-$group.log || true
	is "alignment, speakers from $((6 * group + 1)) on" \
		"$(awk -v n=$((group < 3 ? 6 : 2)) 'END { print NR != n }' align-$group.log)$(grep -vcE "$pass" align-$group.log || true)" \
		"off by $(sed -n 's/.*off by \([0-9.]*\) ms.*/\1/p' align-$group.log | sort -n | tail -n 1) ms at most, of $(wc -l <errors-$group.csv) beeps"
	grep -vE "$pass" align-$group.log || true
done

# Silence takes no room: less than a block's worth more than what was said, and 64 KiB a spurt.
for f in s/*.wav; do stat -c '%n %s %b' "$f"; done | sort >sizes
is "all files are as long as the call" \
	"$(awk -v min=$(((seconds - 100) * 96000)) '$2 < min { n++ } END { print n + 0 }' sizes)" \
	"$(awk '{ s += $2 } END { printf "%.1f GB", s / 1e9 }' sizes)"
is "silence is holes" "$(tail -n 2 sizes | awk '$3 * 512 > 4e6 { bad = 1 } END { print bad + 0 }')" \
	"$(awk '{ s += $3 } END { printf "%.1f GB", s * 512 / 1e9 }' sizes) on the disk, of speakers who are silent $(tail -n 2 sizes | awk '{ printf "%s%.1f", (NR > 1 ? " and " : ""), $3 * 512 / 1e6 }') MB"
rm -rf s call.pcap
exit $bad
