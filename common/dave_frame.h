/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_DAVE_FRAME_H
#define TD_COMMON_DAVE_FRAME_H

#include <stddef.h>
#include <stdint.h>

/*
 * End-to-end encrypted media frames (dave.md section 9). One looks like this:
 *
 *	media (ciphertext, clear ranges in it) | tag 8 | nonce | (offset, size)* | S | FA FA
 *
 * nonce, offset and size are ULEB128; S, one byte, is the length of everything from the tag on. The
 * clear ranges joined in their order are the additional data, the rest of the media is encrypted.
 * Speech has no clear ranges.
 */
enum {
	DAVE_FRAME_KEY_LEN = 16,
	DAVE_FRAME_TAG_LEN = 8,
	DAVE_FRAME_MIN_TRAILER = 12, /* tag, one byte of nonce, S and marker */
	DAVE_FRAME_MAX_TRAILER = 255,
	/* As many as S has room for: tag, nonce, S and marker leave 243 bytes, a range takes two.
	 */
	DAVE_FRAME_MAX_RANGES = 121,
};

struct dave_frame_range {
	uint32_t offset, len;
};

/* What the trailer says, checked. */
struct dave_frame {
	uint32_t media_len; /* bytes in front of the tag: the length of the plaintext, too */
	uint32_t nonce;
	uint32_t ranges; /* in use; ascending, apart, inside the media, none of them empty: */
	struct dave_frame_range range[DAVE_FRAME_MAX_RANGES];
};

/* Reads the trailer of `data`. TD_ERR_MALFORMED: this is no encrypted frame, *ret is undefined. */
int dave_frame_parse(struct dave_frame *ret, const uint8_t *data, size_t len);

/* One AES-128-GCM key with its cipher context, which lives on libcrypto's heap (wiped when freed,
 * not locked). One thread at a time. */
struct dave_frame_key;

int dave_frame_key_new(struct dave_frame_key **ret, const uint8_t key[static DAVE_FRAME_KEY_LEN]);
void dave_frame_key_free(struct dave_frame_key *k); /* NULL is fine; wipes */

/* Opens the frame that `f` was parsed from: f->media_len bytes go to `plain`, which does not
 * overlap `data`. TD_ERR_AUTH, and plain is zeros. */
int dave_frame_open(struct dave_frame_key *k, uint8_t *plain, const struct dave_frame *f,
	const uint8_t *data);

/* Seals `len` bytes under a nonce that the caller never uses twice with one key. *ret_len bytes, at
 * most len + DAVE_FRAME_MAX_TRAILER, go to `sealed`, which does not overlap `plain`. Ranges as in
 * struct dave_frame; speech: NULL, 0. TD_ERR_USAGE: ranges that cannot be sent; TD_ERR_NOMEM. */
int dave_frame_seal(struct dave_frame_key *k, uint8_t *sealed, size_t *ret_len,
	const uint8_t *plain, size_t len, uint32_t nonce, const struct dave_frame_range *range,
	size_t ranges);

#endif
