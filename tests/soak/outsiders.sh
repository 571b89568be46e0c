#!/bin/sh
# SPDX-License-Identifier: ISC
# outsiders.sh BUILD FOLDER [TIMES]: files of killed recordings in ffmpeg, opusinfo and sox, as far
# as they are installed.
build=$(cd "$1" && pwd)
media=$PWD/tests/media
folder=$2/outsiders
rm -rf "$folder"
mkdir -p "$folder" && cd "$folder" || exit 1
"$build/tests/voiceserver" --media "$media" --offline --speakers 3 --seconds 40 --seed 9 --pcap call.pcap \
	--keys-out keys.json --truth truth.json >offline.log
for split in "" ",split=6"; do
	"$build/receiver" --replay call.pcap --keys keys.json --out . --session-name "whole$split" -q \
		--sink "file:format=wav+flac+mp3+opus$split"
	"$build/tests/kill_check" --keep --reference "whole$split" --times "${3:-30}" --parallel 3 --from 0 \
		--to 2500 "killed$split" "$build/receiver" --replay call.pcap --keys keys.json \
		--out "killed$split" --session-name "{}" -q --workers 1 \
		--sink "file:format=wav+flac+mp3+opus$split" || echo "not ok - kill_check"
done

# each NAME COMMAND...: runs it for every file of the list on standard input; any complaint counts.
each() {
	name=$1
	shift
	[ "$1" = sh ] || command -v "$1" >/dev/null || {
		echo "# $1 is not installed"
		return
	}
	files=0
	bad=0
	while read -r file; do
		files=$((files + 1))
		said=$("$@" "$file" 2>&1 </dev/null)
		status=$?
		[ $status -ne 77 ] || {
			echo "# $name: not installed"
			return
		}
		# What it says of a stream without an end is what it is.
		if [ "$1" = opusinfo ]; then
			said=$(echo "$said" | grep -E 'WARNING|ERROR' | grep -v 'EOS not set')
			status=0
		fi
		if [ $status -ne 0 ] || [ -n "$said" ]; then
			bad=$((bad + 1))
			echo "$file: $said" | head -n 3
		fi
	done
	[ $bad -eq 0 ] && echo "ok - $name: $files files" || echo "not ok - $name: $bad of $files files"
}
for format in wav flac mp3 opus; do
	find killed* -name "*.$format" >list
	each "ffmpeg, $format" sh -c \
		'command -v ffmpeg >/dev/null || exit 77; exec ffmpeg -nostdin -v error -i "$0" -f null -' <list
done
find killed* -name '*.opus' >list
each "opusinfo" opusinfo <list
rm -rf killed*
