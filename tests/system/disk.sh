#!/bin/sh
# SPDX-License-Identifier: ISC
# Disks that fill up, stall, or lose their folders while the real programs record; and more to decode
# than can be. Everything at once: most of it is waiting.
. "$(dirname "$0")/lib.sh"

# skip NAME WHY
skip() {
	number=$((number + 1))
	echo "not ok $number - $1 # SKIP $2"
}

# call NAME: a call of four speakers, and a folder NAME for who records it.
call() {
	server server.log --speakers 4 --seconds 40 --seed 11 --max-seconds 60 || {
		cat server.log
		exit 1
	}
	mkdir "$1" && mv join.json "$1"
}

# begin NAME OPTION...: a receiver in the background, in the folder NAME.
begin() {
	name=$1
	shift
	(
		cd "$name" || exit 1
		"${program:-$build/receiver}" --join join.json --session-name s --events "$@" >events.log 2>receiver.log
		echo $? >status
	) &
	pids="$pids $!"
}

# done_with NAME STATUS: it has ended, with this exit status.
done_with() {
	tries=0
	until [ -s "$1/status" ]; do
		tries=$((tries + 1))
		[ $tries -lt 400 ] || return 1
		sleep 0.1
	done
	[ "$(cat "$1/status")" -eq "$2" ] || {
		cat "$1/receiver.log"
		return 1
	}
}

# whole SESSION: the manifest is final, and every file in it can be read and is as long as it says.
# Put together, with silence where nothing could be written, no track is longer than the session.
whole() {
	grep -q '"state": "complete"' "$1/session.json" &&
		! find "$1" -name '.*.part' | grep -q . &&
		"$build/convert" -q -f flac -o conv "$1" 2>convert.log && [ ! -s convert.log ] && rm -r conv
}

# gap SESSION: every track has parts with a gap between them.
gap() {
	python3 - "$1/session.json" <<'END'
import json, sys
for t in json.load(open(sys.argv[1]))["tracks"]:
    p = t["parts"]
    assert len(p) >= 2, t["file"]
    assert all(a["position"] + a["samples"] < b["position"] for a, b in zip(p, p[1:])), p
END
}

# A folder that is removed, with all that is in it.
call removed
begin removed --out out --duration 8

# Disks of 20 MB: one is full for three seconds, of one half shall stay free.
mounted=
if [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
	mounted=1
	call full
	call minfree
	cat >full.sh <<'END'
mount -t tmpfs -o size=20M none out || exit 9
"$1/receiver" --join join.json --session-name s --events --out out --duration 14 >events.log 2>receiver.log &
receiver=$!
sleep 3
dd if=/dev/zero of=out/other bs=64k 2>/dev/null
df out >df.log
sleep 3
rm out/other
wait $receiver
echo $? >result
cp -r out/s kept
mv result status
END
	(cd full && mkdir out && exec unshare -m sh ../full.sh "$build") >/dev/null 2>&1 &
	pids="$pids $!"
	cat >minfree.sh <<'END'
mount -t tmpfs -o size=20M none out || exit 9
"$1/receiver" --join join.json --session-name s --events --out out --min-free 10M --duration 30 >events.log 2>receiver.log &
receiver=$!
sleep 3
dd if=/dev/zero of=out/other bs=64k count=140 2>/dev/null
wait $receiver
echo $? >result
cp -r out/s kept
"$1/receiver" --join join.json --out out --min-free 15M >again.log 2>&1
echo $? >again
mv result status
END
	(cd minfree && mkdir out && exec unshare -m sh ../minfree.sh "$build") >/dev/null 2>&1 &
	pids="$pids $!"
fi

# Writes that do not come back for as long as there is a file `stall`; a decoder that takes longer
# for a packet than it is long.
cat >stall.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);
	char link[64], path[512] = "";
	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "pwrite");
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, "/stalled/") != NULL)
		while (access("stall", F_OK) == 0)
			usleep(20000);
	return real(fd, data, len, at);
}
END
cat >slow.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
int opus_decode_float(void *st, const unsigned char *data, int32_t len, float *pcm, int n, int fec)
{
	static int (*real)(void *, const unsigned char *, int32_t, float *, int, int);
	static volatile uint64_t sum;
	if (real == 0)
		*(void **)&real = dlsym(RTLD_NEXT, "opus_decode_float");
	for (unsigned i = 0; i < LOOPS; i++)
		sum += i;
	return real(st, data, len, pcm, n, fec);
}
END
preload=
case $build in
*/san) ;;
*)
	# About 15 ms, on whatever machine this is.
	cat >speed.c <<'END'
#include <stdint.h>
#include <stdio.h>
#include <time.h>
int main(void)
{
	static volatile uint64_t sum;
	struct timespec a, b;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	for (unsigned i = 0; i < 100000000; i++)
		sum += i;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	printf("%.0f\n", 100000000 * 0.015 / ((b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) / 1e9));
	return 0;
}
END
	cc -O1 -shared -fPIC -o stall.so stall.c -ldl && cc -O1 -o speed speed.c &&
		cc -O1 -shared -fPIC -DLOOPS="$(./speed)u" -o slow.so slow.c -ldl && preload=1
	;;
esac
if [ -n "$preload" ]; then
	mkdir bin
	call stalled
	call slow
	(
		cd stalled || exit 1
		LD_PRELOAD=$dir/stall.so "$build/receiver" --join join.json --session-name s --events --out out \
			--sink file --sink file:format=opus --duration 20 >events.log 2>receiver.log
		echo $? >status
	) &
	pids="$pids $!"
	cp "$build/receiver" bin/receiver
	printf '#!/bin/sh\nLD_PRELOAD=%s exec %s\n' "$dir/slow.so" "$build/unpacker" >bin/unpacker
	chmod +x bin/unpacker
	program=$dir/bin/receiver
	begin slow --out out --sink file --sink file:format=opus --duration 12 --workers 1
	program=
fi

sleep 3
rm -rf removed/out/s
if [ -n "$preload" ]; then
	touch stalled/stall
	sleep 1
	stalled=$(ps -o pid= -C receiver --sort=start_time | while read -r pid; do
		grep -q stall.so "/proc/$pid/maps" 2>/dev/null && echo "$pid" && break
	done)
	rss_before=$(awk '/VmRSS/ { print $2 }' "/proc/$stalled/status")
fi

check "a removed folder: exit 1" done_with removed 1
check "and one clear event" sh -c '[ "$(grep -c "\"event\":\"error\"" removed/events.log)" -eq 1 ] &&
	grep -q "somebody removed this folder" removed/events.log'
check "the recording goes on in a new one" whole removed/out/s
check "from then on" sh -c 'python3 - removed/out/s/session.json <<END
import json, sys
m = json.load(open(sys.argv[1]))
assert len(m["tracks"]) >= 3
for t in m["tracks"]:
    assert 2 * 48000 < t["parts"][0]["position"] < m["samples"], t["file"]
    assert t["parts"][-1]["position"] + t["parts"][-1]["samples"] == m["samples"], t["file"]
END'

if [ -n "$mounted" ]; then
	check "--min-free: ends by itself with exit 1" done_with minfree 1
	check "and says why" grep -q '"closed".*"failed".*nearly full' minfree/events.log
	check "everything is finished" whole minfree/kept
	check "for that reason" grep -q '"reason": "disk_full"' minfree/kept/session.json
	check "it does not begin without that room" sh -c '[ "$(cat minfree/again)" -eq 1 ] && grep -q "nearly full" minfree/again.log'
	check "a full disk: exit 1" done_with full 1
	check "and a few events" sh -c 'n=$(grep -c "\"event\":\"error\"" full/events.log); [ "$n" -ge 1 ] && [ "$n" -le 4 ] &&
		grep -q "No space left on device" full/events.log'
	check "the recording goes on when there is room" grep -q 'goes on in this file' full/events.log
	check "with a gap in every track" gap full/kept
	check "and every file is valid" whole full/kept
else
	skip "a full disk, --min-free" "nothing can be mounted here"
fi

if [ -n "$preload" ]; then
	sleep 1
	rss_after=$(awk '/VmRSS/ { print $2 }' "/proc/$stalled/status")
	rm stalled/stall
	check "a disk that stalls: memory is bounded" test $((rss_after - rss_before)) -lt 20000
	check "the decoder is too slow: exit 0" done_with slow 0
	check "it is said" grep -q 'overload: the oldest packets are kept, but not decoded' slow/events.log
	check "packets are all kept" sh -c 'python3 - slow/out/s/session.json <<END
import json, sys
m = json.load(open(sys.argv[1]))
c = [t["counters"] for t in m["tracks"] if t["format"] == "opus"]
assert m["counters"]["overload_dropped"] == 0, m["counters"]
assert sum(x["overload_undecoded"] for x in c) > 100, c
for x in c:
    assert x["received"] == x["decoded"] + x["overload_undecoded"] + x["padding"], x
    assert x["lost"] == 0, x
END'
	check "and every file is valid" whole slow/out/s
	check "the stalled disk: exit 0" done_with stalled 0
	check "the oldest was dropped, and counted" sh -c 'python3 - stalled/out/s/session.json <<END
import json, sys
m = json.load(open(sys.argv[1]))
assert m["counters"]["overload_dropped"] > 50, m["counters"]
ends = [e["text"] for e in m["events"] if e["type"] == "overload"]
assert ends and "over;" in ends[-1], ends
for t in m["tracks"]:
    assert t["samples"] == m["samples"], t["file"]
END'
	check "no unpacker was taken for hung" sh -c '! grep -q "unpacker lost" stalled/events.log slow/events.log'
	check "and every file is valid" whole stalled/out/s
else
	skip "a disk that stalls, a decoder that is too slow" "not with these sanitizers, or no compiler"
fi

exit 0
