#!/bin/sh
# SPDX-License-Identifier: ISC
# run.sh BUILD [unit]: runs every test program (TAP on standard output), then counts.
# FUZZ_BUILD: where the programs are that replay the fuzz corpora; BUILD when not given.
# Each program is a file that can be run alone: build/tests/test_*, tests/system/*.sh BUILD.
set -u
build=$1
which=${2:-all}
cd "$(dirname "$0")/.." || exit 1

passed=0
failed=0
skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# run_tap NAME SECONDS COMMAND...: a program that ends without a plan fails as one test.
run_tap() {
	name=$1
	seconds=$2
	shift 2
	timeout -k 5 "$seconds" "$@" >"$log" 2>&1 </dev/null
	status=$?
	ok=$(grep -c '^ok ' "$log")
	skip=$(grep -c '^not ok .*# SKIP' "$log") # as cmocka says it
	bad=$(grep '^not ok ' "$log" | grep -vc '# SKIP')
	[ $status -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
	[ $((ok + bad + skip)) -gt 0 ] || bad=1
	passed=$((passed + ok))
	failed=$((failed + bad))
	skipped=$((skipped + skip))
	if [ "$bad" -gt 0 ]; then
		echo "FAIL $name (exit status $status)"
		grep '^not ok ' "$log" | sed 's/^/    /'
		grep -v '^ok ' "$log" | tail -n 60 | sed 's/^/    /'
	else
		echo "ok   $name: $ok"
	fi
}

for program in "$build"/tests/test_*; do
	[ -x "$program" ] || continue
	CMOCKA_MESSAGE_OUTPUT=TAP run_tap "${program##*/}" 120 "$program"
done
for program in "${FUZZ_BUILD:-$build}"/tests/fuzz_*; do
	name=${program##*/}
	[ -x "$program" ] && [ -d "tests/fuzz/corpus/$name" ] || continue
	run_tap "$name (corpus)" 120 "$program" "tests/fuzz/corpus/$name"
done
# A runner of published vectors counts for itself, on its last line.
for kind in mls dave; do
	timeout -k 5 120 "$build/tests/${kind}_vectors" "tests/vectors/$kind" >"$log" 2>&1 </dev/null
	status=$?
	set -- $(tail -n 1 "$log" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p')
	[ $# -eq 3 ] && { [ $status -eq 0 ] || [ "$2" -gt 0 ]; } || set -- 0 1 0
	passed=$((passed + $1))
	failed=$((failed + $2))
	skipped=$((skipped + $3))
	if [ "$2" -gt 0 ]; then
		echo "FAIL ${kind}_vectors (exit status $status)"
		tail -n 40 "$log" | sed 's/^/    /'
	else
		echo "ok   ${kind}_vectors: $1, $3 skipped"
	fi
done
if [ "$which" = all ]; then
	for script in tests/system/*.sh; do
		[ "${script##*/}" != lib.sh ] || continue
		run_tap "${script##*/}" 180 "$script" "$build"
	done
fi

if [ $skipped -gt 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ $failed -eq 0 ] && [ $passed -gt 0 ]
