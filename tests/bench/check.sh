#!/bin/sh
# SPDX-License-Identifier: ISC
# check.sh BUILD [update]: counts instructions a packet of fixed workloads (callgrind), and compares
# them with tests/bench/counts: 3 % more, or less, fails. `update` writes that file anew.
#
# `own` is what our programs execute themselves: it depends on the compiler alone. `all` has the
# libraries in it, which choose their code by the processor and change with the system: it is compared
# where these are the same. A count says nothing about time but that there is more to do.
set -eu
build=$1
update=${2:-}
cd "$(dirname "$0")/../.."
case $build in /*) ;; *) build=$PWD/$build ;; esac
counts=tests/bench/counts
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# workload NAME OPTION...
workload() {
	name=$1
	shift
	"$build/tests/bench_workload" --seed 1 "$@" --pcap "$tmp/$name.pcap" --keys "$tmp/$name.json" \
		>"$tmp/log"
}

gcm="--mode aead_aes256_gcm_rtpsize"
workload short $gcm --speakers 8 --seconds 5 --coded stereo --dave --pauses
workload long $gcm --speakers 8 --seconds 20 --coded stereo --dave --pauses
workload mono $gcm --speakers 8 --seconds 4 --coded mono
workload xchacha --mode aead_xchacha20_poly1305_rtpsize --speakers 8 --seconds 20 --coded stereo
workload many $gcm --speakers 500 --seconds 2 --coded stereo
# Somebody always waits for what is missing, and something is always due.
workload lossy $gcm --speakers 500 --seconds 2 --coded stereo --lose 5

# count LOG COMMAND...: "OWN ALL" of a run, and its output into LOG.
count() {
	log=$1
	shift
	valgrind --tool=callgrind --callgrind-out-file="$tmp/out" "$@" >"$log" 2>"$tmp/err" || {
		cat "$tmp/err" >&2
		exit 1
	}
	awk -f tests/bench/objects.awk "$tmp/out" | awk '
		{ all += $2 }
		$1 == "receiver" || $1 == "bench_count" { own += $2 }
		END { printf "%.0f %.0f\n", own, all }'
}

# unpacker NAME WORKLOAD CHANNELS WANT: what a worker does, in this process.
unpacker() {
	set -- "$1" $(count "$tmp/packets" --toggle-collect=feed_worker "$build/tests/bench_count" \
		"$tmp/$2.pcap" "$tmp/$2.json" "$3" "$4")
	echo "$1 $2 $3 $(cat "$tmp/packets")" | awk '{ printf "%s %.0f %.0f\n", $1, $2 / $4, $3 / $4 }'
}

replayed() {
	rm -rf "$tmp/rec"
	count "$tmp/log" "$build/receiver" --replay "$tmp/$1.pcap" --keys "$tmp/$1.json" \
		--out "$tmp/rec" --quiet --workers 1 --sink "file:format=$2"
}

packets() {
	"$build/tests/bench_count" "$tmp/$1.pcap" "$tmp/$1.json" 1 opus
}

# receiver NAME FORMAT: the receiver without its workers. What starting and ending cost is taken off
# by a shorter call. How often its threads wait, and how much is copied at once, is different every
# time: of the libraries nothing is said.
receiver() {
	set -- "$1" $(replayed long "$2") $(replayed short "$2") "$(packets long)" "$(packets short)"
	echo "$@" | awk '{ printf "%s %.0f -\n", $1, ($2 - $4) / ($6 - $7) }'
}

cat >"$tmp/new" <<END
# instructions a packet, counted by make bench-check: name, own, all
compiler $(${CC:-cc} --version | sed 1q)
libraries opus-$(pkg-config --modversion opus) crypto-$(pkg-config --modversion libcrypto) sodium-$(pkg-config --modversion libsodium) $(getconf GNU_LIBC_VERSION | tr ' ' -)
processor $(sed -n 's/^vendor_id[^:]*: //p;/^flags/p' /proc/cpuinfo | sed 2q |
	grep -ow -e '^[A-Z].*' -e avx2 -e fma -e bmi2 -e erms -e aes -e vaes -e sha_ni | tr '\n' ' ' | sed 's/ $//')
END
{
	unpacker unpacker-sound short 2 pcm
	unpacker unpacker-sound-mono mono 2 pcm
	unpacker unpacker-packets long 2 opus
	unpacker unpacker-packets-xchacha xchacha 2 opus
	unpacker unpacker-packets-500-speakers many 2 opus
	unpacker unpacker-packets-500-lossy lossy 2 opus
	receiver receiver-wav wav
	receiver receiver-opus opus
} >>"$tmp/new"

if [ -n "$update" ]; then
	cp "$tmp/new" $counts
	cat $counts
	exit 0
fi
awk -f tests/bench/compare.awk $counts "$tmp/new"
