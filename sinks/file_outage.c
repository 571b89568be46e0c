/* SPDX-License-Identifier: ISC */
#include "sinks/file_outage.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"

#define RETRY_NS (5 * TD_SEC_NS)
#define SOON_NS (1 * TD_SEC_NS) /* the host makes a folder anew that was removed */
#define EARLY_NS (30 * TD_SEC_NS)
#define SAY_NS (2 * TD_SEC_NS)
#define PAUSE_MIN_NS (100 * TD_MS_NS)
enum { SHIFT_MAX = 4, ATTEMPTS_SHARE = 10 };

static uint64_t (*test_clock)(void);

uint64_t outage_now(void)
{
	return test_clock != NULL ? test_clock() : td_mono_ns();
}

void outage_test_clock(uint64_t (*now)(void))
{
	test_clock = now;
}

__attribute__((format(printf, 3, 4))) static void say(const struct outage *o, uint32_t type,
	const char *fmt, ...)
{
	char text[512];
	struct td_event event = { .size = sizeof(event), .type = type, .text = text };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	o->host->event(o->host->user, &event);
}

void outage_ended(struct outage *o, struct outage_track *t, const char *file, int r, int cause,
	const char *so)
{
	uint64_t now_ns = outage_now();

	o->failed = true;
	if (t->began_ns != 0 && now_ns - t->began_ns < EARLY_NS && t->shift < SHIFT_MAX)
		t->shift++;
	else if (t->began_ns != 0 && now_ns - t->began_ns >= EARLY_NS)
		t->shift = 0;
	t->began_ns = 0;
	t->retry_ns = now_ns + (RETRY_NS << (t->shift > 0 ? t->shift - 1 : 0));
	if (r != TD_ERR_IO)
		cause = r;
	if (o->ended_ns != 0 && o->cause == cause && now_ns - o->ended_ns < SAY_NS) {
		o->more_ended++;
		return;
	}
	outage_tick(o, true);
	o->cause = cause;
	o->ended_ns = now_ns;
	say(o, TD_EVENT_FAILED, "%s: %s; %s", file, cause > 0 ? strerror(cause) : td_strerror(r),
		so);
}

void outage_ended_quietly(struct outage *o, struct outage_track *t)
{
	o->failed = true;
	t->began_ns = 0;
	t->retry_ns = outage_now() + SOON_NS;
}

bool outage_may_try(const struct outage *o, const struct outage_track *t)
{
	uint64_t now_ns = outage_now();

	return now_ns >= o->try_ns && now_ns >= t->retry_ns;
}

void outage_tried(struct outage *o, struct outage_track *t, uint64_t began_ns, const char *file)
{
	uint64_t now_ns = outage_now(), took_ns = now_ns - began_ns;

	if (file == NULL) {
		t->retry_ns = now_ns + RETRY_NS;
		o->try_ns = now_ns + ATTEMPTS_SHARE * took_ns;
		if (o->try_ns < now_ns + PAUSE_MIN_NS)
			o->try_ns = now_ns + PAUSE_MIN_NS;
		return;
	}
	t->began_ns = now_ns;
	o->try_ns = 0;
	if (o->resumed_ns != 0 && now_ns - o->resumed_ns < SAY_NS) {
		o->more_resumed++;
		return;
	}
	outage_tick(o, true);
	o->resumed_ns = now_ns;
	say(o, TD_EVENT_WARNING, "%s: the recording of this speaker goes on in this file", file);
}

static bool is_due(uint64_t said_ns, bool last)
{
	return last || outage_now() - said_ns >= SAY_NS;
}

void outage_tick(struct outage *o, bool last)
{
	if (o->more_ended > 0 && is_due(o->ended_ns, last)) {
		say(o, TD_EVENT_FAILED, "%s: files of %" PRIu32 " more speakers ended",
			o->cause > 0 ? strerror(o->cause) : td_strerror(o->cause), o->more_ended);
		o->more_ended = 0;
	}
	if (o->more_resumed > 0 && is_due(o->resumed_ns, last)) {
		say(o, TD_EVENT_WARNING, "%" PRIu32 " more speakers go on in new files",
			o->more_resumed);
		o->more_resumed = 0;
	}
}
