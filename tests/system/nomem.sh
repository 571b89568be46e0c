#!/bin/sh
# SPDX-License-Identifier: ISC
# nomem.sh BUILD: receivers of which one allocation fails, from main() to the end, their libraries'
# included. Each ends by itself, says a line if it does not do its work, and does it whole if it
# says nothing. The first 150 and every STEP-th (19) after these; LIVE (24) of a live call.
. "$(dirname "$0")/lib.sh"
step=${STEP:-19}
lives=${LIVE:-24}
export build

# one NUMBER OPTION...: a receiver in the folder n-NUMBER.
cat >one <<'EOF'
n=$1
shift
mkdir "n-$n" && cd "n-$n" || exit 1
NOMEM_AT=$n NOMEM_COUNT=count NOMEM_WHERE=where timeout -k 1 30 "$build/receiver-nomem" \
	--out . --session-name s --sink file:format=wav+opus "$@" >log 2>&1
status=$?
wrong=
said=$(grep -c 'error: \|warn: \|out of memory' log)
[ $status -le 2 ] || wrong="exit status $status"
[ $status -eq 0 ] || [ "$said" -gt 0 ] || wrong="$wrong; status $status and nothing said"
grep -q 'runtime error\|ERROR: ' log && wrong="$wrong; a sanitizer's report"
if [ $status -eq 0 ] && [ "$said" -eq 0 ] && [ -d ../whole ]; then
	diff -r ../whole/s s >diff 2>&1 || wrong="$wrong; it lacks something and nothing was said"
fi
[ -z "$wrong" ] || echo "$n: ${wrong#; }: $(grep -m 1 'error: ' log)"
[ -z "$wrong" ] || sed 's/^/    /' where
cd .. && [ -n "$wrong" ] || rm -rf "n-$n"
EOF

# all NAME: of the numbers in the files numbers-0 to numbers-3, options behind each; those of one file
# one after the other.
all() {
	seq 0 3 | xargs -P 4 -n 1 sh -c 'xargs -L 1 sh ./one <"numbers-$0"' >wrong 2>&1
	[ -s wrong ] && sed 's/^/# /' wrong
	[ ! -s wrong ] && [ -s numbers-3 ]
	result $? "$1: $(cat numbers-* | wc -l) allocations fail"
	rm -rf n-* numbers-* whole
}

# count OPTION...: how many there are, in a run that lacks nothing.
count() {
	rm -rf whole
	mkdir whole
	(cd whole && NOMEM_COUNT=../count timeout -k 1 30 "$build/receiver-nomem" --out . \
		--session-name s --sink file:format=wav+opus "$@" >../whole.log 2>&1)
	read -r total how <count && [ "$how" = whole ]
}

offline --speakers 2 --seconds 4 --seed 3
options="--replay $dir/call.pcap --keys $dir/keys.json --workers 2"
check "a replay, all allocations done" count $options
[ "${total:-0}" -gt 300 ] || result 1 "there are allocations"
{
	seq 0 149
	seq 150 "$step" "$((total - 20))"
	seq $((total - 19)) $((total + 1)) # the end
} | sort -nu | sed "s|\$| $options|" | split -n r/4 -d -a 1 - numbers-
all "a replay"

printf '{ "seed": 8, "seconds": 3600, "guilds": [' >call.json
for slot in 1 2 3 4; do
	[ $slot -eq 1 ] || printf ',' >>call.json
	printf '{ "speakers": [ { "spurt_ms": 0 }, { "start_ms": 300, "spurt_ms": 0 } ] }' >>call.json
done
printf '] }\n' >>call.json
server server.log --scenario call.json --max-seconds 600 || cat server.log
split -l 1 -d -a 1 join.json join-
check "a call, all allocations done" count --join "$dir/join-0" --duration 1
rm -rf whole # no two calls are the same
i=0 # a call takes one receiver at a time
while [ $i -lt "$lives" ]; do
	echo "$((i * i * total / lives / lives)) --join $dir/join-$((i % 4)) --duration 1" >>"numbers-$((i % 4))"
	i=$((i + 1))
done
all "a call"

exit 0
