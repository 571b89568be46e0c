#!/bin/sh
# SPDX-License-Identifier: ISC
# try_sink.sh SPEC [OPTION...]: a made-up call of three speakers, ten seconds, recorded with
# --sink SPEC beside the files. From the source tree, after make all build/tests/voiceserver; BUILD
# names another folder of programs. Leaves the recording in a new folder, whose name is the last line.
set -eu
[ $# -ge 1 ] || {
	echo "usage: try_sink.sh SPEC [RECEIVER-OPTION...]" >&2
	exit 2
}
spec=$1
shift
tree=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$tree/build}
dir=$(mktemp -d "${TMPDIR:-/tmp}/try_sink.XXXXXX")
"$build/tests/voiceserver" --media "$tree/tests/media" --offline --speakers 3 --seconds 10 --seed 1 \
	--pcap "$dir/call.pcap" --keys-out "$dir/keys.json" --truth "$dir/truth.json" >/dev/null
"$build/receiver" --replay "$dir/call.pcap" --keys "$dir/keys.json" --out "$dir" \
	--session-name session --sink file --sink "$spec" "$@" >&2
ls "$dir/session" >&2
echo "$dir/session"
