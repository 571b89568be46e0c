/* SPDX-License-Identifier: ISC */
#include "receiver/connection_info.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/err.h"

enum { PORT_WSS = 443, PORT_WS = 80 };

/* The parts of an endpoint, borrowed from its text. */
struct endpoint {
	const char *host, *port; /* port: NULL when not named */
	size_t host_len, port_len;
	bool tls, brackets;
};

void connection_info_wipe(struct connection_info *info)
{
	sodium_memzero(info, sizeof(*info));
}

/* What follows the scheme, if there is one; NULL when it is neither wss nor ws. */
static const char *skip_scheme(bool *tls, const char *text)
{
	*tls = true;
	if (strstr(text, "://") == NULL)
		return text;
	if (strncasecmp(text, "wss://", 6) == 0)
		return text + 6;
	if (strncasecmp(text, "ws://", 5) != 0)
		return NULL;
	*tls = false;
	return text + 5;
}

static const char *split(struct endpoint *ret, const char *text)
{
	const char *p = skip_scheme(&ret->tls, text), *end;
	size_t left;

	if (p == NULL)
		return "its scheme is neither wss nor ws";
	left = strcspn(p, "/?#");
	if (p[left] != '\0' && strcmp(p + left, "/") != 0)
		return "a path or query is not allowed";
	ret->brackets = *p == '[';
	if (ret->brackets) {
		ret->host = p + 1;
		end = memchr(p, ']', left);
		if (end == NULL)
			return "its bracket is not closed";
		ret->host_len = (size_t)(end - ret->host);
		end++;
	} else {
		ret->host = p;
		end = memchr(p, ':', left);
		if (end == NULL)
			end = p + left;
		ret->host_len = (size_t)(end - p);
	}
	ret->port = NULL;
	ret->port_len = 0;
	if (end == p + left)
		return NULL;
	if (*end != ':')
		return "something follows its bracket";
	ret->port = end + 1;
	ret->port_len = (size_t)(p + left - ret->port);
	return NULL;
}

static const char *read_port(uint16_t *ret, const struct endpoint *e)
{
	unsigned port = 0;
	size_t i;

	if (e->port == NULL) {
		*ret = e->tls ? PORT_WSS : PORT_WS;
		return NULL;
	}
	for (i = 0; i < e->port_len; i++) {
		if (e->port[i] < '0' || e->port[i] > '9')
			return "its port is not a number";
		port = port * 10 + (unsigned)(e->port[i] - '0');
		if (port > UINT16_MAX)
			break;
	}
	if (port == 0 || port > UINT16_MAX)
		return "its port is not within 1-65535";
	*ret = (uint16_t)port;
	return NULL;
}

static bool is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* Names are kept to what a certificate can hold, so nothing odd reaches a resolver or a log. */
static const char *read_host(char host[static CONNECTION_HOST_MAX], const struct endpoint *e)
{
	struct in6_addr v6;
	size_t i;

	if (e->host_len == 0)
		return "has no host";
	if (e->host_len >= CONNECTION_HOST_MAX)
		return "its host is too long";
	memcpy(host, e->host, e->host_len);
	host[e->host_len] = '\0';
	if (e->brackets)
		return inet_pton(AF_INET6, host, &v6) == 1 ? NULL
							   : "no IPv6 address in its brackets";
	for (i = 0; i < e->host_len; i++) {
		char c = host[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    c == '-' || c == '_' || (c == '.' && i > 0 && host[i - 1] != '.')))
			return "its host has a character no host name has";
	}
	return NULL;
}

int connection_endpoint_parse(struct connection_info *ret, const char *endpoint, char *err,
	size_t err_len)
{
	char host[CONNECTION_HOST_MAX];
	struct endpoint e;
	const char *wrong;
	uint16_t port = 0;

	wrong = split(&e, endpoint);
	if (wrong == NULL)
		wrong = read_host(host, &e);
	if (wrong == NULL)
		wrong = read_port(&port, &e);
	if (wrong == NULL && !e.tls && !is_loopback(host))
		wrong = "ws:// is for loopback addresses only; use wss://";
	if (wrong != NULL) {
		snprintf(err, err_len, "endpoint: %s", wrong);
		return TD_ERR_USAGE;
	}
	memcpy(ret->host, host, e.host_len + 1);
	ret->port = port;
	ret->tls = e.tls;
	return TD_OK;
}
