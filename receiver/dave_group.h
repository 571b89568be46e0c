/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_DAVE_GROUP_H
#define TD_RECEIVER_DAVE_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_group.h"
#include "receiver/dave_session.h"
#include "receiver/dave_users.h"

/*
 * The MLS side of a DAVE session (dave.md sections 3, 4.1 to 4.3): the key package that is out, the
 * group, its proposals and the commits we made. What it is told comes from the gateway and is
 * judged here; what follows from it (transitions, keys, recovery) is dave_session.c's. One thread.
 *
 * cx.why says why something was refused.
 */
enum {
	DAVE_MAX_SENDER = 512,          /* bytes of an ExternalSender */
	DAVE_MAX_OWN_COMMITS = 16,      /* of one epoch; the oldest goes */
	DAVE_MAX_ASIDE = 32,            /* Adds of users not named yet */
	DAVE_MAX_ASIDE_BYTES = 1 << 16, /* of their messages */
};

struct dave_identity {
	uint8_t *key; /* MLS_PRIV_LEN bytes in locked memory */
};

struct dave_group {
	struct mls_ctx cx;
	const struct dave_identity *signer;
	uint64_t user_id;
	uint8_t identity[8], id[8]; /* ours and the group's, big endian */
	struct dave_users users;    /* who may be added; ourselves are not in it */
	uint8_t sender[DAVE_MAX_SENDER];
	size_t sender_len; /* 0: none yet */

	struct mls_own_package *package; /* the one that is out, or NULL */
	struct mls_group *group;
	bool established; /* group is the call's; else it is ours alone, at epoch 0 */
	struct mls_own_commit *own[DAVE_MAX_OWN_COMMITS]; /* oldest first */
	size_t n_own;
	bool own_current; /* the newest of them has all stored proposals */
	struct mls_proposal *aside[DAVE_MAX_ASIDE];
	size_t n_aside, aside_bytes;
	uint64_t unknown; /* a user put aside by the last dave_group_proposals(), or 0 */
};

void dave_group_init(struct dave_group *g, const struct dave_conf *conf);
void dave_group_set_channel(struct dave_group *g, uint64_t channel_id);
void dave_group_drop(struct dave_group *g); /* group and key package; wipes their secrets */
void dave_group_free(struct dave_group *g); /* all of it */

bool dave_group_is_established(const struct dave_group *g);
bool dave_group_has(const struct dave_group *g, uint64_t user_id); /* as a member */

/* Drops what was there, makes a new key package and, once the external sender is known, the group
 * of ourselves alone. */
int dave_group_begin(struct dave_group *g);

/* Opcode 25. *changed: another one was known before. TD_ERR_STATE: the group is established and
 * keeps its own. */
int dave_group_external_sender(struct dave_group *g, struct mls_span bytes, bool *changed);

/* Opcode 27. *commit is what has to be sent, or NULL; it stays the group's. A failure says that
 * something in it was bad; the rest may have been stored, and is committed with the next ones. */
int dave_group_proposals(struct dave_group *g, struct mls_span payload,
	const struct mls_own_commit **commit);
/* The gateway named a user: uses its Add, if one was put aside. As above. */
int dave_group_named(struct dave_group *g, uint64_t user_id, const struct mls_own_commit **commit);

/* What became of opcode 29. */
enum dave_verdict {
	DAVE_IGNORED, /* not for us: we wait for a Welcome */
	DAVE_TAKEN,   /* *next is the new epoch, for dave_group_adopt() */
	DAVE_REMOVED, /* a new epoch without us */
};
int dave_group_commit(struct dave_group *g, struct mls_span message, enum dave_verdict *verdict,
	struct mls_group **next);
/* Opcode 30. */
int dave_group_welcome(struct dave_group *g, struct mls_span welcome, enum dave_verdict *verdict,
	struct mls_group **next);
/* Takes the new epoch in place of all there was. */
void dave_group_adopt(struct dave_group *g, struct mls_group *next);

/* The big-endian identity of a member as a number; 0 when it is none. */
uint64_t dave_user_of(const struct mls_leaf_node *leaf);

#endif
