#!/bin/sh
# SPDX-License-Identifier: ISC
# run.sh BUILD: what takes long. KILLS, HOURS, STORM_SECONDS shorten it; OUT is where its files are
# (10 GB for a day), a new folder in /tmp unless given.
set -u
build=$1
cd "$(dirname "$0")/../.." || exit 1
case $build in /*) ;; *) build=$PWD/$build ;; esac
kills=${KILLS:-1000}
hours=${HOURS:-24}
storm=${STORM_SECONDS:-60}
out=${OUT:-$(mktemp -d)}
mkdir -p "$out" || exit 1
failed=0

# run NAME COMMAND...: says how it went; TAP or not.
run() {
	name=$1
	shift
	echo "== $name"
	began=$(date +%s)
	"$@" >"$out/log" 2>&1 </dev/null
	status=$?
	grep -E '^(ok|not ok|FAIL|#)' "$out/log"
	if [ $status -ne 0 ] || grep -q '^not ok' "$out/log"; then
		grep -vE '^(ok|not ok|FAIL|#)' "$out/log" | tail -n 30
		failed=$((failed + 1))
	fi
	echo "   $(($(date +%s) - began)) s"
}

# As other programs see it: a few of every kind that was left behind.
outsiders() {
	tests/soak/outsiders.sh "$build" "$out"
}

run "$kills kills of the receiver" tests/system/sigkill.sh "$build" "$kills"
run "files that were left behind, in other programs" outsiders
run "ten kills of workers a second, $storm seconds" \
	env STORM_SECONDS="$storm" tests/system/workers.sh "$build"
for dave in 0 1; do
	mkdir -p "$out/dave-$dave"
	run "$hours hours of twenty speakers, encryption end to end: $dave" \
		tests/soak/long.sh "$build" "$out/dave-$dave" $((hours * 3600)) $dave
done
rm -f "$out/log"
[ $failed -eq 0 ] && echo "soak: all is well; figures in $out" || echo "soak: $failed FAILED; see $out"
[ $failed -eq 0 ]
