/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_TRANSPORT_H
#define TD_COMMON_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Transport encryption between a client and the voice server: the "rtpsize" AEAD modes of voice
 * gateway v8 (voice-gateway.md section 9.2). On the wire: AAD | ciphertext | tag 16 | nonce 4.
 * End-to-end encryption is another layer, inside this one.
 */
enum transport_mode {
	TRANSPORT_NONE,       /* replay only: nothing is encrypted and no tag or nonce follows */
	TRANSPORT_AES256_GCM, /* aead_aes256_gcm_rtpsize */
	TRANSPORT_XCHACHA20,  /* aead_xchacha20_poly1305_rtpsize */
	TRANSPORT_MODES,
};
enum { TRANSPORT_KEY_LEN = 32, TRANSPORT_TAG_LEN = 16, TRANSPORT_NONCE_LEN = 4 };

/* The mode's name in the voice gateway and in keys files ("none" for TRANSPORT_NONE); static. */
const char *transport_mode_name(enum transport_mode mode);
/* TD_ERR_UNSUPPORTED for a name that is none of ours. */
int transport_mode_parse(enum transport_mode *ret, const char *name);

/* One key, its cipher context kept; one thread at a time. */
struct transport;

/* TD_ERR_NOMEM, TD_ERR_UNSUPPORTED (no such mode). The key is copied to locked memory. */
int transport_new(struct transport **ret, enum transport_mode mode,
	const uint8_t key[static TRANSPORT_KEY_LEN]);
void transport_free(struct transport *t); /* NULL is fine; wipes the key */

/*
 * Opens one datagram whose first aad_len bytes are additional data (RTP: the header as far as it
 * is clear, see struct rtp_header; RTCP: 8). Writes *ret_len bytes of plaintext to plain, which has
 * room for len bytes and does not overlap packet. With TRANSPORT_NONE: copies what is behind the
 * AAD. TD_ERR_TRUNCATED: shorter than AAD + tag + nonce; TD_ERR_AUTH. On an error plain holds
 * nothing of the packet and *ret_len is left alone.
 */
int transport_open(struct transport *t, uint8_t *plain, size_t *ret_len, const uint8_t *packet,
	size_t len, size_t aad_len);

/*
 * Seals: aad, ciphertext, tag and nonce go to packet, which has room for
 * aad_len + len + TRANSPORT_TAG_LEN + TRANSPORT_NONCE_LEN bytes; returns the length written. The
 * caller never uses a nonce twice with one key; it goes to the wire big endian. For what little a
 * receiver sends, and for tests. 0: out of memory.
 */
size_t transport_seal(struct transport *t, uint8_t *packet, const uint8_t *aad, size_t aad_len,
	const uint8_t *plain, size_t len, uint32_t nonce);

#endif
