#!/bin/sh
# SPDX-License-Identifier: ISC
# run.sh BUILD: our receiver and third-party voice clients in encrypted calls of the loopback server.
# The receiver's tracks have to hold what the others sent, they have to hear what our speakers send.
cd "$(dirname "$0")/../.." || exit 1
. tests/system/lib.sh
interop=$OLDPWD/tests/interop
scripted=200000000000000001
first=100000000000000002
second=100000000000000003

# without WHAT: nothing can be tested. That is a failure where everything is meant to be there.
without() {
	if [ "${CI:-}" = true ]; then
		echo "not ok 1 - interop needs $1"
		exit 1
	fi
	echo "1..0 # SKIP interop needs $1"
	exit 0
}

command -v node >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' ||
	without "Node.js 20 or newer"
if [ ! -d "$interop/node_modules" ]; then
	command -v npm >/dev/null || without "npm"
	(cd "$interop" && npm ci --ignore-scripts --no-audit --no-fund >"$dir/npm.log" 2>&1) ||
		without "the packages of tests/interop (npm ci failed)"
fi

# client LOG OPTION...: a third-party client in the background. Sets $client.
client() {
	log=$1
	shift
	NODE_EXTRA_CA_CERTS=$dir/ca.pem timeout -k 5 60 node "$interop/client.js" \
		--server "$dir/server.log" --media "$media" --play alto.opus "$@" >"$log" 2>&1 &
	client=$!
	pids="$pids $client"
}

# call SCENARIO SECONDS: the server and our receiver in it. Sets $recorder.
call() {
	rm -rf out ca.pem
	server server.log --scenario "$interop/$1" --ca-out ca.pem --truth truth.json || {
		result 1 "the server starts"
		exit 1
	}
	receiver --join join.json --ca-file ca.pem --out out --session-name s --duration "$2" \
		>receiver.log 2>&1 &
	recorder=$!
	pids="$pids $recorder"
}

# ends PID NAME: passes when that process ended well.
ends() {
	wait "$1"
	result $? "$2"
}

call first.json 8
client first.log --user 1 --seconds 6.5 --least 200 --most-bad 0 \
	--hear "$scripted=bass-mono.opus,$second=alto.opus"
one=$client
client second.log --user 2 --seconds 6.5 --least 200 --most-bad 0 \
	--hear "$scripted=bass-mono.opus,$first=alto.opus"
two=$client
ends "$one" "the first client hears our speaker and the other client, frame by frame"
ends "$two" "so does the second"
ends "$recorder" "the receiver leaves"
wait "$server"
check "every track holds what was sent" "$build/tests/track_check" truth.json out/s

call changes.json 20
client first.log --user 1 --seconds 18 --least 500 --hear "$scripted=bass-mono.opus"
one=$client
sleep 4
client second.log --user 2 --seconds 5 --least 100 --hear "$scripted=bass-mono.opus"
two=$client
ends "$two" "a client comes and goes"
ends "$one" "a client hears our speaker through new groups and other versions"
ends "$recorder" "the receiver leaves"
wait "$server"
check "downgraded: the server says so" grep -q '"dave_execute".*"version":0' server.log
check "every track holds what was sent" "$build/tests/track_check" truth.json out/s
call first.json 8
client first.log --user 1 --seconds 6.5 --least 200 --hear "$scripted=bass-mono.opus"
one=$client
sleep 2
client second.log --user 2 --plain --seconds 2 --least 50 --hear "$scripted=bass-mono.opus"
ends "$client" "a client without encryption hears our speaker while it is there"
ends "$one" "the other client hears it before, then and after"
ends "$recorder" "the receiver leaves"
wait "$server"
check "the call came down and went up again" \
	sh -c 'grep dave_execute server.log | grep -q "\"version\":0" && grep -q dave_recreate server.log'
check "every track holds what was sent" "$build/tests/track_check" truth.json out/s
echo "1..$number"
