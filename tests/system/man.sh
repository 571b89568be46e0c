#!/bin/sh
# SPDX-License-Identifier: ISC
# The manual pages: as mandoc and groff want them, every option that there is and no other, and every
# example as it is printed.
tree=$PWD
given=$1
. "$(dirname "$0")/lib.sh"
unset TAPEDECK_PLUGIN_PATH MAKEFLAGS MFLAGS MAKELEVEL PKG_CONFIG_SYSROOT_DIR
pages="tapedeck-receiver.1 tapedeck-convert.1 tapedeck-sink.3 tapedeck-session.5"
man=$tree/docs/man

skip() {
	number=$((number + 1))
	echo "not ok $number - $1 # SKIP $2"
}

# ---- form ----

lint_mandoc() {
	mandoc -T lint -W warning "$man/$1"
}
lint_groff() {
	groff -mandoc -ww -z "$man/$1" 2>&1 | grep . && return 1
	return 0
}
for page in $pages; do
	if command -v mandoc >/dev/null; then
		check "$page: mandoc" lint_mandoc "$page"
	else
		skip "$page: mandoc" "no mandoc"
	fi
	if [ -n "$(find /usr/share/groff -name doc.tmac 2>/dev/null)" ]; then
		check "$page: groff" lint_groff "$page"
	else
		skip "$page: groff" "no groff"
	fi
done
refers() {
	for page in $pages; do
		for other in $(sed -n 's/^\.Xr \([a-z-]*\) \([1-9]\).*/\1.\2/p' "$man/$page"); do
			[ -e "$man/$other" ] || { echo "$page: no $other" && return 1; }
		done
	done
}
check "pages refer to pages that are there" refers

# ---- an installed tree ----

check "make install" make -s -C "$tree" install BUILD="$given" PREFIX="$dir/inst"
PATH=$dir/inst/bin:$PATH
export PKG_CONFIG_PATH="$dir/inst/lib/pkgconfig"

# ---- options ----

page_options() {
	sed -n 's/^\.It \(Fl .*\)/\1/p' "$man/$1" | grep -oE 'Fl -?[a-zA-Z][a-z-]*' | sed 's/^Fl /-/' | sort -u
}
help_options() {
	"$1" --help | grep -oE '(^  |, )--?[a-zA-Z][a-z-]*' | sed 's/^[ ,]*//' | sort -u
}
same_options() {
	page_options "$1.1" >page.txt
	help_options "$1" >help.txt
	[ "$(wc -l <help.txt)" -gt 10 ] && diff page.txt help.txt
}
page_statuses() {
	sed -n '/^\.Sh EXIT STATUS/,/^\.El/s/^\.It //p' "$man/$1"
}
help_statuses() {
	"$1" --help | sed -n '/^Exit status/,/^docs/p' | grep -oE '(: |, |^)[0-9]+ [a-z]' | grep -oE '[0-9]+'
}
same_statuses() {
	page_statuses "$1.1" >page.txt
	help_statuses "$1" >help.txt
	[ "$(wc -l <help.txt)" -eq 5 ] && diff page.txt help.txt
}
for program in tapedeck-receiver tapedeck-convert; do
	check "$program: options are those of --help" same_options $program
	check "$program: so are exit statuses" same_statuses $program
done
same_environment() {
	sed -n 's/^\.It Ev //p' "$man"/*.1 | sort -u >page.txt
	grep -rhoE 'getenv\("[A-Z_]+"' "$tree/sinks" "$tree/receiver" "$tree/common" |
		grep -oE '[A-Z_]{2,}' | sort -u >code.txt
	diff page.txt code.txt
}
check "environment variables are those of the code" same_environment

# A line "NAME OPTION=DEFAULT" for every sink and format, with " MIN to MAX" where it says so.
tapedeck-receiver --list-sinks >list.txt
listed() {
	awk '
	function flush() {
		if (option != "") {
			range = match(text, /[0-9]+ to [0-9]+/) ? " " substr(text, RSTART, RLENGTH) : ""
			print name " " option range
		}
		option = text = ""
	}
	/^(Sinks|Formats|Plugins)/ { flush(); name = "" }
	/^  [a-z0-9_]/ { flush(); name = $1; next }
	/^                [a-z0-9-]+=/ { flush(); option = $1; $1 = "" }
	{ sub(/^ */, ""); text = text " " $0 }
	END { flush() }' list.txt | sort
}
# Ranges are what the page says in the text of an option; "1 or 2" is one as well.
described() {
	awk '
	function flush() {
		if (option != "") {
			sub(/1 or 2/, "1 to 2", text)
			range = match(text, /[0-9]+ to [0-9]+/) ? " " substr(text, RSTART, RLENGTH) : ""
			print name " " option range
		}
		option = text = ""
	}
	/^\.\\" sink: / { flush(); name = $3; next }
	/^\.Sh/ { flush(); name = "" }
	/^\.El/ { flush() }
	/^\.It Cm/ && name != "" {
		flush()
		option = $3 "=" ($NF == "=" ? "" : $NF)
		next
	}
	{ text = text " " $0 }
	END { flush() }' "$man/tapedeck-receiver.1" | sort
}
same_sinks() {
	listed >list.lines
	described >page.lines
	[ "$(wc -l <list.lines)" -gt 20 ] && diff page.lines list.lines
}
check "sinks, formats and their options are those of --list-sinks" same_sinks
same_names() {
	sed -n 's/^\.\\" sink: //p' "$man/tapedeck-receiver.1" | sort >page.lines
	sed -n 's/^  \([a-z0-9_=]\{1,\}\) .*/\1/p' list.txt | sort >list.lines
	diff page.lines list.lines
}
check "and there are no others" same_names

# ---- the manifest ----

offline --speakers 3 --seconds 10 --seed 1 || echo "not ok - voiceserver --offline"
mv keys.json call.json
tapedeck-receiver -q --replay call.pcap --keys call.json --session-name standup --sink file --sink segments \
	--sink file:format=pcm,split=4,max-silence=1 >stdout.log 2>receiver.log
check "a session" test $? -eq 0
session=recordings/standup
names() {
	grep -oE '"[a-z_]+": ?' "$1" | grep -oE '[a-z_]+' | sort -u
}
page_names() {
	sed -n 's/^\.It Li //p' "$man/tapedeck-session.5" | sed 's/ , /\n/g' | sort -u
}
members() {
	sed -n "/^\\.\\\\\" members: $1/,/^\\.Ed/p" "$man/tapedeck-session.5" | grep -v '^\.'
}
members_are_described() {
	page_names >page.lines
	grep -E '^( |   )"[a-z_]+":' $session/session.json >own.txt # not the counters
	names own.txt >real.lines
	[ "$(wc -l <real.lines)" -gt 20 ] && ! grep -vxFf page.lines real.lines
}
check "every member of session.json is in its page" members_are_described
members_are_there() {
	members session.json >page.txt
	names page.txt >page.lines
	names $session/session.json >real.lines
	[ "$(wc -l <page.lines)" -gt 15 ] && ! grep -vxFf real.lines page.lines
}
check "and what is printed there is in it" members_are_there
segment_members() {
	members segments.jsonl | grep -oE '"[a-z_]+":' | sort >page.lines
	head -n 1 $session/segments.jsonl | grep -oE '"[a-z_]+":' | sort >real.lines
	[ "$(wc -l <page.lines)" -eq 8 ] && diff page.lines real.lines
}
check "a line of segments.jsonl" segment_members
raw_members() {
	names "$(find $session -name '*.pcm.json' | head -n 1)" >real.lines
	sed -n '/^\.It Pa FILE.json/,/^\.It/p' "$man/tapedeck-session.5" | tr ' ' '\n' | grep -xE '[a-z]+' | sort -u >page.lines
	! grep -vxFf page.lines real.lines
}
check "what stands beside raw samples" raw_members

# ---- examples ----

# example PAGE NAME: as a reader sees it, with what has another name here.
example() {
	sed -n "/^\\.\\\\\" example: $2\$/,/^\\.Ed/p" "$man/$1" | sed '1,2d; $d' |
		sed "s/\\\\(aq/'/g; s/\\\\(ga/\`/g; s/\\\\(ha/^/g; s/\\\\(ti/~/g; s/\\\\-/-/g; s/\\\\&//g; s/\\\\e/\\\\/g" |
		sed "s/81384788765712384/200000000000000001/g; s/--duration 3600/--duration 2/; s/sleep 600/sleep 1/
			s/\"1100\"/\"${guild:-1100}\"/; s/| transcribe/| wc -c/; s/^play-something/cat samples.raw/
			s/-f segments.jsonl/segments.jsonl/"
}
# runs PAGE NAME [FOLDER]: its example, as a script, from a folder.
runs() {
	echo "$1 $2" >>ran.txt
	example "$1" "$2" >example.sh
	[ -s example.sh ] || return 1
	(cd "${3:-.}" && sh -e "$dir/example.sh") >example.txt 2>example.log
}
count() {
	find "$1" -name "$2" | wc -l
}

receiver_page() {
	runs tapedeck-receiver.1 "$@"
}
replayed() {
	receiver_page replay && [ "$(count "recordings/$(ls -t recordings | head -n 1)" '2*.wav')" -eq 3 ]
}
check "receiver: replay" replayed
formats() {
	receiver_page formats && [ "$(count recordings/standup-2 '2*.flac')" -eq 3 ] && [ "$(count recordings/standup-2 '2*.opus')" -eq 3 ]
}
check "receiver: formats" formats
split() {
	receiver_page split && [ "$(count recordings '3*-2*-001.wav')" -eq 3 ] && [ "$(count recordings 2*-00*.wav)" -gt 5 ]
}
check "receiver: split" split
piped() {
	receiver_page pipe && [ "$(count recordings '*.md5')" -eq 3 ] && [ "$(count recordings levels.jsonl)" -eq 1 ] &&
		grep -q '^tapedeck-receiver: sink meter: user 2' example.log
}
check "receiver: pipe" piped
live() {
	server server.log --speakers 2 --seconds 20 && cp join.json connection.json &&
		receiver_page live && grep -q '"event":"file_closed"' example.txt && kill "$server"
}
check "receiver: live" live
commands() {
	server server.log --speakers 2 --seconds 20 && cp join.json connection.json || return 1
	guild=$(sed 's/.*"guild_id": *"\([0-9]*\)".*/\1/' connection.json)
	receiver_page commands && grep -lE '"text": "decision"' recordings/*/session.json && [ "$(count recordings '*.flac')" -ge 5 ]
}
check "receiver: commands" commands

convert_page() {
	runs tapedeck-convert.1 "$@"
}
converted() {
	convert_page session && [ "$(count $session '2*.mp3')" -ge 3 ]
}
check "convert: session" converted
mixed() {
	convert_page mix && [ -s mixes/standup-mix.flac ]
}
check "convert: mix" mixed
to_stdout() {
	convert_page stdout && [ "$(cat example.txt)" -gt 200000 ]
}
check "convert: stdout" to_stdout
raw() {
	head -c 960000 /dev/urandom >samples.raw
	convert_page raw && [ "$(head -c 4 something.flac)" = fLaC ]
}
check "convert: raw" raw

sessions_page() {
	runs tapedeck-session.5 "$@"
}
spoke() {
	sessions_page spoke $session && [ "$(grep -cE '^20000000000000000[123] [1-9][0-9]*\.[0-9]$' example.txt)" -eq 3 ]
}
check "session: spoke" spoke
utterances() {
	sessions_page utterances $session && [ "$(wc -l <example.txt)" -eq "$(wc -l <$session/segments.jsonl)" ] &&
		! grep -vE '^[0-9.]+ segments/2[0-9]*-[0-9]*\.wav$' example.txt
}
check "session: utterances" utterances
recording() {
	mkdir -p recordings/killed && sed 's/"state": "complete"/"state": "recording"/' $session/session.json >recordings/killed/session.json
	sessions_page recording && [ "$(cat example.txt)" = recordings/killed/session.json ]
}
check "session: recording" recording
rm -rf recordings/killed

# Its originals go: the last one of those that need them.
delete() {
	convert_page delete && [ "$(ls $session/*.wav | wc -l)" -eq 0 ] && [ "$(count archive '2*.opus')" -gt 6 ] &&
		[ -e $session/session.json ]
}
check "convert: delete" delete

plugin_source() {
	echo "tapedeck-sink.3 talk.c" >>ran.txt
	example tapedeck-sink.3 talk.c >talk.c
	${CC:-cc} -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -fsyntax-only $(pkg-config --cflags tapedeck) talk.c
}
check "sink: talk.c, without a warning" plugin_source
plugin() {
	runs tapedeck-sink.3 build && grep -q '^  talk  *who begins to speak: talk.txt; takes Opus packets' example.txt &&
		[ "$(count recordings talk.txt)" -eq 2 ] &&
		[ "$(cat recordings/*/talk.txt | grep -cE '^[0-9]+\.[0-9]{3} 20000000000000000[123]$')" -ge 3 ] &&
		[ "$(cat recordings/*/talk.txt | grep -cE '^[0-9]+\.[0-9]{3} [0-9]{1,10}$')" -ge 3 ]
}
check "sink: build" plugin

all_ran() {
	for page in $pages; do
		sed -n "s/^\\.\\\\\" example: /$page /p" "$man/$page"
	done | sort >page.lines
	[ "$(wc -l <page.lines)" -gt 12 ] && sort ran.txt | diff page.lines -
}
check "every example was run" all_ran

exit 0
