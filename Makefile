# SPDX-License-Identifier: ISC
#
# make demo    everything from a fresh Debian 12: packages, build, a loopback call, its recordings
# make check   everything from a fresh Debian 12: packages, build, every test
# make help    the other targets

VERSION := 0.1.0
CC ?= cc
BUILD ?= build
JOBS ?= $(shell nproc)
# SAN=address,undefined builds with sanitizers, into a folder of its own.
ifneq ($(SAN),)
BUILD := build/san
endif

PACKAGES := gcc g++ libc6-dev make pkg-config procps libopus-dev libsodium-dev libssl-dev \
	libwebsockets-dev libwebsockets-evlib-uv libuv1-dev libjansson-dev libsndfile1-dev libflac-dev \
	libmp3lame-dev libsoxr-dev libogg-dev libpcap-dev libseccomp-dev libcmocka-dev
# Only .ci/run needs these: the second compiler, its sanitizer and fuzzer runtimes, the formatter,
# valgrind, what checks manual pages.
CI_PACKAGES := clang libclang-rt-14-dev clang-format valgrind mandoc groff-base

PKG_common := libsodium libcrypto opus
PKG_unpacker := libseccomp
PKG_sinks := sndfile flac soxr ogg opus jansson
PKG_receiver := libwebsockets libuv jansson libpcap libssl
PKG_tests := cmocka
PKG_vectors := jansson
PKGS := $(PKG_common) $(PKG_unpacker) $(PKG_sinks) $(PKG_receiver) $(PKG_tests)
# LAME has no pkg-config file on Debian 12.
LIB_sinks := -lmp3lame
pkg_libs = $(shell pkg-config --libs $(1) 2>/dev/null)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wvla -Wundef -Wsign-compare -Wformat=2 -Werror
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -DTD_VERSION='"$(VERSION)"' -I. -g -O2 -pthread $(WARN) \
	-fvisibility=hidden -fstack-protector-strong -fno-strict-aliasing -MMD -MP \
	$(shell pkg-config --cflags $(PKGS) 2>/dev/null | sed 's/-I/-isystem /g') \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer,-D_FORTIFY_SOURCE=2) \
	$(CFLAGS)
ALL_LDFLAGS := -pthread -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

comma := ,
FOLDERS := common unpacker sinks receiver
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
src = $(shell find $(1) -name '*.c' | LC_ALL=C sort)
# A program is a main.c; everything else of the folder goes into an archive tests link too.
lib_src = $(filter-out %/main.c,$(call src,$(1)))
LIBS := $(FOLDERS:%=$(BUILD)/lib%.a)

UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_REPLAY := $(FUZZ:%=$(BUILD)/tests/%)
ALIGN := $(BUILD)/tests/align_call $(BUILD)/tests/align_check
PLUGINS := $(patsubst examples/%.c,$(BUILD)/plugins/%.so,$(wildcard examples/*.c))
BENCH := $(BUILD)/tests/bench $(patsubst %,$(BUILD)/tests/bench_%,workload floor encode parts live null.so)
VECTORS := $(BUILD)/tests/mls_vectors $(BUILD)/tests/dave_vectors

all: $(BUILD)/receiver $(BUILD)/unpacker $(BUILD)/convert $(PLUGINS)
checked: all $(BUILD)/tests/voiceserver $(BUILD)/tests/track_check $(BUILD)/tests/kill_check $(BUILD)/tests/mem_scan $(BUILD)/receiver-nomem $(ALIGN) $(UNIT) $(VECTORS)
tests: checked $(BENCH) $(FUZZ_REPLAY)

## demo: record a loopback call of three speakers and show the tracks
demo: deps
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(BUILD)/tests/voiceserver
	@tests/demo.sh $(BUILD)

## check: every test, the fuzz corpora with sanitizers; the last line counts them
check: deps
	@$(MAKE) --no-print-directory -s -j$(JOBS) checked
	@$(MAKE) --no-print-directory -s -j$(JOBS) SAN=address,undefined BUILD=build/san fuzz-corpora
	@FUZZ_BUILD=build/san tests/run.sh $(BUILD)

## unit: the unit tests, the vectors and the fuzz corpora alone
unit:
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(UNIT) $(FUZZ_REPLAY) $(VECTORS)
	@tests/run.sh $(BUILD) unit

# What replays the corpora: check has it with sanitizers.
fuzz-corpora: $(FUZZ_REPLAY)

## fuzz: every fuzz target for SECONDS (default 60) each, with clang
fuzz:
	@tests/fuzz/run.sh $(or $(SECONDS),60) $(FUZZ)

## interop: third-party clients (Node.js) in encrypted calls with the receiver
interop:
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(BUILD)/tests/voiceserver $(BUILD)/tests/track_check
	@tests/interop/run.sh $(BUILD)

## bench: CPU time beside that of the libraries alone; build/bench.json. ROWS="wav* opus" RUNS=n
bench:
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(BENCH)
	@$(BUILD)/tests/bench --build $(BUILD) --json $(BUILD)/bench.json --work $(BUILD)/bench \
		--runs $(or $(RUNS),5) --rows "$(or $(ROWS),*)"

## bench-check: instructions a packet of fixed workloads, against those kept in tests/bench/counts
bench-check bench-counts:
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(BUILD)/tests/bench_workload $(BUILD)/tests/bench_count
	@CC="$(CC)" tests/bench/check.sh $(BUILD) $(if $(filter bench-counts,$@),update)

## drift: measure the alignment of a two-hour call and draw docs/drift.svg
drift:
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(BUILD)/tests/voiceserver $(ALIGN)
	@mkdir -p $(BUILD)/drift && tests/align/run.sh $(BUILD) $(BUILD)/drift 7200
	@awk -f tests/align/drift.awk $(BUILD)/drift/errors.csv >docs/drift.svg && rm -r $(BUILD)/drift/s

## ct: whether time depends on secrets, as far as valgrind sees it
ct:
	@$(MAKE) --no-print-directory -s -j$(JOBS) $(BUILD)/tests/ct_check
	@valgrind -q --error-exitcode=1 --suppressions=tests/ct/ct.supp $(BUILD)/tests/ct_check

## soak: 1000 kills, a storm of kills of workers, two calls of a day in virtual time: an hour or so
soak:
	@$(MAKE) --no-print-directory -s -j$(JOBS) tests
	@tests/soak/run.sh $(BUILD)

## tsan: the system tests under ThreadSanitizer, with clang
tsan:
	@$(MAKE) --no-print-directory -s -j$(JOBS) CC=clang SAN=thread BUILD=build/tsan tests
	@tests/soak/tsan.sh build/tsan

## coverage: which lines the tests run, by file and folder; below 90 % it fails
# Optimised less, gcc sees fewer bounds, and warns of what cannot be.
coverage:
	@$(MAKE) --no-print-directory -s -j$(JOBS) CC=gcc BUILD=build/cov LDFLAGS=--coverage \
		CFLAGS="--coverage -O1 -fno-inline -Wno-format-truncation \
		-DTD_COVERAGE_NOT_SANDBOXED -include tests/coverage.h" tests
	@tests/coverage.sh build/cov

## lint: formatting and the direction of includes
lint:
	@tests/lint.sh

## deps: install what the build needs (Debian and its kin), or say what is missing
deps:
	@tests/deps.sh "$(PKGS)" $(PACKAGES)
ci-deps:
	@tests/deps.sh "$(PKGS)" $(PACKAGES) $(CI_PACKAGES)

$(BUILD)/receiver: $(call obj,receiver/main.c) $(LIBS)
	$(call link,common sinks receiver)
$(BUILD)/unpacker: $(call obj,unpacker/main.c) $(LIBS)
	$(call link,common unpacker)
$(BUILD)/convert: $(call obj,sinks/convert/main.c) $(LIBS)
	$(call link,common sinks)
$(BUILD)/tests/voiceserver: $(call obj,$(call src,tests/voiceserver)) $(LIBS)
	$(call link,$(FOLDERS) tests)
$(BUILD)/tests/bench: $(call obj,tests/bench/run.c tests/bench/process.c) $(LIBS)
	$(call link,common receiver)
$(BUILD)/tests/bench_parts: $(call obj,tests/bench/parts.c tests/bench/parts_call.c) $(LIBS)
	$(call link,common unpacker receiver)
$(BUILD)/tests/bench_workload: $(call obj,tests/bench/workload.c tests/bench/speech.c \
		tests/voiceserver/capture.c tests/voiceserver/packet.c) $(LIBS)
	$(call link,common receiver)
$(BUILD)/tests/bench_count: $(call obj,tests/bench/count.c) $(LIBS)
	$(call link,common receiver unpacker)
# The libraries alone: nothing of ours is linked but what derives keys before the floor's loop.
$(BUILD)/tests/bench_floor $(BUILD)/tests/bench_encode: $(BUILD)/tests/bench_%: $(BUILD)/obj/tests/bench/%.o $(LIBS)
	$(call link,common receiver sinks)
# The live calls: a voice server of its own, and a sink that looks at the clock.
$(BUILD)/tests/bench_live: $(call obj,$(addprefix tests/bench/,live_main.c live_peer.c live_floor.c speech.c) \
		$(call lib_src,tests/voiceserver)) $(LIBS) | $(BUILD)/tests/latency.so
	$(call link,$(FOLDERS) tests)
$(BUILD)/tests/ct_check: $(call obj,tests/ct/ct_check.c) $(BUILD)/libreceiver.a $(BUILD)/libcommon.a
	$(call link,common receiver)
$(BUILD)/tests/track_check: $(call obj,tests/tools/track_check.c tests/tools/truth_read.c \
		tests/voiceserver/ogg_clip.c) $(LIBS)
	$(call link,common sinks tests)
$(BUILD)/tests/kill_check: $(call obj,tests/tools/kill_check.c) $(BUILD)/libcommon.a
	$(call link,common sinks tests)
# The receiver, short of memory once; beside its unpacker.
$(BUILD)/receiver-nomem: $(call obj,tests/tools/nomem.c receiver/main.c) $(LIBS)
	$(call link,common sinks receiver)
$(BUILD)/tests/mem_scan: $(call obj,tests/tools/mem_scan.c)
	$(call link,common)
$(ALIGN): $(BUILD)/tests/%: $(BUILD)/obj/tests/align/%.o $(BUILD)/obj/tests/voiceserver/ogg_clip.o $(LIBS)
	$(call link,common sinks tests)
$(BUILD)/tests/test_ws: $(BUILD)/obj/tests/voiceserver/certs.o
$(UNIT): $(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(LIBS)
	$(call link,$(FOLDERS) tests)
# Without FUZZ_MAIN there is libFuzzer's (tests/fuzz/run.sh).
FUZZ_MAIN = $(BUILD)/obj/tests/fuzz/replay_main.o
$(FUZZ_REPLAY): $(BUILD)/tests/%: $(BUILD)/obj/tests/fuzz/%.o $(FUZZ_MAIN) $(LIBS)
	$(call link,$(FOLDERS))

# Plugins see the header as it is installed and nothing else of the tree.
$(BUILD)/include/tapedeck/sink.h: sinks/sink.h
	@mkdir -p $(@D) && cp $< $@
$(BUILD)/obj/examples/%.o: examples/%.c $(BUILD)/include/tapedeck/sink.h Makefile
	@mkdir -p $(@D)
	@echo "CC   $<" && $(CC) $(filter-out -I.,$(ALL_CFLAGS)) -fPIC -I$(BUILD)/include -c -o $@ $<
# So do the sinks of the bench, which no folder of plugins has.
$(BUILD)/obj/tests/bench/%_sink.o: tests/bench/%_sink.c $(BUILD)/include/tapedeck/sink.h Makefile
	@mkdir -p $(@D)
	@echo "CC   $<" && $(CC) $(filter-out -I.,$(ALL_CFLAGS)) -fPIC -I$(BUILD)/include -c -o $@ $<
$(BUILD)/obj/tests/bench/live_latency.o: tests/bench/live_latency.c $(BUILD)/include/tapedeck/sink.h Makefile
	@mkdir -p $(@D)
	@echo "CC   $<" && $(CC) $(filter-out -I.,$(ALL_CFLAGS)) -fPIC -I$(BUILD)/include -c -o $@ $<
$(BUILD)/tests/latency.so: $(BUILD)/obj/tests/bench/live_latency.o
$(BUILD)/tests/bench_null.so: $(BUILD)/obj/tests/bench/null_sink.o
$(BUILD)/tests/latency.so $(BUILD)/tests/bench_null.so:
	@mkdir -p $(@D)
	@$(CC) -shared $(ALL_LDFLAGS) -o $@ $< && echo "LINK $@"
$(PLUGINS): $(BUILD)/plugins/%.so: $(BUILD)/obj/examples/%.o
	@mkdir -p $(@D)
	@$(CC) -shared $(ALL_LDFLAGS) -o $@ $< -Wl,--as-needed -lm && echo "LINK $@"

# What ABI 1 was, and what it is now.
$(BUILD)/tests/test_registry: $(call obj,tests/abi/layout_abi1.c)

# These make allocations fail.
$(BUILD)/tests/test_mls_nomem $(BUILD)/tests/test_dave_nomem: ALL_LDFLAGS += \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=sodium_malloc

# These have a malloc() of their own, which libraries are to find as well.
$(BUILD)/tests/test_nomem_life $(BUILD)/receiver-nomem: ALL_LDFLAGS += -Wl,--wrap=sodium_malloc,--wrap=pthread_create

$(BUILD)/tests/test_journal: ALL_LDFLAGS += -Wl,--wrap=mmap,--wrap=munmap

# This one makes the kernel refuse to copy, and sees what is done instead.
$(BUILD)/tests/test_convert_carry: ALL_LDFLAGS += -Wl,--wrap=splice,--wrap=pread,--wrap=read

# This one makes what comes from the network look as if it had been sealed.
$(BUILD)/tests/fuzz_transport: ALL_LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=%,EVP_DecryptUpdate \
	EVP_DecryptFinal_ex EVP_CIPHER_CTX_ctrl crypto_aead_xchacha20poly1305_ietf_decrypt)

# A curve and signatures that cost nothing.
$(BUILD)/tests/fuzz_dave_session: ALL_LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=%,mls_p256_public \
	mls_p256_check mls_p256_ecdh mls_sign_with_label mls_verify_with_label mls_aead_seal \
	mls_aead_open mls_equal sodium_malloc sodium_free)

# This one says where the outcome of a comparison is public.
$(BUILD)/tests/ct_check: ALL_LDFLAGS += -Wl,--wrap=mls_equal

# Published test vectors: one program, given the folder with the files.
$(BUILD)/tests/mls_vectors: $(call obj,$(wildcard tests/vectors/mls_*.c)) $(BUILD)/libcommon.a
	$(call link,common vectors)
$(BUILD)/tests/dave_vectors: $(call obj,$(wildcard tests/vectors/dave_*.c)) $(BUILD)/libreceiver.a \
		$(BUILD)/libcommon.a
	$(call link,common receiver)

# The archives name each other one way only: receiver, sinks, unpacker, common.
link = @mkdir -p $(@D) && $(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) \
	$(patsubst %,$(BUILD)/lib%.a,$(filter receiver,$(1)) $(filter sinks,$(1)) \
	$(filter unpacker,$(1)) common) -Wl,--as-needed \
	$(call pkg_libs,$(foreach f,$(1),$(PKG_$(f)))) $(foreach f,$(1),$(LIB_$(f))) -lm -ldl \
	&& echo "LINK $@"

define archive
$(BUILD)/lib$(1).a: $(call obj,$(call lib_src,$(1)))
	@rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call archive,$(f))))

# Loops over samples are worth vectors, which gcc makes from here on, and packets fewer calls.
$(FOLDERS:%=$(BUILD)/obj/%/%.o): ALL_CFLAGS += -O3 $(CFLAGS)

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "CC   $<" && $(CC) $(ALL_CFLAGS) -c -o $@ $<

## install: programs, plugins, header and manual below PREFIX (default /usr/local), DESTDIR before it
# Programs find everything else from where they stand: the tree may be moved as a whole. (For
# pkg-config there is --define-prefix then.)
PREFIX ?= /usr/local
INSTALLED_PLUGINS := meter pipe
MAN := $(wildcard docs/man/*.[1-9])
COMPLETIONS := share/bash-completion/completions
INSTALLED = bin/tapedeck-receiver bin/tapedeck-convert libexec/tapedeck/unpacker \
	include/tapedeck/sink.h lib/pkgconfig/tapedeck.pc \
	$(INSTALLED_PLUGINS:%=lib/tapedeck/plugins/%.so) \
	$(foreach m,$(MAN),share/man/man$(subst .,,$(suffix $(m)))/$(notdir $(m))) \
	$(COMPLETIONS)/tapedeck-receiver $(COMPLETIONS)/tapedeck-convert
to = $(DESTDIR)$(PREFIX)
# Folders that are there keep their mode; new ones are for everybody, whatever the umask.
install: all
	@case "$(PREFIX)" in /*) ;; *) echo "install: PREFIX has to begin with /" >&2; exit 2 ;; esac
	@umask 022; for d in $(sort $(dir $(INSTALLED))); do mkdir -p "$(to)/$$d" || exit 1; done
	install -m 755 $(BUILD)/receiver "$(to)/bin/tapedeck-receiver"
	install -m 755 $(BUILD)/convert "$(to)/bin/tapedeck-convert"
	install -m 755 $(BUILD)/unpacker "$(to)/libexec/tapedeck/unpacker"
	install -m 644 $(INSTALLED_PLUGINS:%=$(BUILD)/plugins/%.so) "$(to)/lib/tapedeck/plugins"
	install -m 644 sinks/sink.h "$(to)/include/tapedeck/sink.h"
	@for m in $(MAN); do install -m 644 "$$m" "$(to)/share/man/man$${m##*.}/" || exit 1; done
	install -m 644 docs/completion/tapedeck-receiver docs/completion/tapedeck-convert \
		"$(to)/$(COMPLETIONS)"
	@printf '%s\n' 'prefix=$(PREFIX)' 'includedir=$${prefix}/include' \
		'plugindir=$${prefix}/lib/tapedeck/plugins' '' 'Name: tapedeck' \
		'Description: headers for plugins of the tapedeck voice recorder' \
		'Version: $(VERSION)' 'Cflags: -I"$${includedir}"' | \
		install -m 644 /dev/stdin "$(to)/lib/pkgconfig/tapedeck.pc"

## uninstall: remove what install put there
# Folders that are empty then go as well; below /usr and /usr/local only our own.
uninstall:
	@cd "$(to)" 2>/dev/null || exit 0; \
	rm -f $(INSTALLED) || exit 1; \
	case "$(PREFIX)" in \
	/usr | /usr/local) rmdir lib/tapedeck/plugins lib/tapedeck libexec/tapedeck include/tapedeck ;; \
	*) rmdir -p $(sort $(dir $(INSTALLED))) ;; \
	esac 2>/dev/null || true

## clean: remove everything built
clean:
	rm -rf build

## help: this list
help:
	@sed -n 's/^## /  /p' Makefile

.PHONY: all tests checked demo check unit fuzz fuzz-corpora interop bench bench-check bench-counts drift ct soak tsan coverage lint deps ci-deps install uninstall clean help
.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
