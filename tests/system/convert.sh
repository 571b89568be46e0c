#!/bin/sh
# SPDX-License-Identifier: ISC
# convert: every kind of input to every format, and everything that can go wrong with one of them.
. "$(dirname "$0")/lib.sh"

convert() {
	timeout -k 5 120 "$build/convert" "$@"
}

# noise FILE SECONDS: 48 kHz, stereo, nothing that could be guessed.
noise() {
	head -c $(($2 * 192000)) /dev/urandom >"$1"
}

raw=48000:2:s16le

# seconds FILE: what is in it, in samples, as convert itself reads it.
samples() {
	rm -rf measured
	convert -q -f pcm -r 48000 -c 2 -o measured "$1" 2>/dev/null || return 1
	set -- measured/*.pcm
	echo $(($(wc -c <"$1") / 4))
}

# ended STATUS COMMAND...: the exit status of a convert, its output in out.log and err.log.
ended() {
	wanted=$1
	shift
	"$@" >out.log 2>err.log </dev/null
	got=$?
	[ $got -eq "$wanted" ] || {
		echo "status $got, wanted $wanted"
		cat out.log err.log
		return 1
	}
}

# says PATTERN...: err.log has a line for each.
says() {
	for pattern; do
		grep -qE -e "$pattern" err.log || {
			echo "nothing says: $pattern"
			cat err.log
			return 1
		}
	done
}

no_parts() {
	! find . -name '.*.part' | grep .
}

no_workers() {
	! pgrep -P "$1" >/dev/null
}

# until_there FILE: waits for it, at most 20 s.
until_there() {
	tries=0
	until [ -s "$1" ]; do
		tries=$((tries + 1))
		[ $tries -lt 400 ] || return 1
		sleep 0.05
	done
}

# mtime NAME: to the nanosecond.
mtime() {
	stat -c %.Y "$1"
}

# ---- formats ----

noise noise.raw 3
lossless() {
	ended 0 convert --raw $raw -f "$1" -o "$1" noise.raw &&
		ended 0 convert -f pcm -o "$1/back" "$1/noise.$1" && cmp noise.raw "$1/back/noise.pcm"
}
check "wav and back" lossless wav
check "flac and back" lossless flac
check "pcm and back" lossless pcm
lossy() {
	ended 0 convert --raw $raw -f "$1" -o "$1" noise.raw &&
		n=$(samples "$1/noise.$1") && echo "$n samples" && [ "$n" -eq 144000 ]
}
check "mp3, as long as it was" lossy mp3
check "opus, as long as it was" lossy opus
check "other programs read them" sh -c '
	command -v ffprobe >/dev/null || exit 0
	for f in wav/noise.wav flac/noise.flac mp3/noise.mp3 opus/noise.opus; do
		ffprobe -v error -show_entries stream=sample_rate -of csv=p=0 $f | grep -q "^48000" || exit 1
	done'
check "options of a format" sh -c "
	$build/convert -q --raw $raw -f mp3:bitrate=320 -o loud noise.raw &&
	$build/convert -q --raw $raw -f mp3:bitrate=64 -o small noise.raw &&
	[ \$(wc -c <loud/noise.mp3) -gt \$((3 * \$(wc -c <small/noise.mp3))) ]"
reshaped() {
	ended 0 convert --raw $raw -f pcm -r 16000 -c 1 -o shaped noise.raw &&
		[ "$(wc -c <shaped/noise.pcm)" -eq 96000 ] && grep -q '"rate": 16000' shaped/noise.pcm.json
}
check "another rate and one channel" reshaped
opus_of_44100() {
	ended 0 convert --raw 44100:2:s16le -f opus -o opus44 noise.raw &&
		n=$(samples opus44/noise.opus) && [ "$n" -eq 156735 ]
}
check "a rate the format does not have" opus_of_44100
copied() {
	ended 0 convert -f opus -o again opus/noise.opus && says 'copied' && cmp opus/noise.opus again/noise.opus
}
check "opus to opus is a copy" copied

# ---- raw samples ----

byte() {
	printf '%b' "$1"
}
same_samples() {
	ended 0 convert --force --raw "48000:1:$1" -f pcm -o f in.raw &&
		od -An -v -td2 f/in.pcm | tr -s ' \n' ' ' | grep -qx " $2 " || {
		od -An -td2 f/in.pcm
		return 1
	}
}
byte '\0001\0002\0377\0377' >in.raw
check "s16le" same_samples s16le "513 -1"
check "s16be" same_samples s16be "258 -1"
# 1.0, -1.0, 2.0, NaN, -inf, 1/65536 (rounds to even), 3/65536
byte '\0000\0000\0200\0077\0000\0000\0200\0277\0000\0000\0000\0100\0000\0000\0300\0177\0000\0000\0200\0377\0000\0000\0200\0067\0000\0000\0100\0070' >in.raw
check "f32le: rounded, never wrapped, no NaN" same_samples f32le "32767 -32768 32767 0 -32768 0 2"
noise odd.raw 1
byte 'xyz' >>odd.raw
odd() {
	ended 0 convert --raw $raw -f wav -o odd odd.raw && says 'odd.raw: warning: the last 3 bytes are no whole sample' &&
		n=$(samples odd/odd.wav) && [ "$n" -eq 48000 ]
}
check "odd bytes at the end: left out, said so" odd
cp noise.raw cap.pcm
echo '{"format":"s16le","rate":48000,"channels":2}' >cap.json
captured() {
	ended 0 convert -f wav -o cap cap.pcm && n=$(samples cap/cap.wav) && [ "$n" -eq 144000 ]
}
check "captured samples with their .json" captured
refused_json() {
	echo "$2" >cap.json
	ended 3 convert --force -f wav -o cap cap.pcm && says "cap.pcm: .*$1"
}
check "a .json with an absurd rate" refused_json 'rate 4000000000 is not' '{"format":"s16le","rate":4000000000,"channels":2}'
check "a .json with 0 channels" refused_json '0 channels' '{"format":"s16le","rate":48000,"channels":0}'
check "a .json that is none" refused_json 'cap.json: line' '[[[['
rm cap.json
undescribed() {
	ended 3 convert --force -f wav -o cap cap.pcm && says 'need their .json beside them, or --raw'
}
check "captured samples without it" undescribed

# ---- bad inputs, among good ones ----

: >empty.raw
: >empty.wav
echo "this is a text, not sound" >text.wav
head -c 200 wav/noise.wav >short.wav
head -c 40 wav/noise.wav >head.wav
mkfifo pipe.wav
ln -s nowhere.wav dangling.wav
bad() {
	ended 3 convert -f flac -o mixed text.wav empty.wav wav/noise.wav nofile.wav pipe.wav dangling.wav short.wav &&
		says 'text.wav: not a sound file' 'empty.wav: empty' 'nofile.wav: No such file' \
			'pipe.wav: not a regular' 'dangling.wav: No such file' '2 converted, 0 skipped, 5 failed' &&
		[ "$(sed -n '/failed:$/,$p' err.log | tail -n +2 | sort | tr -d '\n')" = \
			"  dangling.wav  empty.wav  nofile.wav  pipe.wav  text.wav" ] &&
		[ "$(ls mixed | tr '\n' ' ')" = "noise.flac short.flac " ]
}
check "one bad input does not stop the others; exit 3 names them" bad
empty_raw() {
	ended 3 convert --raw $raw -f wav -o mixed empty.raw && says 'empty.raw: empty' && [ ! -e mixed/empty.wav ]
}
check "an empty file" empty_raw
ended_early() {
	ended 3 convert -f flac -o mixed head.wav && says 'head.wav: '
}
check "a WAV that ends in its header" ended_early

# A writer that was killed: the header knows of nothing, or of too much.
header=$(($(wc -c <wav/noise.wav) - $(wc -c <noise.raw)))
{
	head -c $((header - 4)) wav/noise.wav
	byte '\0000\0000\0000\0000'
	tail -c +$((header + 1)) wav/noise.wav
} >killed.wav
killed_header() {
	ended 0 convert -f pcm -o killed killed.wav && says 'header is wrong' && cmp killed/killed.pcm noise.raw
}
check "a WAV without length in its header" killed_header
head -c $((300000 + header)) wav/noise.wav >cut.wav
cut_file() {
	ended 0 convert -f pcm -o killed cut.wav && [ "$(wc -c <killed/cut.pcm)" -eq 300000 ] && says 'header is wrong'
}
check "a WAV that was cut off" cut_file

# ---- large ones ----

truncate -s 5000000000 large.raw
printf 'abcd' | dd of=large.raw bs=1 seek=2500000000 conv=notrunc 2>/dev/null
printf 'abcd' | dd of=large.raw bs=1 seek=4999999996 conv=notrunc 2>/dev/null
large() {
	ended 0 convert --raw $raw -f wav -o large large.raw && [ "$(head -c 4 large/large.wav)" = RF64 ] &&
		[ "$(stat -c %s large/large.wav)" -eq $((5000000000 + header)) ] && [ "$(stat -c %b large/large.wav)" -lt 20000 ]
}
check "5 GB of samples become RF64, holes stay holes" large
large_back() {
	ended 0 convert -f pcm -o large large/large.wav && [ "$(stat -c %s large/large.pcm)" -eq 5000000000 ] &&
		[ "$(dd if=large/large.pcm bs=4 skip=625000000 count=1 2>/dev/null)" = abcd ] &&
		[ "$(tail -c 4 large/large.pcm)" = abcd ]
}
check "RF64 of 5 GB is read" large_back
# The header of a program that knows 32 bits only: 5000000000 - 4294967296.
{
	printf 'RIFF\0\0\0\0WAVEfmt \020\0\0\0\001\0\002\0'
	byte '\0200\0273\0000\0000\0000\0356\0002\0000\0004\0000\0020\0000'
	printf 'data'
	byte '\0000\0362\0005\0052'
} >wrapped.wav
truncate -s 5000000044 wrapped.wav
printf 'abcd' | dd of=wrapped.wav bs=1 seek=5000000040 conv=notrunc 2>/dev/null
wrapped() {
	ended 0 convert -f pcm -o large wrapped.wav && says 'header is wrong' &&
		[ "$(stat -c %s large/wrapped.pcm)" -eq 5000000000 ] && [ "$(tail -c 4 large/wrapped.pcm)" = abcd ]
}
check "a WAV that outgrew its header" wrapped
rm -rf large large.raw wrapped.wav

# ---- files that change meanwhile ----

noise long.raw 60
# meanwhile COMMAND...: runs it while long.raw is being converted.
meanwhile() {
	rm -rf long
	timeout -k 5 120 "$build/convert" --raw $raw -f mp3 -o long long.raw >out.log 2>err.log &
	job=$!
	until_there long/.long.mp3.part && "$@"
	wait $job
	got=$?
}
# The time of the file does not tell: somebody sets it back, or the clock is too coarse.
touch -r long.raw long.time
grow() {
	head -c 500000 /dev/zero >>long.raw
	touch -r long.time long.raw
}
grows() {
	meanwhile grow
	[ $got -eq 0 ] && says 'grew while it was read' && n=$(samples long/long.mp3) && [ "$n" -eq 2880000 ]
}
check "a file that grows: what was there is converted" grows
again() {
	ended 0 convert --raw $raw -f mp3 -o long long.raw && says '1 converted' && n=$(samples long/long.mp3) &&
		[ "$n" -eq 3005000 ]
}
check "and the next run converts all of it" again
shrink() {
	truncate -s 1000000 long.raw
}
shrinks() {
	meanwhile shrink
	[ $got -eq 3 ] && says 'long.raw: became shorter' && [ -z "$(ls -A long)" ]
}
check "a file that shrinks fails, nothing is left" shrinks

# ---- interruptions ----

noise long.raw 60
cp long.raw long2.raw
cp noise.raw third.raw
start() {
	rm -rf stop
	setsid "$build/convert" -j "${1:-2}" --raw $raw -f mp3 -o stop long.raw long2.raw third.raw >out.log 2>err.log &
	main=$!
	pids="$pids $main"
	until_there stop/.long.mp3.part && until_there stop/.long2.mp3.part
}
worker_killed() {
	start && kill -9 "$(pgrep -P $main | head -n 1)"
	wait $main
	[ $? -eq 3 ] && says 'the worker died \(signal 9\)' '2 converted, 0 skipped, 1 failed' && no_parts &&
		[ "$(ls stop | wc -l)" -eq 2 ]
}
check "a killed worker costs its input only" worker_killed
workers_killed() {
	start && kill -9 $(pgrep -P $main)
	wait $main
	[ $? -eq 3 ] && says '1 converted, 0 skipped, 2 failed' && no_parts && [ -e stop/third.mp3 ]
}
check "killed workers are replaced" workers_killed
interrupted() {
	start && kill -"$1" $main
	wait $main
	[ $? -eq 130 ] && no_parts && no_workers $main && ! ls stop/long*.mp3 &&
		says '^convert: interrupted: 0 converted, 0 skipped, 0 failed, 3 not done$'
}
check "SIGINT: exit 130, nothing half-written" interrupted INT
check "SIGTERM too" interrupted TERM
killed() {
	start || return 1
	children=$(pgrep -P $main)
	kill -9 $main
	wait $main
	sleep 0.5
	for pid in $children; do
		! grep -q '^State:.[RSD]' "/proc/$pid/status" 2>/dev/null || return 1
	done
	ls -A stop | grep -q part && ! ls stop/long.mp3 stop/long2.mp3
}
check "SIGKILL: the workers end too" killed
after_kill() {
	ended 0 convert --raw $raw -f mp3 -o stop long.raw long2.raw third.raw && no_parts && [ "$(ls stop | wc -l)" -eq 3 ]
}
check "and the next run replaces what was left" after_kill
two_at_once() {
	start || return 1
	ended 3 convert --raw $raw -f mp3 -o stop long.raw && says 'another convert is writing it' || return 1
	wait $main && no_parts && [ "$(ls stop | wc -l)" -eq 3 ]
}
check "two converts do not write one output" two_at_once
rm -f long.raw long2.raw third.raw

# ---- disks ----

full() {
	rm -rf full
	mkdir full
	(
		ulimit -f 200
		ended 3 convert --raw $raw -f wav -o full noise.raw in.raw
	) && says 'noise.raw: full/noise.wav: File too large' && [ "$(ls -A full)" = in.wav ]
}
check "a file that may not get larger" full
mkdir disk
if mount -t tmpfs -o size=300k tmpfs disk 2>/dev/null; then
	disk_full() {
		ended 3 convert -j 1 --raw $raw -f wav -o disk noise.raw in.raw &&
			says 'noise.raw: disk/noise.wav: No space left on device' && [ "$(ls -A disk)" = in.wav ]
	}
	check "a full disk" disk_full
	read_only() {
		cp wav/noise.wav disk/x.wav 2>/dev/null
		mount -o remount,ro disk && ended 3 convert -f mp3 disk/in.wav && says 'disk/in.wav: .*Read-only'
	}
	check "a folder that cannot be written" read_only
	ended 1 convert -f mp3 -o disk wav/noise.wav
	check "an output folder that cannot be written" says 'convert: -o: disk: Read-only'
	umount disk
fi
ended 1 convert -f mp3 -o /proc/nowhere wav/noise.wav
check "an output folder that cannot be made" says 'convert: -o: /proc/nowhere'

# ---- names ----

mkdir -p in/sub/deep
cp wav/noise.wav in/a.wav
cp wav/noise.wav in/sub/b.wav
cp flac/noise.flac in/sub/deep/c.flac
cp pcm/noise.pcm pcm/noise.pcm.json in/sub
cp noise.raw in/nobody.pcm
cp text.wav in/.hidden.wav
echo hello >in/readme.txt
folder() {
	ended 0 convert -f mp3 -o tree in &&
		[ "$(cd tree && find . -type f | sort | tr '\n' ' ')" = "./a.mp3 ./sub/b.mp3 ./sub/deep/c.mp3 ./sub/noise.mp3 " ]
}
check "folders, with relative names" folder
beside() {
	ended 0 convert -f mp3 in && [ -e in/a.mp3 ] && [ -e in/sub/deep/c.mp3 ] && says '4 converted'
}
check "beside the inputs" beside
check "again: up to date" sh -c "$build/convert -f mp3 in 2>&1 | grep -q '0 converted, 4 skipped, 0 failed'"
touch in/a.wav in/sub/noise.pcm.json
check "newer inputs, and newer .json, are converted again" sh -c "$build/convert -f mp3 in 2>&1 | grep -q '2 converted, 2 skipped, 0 failed'"
check "--force" sh -c "$build/convert --force -f mp3 in 2>&1 | grep -q '4 converted, 0 skipped, 0 failed'"
check "an output has the time of its input" sh -c "[ $(mtime in/a.wav) = $(mtime in/a.mp3) ]"
check "and is nobody else's to read" sh -c '[ $(stat -c %a in/a.mp3) = 600 ]'
collide() {
	cp flac/noise.flac in/a.flac
	rm -rf tree
	ended 3 convert -f mp3 -o tree in/a.wav in/a.flac wav/noise.wav && says 'in/a.flac: would become tree/a.mp3, and so does in/a.wav' '2 converted'
}
check "two inputs with one output" collide
itself() {
	before=$(md5sum <in/a.wav)
	ended 3 convert --force -f wav in/a.wav && says 'is an input itself' && [ "$before" = "$(md5sum <in/a.wav)" ]
}
check "an output that is its input" itself
another() {
	ended 3 convert --force -f flac in/a.wav in/a.flac && says 'in/a.wav: in/a.flac is an input itself'
}
check "an output that is another input" another
link() {
	mkdir -p link
	echo precious >precious
	ln -sf ../precious link/noise.mp3
	ended 3 convert --force -f mp3 -o link wav/noise.wav && says 'link/noise.mp3 is there and not a regular file' &&
		[ "$(cat precious)" = precious ]
}
check "a symbolic link is not written through" link
twice() {
	ended 0 convert --force -f mp3 -o tree in/a.wav in/./a.wav && says '1 converted, 1 skipped'
}
check "an input given twice" twice
dashes() {
	cp wav/noise.wav ./-x.wav
	ended 0 convert -f flac -o dash -- -x.wav && [ -e dash/-x.flac ]
}
check "-- ends the options" dashes
check "nothing to convert is no error" sh -c "mkdir -p none; $build/convert none 2>&1 | grep -q 'nothing to convert'"
hostile=$(printf 'bad\033[2J\nname.wav')
cp text.wav "$hostile"
hostile_name() {
	ended 3 convert -f mp3 -o tree "$hostile" && ! grep -q "$(printf '\033')" err.log && says 'bad.\[2J.name.wav: not a sound'
}
check "a name that would make a mess of the terminal" hostile_name

# ---- standard input and output ----

pipe() {
	convert --raw $raw - -f flac <noise.raw 2>/dev/null | convert - -f pcm 2>/dev/null | cmp - noise.raw
}
check "through pipes" pipe
slow() {
	(cat noise.raw; sleep 0.3; cat noise.raw) | convert -q --raw $raw - -f wav -o slow && n=$(samples slow/stdin.wav) && [ "$n" -eq 288000 ]
}
check "raw samples as they come" slow
# What comes through a pipe is read, and a file is copied by the kernel, to this disk or to another.
as_copied() {
	other=$(mktemp -d /dev/shm/convert.XXXXXX || mktemp -d) || return 1
	for n in 4 524172 524176 524180 1048580 5000003; do
		head -c $n slow.raw >piece.raw
		cat piece.raw | convert -q --raw $raw - -f wav -o slow &&
			convert -q --force --raw $raw -f wav -o slow piece.raw &&
			convert -q --force --raw $raw -f wav -o "$other" piece.raw &&
			convert -q --force -f wav -o slow/again "$other/piece.wav" &&
			cmp slow/stdin.wav slow/piece.wav && cmp slow/piece.wav "$other/piece.wav" &&
			cmp slow/piece.wav slow/again/piece.wav || break
		done=$n
	done
	rm -r "$other"
	[ "$done" -eq 5000003 ]
}
noise slow.raw 30
check "read or copied, it is the same" as_copied
failed_pipe() {
	convert - -f mp3 <text.wav >out.log 2>err.log
	[ $? -eq 3 ] && [ ! -s out.log ] && says '^convert: -: not a sound'
}
check "nothing on standard output when it fails" failed_pipe
closed() {
	(convert -q -f wav -o - wav/noise.wav; echo $? >status) 2>err.log | head -c 10 >/dev/null
	[ "$(cat status)" = 3 ] && says 'standard output: Broken pipe'
}
check "a reader that goes away" closed
terminal() {
	script -qec "$build/convert -f mp3 -o - wav/noise.wav" /dev/null >out.log 2>&1 </dev/null
	[ $? -eq 2 ] && grep -q 'is a terminal' out.log
}
check "not onto a terminal" terminal

# ---- deleting ----

mkdir del
cp wav/noise.wav del/a.wav
cp pcm/noise.pcm pcm/noise.pcm.json del
cp cut.wav text.wav del
deletes() {
	ended 3 convert --delete -f flac del && [ "$(ls del | tr '\n' ' ')" = "a.flac cut.flac cut.wav noise.flac text.wav " ] &&
		says 'del/cut.wav: warning: kept'
}
check "--delete: whole inputs go, damaged and failed ones stay" deletes
cp wav/noise.wav del/a.wav
touch -d '2001-01-01' del/a.wav
keeps() {
	ended 0 convert --delete -f flac del/a.wav && [ -e del/a.wav ] && says 'up to date'
}
check "--delete: what is only skipped stays" keeps
# overwrite FILE AT BYTES: nonsense in the middle of it.
overwrite() {
	head -c "$3" /dev/zero | tr '\0' '\252' | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
# Tones, not noise: frames that are not stored as they are.
tone() {
	awk 'BEGIN { for (i = 0; i < 96000; i++) print int(9000 * sin(i / 20)) + 1 }' |
		awk '{ v = $1 < 0 ? $1 + 65536 : $1; printf "\\%o\\%o\n", v % 256, int(v / 256) }'
}
LC_ALL=C printf "$(tone | tr -d '\n')" >tone.raw
ended 0 convert --raw 48000:1:s16le -f flac -o hurt tone.raw
check "a tone, in FLAC" [ "$(wc -c <hurt/tone.flac)" -gt 5000 ]
mkdir dflac
cp hurt/tone.flac dflac/hole.flac
overwrite dflac/hole.flac $(($(wc -c <hurt/tone.flac) / 2)) 12
damaged_flac() {
	ended 0 convert --delete -f pcm dflac/hole.flac && says 'hole.flac: warning: damaged at [01]\.' 'kept: ' &&
		[ -e dflac/hole.flac ] || return 1
	# Everything is at its time, and all of it but for a few frames of 4096 is there.
	[ "$(wc -c <dflac/hole.pcm)" -eq 192000 ] || return 1
	n=$(cmp -l dflac/hole.pcm tone.raw | wc -l)
	echo "$n bytes differ"
	[ "$n" -gt 4000 ] && [ "$n" -lt 33000 ]
}
check "a damaged FLAC: silence where it is, the rest in its place, and it stays" damaged_flac
damaged_json() {
	ended 0 convert --json --force -f pcm dflac/hole.flac && grep -q '"event":"warning".*"text":"damaged at' out.log &&
		grep -q '"event":"done".*"warnings":1' out.log
}
check "damage is counted in --json" damaged_json
md5_flac() {
	cp hurt/tone.flac dflac/md5.flac
	overwrite dflac/md5.flac 26 4
	ended 0 convert --delete -f pcm dflac/md5.flac && says 'warning: damaged: .* MD5' && [ -e dflac/md5.flac ] &&
		cmp dflac/md5.pcm tone.raw
}
check "a FLAC with another MD5 stays" md5_flac
cut_flac() {
	head -c $(($(wc -c <hurt/tone.flac) / 2)) hurt/tone.flac >dflac/cut.flac
	ended 0 convert --delete -f pcm dflac/cut.flac && says 'cut.flac: warning: damaged: only [0-9]+ of 96000' &&
		[ -e dflac/cut.flac ] && cmp -n "$(wc -c <dflac/cut.pcm)" dflac/cut.pcm tone.raw
}
check "a FLAC that was cut off stays" cut_flac
whole_flac() {
	cp hurt/tone.flac dflac/whole.flac
	printf 'TAG%0125d' 0 >>dflac/whole.flac
	ended 0 convert --delete -f pcm dflac/whole.flac && [ ! -e dflac/whole.flac ] && cmp dflac/whole.pcm tone.raw &&
		! grep warning err.log
}
check "a whole one goes, one with a tag at its end too" whole_flac
mkdir dogg
# Many pages.
ended 0 convert --raw $raw -f opus -o dogg noise.raw
damaged_ogg() {
	n=$(wc -c <dogg/noise.opus)
	head -c $((n / 2)) dogg/noise.opus >dogg/cut.opus
	cp dogg/noise.opus dogg/hole.opus
	overwrite dogg/hole.opus $((n / 2)) 12
	# A whole page less, the last one: only that nobody said it was the last.
	at=$(grep -abo OggS dogg/noise.opus | tail -n 1 | cut -d: -f1)
	head -c "$at" dogg/noise.opus >dogg/page.opus
	ended 0 convert --delete -f "$1" -o dogg/$1 dogg/cut.opus dogg/hole.opus dogg/page.opus && [ -e dogg/cut.opus ] &&
		[ -e dogg/hole.opus ] && [ -e dogg/page.opus ] && says 'cut.opus: warning: ends early: ' \
			'hole.opus: warning: damaged: missing pages: 1, ' 'page.opus: warning: ends early' && ! grep 'page.opus.*damaged' err.log
}
check "a damaged Ogg file, or half of one, stays" damaged_ogg pcm
check "where it is copied, too" damaged_ogg opus
whole_ogg() {
	ended 0 convert --delete -f pcm -o dogg/whole dogg/noise.opus && ! grep warning err.log && [ ! -e dogg/noise.opus ]
}
check "a whole one goes" whole_ogg
mkdir dmp3
ended 0 convert --raw $raw -f mp3 -o dmp3 noise.raw
cp dmp3/noise.mp3 dmp3/hole.mp3
# In many places: not every one of them makes the decoder complain.
at=8
while [ $at -lt 56 ]; do
	overwrite dmp3/hole.mp3 $(($(wc -c <dmp3/noise.mp3) / 64 * at + 200)) 40
	at=$((at + 1))
done
damaged_mp3() {
	ended 0 convert -q --delete -f pcm dmp3/hole.mp3 && says 'hole.mp3: warning: damaged: its decoder says: ' &&
		[ -e dmp3/hole.mp3 ] && ! grep -v '^convert: ' err.log
}
check "a damaged MP3 stays, and its decoder does not write past us" damaged_mp3
whole_mp3() {
	ended 0 convert -q --delete -f pcm dmp3/noise.mp3 && [ ! -e dmp3/noise.mp3 ] && [ ! -s err.log ]
}
check "a whole one goes, without a word" whole_mp3
keep_wins() {
	ended 0 convert --force --delete --keep -f flac del/a.wav && [ -e del/a.wav ]
}
check "--keep after --delete" keep_wins

# ---- sessions ----

offline --speakers 3 --seconds 10 --seed 1 || echo "not ok - voiceserver --offline"
receiver --replay call.pcap --keys keys.json --out rec -q --session-name s >/dev/null 2>&1
tracks=$(ls rec/s/*.wav | wc -l)
session() {
	ended 0 convert -f flac rec/s && [ "$(ls rec/s/*.flac | wc -l)" -eq "$tracks" ] || return 1
	for f in rec/s/*.wav; do
		b=$(basename "$f" .wav)
		[ "$(samples "$f")" = "$(samples "rec/s/$b.flac")" ] && grep -aq "TITLE=$b" "rec/s/$b.flac" &&
			grep -aq 'ALBUM=s' "rec/s/$b.flac" && grep -aq 'DATE=20' "rec/s/$b.flac" || return 1
	done
}
check "a session: names and tags from its manifest" session
session_out() {
	ended 0 convert -f opus -o conv rec && [ "$(ls conv/s/*.opus | wc -l)" -eq "$tracks" ]
}
check "a folder of sessions" session_out
session_mix() {
	ended 0 convert -f pcm --mix -o conv rec/s && [ -e conv/s-mix.pcm ] &&
		[ "$(wc -c <conv/s-mix.pcm)" -eq $((4 * $(samples "$(ls rec/s/*.wav | head -n 1)"))) ]
}
check "--mix: as long as its session" session_mix
# The same call four times: pauses left out, parts, several formats. All mixes are the same.
cat >pauses.json <<'END'
{"seed":5,"seconds":20,"guilds":[{"speakers":[
 {"clip":"alto.opus","start_ms":300,"spurt_ms":2500,"pause_ms":4100},
 {"clip":"wide.opus","start_ms":5000,"spurt_ms":1500,"pause_ms":7000},
 {"clip":"tenor-fec.opus","start_ms":12000}]}]}
END
record() {
	receiver --replay call.pcap --keys keys.json --out four -q --session-name "$1" --sink "$2" >/dev/null 2>&1
}
offline --scenario pauses.json && record plain file:format=wav && record cuts file:format=pcm,max-silence=1 &&
	record cutparts file:format=flac,max-silence=1,split=7 && record formats file:format=opus+wav,split=5
check "four recordings of a call" grep -q cuts four/cuts/session.json four/cutparts/session.json
same_mixes() {
	ended 0 convert --mix -f pcm -o mixes four && cmp mixes/plain-mix.pcm mixes/cuts-mix.pcm &&
		cmp mixes/plain-mix.pcm mixes/cutparts-mix.pcm && cmp mixes/plain-mix.pcm mixes/formats-mix.pcm
}
check "--mix: what was left out is put back, every speaker is in it once" same_mixes
same_tracks() {
	ended 0 convert -f pcm -o tracks four && [ "$(ls tracks/*/*.pcm | wc -l)" -eq 12 ] || return 1
	for f in tracks/plain/*.pcm; do
		cmp "$f" "tracks/formats/${f##*/}" && cmp "four/cuts/${f##*/}" "tracks/cutparts/${f##*/}" || return 1
	done
}
check "parts are joined, one format is taken, cuts stay out" same_tracks
already() {
	ended 0 convert -f wav four/plain && says '0 converted, 3 skipped' 'it is that already'
}
check "a session in the format it has" already
loud_session() {
	rm -rf loud
	mkdir loud
	head -c 192000 /dev/zero | tr '\0' '\177' >x.raw
	for n in 1 2; do
		convert -q --raw $raw -f wav -o loud x.raw && mv loud/x.wav loud/$n.wav
	done
	printf '{"schema":1,"state":"complete","start":"2026-01-01T00:00:00.000000Z","samples":48000,"tracks":[{"file":"1.wav","user_id":"1"},{"file":"2.wav","user_id":"2"}]}' >loud/session.json
	ended 0 convert --mix -f pcm loud && [ "$(od -An -v -td2 loud/mix.pcm | tr -s ' ' '\n' | sort -un | tr -d '\n')" = 32767 ]
}
check "--mix: quieter where it would clip, and only as much" loud_session
quiet_session() {
	byte '\0350\0003\0350\0003\0350\0003\0350\0003' >x.raw
	for n in 1 2; do
		convert -q --force --raw $raw -f wav -o loud x.raw && mv loud/x.wav loud/$n.wav
	done
	ended 0 convert --mix --force -f pcm loud && [ "$(od -An -v -td2 loud/mix.pcm | tr -s ' ' '\n' | sort -un | tr -d '\n')" = 2000 ]
}
check "--mix: the plain sum where it fits" quiet_session
parts_session() {
	rm -rf parts
	mkdir parts
	noise p.raw 6
	head -c 384000 p.raw >parts/7-001.pcm
	tail -c +384001 p.raw | head -c 384000 >parts/7-002.pcm
	tail -c +768001 p.raw >parts/7-003.pcm
	for n in 1 2 3; do
		echo '{"format":"s16le","rate":48000,"channels":2}' >parts/7-00$n.pcm.json
	done
	printf '{"schema":1,"state":"recording","start":null,"tracks":[{"file":"7-001.pcm","user_id":"7","parts":[{"file":"7-001.pcm","position":0,"samples":96000},{"file":"7-002.pcm","position":96000,"samples":96000},{"file":"7-003.pcm","position":192000,"samples":10}]}]}' >parts/session.json
	ended 0 convert -f wav parts && says 'the session is not complete' && ended 0 convert -f pcm -o back parts/7.wav && cmp p.raw back/7.pcm
}
check "parts are joined to the sample, of a session that is not complete too" parts_session
delete_session() {
	rm -rf gone
	cp -r rec/s gone
	rm gone/*.flac
	first=$(ls gone/*.wav | head -n 1)
	cp text.wav "$first"
	ended 3 convert --delete -f flac gone && [ "$(ls gone/*.wav | wc -l)" -eq "$tracks" ] || return 1
	cp rec/s/"${first##*/}" gone
	ended 0 convert --delete --force -f flac gone && ! ls gone/*.wav && [ -e gone/session.json ] && [ "$(ls gone/*.flac | wc -l)" -eq "$tracks" ]
}
check "--delete: a session goes as a whole, but for its manifest" delete_session
gone_again() {
	ended 0 convert -f flac gone && says 'its input is gone, the output is there'
}
check "and what is gone is no failure" gone_again
mix_of_gone() {
	ended 0 convert --mix -f pcm -o goneout gone && says 'gone/.*.flac: warning: its recording is gone' &&
		ended 0 convert --force --mix -f pcm -o goneout/want rec/s && cmp goneout/gone-mix.pcm goneout/want/s-mix.pcm
}
check "--mix of it takes what is there" mix_of_gone
tracks_of_gone() {
	ended 0 convert -f pcm -o goneout gone && [ "$(ls goneout/gone/*.pcm | wc -l)" -eq "$tracks" ] || return 1
	for f in goneout/gone/*.pcm; do
		b=${f##*/}
		ended 0 convert --force -f pcm -o goneout/want "rec/s/${b%.pcm}.wav" && cmp "$f" "goneout/want/$b" || return 1
	done
}
check "its tracks become another format" tracks_of_gone
cuts_gone() {
	cp -r four/cutparts gonecuts && ended 0 convert --delete -f wav gonecuts && ! ls gonecuts/*.flac || return 1
	ended 0 convert --mix -f pcm -o goneout gonecuts && cmp goneout/gonecuts-mix.pcm mixes/plain-mix.pcm
}
check "silence that was cut out is put back" cuts_gone
nothing_there() {
	rm "$(ls gone/*.flac | head -n 1)"
	ended 3 convert --mix -f pcm -o goneout --force gone && says 'its files are gone, and nothing they were converted to' &&
		ended 3 convert -f mp3 -o goneout gone && says 'its files are gone, and nothing they were converted to'
}
check "a track of which nothing is left" nothing_there
outside() {
	mkdir -p evil
	printf '{"schema":1,"state":"complete","tracks":[{"file":"../noise.raw"},{"file":"/etc/passwd"}]}' >evil/session.json
	ended 3 convert -f mp3 evil && says 'it has no file name' && [ "$(ls evil)" = session.json ] || return 1
	ln -s ../wav/noise.wav evil/1.wav
	printf '{"schema":1,"state":"complete","tracks":[{"file":"1.wav"}]}' >evil/session.json
	ended 3 convert -f mp3 evil && says 'evil/1.wav: a symbolic link' || return 1
	echo '{' >evil/session.json
	ended 3 convert -f mp3 evil && says 'evil/session.json: line'
}
check "a manifest does not reach out of its folder" outside

# ---- plugins ----

mkdir folder
cp "$build/plugins/au.so" folder/au.so
plugin() {
	ended 0 convert "$@" -o plug wav/noise.wav && [ "$(head -c 4 plug/noise.au)" = .snd ] && n=$(samples plug/noise.au) &&
		[ "$n" -eq 144000 ]
}
check "a format of a plugin" plugin --plugin folder/au.so -f au
TAPEDECK_PLUGIN_PATH=$PWD/folder
export TAPEDECK_PLUGIN_PATH
check "or of a plugin folder" plugin --force -f au
unset TAPEDECK_PLUGIN_PATH
unchecked() {
	cp wav/noise.wav del/u.wav
	ended 0 convert --delete --plugin folder/au.so -f au del/u.wav && [ -e del/u.wav ] && says 'kept: '
}
check "--delete: what nobody can check stays" unchecked

# ---- what it says ----

json() {
	ended 3 convert --json --force -f mp3 -o tree wav/noise.wav text.wav && ! grep -v '^{.*}$' out.log &&
		grep -q '"event":"started","input":"wav/noise.wav","output":"tree/noise.mp3","samples":144000' out.log &&
		grep -q '"event":"done","input":"wav/noise.wav","output":"tree/noise.mp3","samples":144000,"seconds":3.0' out.log &&
		grep -q '"event":"failed","input":"text.wav".*"error":"not a sound' out.log &&
		grep -q '"event":"end","done":1,"skipped":0,"failed":1' out.log
}
check "--json" json
quiet() {
	ended 0 convert -q --force -f mp3 -o tree wav/noise.wav && [ ! -s err.log ] && [ ! -s out.log ]
}
check "-q" quiet
noise long.raw 40
progress() {
	script -qec "$build/convert -f mp3 --raw $raw -o tree long.raw" /dev/null >out.log 2>&1 </dev/null &&
		tr '\r' '\n' <out.log | grep -qE '%  0/1  [0-9.]+x  [0-9:-]+ left' && tail -n 1 out.log | grep -q '1 converted'
}
check "a line that moves on a terminal" progress
usage() {
	pattern=$1
	shift
	ended 2 convert "$@" && says "^convert: .*$pattern" && [ ! -s out.log ]
}
check "no input" usage 'at least one'
check "no such option" usage 'nonesuch' --nonesuch x
check "no such format" usage "no format is called 'ape'" -f ape x
check "no such option of a format" usage 'colour' -f mp3:colour=red x
check "a bad rate" usage '-r 1' -r 1 x
check "a rate the format does not have, asked for" usage '44100' -f opus -r 44100 x
check "a bad --raw" usage 'not RATE:CHANNELS:FORMAT' --raw 48000:2:s17 x
check "bad workers" usage '-j 0' -j 0 x
check "--mix with --delete" usage 'does not go with --delete' --mix --delete x
check "two inputs to standard output" usage 'single' -o - a b
check "no plugin" usage 'nowhere.so' --plugin nowhere.so x
check "--help has 80 columns, and the name it is called by" sh -c "
	ln -sf $build/convert ./tapedeck-convert
	./tapedeck-convert --help | grep -q '^Usage: tapedeck-convert ' && ! ./tapedeck-convert --help | grep -E '.{81}'"
check "no part is left anywhere" no_parts

exit 0
