/* SPDX-License-Identifier: ISC */
/* What we read of a plain capture, beside what libpcap reads of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <pcap/pcap.h>

#include "common/clock.h"
#include "common/err.h"
#include "receiver/pcap_file.h"

#define US 0xa1b2c3d4u
#define NS 0xa1b23c4du
enum { RAW = 101 };

static struct {
	uint8_t bytes[2 << 20];
	size_t len;
	bool swapped;
} file;

static void put(uint32_t n)
{
	if (file.swapped)
		n = __builtin_bswap32(n);
	memcpy(file.bytes + file.len, &n, 4);
	file.len += 4;
}

static void begin(bool swapped, uint32_t magic, uint32_t version, uint32_t snap_len, uint32_t type)
{
	uint16_t v[2] = { (uint16_t)(version >> 8), (uint16_t)(version & 0xff) };

	file.len = 0;
	file.swapped = swapped;
	put(magic);
	if (swapped) {
		v[0] = __builtin_bswap16(v[0]);
		v[1] = __builtin_bswap16(v[1]);
	}
	memcpy(file.bytes + file.len, v, sizeof(v));
	file.len += sizeof(v);
	put(0);
	put(0);
	put(snap_len);
	put(type);
}

static void frame(uint32_t sec, uint32_t fraction, uint32_t len)
{
	put(sec);
	put(fraction);
	put(len);
	put(len + 5);
	for (uint32_t i = 0; i < len; i++)
		file.bytes[file.len++] = (uint8_t)(sec + i * 7);
}

/* A file of `len` bytes of it. */
static int descriptor(size_t len)
{
	int fd = memfd_create("pcap", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, file.bytes, len), (ssize_t)len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* Both say the same of the first `len` bytes; returns how many frames. */
static unsigned compare(size_t len)
{
	char why[PCAP_ERRBUF_SIZE] = "", err[256] = "";
	int fd = descriptor(len), r, theirs;
	struct pcap_file *f = NULL;
	struct pcap_frame ours;
	unsigned frames = 0;
	pcap_t *p;

	p = pcap_fopen_offline_with_tstamp_precision(fdopen(descriptor(len), "rb"),
		PCAP_TSTAMP_PRECISION_NANO, why);
	assert_non_null(p);
	assert_int_equal(pcap_file_new(&f, fd), TD_OK);
	for (;; frames++) {
		struct pcap_pkthdr *h;
		const u_char *data;

		r = pcap_file_next(f, &ours, err, sizeof(err));
		theirs = pcap_next_ex(p, &h, &data);
		if (theirs != 1 || r != 1)
			break;
		assert_int_equal(ours.utc_ns,
			(uint64_t)h->ts.tv_sec * TD_SEC_NS + (uint64_t)h->ts.tv_usec);
		assert_int_equal(ours.len, h->caplen);
		assert_memory_equal(ours.data, data, ours.len);
	}
	if (theirs == PCAP_ERROR_BREAK)
		assert_int_equal(r, 0);
	else
		assert_int_equal(r, TD_ERR_IO);
	assert_int_equal(r < 0, err[0] != '\0');
	pcap_close(p);
	pcap_file_free(f);
	return frames;
}

static void test_both_orders_and_both_units(void **state)
{
	(void)state;
	for (int swapped = 0; swapped <= 1; swapped++) {
		for (int i = 0; i < 2; i++) {
			begin(swapped != 0, i == 0 ? US : NS, 0x0204, 65535, RAW);
			frame(1, 2, 30);
			frame(2000000000, 999999, 0);
			frame(7, 8, 1500);
			assert_int_equal(compare(file.len), 3);
		}
	}
}

/* Some libpcap take them for times before 1970, if not swapped. */
static void test_times_of_32_bits(void **state)
{
	(void)state;
	for (int swapped = 0; swapped <= 1; swapped++) {
		struct pcap_frame f = { 0 };
		struct pcap_file *p = NULL;
		char err[256];

		begin(swapped != 0, US, 0x0204, 65535, RAW);
		frame(0xfffffff0, 7, 1);
		assert_int_equal(pcap_file_new(&p, descriptor(file.len)), TD_OK);
		assert_int_equal(pcap_file_next(p, &f, err, sizeof(err)), 1);
		assert_int_equal(f.utc_ns, 0xfffffff0 * TD_SEC_NS + 7000);
		pcap_file_free(p);
	}
}

static void test_cut_anywhere(void **state)
{
	(void)state;
	begin(false, US, 0x0204, 65535, RAW);
	frame(1, 2, 30);
	frame(3, 4, 5);
	for (size_t len = 24; len <= file.len; len++)
		compare(len);
}

/* Frames that end where a reading does, and somewhere in between. */
static void test_many_readings(void **state)
{
	(void)state;
	for (uint32_t odd = 0; odd < 40; odd++) {
		begin(false, NS, 0x0204, 262144, RAW);
		frame(0, 0, 65536 - 24 - 2 * 16 - 20 + odd);
		for (uint32_t i = 0; i < 900; i++)
			frame(i, i, i % 300);
		frame(1, 1, 262144);
		frame(2, 2, 262144);
		frame(3, 3, 7);
		assert_int_equal(compare(file.len), 904);
	}
}

static void test_snap_length(void **state)
{
	static const uint32_t lens[] = { 0, 1, 96, 262144, 0x7fffffff, 0x80000000, 0xffffffff };

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		begin(false, US, 0x0204, lens[i], RAW);
		frame(1, 2, 1500);
		frame(3, 4, 60);
		assert_int_equal(compare(file.len), 2);
	}
}

static void test_a_frame_that_is_too_long(void **state)
{
	(void)state;
	begin(false, US, 0x0204, 65535, RAW);
	frame(1, 2, 50);
	frame(1, 2, 262145);
	frame(1, 2, 50);
	assert_int_equal(compare(file.len), 1);
}

static void test_left_to_libpcap(void **state)
{
	static const struct {
		const char *name;
		uint32_t magic, version, type;
	} cases[] = {
		{ "pcapng", 0x0a0d0d0a, 0x0204, RAW },
		{ "longer headers", 0xa1b2cd34, 0x0204, RAW },
		{ "an older version", US, 0x0203, RAW },
		{ "a newer one", US, 0x0300, RAW },
		{ "a link type nobody reads", US, 0x0204, 105 },
		{ "checksums behind frames", US, 0x0204, 0x24000000 | RAW },
	};
	struct pcap_file *f;
	int ends[2];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd;

		begin(false, cases[i].magic, cases[i].version, 65535, cases[i].type);
		fd = descriptor(file.len);
		if (pcap_file_new(&f, fd) != TD_ERR_UNSUPPORTED)
			fail_msg("%s", cases[i].name);
		assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
		close(fd);
	}
	begin(false, US, 0x0204, 65535, RAW);
	for (size_t len = 0; len < 24; len++) {
		int fd = descriptor(len);

		assert_int_equal(pcap_file_new(&f, fd), TD_ERR_UNSUPPORTED);
		close(fd);
	}
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], file.bytes, file.len), (ssize_t)file.len);
	assert_int_equal(pcap_file_new(&f, ends[0]), TD_ERR_UNSUPPORTED);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_orders_and_both_units),
		cmocka_unit_test(test_times_of_32_bits),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_many_readings),
		cmocka_unit_test(test_snap_length),
		cmocka_unit_test(test_a_frame_that_is_too_long),
		cmocka_unit_test(test_left_to_libpcap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
