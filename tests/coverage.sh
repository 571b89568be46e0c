#!/bin/sh
# SPDX-License-Identifier: ISC
# coverage.sh BUILD: runs every test in a build with gcc's --coverage, and prints which part of the
# lines ran, a line a file and one a folder. Needs gcov alone.
set -u
build=$1
gcov=${GCOV:-gcov}
cd "$(dirname "$0")/.." || exit 1
command -v "$gcov" >/dev/null || {
	echo "coverage: $gcov is missing (Debian: gcc)" >&2
	exit 1
}

find "$build" -name '*.gcda' -delete
TEST_SECONDS=1200 tests/run.sh "$build" >"$build/tests.log" 2>&1
tail -n 1 "$build/tests.log"
grep -A 3 '^FAIL' "$build/tests.log" | sed 's/^/    /'
echo "unpacker/sandbox.c runs in processes that cannot write down what they ran: 0 % by design, as are"
echo "the failures of test_sandbox and sandbox.sh, whose workers are not confined in this build."

for folder in receiver unpacker sinks common; do
	find "$folder" -name '*.c' | LC_ALL=C sort | while read -r source; do
		notes=$build/obj/${source%.c}.gcno
		[ -f "$notes" ] || continue
		"$gcov" -n -o "$notes" "$notes" 2>/dev/null | awk -v source="$source" '
			/^File / { mine = $0 == "File \047" source "\047" }
			mine && /^Lines executed:/ {
				split($0, part, /[:% ]+/)
				printf "%s %d %d\n", source, part[3] * part[5] / 100 + 0.5, part[5]
				exit
			}'
	done
done | awk '
	{
		folder = $1
		sub(/\/.*/, "", folder)
		printf "%-40s %5d of %5d  %5.1f %%\n", $1, $2, $3, 100 * $2 / $3
		if (!(folder in all)) order[++n] = folder
		ran[folder] += $2
		all[folder] += $3
	}
	END {
		print ""
		for (i = 1; i <= n; i++) {
			f = order[i]
			printf "%-40s %5d of %5d  %5.1f %%\n", f "/", ran[f], all[f], 100 * ran[f] / all[f]
			if (ran[f] < 0.9 * all[f]) bad = 1
		}
		exit bad
	}'
