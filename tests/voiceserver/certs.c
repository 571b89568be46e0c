/* SPDX-License-Identifier: ISC */
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/voiceserver/certs.h"

/* RSA, because the WebSocket library takes no other key from memory. */
enum { KEY_BITS = 2048, DAY = 86400, X509_VERSION = 2 };

enum certs_kind certs_kind_parse(const char *name)
{
	static const char *const names[CERTS_KINDS] = { "good", "wrong-host", "expired",
		"untrusted", "not-yet" };
	int i;

	for (i = 0; i < CERTS_KINDS; i++)
		if (strcmp(names[i], name) == 0)
			break;
	return (enum certs_kind)i;
}

static int extension_add(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int r = -1;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	if ((ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value)) != NULL &&
		X509_add_ext(cert, ext, -1) == 1)
		r = 0;
	X509_EXTENSION_free(ext);
	return r;
}

/* What both certificates share: name, times, serial, key. */
static int cert_fill(X509 *cert, EVP_PKEY *key, const char *name, long serial, long from, long to)
{
	X509_NAME *n = X509_get_subject_name(cert);

	return X509_set_version(cert, X509_VERSION) == 1 &&
			ASN1_INTEGER_set(X509_get_serialNumber(cert), serial) == 1 &&
			X509_gmtime_adj(X509_getm_notBefore(cert), from) != NULL &&
			X509_gmtime_adj(X509_getm_notAfter(cert), to) != NULL &&
			X509_set_pubkey(cert, key) == 1 &&
			X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC,
				(const unsigned char *)name, -1, -1, 0) == 1
		? 0
		: -1;
}

static X509 *root_new(EVP_PKEY *key)
{
	X509 *x = X509_new();

	if (x != NULL && cert_fill(x, key, "tapedeck test root", 1, -2 * DAY, 2 * DAY) == 0 &&
		X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 &&
		extension_add(x, x, NID_basic_constraints, "critical,CA:TRUE") == 0 &&
		extension_add(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") == 0 &&
		extension_add(x, x, NID_subject_key_identifier, "hash") == 0 &&
		X509_sign(x, key, EVP_sha256()) > 0)
		return x;
	X509_free(x);
	return NULL;
}

static X509 *leaf_new(EVP_PKEY *key, X509 *root, EVP_PKEY *root_key, enum certs_kind kind)
{
	const char *names =
		kind == CERTS_WRONG_HOST ? "DNS:elsewhere.example" : "DNS:localhost,IP:127.0.0.1";
	long from = kind == CERTS_NOT_YET ? DAY / 2 : -DAY;
	long to = kind == CERTS_EXPIRED ? -DAY / 2 : DAY;
	X509 *x = X509_new();

	if (x != NULL && cert_fill(x, key, "tapedeck test server", 2, from, to) == 0 &&
		X509_set_issuer_name(x, X509_get_subject_name(root)) == 1 &&
		extension_add(x, root, NID_basic_constraints, "critical,CA:FALSE") == 0 &&
		extension_add(x, root, NID_ext_key_usage, "serverAuth") == 0 &&
		extension_add(x, root, NID_subject_alt_name, names) == 0 &&
		X509_sign(x, root_key, EVP_sha256()) > 0)
		return x;
	X509_free(x);
	return NULL;
}

/* The PEM text of a certificate or, when that is NULL, of a key. */
static char *pem_text(X509 *cert, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text = NULL;
	long len;
	int ok;

	if (bio == NULL)
		return NULL;
	ok = cert != NULL ? PEM_write_bio_X509(bio, cert)
			  : PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	if (ok == 1 && (len = BIO_get_mem_data(bio, &data)) > 0)
		text = strndup(data, (size_t)len);
	BIO_free(bio);
	return text;
}

int certs_new(struct certs **ret, enum certs_kind kind)
{
	EVP_PKEY *root_key = EVP_RSA_gen(KEY_BITS), *key = EVP_RSA_gen(KEY_BITS), *other = NULL;
	X509 *root = NULL, *leaf = NULL, *shown = NULL;
	struct certs *c = calloc(1, sizeof(*c));
	int r = TD_ERR_NOMEM;

	if (c == NULL || root_key == NULL || key == NULL)
		goto out;
	if ((root = root_new(root_key)) == NULL ||
		(leaf = leaf_new(key, root, root_key, kind)) == NULL)
		goto out;
	if (kind == CERTS_UNTRUSTED &&
		((other = EVP_RSA_gen(KEY_BITS)) == NULL || (shown = root_new(other)) == NULL))
		goto out;
	c->root = pem_text(shown != NULL ? shown : root, NULL);
	c->root_key = pem_text(NULL, root_key);
	c->cert = pem_text(leaf, NULL);
	c->key = pem_text(NULL, key);
	if (c->root == NULL || c->root_key == NULL || c->cert == NULL || c->key == NULL)
		goto out;
	*ret = c;
	c = NULL;
	r = TD_OK;
out:
	X509_free(shown);
	X509_free(leaf);
	X509_free(root);
	EVP_PKEY_free(other);
	EVP_PKEY_free(key);
	EVP_PKEY_free(root_key);
	certs_free(c);
	return r;
}

int certs_renew(struct certs *c)
{
	BIO *root_pem = BIO_new_mem_buf(c->root, -1), *key_pem = BIO_new_mem_buf(c->root_key, -1);
	X509 *root = PEM_read_bio_X509(root_pem, NULL, NULL, NULL), *leaf = NULL;
	EVP_PKEY *root_key = PEM_read_bio_PrivateKey(key_pem, NULL, NULL, NULL);
	EVP_PKEY *key = EVP_RSA_gen(KEY_BITS);
	char *cert_text = NULL, *key_text = NULL;
	int r = TD_ERR_NOMEM;

	if (root != NULL && root_key != NULL && key != NULL &&
		(leaf = leaf_new(key, root, root_key, CERTS_GOOD)) != NULL &&
		(cert_text = pem_text(leaf, NULL)) != NULL &&
		(key_text = pem_text(NULL, key)) != NULL) {
		free(c->cert);
		free(c->key);
		c->cert = cert_text;
		c->key = key_text;
		cert_text = NULL;
		r = TD_OK;
	}
	free(cert_text);
	X509_free(leaf);
	X509_free(root);
	EVP_PKEY_free(key);
	EVP_PKEY_free(root_key);
	BIO_free(root_pem);
	BIO_free(key_pem);
	return r;
}

void certs_free(struct certs *c)
{
	if (c == NULL)
		return;
	free(c->root);
	free(c->root_key);
	free(c->cert);
	free(c->key);
	free(c);
}
