#!/bin/sh
# SPDX-License-Identifier: ISC
# run.sh BUILD [unit]: runs every test program (TAP), as many at a time as there are processors and
# those that need the machine for themselves alone at the end; says them in order, with the seconds
# each took, then counts.
# TEST_SECONDS: what each may take, 300 if not given.
# FUZZ_BUILD: where the programs are that replay the fuzz corpora; BUILD when not given.
# Each program is a file that can be run alone: build/tests/test_*, tests/system/*.sh BUILD.
set -u
build=$1
which=${2:-all}
cd "$(dirname "$0")/.." || exit 1

# Live calls whose promises are about time.
alone=' disk.sh gateway.sh sigkill.sh workers.sh '

passed=0
failed=0
skipped=0
number=0
dir=$(mktemp -d)
export dir
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

# add NAME SECONDS COMMAND...
add() {
	number=$((number + 1))
	echo "$1" >"$dir/$number.name"
	shift
	echo "$number $*" >>"$dir/jobs"
}

# report NUMBER: a program that ends without a plan fails as one test.
report() {
	log=$dir/$1.log
	name=$(cat "$dir/$1.name")
	status=1
	took=0
	[ ! -f "$dir/$1.status" ] || read -r status took <"$dir/$1.status"
	case $name in
	*_vectors) # counts for itself, on its last line
		set -- $(tail -n 1 "$log" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p')
		ok=${1:-0}
		bad=${2:-1}
		skip=${3:-0}
		;;
	*)
		ok=$(grep -c '^ok ' "$log")
		skip=$(grep -c '^not ok .*# SKIP' "$log") # as cmocka says it
		bad=$(grep '^not ok ' "$log" | grep -vc '# SKIP')
		;;
	esac
	[ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
	[ $((ok + bad + skip)) -gt 0 ] || bad=1
	passed=$((passed + ok))
	failed=$((failed + bad))
	skipped=$((skipped + skip))
	if [ "$bad" -gt 0 ]; then
		echo "FAIL $name (exit status $status, $took s)"
		grep '^not ok ' "$log" | sed 's/^/    /'
		grep -v '^ok ' "$log" | tail -n 60 | sed 's/^/    /'
	elif [ "$skip" -gt 0 ]; then
		echo "ok   $name: $ok, $skip skipped ($took s)"
	else
		echo "ok   $name: $ok ($took s)"
	fi
}

# run_all AT-A-TIME: everything added since.
run_all() {
	[ -s "$dir/jobs" ] || return
	xargs -P "$1" -L 1 sh -c '
		log=$dir/$1 seconds=$2
		shift 2
		began=$(date +%s)
		timeout -k 5 "$seconds" "$@" >"$log.log" 2>&1 </dev/null
		echo "$? $(($(date +%s) - began))" >"$log.status"' run <"$dir/jobs"
	while read -r job _; do
		report "$job"
	done <"$dir/jobs"
	: >"$dir/jobs"
}

limit=${TEST_SECONDS:-300}
export CMOCKA_MESSAGE_OUTPUT=TAP
for program in "$build"/tests/test_*; do
	[ -x "$program" ] || continue
	add "${program##*/}" "$limit" "$program"
done
for program in "${FUZZ_BUILD:-$build}"/tests/fuzz_*; do
	name=${program##*/}
	[ -x "$program" ] && [ -d "tests/fuzz/corpus/$name" ] || continue
	add "$name (corpus)" "$limit" "$program" "tests/fuzz/corpus/$name"
done
for kind in mls dave; do
	add "${kind}_vectors" "$limit" "$build/tests/${kind}_vectors" "tests/vectors/$kind"
done
run_all "$(nproc)"
if [ "$which" = all ]; then
	for script in tests/system/*.sh; do
		case $alone in *" ${script##*/} "*) continue ;; esac
		[ "${script##*/}" = lib.sh ] || add "${script##*/}" "$limit" "$script" "$build"
	done
	run_all "$(nproc)"
	for script in $alone; do
		add "$script" "$limit" "tests/system/$script" "$build"
	done
	run_all 1
fi

if [ $skipped -gt 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ $failed -eq 0 ] && [ $passed -gt 0 ]
