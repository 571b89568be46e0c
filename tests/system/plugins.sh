#!/bin/sh
# SPDX-License-Identifier: ISC
# Plugins: those of examples/, ones built against the installed header alone, and ones that must not
# be loaded or do not behave.
tree=$PWD
. "$(dirname "$0")/lib.sh"
unset TAPEDECK_PLUGIN_PATH

# build_probe NAME COMMAND...: NAME.so of tests/abi/probe.c, against the header as it is installed.
build_probe() {
	so=$1
	shift
	"$@" -Wall -Wextra -pedantic -Werror -D_GNU_SOURCE -fPIC -shared -I"$build/include" \
		-o "$so.so" "$tree/tests/abi/probe.c" >"$so.cc" 2>&1
}

replay() {
	session=$1
	shift
	receiver --replay call.pcap --keys keys.json --out out -q --session-name "$session" \
		"$@" >stdout.log 2>receiver.log
	last=$?
	[ $last -eq 0 ]
}

exit_status() {
	[ "$last" -eq "$1" ] || {
		echo "exit status $last, wanted $1"
		return 1
	}
}

right() {
	"$build/tests/track_check" --absolute truth.json "out/$1"
}

# refused NAME PATTERN [OPTION...]: exit status 2 and one line of error, which matches.
refused() {
	name=$1
	pattern=$2
	shift 2
	rm -rf nothing
	receiver --replay call.pcap --keys keys.json --out nothing "$@" >stdout.log 2>receiver.log
	last=$?
	check "$name" sh -c "[ $last -eq 2 ] && [ ! -e nothing ] && [ ! -s stdout.log ] &&
		[ \$(wc -l <receiver.log) -eq 1 ] && grep -qE -e '$pattern' receiver.log"
}

# sound FILE.wav: its samples alone.
sound() {
	tail -c +113 "$1"
}

offline --speakers 3 --seconds 10 --seed 1 || echo "not ok - voiceserver --offline"
first=200000000000000001

# ---- built against the installed header, in C and in C++; and against that of ABI 1 ----
build_probe c ${CC:-cc} -std=c11
check "in C11" test -s c.so
build_probe cxx11 ${CXX:-g++} -x c++ -std=c++11
check "in C++11" test -s cxx11.so
build_probe cxx20 ${CXX:-g++} -x c++ -std=c++20
check "in C++20" test -s cxx20.so
build_probe abi1 ${CC:-cc} -std=c11 -DFROZEN -I"$tree/tests/abi"
check "against the header of ABI 1" test -s abi1.so
replay c --plugin ./c.so --sink probe --sink file:format=probe,channels=1 --sink file:channels=1
check "a sink and a format from one file" exit_status 0
check "the sink got all of the sound" grep -qE '^[1-9][0-9]{5,} samples, 0 of silence, 0 tracks$' out/c/probe.txt
check "the format is like WAV without its header" sh -c "
	head -n 1 out/c/$first.probe | grep -qx 'probe 48000 1' &&
		tail -c +15 out/c/$first.probe >a && tail -c +113 out/c/$first.wav | cmp - a"
replay c-track --plugin ./c.so --sink probe_track
check "a track has no gap" sh -c '
	set -- $(grep "3 tracks" out/c-track/probe.txt)
	[ $(($1 + $3)) -eq $((3 * $(grep -o "\"samples\": *[0-9]*" out/c/session.json | head -n 1 | grep -o "[0-9]*$"))) ]'
for kind in cxx11 cxx20 abi1; do
	replay $kind --plugin ./$kind.so --sink probe --sink file:format=probe,channels=1
	check "$kind: loaded and used" exit_status 0
	check "$kind: sees the same" cmp out/c/probe.txt out/$kind/probe.txt
	check "$kind: writes the same" cmp out/c/$first.probe out/$kind/$first.probe
	replay $kind-track --plugin ./$kind.so --sink probe_track
	check "$kind: its track sees the same" cmp out/c-track/probe.txt out/$kind-track/probe.txt
done

# ---- where plugins come from ----
build_probe one ${CC:-cc} -std=c11 -DNO_TRACK '-DNAME="one"'
replay d --sink ./one.so:fail=0
check "a file as a sink, with options" exit_status 0
ln -s one.so link.so
replay d2 --sink ./one.so --sink one:slow=0 --sink ./link.so:slow=1
check "again, by name and by another name: loaded once, probe.txt is there already" exit_status 1
refused "a file with two sinks" "./c.so: brings two sinks; name one, .probe. or .probe_track., after --plugin" --sink ./c.so
refused "a format is no sink" "au.so: brings no sink, but the format .au." --sink "$build/plugins/au.so"
mkdir folder && cp one.so folder/one.so && cp c.so folder/probe.so && cp one.so folder/file.so
TAPEDECK_PLUGIN_PATH=/nowhere:$PWD/folder replay e --sink one
check "by name from TAPEDECK_PLUGIN_PATH" test -s out/e/probe.txt
TAPEDECK_PLUGIN_PATH=$PWD/folder replay e2 --sink file:format=probe
check "a format by name" test -s out/e2/$first.probe
TAPEDECK_PLUGIN_PATH=$PWD/folder replay e3 --sink file
check "what is built in wins" test -s out/e3/$first.wav
replay e4 --sink file:format=probe --plugin ./c.so
check "a plugin behind the sink that needs it" test -s out/e4/$first.probe

# ---- refusals ----
refused "not found" "no sink is called .nope.; there is: file.*; and no nope.so in: $build/plugins" --sink nope
refused "no such format" "format cannot be .nope.; it is one of: wav.*; no nope.so in: $build/plugins" --sink file:format=nope
refused "no such file" "--plugin: ./nope.so: No such file" --plugin ./nope.so
refused "no such file as a sink" "--sink: ./nope.so: No such file" --sink ./nope.so:a=b
echo "I am no library" >text.so
refused "a text" "./text.so: cannot be loaded: " --plugin ./text.so
: >empty.so
refused "an empty file" "./empty.so: cannot be loaded: file too short" --plugin ./empty.so
size=$(stat -c %s c.so)
for part in 100 1000 3000 $((size / 2)); do
	head -c "$part" c.so >cut.so
	refused "one that was cut off after $part bytes" "./cut.so: (is not all there: it was cut off|cannot be loaded: )" --plugin ./cut.so
done
rm cut.so
mkdir dir.so
refused "a folder" "./dir.so: is not a file" --plugin ./dir.so
build_probe nosymbol ${CC:-cc} -std=c11 -DNO_SYMBOL
refused "without its symbol" "./nosymbol.so: is no plugin: it has no function td_plugin" --plugin ./nosymbol.so
build_probe nofinish ${CC:-cc} -std=c11 -DNO_FINISH
refused "without a method" "./nofinish.so: its sink .probe. has no finish\(\)" --plugin ./nofinish.so
build_probe ops99 ${CC:-cc} -std=c11 -DOPS_ABI=99
refused "methods of another ABI" "./ops99.so: its sink is of ABI 99, and this program of ABI 1" --plugin ./ops99.so
mkdir -p newer/tapedeck && sed 's/^#define TD_SINK_ABI 1u/#define TD_SINK_ABI 2u/' "$build/include/tapedeck/sink.h" >newer/tapedeck/sink.h
build_probe newer ${CC:-cc} -std=c11 -I"$PWD/newer"
${CC:-cc} -std=c11 -D_GNU_SOURCE -fPIC -shared -Inewer -o newer.so "$tree/tests/abi/probe.c"
refused "built for a newer program" "./newer.so: does not fit this program, which has ABI 1" --plugin ./newer.so
build_probe badname ${CC:-cc} -std=c11 '-DNAME="Bad Name"'
refused "a name that is none" "./badname.so: its sink .Bad Name. needs a name of" --plugin ./badname.so
build_probe taken ${CC:-cc} -std=c11 '-DNAME="file"'
refused "a name that is taken" "./taken.so: there is a sink .file. already, built in" --plugin ./taken.so
cp c.so again.so
refused "a name that a plugin took" "./again.so: there is a sink .probe. already, from ./c.so" --plugin ./c.so --plugin ./again.so
refused "a bad option" "--sink: probe: slow cannot be .x.; it is a number from 0 to 10000" --plugin ./c.so --sink probe:slow=x
cp c.so open.so && chmod 666 open.so
refused "writable by everybody" "./open.so: not loaded, for it can be written by everybody" --plugin ./open.so
mkdir open && cp c.so open/c.so && chmod 777 open
refused "in a folder writable by everybody" "open/c.so: not loaded, for its folder can be written by everybody" --plugin open/c.so
chmod 1777 open
replay sticky --plugin open/c.so --sink probe
check "sticky folders are fine" exit_status 0
ln -s ../open.so open/link.so
refused "a link to such a file" "open/link.so: not loaded, for it can be" --plugin open/link.so
if [ "$(id -u)" = 0 ]; then
	cp c.so foreign.so && chown 12345 foreign.so
	refused "of another user" "./foreign.so: not loaded, for it belongs to another user" --plugin ./foreign.so
	mkdir foreign && cp c.so foreign/c.so && chown 12345 foreign
	refused "in a folder of another user" "foreign/c.so: not loaded, for its folder belongs" --plugin foreign/c.so
fi

# ---- --list-sinks ----
cp text.so folder/text.so
TAPEDECK_PLUGIN_PATH=$PWD/folder receiver --list-sinks --plugin "$build/plugins/meter.so" >list.txt 2>receiver.log
last=$?
check "--list-sinks: exit 0" exit_status 0
check "built-in ones, formats, plugins" sh -c '
	for what in "^  file  .*one file per speaker; takes PCM of 2" "^  meter .*takes PCM of 1 channel" \
		"^ *interval=1 .*1 to 3600" "^  one .*for tests" "from .*/folder/file.so" "^  format=wav .*takes PCM" \
		"^  format=probe" "/folder/text.so: cannot be loaded: " "/folder/one.so: there is a sink .one. already"; do
		grep -qE -e "$what" list.txt || { echo "not there: $what"; exit 1; }
	done'
check "in 80 columns" sh -c '! grep -vE "/" list.txt | grep -qE ".{81}"'
receiver --list-sinks >list.txt
check "those of the build folder without being asked" sh -c 'grep -q "^  pipe " list.txt && grep -q "^  sink_template " list.txt'
refused "--list-sinks with a bad plugin" "nope.so: No such file" --list-sinks --plugin nope.so

# ---- the examples ----
sed "s/sink_template/my_sink/g" "$tree/examples/sink_template.c" >my_sink.c
check "the template, copied and renamed" ${CC:-cc} -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -shared -fPIC -I"$build/include" -o my_sink.so my_sink.c
check "records" sh -c "session=\$(BUILD=$build TMPDIR=. '$tree/examples/try_sink.sh' ./my_sink.so:note=hello) && cp \$session/my_sink.txt ."
check "and counts" sh -c '[ "$(sed -n 1p my_sink.txt)" = hello ] && grep -qE "^[1-9][0-9]+ frames" my_sink.txt &&
	grep -qE "^[1-9][0-9]+ packets" my_sink.txt && grep -q "^3 speakers" my_sink.txt'
replay t --sink sink_template:what=sound
check "it takes what it is told" sh -c 'grep -qE "^[1-9][0-9]+ frames" out/t/sink_template.txt && grep -q "^0 packets" out/t/sink_template.txt'
refused "and refuses what makes no sense" "--sink: sink_template: packets have the channels" --sink sink_template:what=packets,channels=1

replay m --sink file --sink meter:interval=2,log=yes
check "meter: a line for each speaker and interval" sh -c '
	[ $(wc -l <out/m/levels.jsonl) -eq 15 ] &&
	! grep -vE "^\{\"at\":[02468],\"user_id\":\"20000000000000000[123]\",\"ssrc\":[0-9]+,\"peak\":-[0-9.]+,\"rms\":-[0-9.]+,\"heard\":[0-2]\.[0-9]+\}$" out/m/levels.jsonl'
check "meter: pauses within a sentence are not heard" sh -c '
	heard=$(sed "s/.*heard\":\([0-9]*\)\.\([0-9]*\)}/\1\2/" out/m/levels.jsonl | awk "{ sum += \$1 } END { print sum }")
	all=$(sed -n "s/.* frames, \([0-9]*\) samples/\1/p" out/t/sink_template.txt)
	[ $heard -gt 1000 ] && [ $heard -lt $((all / 480 - 50)) ] || { echo $heard $all; exit 1; }'
replay m2 --sink meter --workers 1
replay m3 --sink meter --workers 3
check "meter: the same every time" cmp out/m2/levels.jsonl out/m3/levels.jsonl

# Four speakers who come and go: 80 streams each, all in one interval.
awk 'BEGIN {
	printf "{ \"seed\": 2, \"seconds\": 82, \"guilds\": [ { \"speakers\": ["
	for (s = 0; s < 4; s++) {
		printf "%s{ \"present\": [", s ? ", " : ""
		for (i = 0; i < 80; i++)
			printf "%s{ \"from_ms\": %d, \"to_ms\": %d }", i ? ", " : "", 1000 * i + 100, 1000 * i + 700
		printf "] }"
	}
	print "] } ] }" }' >many.json
offline --scenario many.json
replay m4 --sink meter:interval=3600
check "meter: everybody is measured, however many there are" sh -c '
	[ $(wc -l <out/m4/levels.jsonl) -eq 320 ] || { wc -l <out/m4/levels.jsonl; exit 1; }'
offline --speakers 3 --seconds 10 --seed 1

replay a --sink file:format=au+wav,channels=1
check "au: beside WAV, from one --sink" exit_status 0
check "au: header" sh -c "[ \"\$(head -c 28 out/a/$first.au | od -An -v -tx1 | tr -d ' \n')\" = \
	2e736e640000001c\$(printf %08x \$((\$(stat -c %s out/a/$first.au) - 28)))000000030000bb800000000100000000 ]"
check "au: the samples of the WAV" sh -c "tail -c +29 out/a/$first.au | dd conv=swab 2>/dev/null >a &&
	tail -c +113 out/a/$first.wav | cmp - a"

# ---- pipe ----
replay p --sink file:channels=1 --sink 'pipe:cmd=sh -c "cat >{folder}/{user}.raw; echo {ssrc} {rate} {channels} {session} {else} >>{folder}/said; echo {start} >{folder}/{user}.start"'
check "pipe: exit 0" exit_status 0
# from_start FOLDER: the sound of its files, mono, from {start} on is what was written.
from_start() {
	for raw in "$1"/*.raw; do
		size=$(stat -c %s "$raw")
		skip=$(awk '{ printf "%d", int($1 * 48000 + 0.5) * 2 }' "${raw%.raw}.start")
		[ "$size" -gt 300000 ] && tail -c +$((113 + skip)) "${raw%.raw}.wav" | head -c "$size" | cmp - "$raw" || return 1
	done
}
check "pipe: what is in the file, from the first word to the last" from_start out/p
check "pipe: of everybody" sh -c '[ $(ls out/p/*.raw | wc -l) -eq 3 ]'
cat >late.json <<'END'
{ "seed": 6, "seconds": 20, "guilds": [ { "speakers": [ {}, { "start_ms": 12000, "spurt_ms": 2000, "pause_ms": 1000 } ] } ] }
END
offline --scenario late.json
replay p10 --sink file:channels=1 --sink 'pipe:cmd=sh -c "cat >{folder}/{user}.raw; echo {start} >{folder}/{user}.start"'
check "pipe: who comes late begins with their first word" from_start out/p10
check "pipe: and not with what was before" sh -c '
	cat out/p10/*.start | tr "\n" " " | grep -qE "^0\.[0-9]{6} 1[12]\.[0-9]{6} $" && [ $(ls -S out/p10/*.raw | tail -n 1 | xargs stat -c %s) -lt 800000 ]'
offline --speakers 3 --seconds 10 --seed 1
check "pipe: names" sh -c '[ $(grep -cE "^[1-9][0-9]* 48000 1 p \{else\}$" out/p/said) -eq 3 ]'
replay p2 --sink 'pipe:cmd=sh -c "cat >{folder}/{user}.raw",silence=no,channels=2' --sink file
check "pipe: without silence, in stereo" sh -c "
	size=\$(stat -c %s out/p2/$first.raw) && [ \$size -gt 500000 ] && [ \$size -lt \$(stat -c %s out/p2/$first.wav) ] && [ \$((size % 4)) -eq 0 ]"
replay p3 --events --sink 'pipe:cmd=sh -c "cat >/dev/null; ls /proc/self/fd"'
check "pipe: no descriptor of ours" sh -c '[ "$(sort receiver.log | uniq -c | tr -d " \n")" = 30313233 ]'
check "pipe: what programs print is not among the events" sh -c '! grep -v "^{.*}$" stdout.log'
offline --speakers 3 --seconds 30 --seed 3 # more than a pipe holds
replay p4 --events --sink file --sink 'pipe:cmd=sh -c "head -c 1000 >/dev/null",channels=2'
check "pipe: a program that has enough costs a warning" exit_status 0
check "pipe: for each speaker, once" sh -c '[ $(grep -c "pipe: the program of 20000000000000000[123] ended with exit status 0; nothing more" stdout.log) -eq 3 ] && [ $(grep -c "\"warning\"" stdout.log) -eq 3 ]'
check "pipe: and the files are right" right p4
offline --speakers 3 --seconds 10 --seed 1
replay p5 --sink file --sink 'pipe:cmd=sh -c "kill -SEGV \$\$"'
check "pipe: a program that crashes fails, and nothing else" exit_status 1
check "pipe: with its reason" sh -c '[ $(grep -c "pipe: the program of 20000000000000000[123] was killed by signal 11" receiver.log) -eq 3 ] && [ $(wc -l <receiver.log) -eq 3 ]'
check "pipe: and the files are right" right p5
replay p6 --sink file --sink 'pipe:cmd=sh -c "exit 7"'
check "pipe: its exit status" sh -c '[ $(grep -c "ended with exit status 7" receiver.log) -eq 3 ]'
replay p7 --sink file --sink 'pipe:cmd=no-such-program'
check "pipe: a program that is not there" sh -c '[ '$last' -eq 1 ] && [ $(grep -c "pipe: no-such-program cannot be started for .*: No such file" receiver.log) -eq 3 ] && [ $(wc -l <receiver.log) -eq 3 ]'
check "pipe: and the files are right" right p7
began=$(date +%s)
replay p8 --events --sink 'pipe:cmd=sh -c "trap : TERM; cat >/dev/null; while :; do sleep 0.1; done" tapedeck-'$$',wait=1'
check "pipe: a program that never ends is ended" sh -c '[ $(grep -c "was not done after 1 s and is ended" stdout.log) -eq 3 ]'
check "pipe: which is not a failure" sh -c "[ $last -eq 0 ] && ! grep '\"error\"' stdout.log"
check "pipe: soon" test $(($(date +%s) - began)) -le 5
check "pipe: and is gone" sh -c '! pgrep -f "tapedeck[-]'$$'"'
offline --speakers 1 --seconds 30 --seed 3
replay p9 --sink file:channels=1 --sink 'pipe:cmd=sh -c "sleep 1; cat >{folder}/raw; echo {start} >{folder}/{user}.start"'
mv out/p9/raw out/p9/$first.raw
check "pipe: a replay waits for a program" from_start out/p9
check "pipe: for all of it" test "$(stat -c %s out/p9/$first.raw)" -gt 2000000
offline --speakers 3 --seconds 10 --seed 1
refused "pipe: without a command" "--sink: pipe: cmd is needed" --sink pipe
refused "pipe: an open quote" "--sink: pipe: cmd has a quote without its end" --sink 'pipe:cmd=cat "a'
refused "pipe: a program that is not there" "--sink: pipe: /no/such: No such file" --sink 'pipe:cmd=/no/such x'
check "pipe_reader.py" sh -c 'command -v python3 >/dev/null || exit 0
	head -c 192000 /dev/zero | python3 "$1" me >a && [ "$(cat a)" = "$(printf "me     0 s  -90.3 dB\nme     1 s  -90.3 dB")" ]' sh "$tree/examples/pipe_reader.py"

# ---- plugins that misbehave ----
replay f --plugin ./c.so --sink file --sink probe:fail=50 --events
check "a sink that fails: exit 1" exit_status 1
check "it is an event, once" sh -c '[ $(grep -c "\"event\":\"error\".*sink probe has ended: limit reached" stdout.log) -eq 1 ] && [ $(grep -c "\"error\"" stdout.log) -eq 1 ]'
check "and the files are right" right f
replay f2 --plugin ./c.so --sink file --sink probe_track:fail=50 --events
check "a track that fails: exit 1" exit_status 1
check "it is an event for each speaker" sh -c '
	for n in 1 2 3; do
		[ $(grep -c "\"error\".*probe_track: user 20000000000000000$n: limit reached; nothing more" stdout.log) -eq 1 ] || exit 1
	done'
check "and the files are right" right f2
mkdir -p out/f3 && replay f3 --plugin ./c.so --sink probe:fail=1 --sink file
check "the first one fails: the next goes on" right f3-2
replay f4 --sink meter --sink meter --sink file
check "one that cannot begin: the others go on" right f4
check "exit 1, and a line" sh -c "[ $last -eq 1 ] && grep -q 'sink meter cannot begin: File exists' receiver.log && [ \$(wc -l <receiver.log) -eq 1 ]"
replay g --plugin ./c.so --sink file --sink probe:crash=300
check "a plugin that crashes takes the receiver with it" exit_status 134
check "and what was recorded can be read" sh -c 'for f in out/g/*.wav; do [ $(stat -c %s $f) -ge 112 ] && [ "$(head -c 4 $f)" = RIFF ] || exit 1; done'

# ---- live: a slow sink in one guild, a program that does not read in the other ----
cat >two.json <<'END'
{ "seed": 5, "seconds": 16, "guilds": [
  { "guild_id": "10", "speakers": [ {}, {} ] },
  { "guild_id": "11", "speakers": [ {}, { "pauses": [ { "from_ms": 2500, "to_ms": 60000 } ] } ] } ] }
END
server server.log --scenario two.json --truth live.json || cat server.log
"$build/receiver" --join join.json --events --out live --workers 2 --duration 15 --plugin ./c.so \
	--sink file --sink probe:slow=15,guild=10 --sink 'pipe:cmd=sleep 1'$$',keep=2,wait=1,channels=2' --sink meter >events.log 2>receiver.log &
pid=$!
pids="$pids $pid"
sleep 5
for fd in /proc/$pid/fd/*; do
	fd=${fd##*/} # one of ours, and not of whoever started this test; libwebsockets keeps /dev/null
	[ "$fd" -le 2 ] || [ -e "/proc/$$/fd/$fd" ] || [ "$(readlink "/proc/$pid/fd/$fd")" = /dev/null ] ||
		grep -q '^flags:.*[2367][0-7]\{6\}$' "/proc/$pid/fdinfo/$fd" || ls -l "/proc/$pid/fd/$fd"
done >open.log
check "no descriptor is for programs" test ! -s open.log
sleep 1
check "meter: live, a line does not wait for the next word" sh -c '
	for n in $(cut -d, -f3 live/11-*/levels.jsonl | sort -u); do
		grep -F "$n," live/11-*/levels.jsonl | grep -q "\"at\":2," || { cat live/11-*/levels.jsonl; exit 1; }
	done; [ $(cut -d, -f3 live/11-*/levels.jsonl | sort -u | wc -l) -eq 2 ]'
wait $pid
last=$?
kill "$server" 2>/dev/null
wait "$server" 2>/dev/null
check "live: exit 0" exit_status 0
check "the slow sink is named" grep -qE '"event":"warning".*"guild_id":"10".*sink probe is slow: it took|"event":"warning".*sink probe is slow.*"guild_id":"10"' events.log
check "in its guild alone" sh -c '! grep "is slow" events.log | grep -q "\"guild_id\":\"11\""'
check "the other guild's lane is not held up" "$build/tests/track_check" --tolerance 100 live.json live/11-*
check "a program that does not read costs a warning, while it lasts and at the end" sh -c '
	[ $(grep "\"guild_id\":\"11\"" events.log | grep -c "pipe: the program of .* does not keep up; .* s of sound dropped so far") -ge 2 ]'
check "and is ended" sh -c '! pgrep -P '$pid' && ! pgrep -f "slee[p] 1'$$'"'

exit 0
