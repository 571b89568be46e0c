# SPDX-License-Identifier: ISC
# Sourced by the system tests: a scratch folder, TAP results, and processes that end with the test.
set -u
build=$1
case $build in
/*) ;;
*) build=$PWD/$build ;;
esac
media=$PWD/tests/media
dir=$(mktemp -d)
pids=
number=0

cleanup() {
	for pid in $pids; do
		kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	done
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
cd "$dir" || exit 1

# result STATUS NAME: one TAP line; with a failure, what the programs said last.
result() {
	number=$((number + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $number - $2"
	else
		echo "not ok $number - $2"
		tail -n 15 ./*.log 2>/dev/null
	fi
}

# check NAME COMMAND...: passes when the command does.
check() {
	name=$1
	shift
	"$@" >check.log 2>&1
	result $? "$name"
}

receiver() {
	timeout -k 5 60 "$build/receiver" "$@"
}

# server LOGNAME OPTION...: a voice server in the background, once it is ready. Sets $server.
server() {
	log=$1
	shift
	rm -f join.json
	"$build/tests/voiceserver" --media "$media" --join-out join.json "$@" >"$log" 2>&1 &
	server=$!
	pids="$pids $server"
	tries=0
	until [ -s join.json ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] && kill -0 "$server" 2>/dev/null || return 1
		sleep 0.1
	done
}

# offline OPTION...: a call in virtual time: call.pcap, keys.json, truth.json.
offline() {
	"$build/tests/voiceserver" --media "$media" --offline --pcap call.pcap --keys-out keys.json \
		--truth truth.json "$@" >offline.log 2>&1
}
