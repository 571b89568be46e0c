/* SPDX-License-Identifier: ISC */
/*
 * To be preloaded: a wall clock that is set while a program runs, for its own questions and for the
 * kernel's stamps on datagrams. Seconds after the start: 2 an hour ahead, 4 an hour behind, 5
 * right, 6 by 40 ms ahead, 7 an hour ahead for good.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static int64_t started;

static int64_t clock_of(clockid_t id)
{
	struct timespec ts = { 0 };

	syscall(SYS_clock_gettime, id, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec;
}

__attribute__((constructor)) static void start(void)
{
	started = clock_of(CLOCK_MONOTONIC);
}

static int64_t set_by(int64_t mono)
{
	int64_t s = (mono - started) / SECOND;

	if ((s >= 2 && s < 4) || s >= 7)
		return 3600 * SECOND;
	if (s == 4)
		return -3600 * SECOND;
	return s == 6 ? SECOND / 25 : 0;
}

static void write_time(struct timespec *ts, int64_t ns)
{
	ts->tv_sec = ns / SECOND;
	ts->tv_nsec = ns % SECOND;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int64_t ns;

	if (id != CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, id, ts);
	ns = clock_of(id);
	write_time(ts, ns + set_by(clock_of(CLOCK_MONOTONIC)));
	return 0;
}

int recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct timespec *timeout)
{
	int got = (int)syscall(SYS_recvmmsg, fd, msgs, n, flags, timeout), i;
	int64_t ahead = clock_of(CLOCK_REALTIME) - clock_of(CLOCK_MONOTONIC);

	for (i = 0; i < got; i++) {
		struct cmsghdr *cm;

		for (cm = CMSG_FIRSTHDR(&msgs[i].msg_hdr); cm != NULL;
			cm = CMSG_NXTHDR(&msgs[i].msg_hdr, cm)) {
			struct timespec ts;
			int64_t ns;

			if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_TIMESTAMPNS)
				continue;
			memcpy(&ts, CMSG_DATA(cm), sizeof(ts));
			ns = ts.tv_sec * SECOND + ts.tv_nsec;
			write_time(&ts, ns + set_by(ns - ahead));
			memcpy(CMSG_DATA(cm), &ts, sizeof(ts));
		}
	}
	return got;
}
