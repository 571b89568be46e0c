#!/bin/sh
# SPDX-License-Identifier: ISC
# tsan.sh BUILD: the system tests and what has threads of the unit tests, in a build with
# ThreadSanitizer. Any report fails, and so does a test.
set -u
build=$1
cd "$(dirname "$0")/../.." || exit 1
case $build in /*) ;; *) build=$PWD/$build ;; esac
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export TSAN_OPTIONS="log_path=$logs/report suppressions=$PWD/tests/soak/tsan.supp halt_on_error=0"
export STORM_SECONDS="${STORM_SECONDS:-5}"
failed=0

run() {
	name=$1
	shift
	timeout -k 5 900 "$@" >"$logs/log" 2>&1 </dev/null
	status=$?
	bad=$(grep '^not ok ' "$logs/log" | grep -vc '# SKIP')
	reports=$(cat "$logs"/report.* 2>/dev/null | grep -c '^WARNING: ThreadSanitizer')
	echo "$name: $(grep -c '^ok ' "$logs/log") ok, $bad not ok, $reports reports, exit status $status"
	[ "$bad" -eq 0 ] || grep -A 12 '^not ok ' "$logs/log" | sed 's/^/    /'
	[ "$reports" -eq 0 ] || cat "$logs"/report.*
	rm -f "$logs"/report.*
	[ $status -eq 0 ] || tail -n 20 "$logs/log"
	[ $status -eq 0 ] && [ "$bad" -eq 0 ] && [ "$reports" -eq 0 ] || failed=1
}

for script in ${TESTS:-call control dave workers replay plugins}; do
	run "$script.sh" "tests/system/$script.sh" "$build"
done
for program in ${UNITS:-host flac file_sink segments scenarios voice_gateway}; do
	run "test_$program" env CMOCKA_MESSAGE_OUTPUT=TAP "$build/tests/test_$program"
done
[ $failed -eq 0 ] && echo "ThreadSanitizer: clean" || echo "ThreadSanitizer: FAILED"
exit $failed
