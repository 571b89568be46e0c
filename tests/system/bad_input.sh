#!/bin/sh
# SPDX-License-Identifier: ISC
# Bad input: one clear line, the right exit status, nothing half-written.
. "$(dirname "$0")/lib.sh"

# refused NAME STATUS PATTERN [OPTION...]: exactly one line of error, which matches.
refused() {
	name=$1
	status=$2
	pattern=$3
	shift 3
	receiver "$@" >stdout.log 2>stderr.log </dev/null
	got=$?
	{
		[ $got -eq "$status" ] && grep -qE -e "$pattern" stderr.log &&
			[ "$(grep -c '^receiver: ' stderr.log)" -eq 1 ] && [ ! -s stdout.log ]
	} || echo "status $got, wanted $status and one line with: $pattern" >>stderr.log
	! grep -q 'wanted' stderr.log
	result $? "$name"
}

offline --speakers 2 --seconds 3 || echo "not ok - voiceserver --offline"
record='{"guild_id":"1","channel_id":"2","user_id":"3","session_id":"s","token":"secret-token","endpoint":"ws://127.0.0.1:9"}'

# the command line
refused "no mode" 2 'exactly one of them'
refused "two modes" 2 'exactly one of them' --join - --replay call.pcap
refused "replay without keys" 2 'needs --keys' --replay call.pcap
refused "keys without replay" 2 'goes with --replay' --join - --keys keys.json
refused "an argument too many" 2 'extra' --join - extra
refused "workers 0" 2 '--workers 0' --join - --workers 0
refused "workers as text" 2 '--workers 2x' --join - --workers 2x
refused "duration 0" 2 '--duration 0' --join - --duration 0
refused "unknown sink" 2 'nonesuch' --join - --sink nonesuch
refused "unknown sink option" 2 'colour' --join - --sink file:colour=red
refused "unknown format" 2 'format' --join - --sink file:format=ape
refused "session name with a slash" 2 'a/b' --join - --session-name a/b
refused "log format" 2 'xml' --join - --log-format xml

# captures and keys
refused "no capture" 1 'nofile' --replay nofile --keys keys.json
refused "not a capture" 1 'keys.json' --replay keys.json --keys keys.json
refused "no keys file" 1 'nofile' --replay call.pcap --keys nofile
sed 's/"secret_key"/"secret"/' keys.json >bad.json
refused "keys without key" 2 'bad.json: secret_key: missing' --replay call.pcap --keys bad.json
sed 's/"guild_id"/"guild"/' keys.json >bad.json
refused "keys without guild" 2 'bad.json: guild_id: missing' --replay call.pcap --keys bad.json
check "nothing was written for any of them" test ! -e recordings

sed 's/"secret_key": *"......../"secret_key":"00000000/' keys.json >bad.json
refused "wrong key" 1 'none of [0-9]+ packets could be opened' --replay call.pcap --keys bad.json --out wrong
check "and no track written with it" sh -c '! ls wrong/*/*.wav'
head -c 24 call.pcap >empty.pcap
refused "a capture without packets" 1 'no voice' --replay empty.pcap --keys keys.json

head -c 30000 call.pcap >cut.pcap
receiver --replay cut.pcap --keys keys.json --out cut >stdout.log 2>stderr.log
check "a cut capture: exit 1" test $? -eq 1
check "a cut capture: says so" grep -q 'cut.pcap: .*recorded' stderr.log
check "a cut capture: what was there is recorded" sh -c 'ls cut/*/*.wav && grep -q complete cut/*/session.json'

# folders
touch plain
refused "the out folder is a file" 1 'plain' --replay call.pcap --keys keys.json --out plain
refused "the out folder cannot be made" 1 '/proc/nowhere' --replay call.pcap --keys keys.json --out /proc/nowhere

# connection info
refused "no such file" 1 'nofile' --join nofile
: >join.txt
refused "an empty file" 2 'no connection info' --join join.txt
for member in channel_id user_id session_id token endpoint; do
	echo "$record" | sed "s/\"$member\"/\"x\"/" >join.txt
	refused "a record without $member" 2 "join.txt: line 1: $member: missing" --join join.txt
done
echo "$record" | sed 's/ws:..127.0.0.1:9/ws:\/\/192.0.2.1:9/' >join.txt
refused "ws:// beyond loopback" 2 'line 1: endpoint' --join join.txt
echo 'not json secret-token' >join.txt
refused "not JSON" 2 'line 1' --join join.txt
check "and the line is not repeated" sh -c '! grep -q secret-token stderr.log'
echo "$record" >join.txt
refused "roots that are none" 2 'keys.json' --join join.txt --ca-file keys.json

exit 0
