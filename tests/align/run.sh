#!/bin/sh
# SPDX-License-Identifier: ISC
# run.sh BUILD FOLDER SECONDS [SEED]: a call of align_call in FOLDER, recorded and checked:
# errors.csv has every beep. Exit status: that of align_check.
set -eu
build=$(cd "$1" && pwd)
cd "$2"
"$build/tests/align_call" . "$3" "${4:-20}"
"$build/tests/voiceserver" --offline --scenario call.json --media . --pcap call.pcap \
	--keys-out keys.json --truth truth.json >offline.log
rm -rf s
"$build/receiver" --replay call.pcap --keys keys.json --out . --session-name s -q \
	--sink file:format=wav,channels=1
"$build/tests/align_check" truth.json s errors.csv
