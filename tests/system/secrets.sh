#!/bin/sh
# SPDX-License-Identifier: ISC
# What is left of tokens and keys when a call has ended: nothing in the memory of the processes that
# live on, in what they said, or in what they wrote; and nothing of a core file.
. "$(dirname "$0")/lib.sh"
scan=$build/tests/mem_scan

skip() {
	number=$((number + 1))
	echo "not ok $number - $1 # SKIP $2"
}
# wait_for EVENT GUILD [COUNT]
wait_for() {
	tries=0
	until [ "$(grep "\"event\":\"$1\"" events.log | grep -c "$2")" -ge "${3:-1}" ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || return 1
		sleep 0.1
	done
}
tell() {
	echo "$1" >&3
}
workers() {
	pgrep -P "$pid" -x unpacker
}
# dump NAME: the memory of all our processes as it is now.
dump() {
	for p in $pid $(workers); do
		"$scan" --dump "$1.$p.mem" "$p" || return 1
	done
}
# secrets_of GUILD: what the server gave to this guild's call, for mem_scan.
secrets_of() {
	record=$(grep "$1" join.json)
	for member in token session_id; do
		echo "$member text $(echo "$record" | grep -o "\"$member\":\"[^\"]*\"" | cut -d\" -f4)"
	done
	grep -o '"secret_key": *"[0-9a-f]*"' "keys-$1.json" | cut -d\" -f4 | sed 's/^/transport key /'
	grep -o '"secret": *"[0-9a-f]*"' "keys-$1.json" | cut -d\" -f4 | sort -u | sed 's/^/dave key /'
}
number_of() {
	echo "$1" | grep -o '"guild_id":"[0-9]*"' | cut -d\" -f4
}

# scenario TLS DAVE EVENTS: of the first guild.
scenario() {
	cat >two.json <<END
{ "seed": 11, "seconds": 60, "tls": $1,
  "guilds": [ { "dave": $2, "speakers": [ {}, {}, {} ], "events": [ $3 ] },
              { "dave": $2, "speakers": [ {}, {} ] } ] }
END
}

# call MODE: a call of two guilds; the first one is left, then the second one.
call() {
	rm -rf out ./*.mem keys-*.json ./*.log
	server server.log --scenario two.json --mode "$1" --ca-out ca.pem --keys-out keys-%g.json || return 1
	first=$(sed -n 1p join.json)
	second=$(sed -n 2p join.json)
	one=$(number_of "$first")
	two=$(number_of "$second")
	rm -f input
	mkfifo input
	"$build/receiver" --join - --ca-file ca.pem --workers 2 --events -v --out out <input \
		>events.log 2>receiver.log &
	pid=$!
	pids="$pids $pid"
	exec 3>input
	tell "$first"
	tell "$second"
	wait_for file_opened "$one" 3 && wait_for file_opened "$two" 2
	heard=$?
	sleep 2
	return $heard
}
leave() {
	tell "{\"command\":\"leave\",\"guild_id\":\"$1\"}"
	wait_for closed "$1"
}
all_sorts() {
	for sort in $sorts; do
		grep -q "^$sort " "$1" || { echo "no $sort in $1" && return 1; }
	done
}
# found SORT DUMP...: whether mem_scan finds such a secret of the first guild.
found() {
	sort=$1
	shift
	"$scan" one.secrets "$@" | grep ": $sort, as "
}
clean() {
	"$scan" "$@"
}

if [ "$(id -u)" -ne 0 ]; then
	skip "secrets in memory" "only root may look"
	exit 0
fi
# scan_call NAME MODE: everything there is to say about one call.
scan_call() {
	check "$1: a call of two guilds" call "$2"
	check "its memory while it is on" dump during
	check "cmdline and environ are kept" sh -c "for p in $pid $(workers | tr '\n' ' '); do
		cat /proc/\$p/cmdline /proc/\$p/environ; done >proc.txt"
	check "one guild is left" leave "$one"
	sleep 1
	dump half
	check "the other one is left" leave "$two"
	kill -TERM "$server"
	wait "$server"
	secrets_of "$one" >one.secrets
	{ secrets_of "$one" && secrets_of "$two"; } >all.secrets
	check "the server said what it gave" all_sorts one.secrets

	for sort in $sorts; do
		check "during the call the scan finds: $sort" found $sort during.*.mem
	done
	check "after one call, beside the other: nothing" clean one.secrets half.*.mem
	# shellcheck disable=SC2046
	check "after both calls: nothing" clean all.secrets "$pid" $(workers)
	check "cmdline, environ, events and log: nothing" clean all.secrets proc.txt events.log receiver.log
	find out -type f >files
	check "manifests and recordings: nothing" sh -c "xargs '$scan' all.secrets <files"
	check "there were files" test -s files

	# a core file cannot be forced
	for p in $(workers) "$pid"; do
		check "no core of $(cat /proc/"$p"/comm): limit" sh -c \
			"grep -q '^Max core file size  *0  *0 ' /proc/$p/limits"
		kill -ABRT "$p"
	done
	wait "$pid"
	check "killed by SIGABRT" test $? -eq 134
	check "no core file" sh -c '! find . -name "core*" | grep .'
	exec 3>&-
}

cut='{ "at_ms": 1500, "do": "cut" }'
churn='{ "at_ms": 2500, "do": "dave_churn" }'
sorts="token session_id transport dave"
scenario true true "$cut, $churn"
scan_call "wss, AES-GCM, DAVE" aead_aes256_gcm_rtpsize
sorts="token session_id transport"
scenario true false "$cut"
scan_call "wss, XChaCha20" aead_xchacha20_poly1305_rtpsize
scenario false false ""
scan_call "ws, AES-GCM" aead_aes256_gcm_rtpsize
exit 0
