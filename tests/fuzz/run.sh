#!/bin/sh
# SPDX-License-Identifier: ISC
# run.sh SECONDS TARGET...: builds each fuzz target with clang and sanitizers and runs it that long.
# Starts from tests/fuzz/corpus/TARGET and adds what it finds to a folder of its own below the build;
# an input that fails is left there as TARGET-*: once mended it becomes a seed. Ends with a table;
# status 1 if any target failed.
set -eu
[ $# -ge 2 ] || {
	echo "usage: $0 SECONDS TARGET..." >&2
	exit 2
}
seconds=$1
shift
cd "$(dirname "$0")/../.."
build=${BUILD:-build/fuzz}
cc=${FUZZ_CC:-clang}
jobs=${JOBS:-$(nproc)}
max_len=${MAX_LEN:-4096}

# The tree's own rules build them; the fuzzer and its instrumentation come in as flags.
mkdir -p "$build"
make --no-print-directory -s -j"$jobs" CC="$cc" SAN= BUILD="$build" FUZZ_MAIN= \
	LDFLAGS="-fsanitize=fuzzer,address,undefined" \
	CFLAGS="-O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -U_FORTIFY_SOURCE -Wno-error" \
	$(for target; do echo "$build/tests/$target"; done)

# of LOG WORD: the number behind "cov:" in the first (INITED) or last (DONE) line with this word.
coverage() {
	grep -a "	$2 " "$1" | sed -n 's/.*cov: \([0-9]*\).*/\1/p' | tail -n 1
}

failed=0
printf '%-18s %12s %10s %8s %8s\n' target executions "a second" edges new
for target; do
	log=$build/$target.log
	found=$build/found/$target
	mkdir -p "$found" "tests/fuzz/corpus/$target"
	status=0
	"$build/tests/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
		-max_len="$max_len" -print_final_stats=1 -artifact_prefix="$build/$target-" \
		"$found" "tests/fuzz/corpus/$target" >/dev/null 2>"$log" || status=$?
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
	before=$(coverage "$log" INITED)
	after=$(coverage "$log" DONE)
	printf '%-18s %12s %10s %8s %8s\n' "$target" "${runs:--}" "${speed:--}" "${after:--}" \
		"$([ -z "$after" ] || echo $((after - ${before:-0})))"
	if [ $status -ne 0 ]; then
		failed=$((failed + 1))
		echo "FAIL $target (exit status $status): $log"
		grep -av '^#' "$log" | tail -n 40 | sed 's/^/    /'
	fi
done
[ $failed -eq 0 ] || echo "$failed of $# targets failed"
[ $failed -eq 0 ]
