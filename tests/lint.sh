#!/bin/sh
# SPDX-License-Identifier: ISC
# The rules a machine can check: formatting, and which folder may know which.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0

complain() {
	echo "lint: $1"
	bad=1
}

if command -v clang-format >/dev/null; then
	find common unpacker sinks receiver tests examples -name '*.[ch]' -not -path '*/node_modules/*' -print0 |
		xargs -0 clang-format --dry-run -Werror || complain "formatting (clang-format -i)"
else
	complain "clang-format is not installed"
fi

# includes FOLDER FORBIDDEN...: the arrows of docs/ARCHITECTURE.md run one way.
includes() {
	folder=$1
	shift
	for other in "$@"; do
		grep -rn "#include \"$other/" "$folder" && complain "$folder must not include $other"
	done
}
includes common receiver unpacker sinks tests
includes unpacker receiver sinks tests
includes sinks receiver unpacker tests
includes receiver unpacker tests
grep -rn '#include "sinks/' receiver | grep -v '"sinks/host.h"' &&
	complain "receiver knows sinks/host.h alone"

# Only receiver/ opens sockets, only sinks/ files to write.
grep -rnwE 'socket\(|connect\(|recvmmsg\(' common unpacker sinks && complain "a socket outside receiver/"
grep -rnE '\b(fopen|open|openat|creat)\(' unpacker common | grep -v 'open(.*dev/null' |
	grep -vE 'transport_open\(|_open\(' && complain "a file opened outside sinks/ and receiver/"

exit $bad
