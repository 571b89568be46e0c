#!/bin/sh
# SPDX-License-Identifier: ISC
# deps.sh "PKG-CONFIG NAMES" DEBIAN-PACKAGE...: makes sure that the build has what it needs.
set -eu
modules=$1
shift

missing=
for package in "$@"; do
	if command -v dpkg-query >/dev/null; then
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
			missing="$missing $package"
	fi
done
if command -v dpkg-query >/dev/null && [ -z "$missing" ]; then
	exit 0
fi

if command -v apt-get >/dev/null; then
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	echo "deps: installing with apt-get:$missing"
	# shellcheck disable=SC2086
	{
		$sudo apt-get -qq update &&
			$sudo env DEBIAN_FRONTEND=noninteractive \
				apt-get -qq install -y --no-install-recommends $missing >/dev/null
	} || {
		echo "deps: apt-get could not install:$missing" >&2
		exit 1
	}
	exit 0
fi

# Not Debian: say what is missing by the names that pkg-config and every distribution share.
absent=
for tool in cc make pkg-config; do
	command -v "$tool" >/dev/null || absent="$absent $tool"
done
for module in $modules; do
	pkg-config --exists "$module" 2>/dev/null || absent="$absent $module"
done
# LAME has no pkg-config file everywhere.
echo '#include <lame/lame.h>' | ${CC:-cc} -E -x c - >/dev/null 2>&1 || absent="$absent lame"
if [ -n "$absent" ]; then
	echo "deps: this is not a Debian system; please install, with development files:$absent" >&2
	echo "deps: (and the libuv event plugin of libwebsockets, where it is a package of its own)" >&2
	exit 1
fi
