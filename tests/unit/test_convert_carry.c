/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/ioctl.h>

#include "common/err.h"
#include "sinks/convert/work.h"
#include "sinks/outfile.h"
#include "tests/unit/convert_dir.h"

/* Samples that go to a WAV as they are, inside the kernel. Whatever becomes of that, the output is
 * what reading and writing gives. */

enum { PIECE = 512 << 10, HEADER = 112 };

/* ---- splice(2), which can be made to fail, and what it stands in for ---- */

/* More calls than anything here needs. */
enum { CALLS_MAX = 10000 };

static struct {
	unsigned calls;                      /* of everything here */
	unsigned into, out_of;               /* calls so far, seen from the pipe */
	unsigned refuse_into, refuse_out_of; /* these and all later ones fail; 0: none */
	int error;                           /* so */
	size_t most;                         /* bytes at once; 0: any number */
	bool interrupts;                     /* every other call */
	unsigned cut_before;                 /* the input is cut before this call; 0: never */
	off_t cut_to;                        /* to this length */
	off_t bad_from;                      /* what cannot be read of the input either; 0: none */
	uint64_t moved;
} fake;

/* What would go on for ever, or wait for what never comes, fails instead. */
static void no_circles(void)
{
	if (++fake.calls > CALLS_MAX)
		fail_msg("it goes round in circles");
}

static int in_pipe(int fd)
{
	int n;

	return ioctl(fd, FIONREAD, &n) == 0 ? n : 0;
}

ssize_t __real_splice(int in, loff_t *in_at, int out, loff_t *out_at, size_t len, unsigned flags);
ssize_t __wrap_splice(int in, loff_t *in_at, int out, loff_t *out_at, size_t len, unsigned flags);
ssize_t __real_pread(int fd, void *data, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *data, size_t len, off_t at);
ssize_t __real_read(int fd, void *data, size_t len);
ssize_t __wrap_read(int fd, void *data, size_t len);

ssize_t __wrap_splice(int in, loff_t *in_at, int out, loff_t *out_at, size_t len, unsigned flags)
{
	bool into = in_at != NULL;
	unsigned count = into ? ++fake.into : ++fake.out_of;
	unsigned refuse = into ? fake.refuse_into : fake.refuse_out_of;
	ssize_t n;

	no_circles();
	if (into && in_pipe(out) > 0)
		fail_msg("something was left in the pipe");
	if (fake.interrupts && (fake.into + fake.out_of) % 2 == 0) {
		errno = EINTR;
		return -1;
	}
	if (refuse != 0 && count >= refuse) {
		errno = fake.error;
		return -1;
	}
	if (into && count == fake.cut_before && truncate("in.raw", fake.cut_to) < 0)
		abort();
	if (fake.most != 0 && len > fake.most)
		len = fake.most;
	n = __real_splice(in, in_at, out, out_at, len, flags);
	if (!into && n > 0)
		fake.moved += (uint64_t)n;
	return n;
}

ssize_t __wrap_pread(int fd, void *data, size_t len, off_t at)
{
	no_circles();
	if (fake.bad_from != 0 && at + (off_t)len > fake.bad_from) {
		errno = EIO;
		return -1;
	}
	return __real_pread(fd, data, len, at);
}

/* Of the pipe, in which everything is that will ever come. */
ssize_t __wrap_read(int fd, void *data, size_t len)
{
	no_circles();
	if (in_pipe(fd) == 0)
		fail_msg("it waits for more than there is");
	return __real_read(fd, data, len);
}

/* ---- a job ---- */

static void started(void *user, uint64_t total, uint32_t rate)
{
	(void)user;
	(void)total;
	(void)rate;
}

static int convert(const char *path, const char *name, const struct raw_form *raw,
	const char *format, uint32_t rate, struct fault *fault)
{
	struct job_part parts[2] = { { path, 0, JOB_TO_END } };
	struct job_track track = { .parts = parts, .part_count = 1 };
	const struct job job = { .input = path,
		.folder = ".",
		.name = name,
		.output = name,
		.tracks = &track,
		.track_count = 1 };
	const struct work_observer observer = { .witness = { .warn = hear_warning },
		.started = started };
	struct format f;
	struct work_conf conf = { .format = &f, .raw = raw, .rate = rate };
	struct work_result result;
	int r;

	assert_int_equal(format_parse(&f, format, fault), TD_OK);
	r = work_run(&job, &conf, &observer, &result, fault);
	format_free(&f);
	assert_int_not_equal(access(".out.wav.part", F_OK), 0);
	return r;
}

static void *slurp(const char *name, size_t *ret_len)
{
	FILE *f = fopen(name, "rb");
	struct stat st;
	void *data;

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	data = malloc((size_t)st.st_size + 1);
	assert_non_null(data);
	*ret_len = fread(data, 1, (size_t)st.st_size, f);
	assert_int_equal(*ret_len, st.st_size);
	fclose(f);
	return data;
}

static bool same(const char *a, const char *b)
{
	size_t a_len, b_len;
	void *a_data = slurp(a, &a_len), *b_data = slurp(b, &b_len);
	bool r = a_len == b_len && memcmp(a_data, b_data, a_len) == 0;

	free(a_data);
	free(b_data);
	return r;
}

/* So many bytes, none of them zero, different wherever one looks. */
static void put_samples(const char *name, size_t len)
{
	uint8_t *data = malloc(len + 1);
	uint32_t x = 1;

	assert_non_null(data);
	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24) | 1;
	}
	put_file(name, data, len);
	free(data);
}

static const struct raw_form stereo = { 48000, 2, RAW_S16LE }, mono = { 8000, 1, RAW_S16LE };

static void reset(void)
{
	memset(&fake, 0, sizeof(fake));
}

/* in.raw, or what path says, by reading: read.wav. */
static void read_it(const char *path, const struct raw_form *raw)
{
	struct fault fault = { "" };

	reset();
	fake.refuse_into = 1;
	fake.error = EINVAL;
	assert_int_equal(convert(path, "read.wav", raw, "wav", 0, &fault), TD_OK);
	assert_int_equal(fake.moved, 0);
	assert_int_equal(fake.into, 1); /* it is not tried again and again */
	reset();
}

/* The other way gives the same. */
static void carry_it(const char *path, const struct raw_form *raw)
{
	struct fault fault = { "" };

	if (convert(path, "out.wav", raw, "wav", 0, &fault) != TD_OK)
		fail_msg("%s", fault.text);
	assert_true(same("out.wav", "read.wav"));
}

/* ---- tests ---- */

static void sizes(void **state)
{
	static const size_t lens[] = { 4, 5, 7, 8, PIECE - HEADER - 4, PIECE - HEADER - 1,
		PIECE - HEADER, PIECE - HEADER + 1, PIECE - HEADER + 4, PIECE, PIECE + 4,
		2 * PIECE - HEADER, 2 * PIECE - HEADER + 4, 9 * PIECE + 1234 };
	size_t len;
	uint8_t *wav;

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		for (int channels = 1; channels <= 2; channels++) {
			const struct raw_form *form = channels == 1 ? &mono : &stereo;
			size_t whole = lens[i] - lens[i] % raw_form_frame(form);

			put_samples("in.raw", lens[i]);
			read_it("in.raw", form);
			carry_it("in.raw", form);
			assert_int_equal(fake.moved, whole);
			/* A WAV is read as raw samples are. */
			assert_int_equal(rename("read.wav", "again.wav"), 0);
			reset();
			read_it("again.wav", NULL);
			carry_it("again.wav", NULL);
			assert_int_equal(fake.moved, whole);
			assert_true(same("again.wav", "read.wav"));
			wav = slurp("out.wav", &len);
			assert_int_equal(len, HEADER + whole);
			free(wav);
		}
	}
}

static void empty(void **state)
{
	struct fault fault = { "" };

	(void)state;
	for (size_t len = 0; len < 4; len++) {
		put_samples("in.raw", len);
		assert_int_equal(convert("in.raw", "out.wav", &stereo, "wav", 0, &fault),
			TD_ERR_TRUNCATED);
		assert_int_not_equal(access("out.wav", F_OK), 0);
	}
}

static void refused(void **state)
{
	static const int errors[] = { EINVAL, ENOSYS, EPERM, EOPNOTSUPP, EXDEV };

	(void)state;
	put_samples("in.raw", 5 * PIECE + 1000);
	read_it("in.raw", &stereo);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		for (unsigned at = 1; at <= 4; at++) {
			reset();
			fake.error = errors[i];
			fake.refuse_into = at;
			carry_it("in.raw", &stereo);
			reset();
			fake.error = errors[i];
			fake.refuse_out_of = at;
			carry_it("in.raw", &stereo);
		}
	}
}

static void in_crumbs(void **state)
{
	(void)state;
	put_samples("in.raw", 2 * PIECE + 1000);
	read_it("in.raw", &stereo);
	fake.most = 10001;
	carry_it("in.raw", &stereo);
	assert_int_equal(fake.moved, 2 * PIECE + 1000);
	fake.refuse_out_of = 7;
	fake.error = EINVAL;
	carry_it("in.raw", &stereo);
	reset();
	fake.interrupts = true;
	carry_it("in.raw", &stereo);
	assert_int_equal(fake.moved, 2 * PIECE + 1000);
}

/* What the output has on the disk is as little as of the input. */
static void holes_too(void **state)
{
	static const struct {
		off_t at;
		size_t len;
	} sound[] = { { 100000, 8 }, { 700000, 200000 }, { 5000000, 4 } };
	uint8_t bytes[200000];
	struct stat in, out;
	int fd;

	(void)state;
	memset(bytes, 0x55, sizeof(bytes));
	fd = open("in.raw", O_WRONLY | O_CREAT, 0600);
	for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++)
		assert_int_equal(pwrite(fd, bytes, sound[i].len, sound[i].at), sound[i].len);
	assert_int_equal(ftruncate(fd, 9000004), 0);
	assert_int_equal(fstat(fd, &in), 0);
	close(fd);
	read_it("in.raw", &stereo);
	carry_it("in.raw", &stereo);
	assert_true(fake.moved < 600000);
	assert_int_equal(stat("out.wav", &out), 0);
	/* Where blocks are not shared a page more at each edge is enough. */
	assert_true(out.st_blocks <= in.st_blocks + 6 * 8 * 16);
}

static void cut(unsigned before, off_t to)
{
	struct fault fault = { "" };

	reset();
	fake.cut_before = before;
	fake.cut_to = to;
	assert_int_equal(convert("in.raw", "out.wav", &stereo, "wav", 0, &fault), TD_ERR_TRUNCATED);
	assert_string_equal(fault.text, "became shorter while it was read");
	assert_int_not_equal(access("out.wav", F_OK), 0);
}

static void cut_while_read(void **state)
{
	(void)state;
	for (unsigned at = 1; at <= 4; at++) {
		put_samples("in.raw", 5 * PIECE);
		cut(at, (at - 1) * PIECE + 1000);
	}
}

/* What is gone is no hole. */
static void cut_in_a_hole(void **state)
{
	static const off_t lens[] = { 1, 100000, 1000000, 2999999 };

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		put_samples("in.raw", 100000);
		assert_int_equal(truncate("in.raw", 3000000), 0);
		cut(1, lens[i]);
	}
}

static void unreadable(void **state)
{
	(void)state;
	put_samples("in.raw", 5 * PIECE);
	for (unsigned at = 1; at <= 4; at++) {
		struct fault fault = { "" };

		reset();
		fake.refuse_into = at;
		fake.error = EIO;
		fake.bad_from = (at - 1) * PIECE + 20000;
		assert_int_equal(convert("in.raw", "out.wav", &stereo, "wav", 0, &fault),
			TD_ERR_IO);
		assert_string_equal(fault.text, "cannot be read: Input/output error");
		assert_int_not_equal(access("out.wav", F_OK), 0);
	}
}

static ssize_t full_pwrite(int fd, const void *data, size_t len, off_t at)
{
	if (at + (off_t)len <= PIECE)
		return pwrite(fd, data, len, at);
	errno = ENOSPC;
	return -1;
}

static void full_disk(void **state)
{
	static const struct outfile_sys sys = { full_pwrite, ftruncate, fsync };

	(void)state;
	put_samples("in.raw", 5 * PIECE);
	outfile_test_sys(&sys);
	for (unsigned at = 2; at <= 4; at++) {
		struct fault fault = { "" };

		reset();
		fake.refuse_out_of = at;
		fake.error = ENOSPC;
		assert_int_equal(convert("in.raw", "out.wav", &stereo, "wav", 0, &fault),
			TD_ERR_IO);
		assert_string_equal(fault.text, "out.wav: No space left on device");
		assert_int_not_equal(access("out.wav", F_OK), 0);
		assert_int_equal(fake.into, at); /* nothing is read for nothing */
	}
	outfile_test_sys(NULL);
}

/* Where samples change they are read. */
static void read_where_they_change(void **state)
{
	static const struct raw_form other = { 48000, 2, RAW_S16BE };
	struct fault fault = { "" };

	(void)state;
	reset();
	put_samples("in.raw", 100000);
	assert_int_equal(convert("in.raw", "a", &stereo, "wav", 16000, &fault), TD_OK);
	assert_int_equal(convert("in.raw", "b", &other, "wav", 0, &fault), TD_OK);
	assert_int_equal(convert("in.raw", "c", &stereo, "flac", 0, &fault), TD_OK);
	assert_int_equal(fake.into, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sizes, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(empty, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(refused, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(in_crumbs, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(holes_too, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(cut_while_read, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(cut_in_a_hole, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(unreadable, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(full_disk, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(read_where_they_change, scratch_enter,
			scratch_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
