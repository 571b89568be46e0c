/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_DAVE_USERS_H
#define TD_RECEIVER_DAVE_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of user ids. One thread. */
enum { DAVE_MAX_USERS = 16384 };

struct dave_users {
	uint64_t *v; /* ascending */
	size_t n, cap;
};

void dave_users_free(struct dave_users *u); /* and makes it empty */
bool dave_users_have(const struct dave_users *u, uint64_t id);
/* One that is there already is fine. TD_ERR_LIMIT: DAVE_MAX_USERS are there; TD_ERR_NOMEM. */
int dave_users_add(struct dave_users *u, uint64_t id);
void dave_users_remove(struct dave_users *u, uint64_t id); /* one that is not there is fine */

#endif
