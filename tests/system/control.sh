#!/bin/sh
# SPDX-License-Identifier: ISC
# A long-running receiver that is told what to do on its standard input.
. "$(dirname "$0")/lib.sh"

echo '{ "seed": 5, "seconds": 30, "guilds": [ { "speakers": [ {} ] }, { "speakers": [ {} ] } ] }' >two.json
server server.log --scenario two.json || cat server.log
first=$(sed -n 1p join.json)
second=$(sed -n 2p join.json)
one=$(echo "$first" | grep -o '"guild_id":"[0-9]*"')
two=$(echo "$second" | grep -o '"guild_id":"[0-9]*"')

mkfifo input
"$build/receiver" --join - --events --out out <input >events.log 2>receiver.log &
pid=$!
pids="$pids $pid"
exec 3>input

tell() {
	echo "$1" >&3
}

# wait_for EVENT GUILD [COUNT]
wait_for() {
	tries=0
	until [ "$(grep "\"event\":\"$1\"" events.log | grep -c "$2")" -ge "${3:-1}" ]; do
		tries=$((tries + 1))
		[ $tries -lt 80 ] || return 1
		sleep 0.1
	done
}

tell "$first"
check "a record joins and records" wait_for listening "$one"
tell "$second"
check "another guild beside it" wait_for listening "$two"
check "its speaker is heard" wait_for file_opened "$one"
tell "{\"command\":\"pause\",$one}"
check "pause" wait_for paused "$one"
tell "{\"command\":\"pause\",$one}"
check "pause twice: an error" wait_for error "$one.*pause"
sleep 1
tell "{\"command\":\"resume\",$one}"
check "resume" wait_for resumed "$one"
tell "{\"command\":\"mark\",$one,\"text\":\"the vote\"}"
check "a mark" wait_for marked "$one.*the vote"
sleep 1
tell "{\"command\":\"stop\",$one}"
check "stop closes the files" wait_for stopped "$one"
check "and says so first" wait_for file_closed "$one"
tell "{\"command\":\"resume\",$one}"
check "resume when stopped: an error" wait_for error "$one.*resume"
tell "{\"command\":\"listen\",$one}"
check "listen begins new files" wait_for listening "$one" 2
check "in a folder of their own" wait_for file_opened "$one" 2
tell "{\"command\":\"sing\",$one}"
check "an unknown command: an error" wait_for error "$one.*none of join"
tell 'not json'
check "a bad line: an error" wait_for error 'line [0-9]*'
tell '{"op":0,"t":"VOICE_STATE_UPDATE","s":1,"d":{"guild_id":"99","user_id":"98","channel_id":"97","session_id":"x"}}'
tell '{"op":0,"t":"GUILD_CREATE","s":2,"d":{"guild_id":"99","members":[{}]}}'
tell "{\"op\":0,\"t\":\"VOICE_STATE_UPDATE\",\"s\":3,\"d\":{$one,\"user_id\":\"98\",\"channel_id\":null,\"session_id\":\"x\"}}"
tell "{\"command\":\"leave\",\"guild_id\":\"99\"}"
check "leave of a guild unknown: an error" wait_for error '"99".*leave'
check "others' states and unknown guilds change nothing" sh -c '! grep -q "\"closed\"" events.log'
tell "{\"command\":\"leave\",$one}"
check "leave" wait_for closed "$one"
check "the other guild goes on" sh -c "! grep '\"closed\"' events.log | grep -q '$two'"
# the same guild again, from dispatches alone, in the less usual order
member() {
	echo "$first" | grep -o "\"$1\":\"[^\"]*\""
}
tell "{\"command\":\"join\",$one,$(member user_id)}"
tell "{\"op\":0,\"t\":\"VOICE_SERVER_UPDATE\",\"s\":4,\"d\":{$one,$(member token),$(member endpoint)}}"
tell "{\"op\":0,\"t\":\"VOICE_STATE_UPDATE\",\"s\":5,\"d\":{$one,$(member user_id),$(member channel_id),$(member session_id)}}"
check "joined by its dispatches" wait_for ready "$one" 2
exec 3>&-
wait $pid
check "the end of the input: exit 0" test $? -eq 0
check "and everything is finished" sh -c '! grep -L complete out/*/session.json | grep -q .'
check "a mark is in the manifest" grep -q "\"text\": \"the vote\"" out/*/session.json
check "a pause is in the manifest" sh -c 'grep -A3 "\"pauses\": \[" out/*/session.json | grep -q "\"from\""'
kill "$server" 2>/dev/null

exit 0
