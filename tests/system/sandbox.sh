#!/bin/sh
# SPDX-License-Identifier: ISC
# What keeps the processes in their places: workers that are killed by the filter are replaced, root
# is given up when asked, other users see nothing, and symbolic links lead nowhere.
. "$(dirname "$0")/lib.sh"
nobody=65534

skip() {
	number=$((number + 1))
	echo "not ok $number - $1 # SKIP $2"
}
exit_status() {
	[ "$last" -eq "$1" ] || { echo "exit status $last, wanted $1" && return 1; }
}
# wait_in FILE PATTERN COUNT
wait_in() {
	tries=0
	until [ "$(grep -c "$2" "$1" 2>/dev/null)" -ge "$3" ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || return 1
		sleep 0.1
	done
}
# start OPTION...: records the call of join.json in the background, started by $starter. Sets $pid.
starter=
start() {
	rm -f events.log receiver.log
	# shellcheck disable=SC2086
	$starter "$build/receiver" --join join.json --out out --events "$@" >events.log 2>receiver.log &
	pid=$!
	pids="$pids $pid"
}
stop() {
	kill -TERM "$pid"
	wait "$pid"
	last=$?
}
workers() {
	pgrep -P "$pid" -x unpacker
}
# status PID NAME: a line of /proc/PID/status.
status() {
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}
# confined: every worker, as the kernel sees it.
confined() {
	[ -n "$(workers)" ] || return 1
	for w in $(workers); do
		for set in CapInh CapPrm CapEff CapAmb; do
			[ "$(status "$w" $set)" = 0000000000000000 ] || { echo "$set" && return 1; }
		done
		[ "$(status "$w" NoNewPrivs)$(status "$w" Seccomp)$(status "$w" Threads)" = 121 ] || return 1
		[ "$(stat -c %u "/proc/$w/environ")" = 0 ] || { echo dumpable && return 1; }
		[ -z "$(tr -d '\0' <"/proc/$w/environ" 2>/dev/null)" ] || { echo environment && return 1; }
	done
}

# ---- a worker that the filter kills ----

server server.log --speakers 2 --seconds 40 --seed 8 --truth truth.json
start --session-name killed --workers 1 --duration 8
check "it records" wait_in events.log file_opened 2
check "workers are confined" confined
sleep 1
before=$(workers)
kill -SYS "$before"
check "SIGSYS: a worker is replaced" wait_in receiver.log 'unpacker lost (killed by signal 31), replaced' 1
check "by another one" sh -c "[ '$(workers)' != '$before' ] && [ -n '$(workers)' ]"
check "which is confined as well" confined
wait "$pid"
last=$?
check "the recording goes on to its end" exit_status 0
long_enough() {
	for f in out/killed/*.wav; do
		# 48 kHz, one channel, 16 bits, 6 of the 8 seconds
		[ "$(stat -c %s "$f")" -gt 576000 ] || return 1
	done
}
check "sound goes on behind" long_enough
kill "$server" 2>/dev/null
wait "$server" 2>/dev/null

# ---- as another user ----

usage() {
	"$build/receiver" --join /dev/null "$@" >usage.txt 2>&1
	last=$?
	exit_status 2
}
says() {
	grep -q -e "$1" usage.txt
}
check "--user: a name nobody has" usage --user no-such-user
check "and why" says 'no such user: no-such-user'
check "--user: a group nobody has" usage --user nobody:no-such-group
check "and why" says 'no such group: no-such-group'
check "--user: a number without a group" usage --user 4000000
check "and why" says '4000000:GID'
check "--user: not root" usage --user root
check "--user: not 0" usage --user 0:0
check "--user: not root's group" usage --user nobody:0
check "--user: not a number too large" usage --user 4294967295:1
check "--user: nothing" usage --user ''

if [ "$(id -u)" -ne 0 ]; then
	skip "root given up" "not root"
	exit 0
fi
if ! setpriv --reuid $nobody --regid $nobody --clear-groups "$build/receiver" --version >/dev/null 2>&1; then
	skip "root given up" "nobody cannot reach $build"
	exit 0
fi
chmod 711 "$dir"

# given_up UID GID: the receiver and its workers have these ids alone, and nothing else of root.
given_up() {
	[ -n "$(workers)" ] || return 1
	for p in $pid $(workers); do
		[ "$(status "$p" Uid)" = "$(printf '%s\t%s\t%s\t%s' "$1" "$1" "$1" "$1")" ] || return 1
		[ "$(status "$p" Gid)" = "$(printf '%s\t%s\t%s\t%s' "$2" "$2" "$2" "$2")" ] || return 1
		[ -z "$(status "$p" Groups | tr -d ' ')" ] || { echo "groups" && return 1; }
		for set in CapInh CapPrm CapEff CapBnd CapAmb; do
			[ "$(status "$p" $set)" = 0000000000000000 ] || { echo "$set" && return 1; }
		done
		[ "$(status "$p" NoNewPrivs)" = 1 ] || return 1
		[ "$(stat -c %u "/proc/$p/environ")" = 0 ] || { echo dumpable && return 1; }
		grep -q '^Max core file size  *0  *0 ' "/proc/$p/limits" || return 1
	done
	# every thread, not only the first one
	! cat /proc/"$pid"/task/*/status | grep '^Uid:' | grep -v "	$1	$1	$1	$1$" | grep .
}
# out_of UID GID: what was written is theirs, and nobody else's to read.
out_of() {
	[ -n "$(find out -type f)" ] && ! find out ! -uid "$1" -o ! -gid "$2" | grep . &&
		! find out -type f ! -perm 600 | grep .
}
# as_user TEXT UID GID: a recording with --user TEXT.
as_user() {
	rm -rf out
	install -d -o "$2" -g "$3" -m 700 out
	server server.log --speakers 2 --seconds 20 --seed 9 || return 1
	chmod 644 join.json
	starter="setpriv --groups 4,24" # which are to go as well
	start --session-name u --workers 2 --user "$1"
	starter=
	check "--user $1: it records" wait_in events.log file_opened 2
	check "--user $1: root is given up" given_up "$2" "$3"
	kill -SYS "$(workers | head -n 1)"
	check "--user $1: workers are replaced" wait_in receiver.log 'killed by signal 31), replaced' 1
	check "--user $1: by workers without root" given_up "$2" "$3"
	stop
	check "--user $1: exit 0" exit_status 0
	check "--user $1: files are the user's" out_of "$2" "$3"
	kill "$server" 2>/dev/null
	wait "$server" 2>/dev/null
}
as_user nobody $nobody "$(id -g nobody)"
as_user 4242:4343 4242 4343
rm -rf out
mkdir -m 700 out
check "--user: an out folder of somebody else is refused" sh -c \
	"! '$build/receiver' --replay none --keys none --out out --user nobody 2>/dev/null"

# ---- started by somebody plain, or by a root that may do nothing ----

# plainly NAME COMMAND...: a recording by a receiver that COMMAND starts.
plainly() {
	who=$1
	shift
	rm -rf out
	install -d -m 777 out
	chmod 777 out
	server server.log --speakers 2 --seconds 20 --seed 10
	chmod 644 join.json
	rm -f events.log receiver.log
	"$@" "$build/receiver" --join join.json --out out --session-name p --workers 2 --events \
		>events.log 2>receiver.log &
	pid=$!
	pids="$pids $pid"
	check "$who: it records" wait_in events.log file_opened 2
	check "$who: workers are confined" confined
	kill -SYS "$(workers | head -n 1)"
	check "$who: workers are replaced" wait_in receiver.log 'killed by signal 31), replaced' 1
	check "$who: not dumpable" sh -c "[ \$(stat -c %u /proc/$pid/environ) = 0 ]"
	stop
	check "$who: exit 0" exit_status 0
	check "$who: files are there" test -s out/p/session.json
	kill "$server" 2>/dev/null
	wait "$server" 2>/dev/null
}
plainly "a plain user" setpriv --reuid $nobody --regid $nobody --clear-groups
check "and may not name another" sh -c "setpriv --reuid $nobody --regid $nobody --clear-groups \
	'$build/receiver' --join join.json --user nobody 2>&1 | grep -q 'only root'"
plainly "root without capabilities" setpriv --bounding-set=-all --inh-caps=-all --no-new-privs
if unshare --net true 2>/dev/null; then
	plainly "no namespaces to be had" setpriv --bounding-set=-sys_admin --inh-caps=-all --no-new-privs
fi

# ---- symbolic links in a folder where everybody may write ----

rm -rf out victim
mkdir -m 755 victim
echo kept >victim/file
install -d -m 777 out
chmod 777 out
server server.log --speakers 2 --seconds 20 --seed 11
ln -s ../victim out/s
ln -s ../victim/file out/s-2
ln -s ../victim/new out/s-3
start --session-name s --workers 1 --sink file:format=wav --sink segments
check "links where the session's folder would be: it records" wait_in events.log file_opened 2
sleep 2
stop
check "links: exit 0" exit_status 0
untouched() {
	[ "$(cat victim/file)" = kept ] && [ "$(ls victim)" = file ] && [ "$(stat -c %a victim)" = 755 ]
}
check "links: nothing behind them is touched" untouched
check "links: they are still links" sh -c '[ -L out/s ] && [ -L out/s-2 ] && [ -L out/s-3 ]'
check "links: the session is in a folder of its own" test -s out/s-4/session.json
kill "$server" 2>/dev/null
wait "$server" 2>/dev/null

# beside a recording, where convert puts its outputs
rec=$(find out/s-4 -maxdepth 1 -name '*.wav' | head -n 1)
mkdir target
chmod 777 target
cp "$rec" target/a.wav
ln -s ../victim/new target/a.flac
ln -s ../victim/file target/.a.flac.part
"$build/convert" -f flac target/a.wav >convert.txt 2>&1
check "convert: nothing behind links is touched" untouched
exit 0
