#!/bin/sh
# SPDX-License-Identifier: ISC
# run.sh SECONDS TARGET...: builds each fuzz target with clang and sanitizers and runs it that long.
# Starts from tests/fuzz/corpus/TARGET and adds what it finds to a folder of its own below the build;
# an input that fails is left there as TARGET-*: once mended it becomes a seed.
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

mkdir -p "$build"
packages=$(make -s --eval='print-packages: ; @echo $(PKGS)' print-packages)
# The tree's own rules build the archives; the fuzzer's instrumentation comes in as flags.
make --no-print-directory -s -j"$jobs" CC="$cc" SAN= BUILD="$build" \
	CFLAGS="-O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -U_FORTIFY_SOURCE -Wno-error" \
	$(for target; do echo "$build/obj/tests/fuzz/$target.o"; done) \
	"$build/libcommon.a" "$build/libunpacker.a" "$build/libsinks.a" "$build/libreceiver.a"

for target; do
	$cc -fsanitize=fuzzer,address,undefined -pthread -o "$build/$target" \
		"$build/obj/tests/fuzz/$target.o" "$build/libreceiver.a" "$build/libsinks.a" \
		"$build/libunpacker.a" "$build/libcommon.a" -Wl,--as-needed \
		$(pkg-config --libs $packages) -lm -ldl
	mkdir -p "$build/found/$target" "tests/fuzz/corpus/$target"
	echo "$target: $seconds s"
	"$build/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-print_final_stats=1 -verbosity=0 -artifact_prefix="$build/$target-" \
		"$build/found/$target" "tests/fuzz/corpus/$target" 2>"$build/$target.log" || {
		tail -n 40 "$build/$target.log"
		exit 1
	}
	grep -E 'number_of_executed_units|average_exec' "$build/$target.log" | sed 's/^stat::/  /'
done
