#!/bin/sh
# SPDX-License-Identifier: ISC
# Where on the time line what was said ends up: docs/TIMING.md, "Shown by".
align=$PWD/tests/align/run.sh
. "$(dirname "$0")/lib.sh"

mkdir short long

# What judges must be able to say no.
changed_truth() {
	sed "s/\"first_datagram_us\":[0-9]*/\"first_datagram_us\":$1/" short/truth.json >truth.json
	(cd short && "$build/tests/align_check" ../truth.json s other.csv)
}

# without_a_sample FILE SECONDS: takes one out at that time, and puts one at the end.
without_a_sample() {
	at=$((44 + $2 * 96000 + 50000))
	cp "$1" whole.wav
	{
		head -c "$at" whole.wav
		tail -c "+$((at + 3))" whole.wav
		head -c 2 /dev/zero
	} >"$1"
	(cd short && "$build/tests/align_check" truth.json s other.csv)
	refused=$?
	cp whole.wav "$1"
	return $refused
}

check "four minutes: every beep within 20 ms, every spurt in one piece" "$align" "$build" short 240
zero=$(sed -n 's/.*"first_datagram_us":\([0-9]*\).*/\1/p' short/truth.json)
check "the same again" changed_truth "$zero"
changed_truth $((zero - 21000)) >check.log 2>&1
[ $? -eq 1 ]
result $? "a recording that is 21 ms early is refused"
changed_truth $((zero + 21000)) >check.log 2>&1
[ $? -eq 1 ]
result $? "a recording that is 21 ms late is refused"
without_a_sample short/s/200000000000000002.wav 1 >check.log 2>&1
[ $? -eq 1 ]
result $? "a sample less inside a talk spurt is noticed"

check "two hours, clocks 100 ppm off: every beep within 20 ms, every spurt in one piece" \
	"$align" "$build" long 7200
check "6000 beeps and more" sh -c '[ "$(wc -l <long/errors.csv)" -gt 6000 ]'

exit 0
