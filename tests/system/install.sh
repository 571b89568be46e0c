#!/bin/sh
# SPDX-License-Identifier: ISC
# make install and uninstall: what is put where, that it works from there and from anywhere else, and
# that plugins are built against it.
tree=$PWD
given=$1
. "$(dirname "$0")/lib.sh"
unset TAPEDECK_PLUGIN_PATH MAKEFLAGS MFLAGS MAKELEVEL PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH DESTDIR PREFIX

# make_to TARGET DESTDIR PREFIX
make_to() {
	make -s -C "$tree" "$1" BUILD="$given" DESTDIR="$2" PREFIX="$3"
}

skip() {
	number=$((number + 1))
	echo "not ok $number - $1 # SKIP $2"
}

offline --speakers 3 --seconds 10 --seed 1 || echo "not ok - voiceserver --offline"
user=200000000000000001

# works BIN: a replay with what is there, and a conversion. Leaves nothing.
works() {
	rm -rf out
	timeout -k 5 60 "$1/tapedeck-receiver" --replay call.pcap --keys keys.json --out out -q --session-name s \
		--sink file --sink meter:interval=2 --sink 'pipe:cmd=sh -c "cat >{folder}/{user}.raw"' >receiver.log 2>&1 &&
		[ -s out/s/$user.wav ] && [ -s out/s/levels.jsonl ] && [ -s out/s/$user.raw ] && [ ! -s receiver.log ] &&
		timeout -k 5 60 "$1/tapedeck-convert" -q -f flac out/s && [ -s out/s/$user.flac ] && rm -rf out
}

# ---- what is put where ----

(umask 077 && make_to install "$dir/tmp" /opt/x) >make.log 2>&1
check "make install, with umask 077" test $? -eq 0
cat >wanted.txt <<END
755 bin/tapedeck-convert
755 bin/tapedeck-receiver
644 include/tapedeck/sink.h
644 lib/pkgconfig/tapedeck.pc
644 lib/tapedeck/plugins/meter.so
644 lib/tapedeck/plugins/pipe.so
755 libexec/tapedeck/unpacker
644 share/bash-completion/completions/tapedeck-convert
644 share/bash-completion/completions/tapedeck-receiver
644 share/man/man1/tapedeck-convert.1
644 share/man/man1/tapedeck-receiver.1
644 share/man/man3/tapedeck-sink.3
644 share/man/man5/tapedeck-session.5
END
files() {
	(cd "$1" && find . ! -type d -printf '%m %P\n' | LC_ALL=C sort -k 2) | diff "$dir/wanted.txt" -
}
check "the files, and their modes" files tmp/opt/x
check "folders that everybody can enter" sh -c '! find tmp -type d ! -perm 755 | grep .'
check "nothing outside" sh -c '[ "$(find tmp -maxdepth 2 -mindepth 1 | sort | tr "\n" " ")" = "tmp/opt tmp/opt/x " ]'
check "nothing in it names DESTDIR" sh -c '! grep -rl "$PWD" tmp/opt/x/lib/pkgconfig tmp/opt/x/share'
check "the programs run from there" works tmp/opt/x/bin
ln -s "$dir/tmp/opt/x/bin" link
check "and through a link" works link
list_sinks() {
	"$1/tapedeck-receiver" --list-sinks >list.txt &&
		grep -q "^  meter " list.txt && grep -q "^  pipe " list.txt && grep -q "/lib/tapedeck/plugins/meter.so$" list.txt
}
check "--list-sinks has the plugins" list_sinks tmp/opt/x/bin
named() {
	for program in tapedeck-receiver tapedeck-convert; do
		"tmp/opt/x/bin/$program" --help | grep -q "^Usage: $program " &&
			"tmp/opt/x/bin/$program" --version | grep -q "^$program (tapedeck) [0-9]" || return 1
		for option in --nonesuch --plugin=nowhere.so; do
			"tmp/opt/x/bin/$program" $option x >said 2>&1
			[ $? -eq 2 ] && ! grep -v -e "^$program: " -e "^Try '$program --help'.$" said || return 1
		done
	done
	tmp/opt/x/bin/tapedeck-receiver --replay nofile --keys keys.json 2>&1 | grep -q '^tapedeck-receiver: error: '
}
check "they speak in the name they were called by" named
check "no worker, no recording" sh -c '
	mkdir alone && cp tmp/opt/x/bin/tapedeck-receiver alone && ! alone/tapedeck-receiver --replay call.pcap --keys keys.json --out never >said 2>&1 &&
		grep -q unpacker said'

# ---- again, and gone ----

printf x >tmp/opt/x/lib/tapedeck/plugins/mine.so
chmod 700 tmp/opt/x/share
check "installed once more" make_to install "$dir/tmp" /opt/x
check "a folder that was there keeps its mode" test "$(stat -c %a tmp/opt/x/share)" = 700
check "make uninstall" make_to uninstall "$dir/tmp" /opt/x
check "leaves what is not ours" sh -c '[ "$(find tmp/opt/x ! -type d)" = tmp/opt/x/lib/tapedeck/plugins/mine.so ]'
rm -rf tmp
make_to install "$dir/tmp" /opt/x >make.log 2>&1
check "make uninstall, and nothing is left" sh -c "
	make -s -C '$tree' uninstall BUILD='$given' DESTDIR='$dir/tmp' PREFIX=/opt/x && ! find tmp/opt/x -mindepth 1 | grep ."
check "uninstalling what is not there" make_to uninstall "$dir/tmp" /opt/x
mkdir -p sys/usr/local/bin
make_to install "$dir/sys" /usr/local >make.log 2>&1
usr_local() {
	make_to uninstall "$dir/sys" /usr/local && [ -d sys/usr/local/bin ] && [ -d sys/usr/local/share/man/man1 ] &&
		[ ! -e sys/usr/local/lib/tapedeck ] && ! find sys ! -type d | grep .
}
check "/usr/local keeps its folders" usr_local
relative() {
	! make_to install "$dir/tmp" opt/x >make.log 2>&1 && grep -q 'PREFIX has to begin with /' make.log && [ ! -e "${dir}/tmpopt" ]
}
check "a PREFIX that is no path is refused" relative

# ---- a blank in it, and another place ----

blank() {
	(umask 077 && make_to install "$dir/my stage" "/opt/a b") && files "$dir/my stage/opt/a b" && works "$dir/my stage/opt/a b/bin"
}
check "blanks in DESTDIR and PREFIX" blank
blank_flags() {
	PKG_CONFIG_PATH="$dir/my stage/opt/a b/lib/pkgconfig" pkg-config --cflags tapedeck | grep -qF -- '-I/opt/a\ b/include' &&
		[ "$(PKG_CONFIG_PATH="$dir/my stage/opt/a b/lib/pkgconfig" pkg-config --variable=plugindir tapedeck)" = "/opt/a b/lib/tapedeck/plugins" ]
}
check "pkg-config knows what to do with them" blank_flags
blank_gone() {
	make_to uninstall "$dir/my stage" "/opt/a b" && ! find "$dir/my stage" ! -type d | grep .
}
check "and gone" blank_gone
make_to install "$dir/tmp" /opt/x >make.log 2>&1
mkdir elsewhere && mv tmp/opt/x elsewhere/moved
check "a moved tree" works elsewhere/moved/bin
check "a moved tree: plugins" list_sinks elsewhere/moved/bin
moved_flags() {
	export PKG_CONFIG_PATH="$dir/elsewhere/moved/lib/pkgconfig"
	[ "$(pkg-config --define-prefix --variable=plugindir tapedeck)" = "$dir/elsewhere/moved/lib/tapedeck/plugins" ]
}
check "a moved tree: pkg-config" moved_flags

# ---- plugins ----

make_to install "$dir/tmp" /opt/x >make.log 2>&1
export PKG_CONFIG_PATH="$dir/tmp/opt/x/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$dir/tmp"
check "pkg-config: the version" sh -c '[ "$(pkg-config --modversion tapedeck)" = "$(tmp/opt/x/bin/tapedeck-receiver --version | grep -o "[0-9.]*$")" ]'
check "pkg-config: where plugins go" test "$(pkg-config --variable=plugindir tapedeck)" = "$dir/tmp/opt/x/lib/tapedeck/plugins"
# plugin NAME COMPILER...: built against the installed header alone, put in its place, used by name.
plugin() {
	so=$1
	shift
	rm -f "$(pkg-config --variable=plugindir tapedeck)/"my_*.so
	"$@" -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE "-DNAME=\"$so\"" -shared -fPIC $(pkg-config --cflags tapedeck) \
		-o "$so.so" "$tree/tests/abi/probe.c" && cp "$so.so" "$(pkg-config --variable=plugindir tapedeck)" || return 1
	rm -rf out
	tmp/opt/x/bin/tapedeck-receiver --replay call.pcap --keys keys.json --out out -q --session-name s --sink "$so" &&
		grep -q samples out/s/probe.txt || return 1
	tmp/opt/x/bin/tapedeck-receiver --list-sinks >list.txt && grep -q "^  $so " list.txt
}
check "a plugin in C11" plugin my_c11 "${CC:-cc}" -std=c11
for std in c++11 c++20; do
	if command -v "${CXX:-g++}" >/dev/null; then
		check "a plugin in $std" plugin "my_cxx${std#c++}" "${CXX:-g++}" -x c++ -std=$std
	else
		skip "a plugin in $std" "no C++ compiler"
	fi
done
header_alone() {
	echo '#include <tapedeck/sink.h>' >alone.c
	"${CC:-cc}" -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only $(pkg-config --cflags tapedeck) alone.c
}
check "the header needs no other" header_alone
unset PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR

# ---- without root, in a home folder ----

if [ "$(id -u)" != 0 ]; then
	as_user() {
		"$@"
	}
else
	as_user() {
		setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
	}
fi
mkdir -m 755 home
home() {
	as_user env HOME="$dir/home" make -s -C "$tree" install BUILD="$given" PREFIX="$dir/home/.local" &&
		files home/.local && [ "$(stat -c %u home/.local/bin/tapedeck-receiver)" = "$(stat -c %u home)" ] &&
		mkdir home/rec && chmod 755 . && cp call.pcap keys.json home && chmod 644 home/call.pcap home/keys.json &&
		chown -R --reference=home home/rec && as_user home/.local/bin/tapedeck-receiver -q --replay home/call.pcap \
		--keys home/keys.json --out home/rec --session-name s --sink file --sink meter &&
		[ -s home/rec/s/levels.jsonl ] && as_user env HOME="$dir/home" make -s -C "$tree" uninstall PREFIX="$dir/home/.local" &&
		! find home/.local -mindepth 1 | grep .
}
[ "$(id -u)" != 0 ] || { chown 65534:65534 home && chmod 755 "$dir"; }
if as_user test -r "$tree/Makefile" -a -r "$build/receiver" -a -w home 2>/dev/null; then
	check "without root, in a home folder" home
else
	skip "without root, in a home folder" "another user cannot read this tree"
fi

# ---- completion ----

cat >complete.bash <<'END'
# complete.bash BIN LINE: what would be offered for the end of LINE, on one line.
PATH=$1:$PATH
for program in tapedeck-receiver tapedeck-convert; do
	. "$1/../share/bash-completion/completions/$program"
done
COMP_LINE=$2
COMP_POINT=${#2}
# As bash cuts it up.
read -ra COMP_WORDS <<<"$(sed 's/[:=]/ & /g' <<<"$2")"
[[ $2 != *[[:space:]] ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p "${COMP_WORDS[0]}" | grep -oE -- '-F [a-z_]+')
${function#-F } 2>/dev/null
printf '%s\n' "${COMPREPLY[@]}" | LC_ALL=C sort | tr '\n' ' '
END
# offers LINE WORD...: exactly these.
offers() {
	line=$1
	shift
	got=$(bash complete.bash "$dir/tmp/opt/x/bin" "$line")
	echo "$line: $got"
	[ "$got" = "$* " ]
}
every_option() {
	bash complete.bash "$dir/tmp/opt/x/bin" "$1 -" | tr ' ' '\n' >offered.txt
	"tmp/opt/x/bin/$1" --help | grep -oE '(^  |, )--?[a-zA-Z][a-z-]*' | sed 's/^[ ,]*//' | LC_ALL=C sort -u >help.txt
	[ "$(wc -l <help.txt)" -gt 15 ] && diff help.txt offered.txt
}
rm -f tmp/opt/x/lib/tapedeck/plugins/my_*.so
mkdir -p files/folder
touch files/call.pcap 'files/one two.wav'
if command -v bash >/dev/null; then
	check "completion: an option" offers "tapedeck-receiver --se" --session-name
	check "completion: every option" every_option tapedeck-receiver
	check "completion: every option" every_option tapedeck-convert
	check "completion: sinks" offers "tapedeck-receiver --join - --sink " file meter pipe segments
	check "completion: sinks, after =" offers "tapedeck-receiver --sink=me" meter
	check "completion: options of a sink" offers "tapedeck-receiver --sink meter:" interval= log=
	check "completion: a second one" offers "tapedeck-receiver --sink file:format=wav,cha" wav,channels=
	check "completion: formats" offers "tapedeck-receiver --sink file:format=" flac mp3 opus pcm wav
	check "completion: a second one" offers "tapedeck-receiver --sink file:format=wav+m" wav+mp3
	check "completion: behind a sink" offers "tapedeck-receiver --sink file --wo" --workers
	check "completion: choices" offers "tapedeck-receiver --log-format " json text
	check "completion: files" offers "tapedeck-receiver --replay files/c" files/call.pcap
	check "completion: plugins" offers "tapedeck-receiver --sink files/" files/call.pcap files/folder "files/one two.wav"
	check "completion: folders" offers "tapedeck-receiver --out files/" files/folder
	check "completion: formats of convert" offers "tapedeck-convert -f " flac mp3 opus pcm wav
	check "completion: their options" offers "tapedeck-convert -f mp3:" bitrate= vbr=
	check "completion: options of convert" offers "tapedeck-convert --m" --mix
	check "completion: inputs" offers "tapedeck-convert -f mp3 files/o" "files/one two.wav"
else
	skip "completion" "no bash"
fi

exit 0
