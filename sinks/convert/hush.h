/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_HUSH_H
#define TD_CONVERT_HUSH_H

/*
 * libsndfile's MP3 decoder writes its complaints to standard error, and tells them nowhere else.
 * Between begin and end, calls of the library and nothing more, what is written there is caught.
 * One thread.
 */
struct hush {
	int file, saved; /* -1: not open, not begun */
	char first[128]; /* line that was caught; "": none */
};

#define HUSH_NONE ((struct hush){ .file = -1, .saved = -1 })

/* Where it cannot be had, complaints go where they went. */
void hush_open(struct hush *h);
void hush_close(struct hush *h);

void hush_begin(struct hush *h);
void hush_end(struct hush *h);

#endif
