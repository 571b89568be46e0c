#!/bin/sh
# SPDX-License-Identifier: ISC
# Captures: what is recorded is what was sent, at its place, and the same every time.
. "$(dirname "$0")/lib.sh"

replay() {
	receiver --replay call.pcap --keys keys.json --out out -q "$@"
}

same_tracks() {
	for track in "out/$1"/*.wav; do
		cmp "$track" "out/$2/${track##*/}" || return 1
	done
}

# recorded NAME OPTION...: the call of these options is recorded as it was sent.
recorded() {
	name=$1
	shift
	rm -rf out
	offline "$@" && replay --session-name a >replay.log 2>&1 &&
		"$build/tests/track_check" --absolute truth.json out/a >>replay.log 2>&1
	result $? "$name"
}

recorded "a clean call" --speakers 4 --seconds 20 --seed 1
replay --session-name b --workers 1
replay --session-name c --workers 5
check "with one worker" same_tracks a b
check "with five workers" same_tracks a c
check "the manifests differ in nothing but their time" cmp out/a/session.json out/b/session.json
# Its folder is made when every unpacker has been started.
"$build/receiver" --replay call.pcap --keys keys.json --out out --session-name d -q --realtime &
rec=$!
pids="$pids $rec"
tries=0
until [ -f out/d/session.json ] || [ $((tries += 1)) -gt 100 ]; do sleep 0.1; done
check "one call has one unpacker" test "$(pgrep -c -P $rec)" -eq 1
kill $rec
wait $rec
# While more may come, files say what they have.
mkfifo pipe
exec 7<>pipe
"$build/receiver" --replay - --keys keys.json --out out --session-name e -q <pipe 7>&- &
rec=$!
pids="$pids $rec"
head -c $(($(wc -c <call.pcap) / 4)) call.pcap >&7
said=0
tries=0
until [ "$said" -gt 0 ] || [ $((tries += 1)) -gt 100 ]; do
	sleep 0.1
	said=$(cat out/e/*.wav 2>/dev/null | od -An -tu4 -j108 -N4)
	said=${said:-0}
done
check "a capture that is still made is in its files" test "$said" -gt 0
kill -9 $rec
wait $rec
exec 7>&-
rm -r out/e
recorded "XChaCha20" --speakers 3 --seconds 10 --seed 2 --mode aead_xchacha20_poly1305_rtpsize
recorded "plain RTP" --speakers 3 --seconds 10 --seed 3 --mode none
recorded "duplicates and reordering" --speakers 4 --seconds 20 --seed 4 --duplicate 5 --reorder 10 --reorder-depth 5
recorded "jitter of 30 ms" --speakers 4 --seconds 20 --seed 5 --jitter 30
recorded "garbage, corrupt and cut datagrams" --speakers 4 --seconds 20 --seed 6 --garbage 30 --corrupt 2 --truncate 2
recorded "3 % lost" --speakers 4 --seconds 30 --seed 7 --loss 3
recorded "bursts lost" --speakers 4 --seconds 30 --seed 8 --burst-loss 1 --burst-length 8
recorded "everything at once" --speakers 8 --seconds 30 --seed 9 --loss 3 --duplicate 2 --reorder 5 --reorder-depth 4 --jitter 20 --garbage 10
recorded "more than the queues hold" --speakers 7 --seconds 120 --seed 10
check "sox reads every track" sh -c 'command -v sox >/dev/null || exit 0; for f in out/a/*.wav; do sox "$f" -n stat || exit 1; done'

exit 0
