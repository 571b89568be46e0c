/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_DAVE_SPEAKER_H
#define TD_TESTS_VOICESERVER_DAVE_SPEAKER_H

#include "common/mls/mls_group.h"
#include "tests/voiceserver/dave_seal.h"
#include "tests/voiceserver/dave_wire.h"

/*
 * A scripted member of an encrypted call: holds up the client's side of DAVE (dave.md section 4)
 * and seals what it sends. Also stands in for the recorder when there is no network. It trusts the
 * server it is part of, and shares no code with the receiver but the MLS library.
 */
struct dave_speaker;

struct dave_speaker_io {
	void *user;
	/* An answer for the server, borrowed: 23, 26, 28, 31. */
	void (*say)(void *user, const struct dave_msg *m);
	/* True when the server has said that this user is in the call. */
	bool (*recognizes)(void *user, uint64_t user_id);
	/* The keys of this epoch count from now on. */
	void (*epoch)(void *user, const struct mls_group *g, uint64_t serial);
};

/* early: seals with a new epoch's key at once, like davey, not at op 22. TD_ERR_NOMEM. */
int dave_speaker_new(struct dave_speaker **ret, uint64_t channel_id, uint64_t user_id,
	struct rng rng, bool early, const struct dave_speaker_io *io);
void dave_speaker_free(struct dave_speaker *s); /* NULL is fine */

/* The session description. */
void dave_speaker_version(struct dave_speaker *s, unsigned version);
/* Any message of the server. */
void dave_speaker_hear(struct dave_speaker *s, const struct dave_msg *m);
/* Says that the newest commit was no good, and starts over (dave.md 4.4). */
void dave_speaker_recover(struct dave_speaker *s);

/* How the next frame goes out. */
enum dave_sealing {
	DAVE_PLAIN,  /* the call is not encrypted */
	DAVE_SEALED, /* under the epoch that began with *serial */
	DAVE_MUTE,   /* it should be, and there is no key yet */
};
enum dave_sealing dave_speaker_seal(struct dave_speaker *s, uint8_t *out, size_t *out_len,
	const uint8_t *plain, size_t len, uint64_t *serial);

/* The base secret of a member in that epoch (dave.md section 8). */
enum { DAVE_BASE_LEN = 16 };
void dave_base_secret(uint8_t out[static DAVE_BASE_LEN], const struct mls_group *g,
	uint64_t user_id);

#endif
