/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_CERTS_H
#define TD_TESTS_VOICESERVER_CERTS_H

#include <stddef.h>

/* A certificate authority and a server certificate of its own, made anew for every run. */
enum certs_kind {
	CERTS_GOOD,       /* localhost and 127.0.0.1, signed by the root that is handed out */
	CERTS_WRONG_HOST, /* another host's name */
	CERTS_EXPIRED,
	CERTS_UNTRUSTED, /* signed by another root of the same name */
	CERTS_NOT_YET,   /* valid from tomorrow on */
	CERTS_KINDS,
};

struct certs {
	char *root, *root_key, *cert, *key; /* PEM texts */
};

/* The kind of this name ("good", "wrong-host", ...); CERTS_KINDS: none. */
enum certs_kind certs_kind_parse(const char *name);

/* TD_ERR_NOMEM. Free with certs_free(). */
int certs_new(struct certs **ret, enum certs_kind kind);
/* Another certificate and key of the server's, good ones, signed by the same root. TD_ERR_NOMEM. */
int certs_renew(struct certs *c);
void certs_free(struct certs *c); /* NULL is fine */

#endif
