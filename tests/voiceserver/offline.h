/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_OFFLINE_H
#define TD_TESTS_VOICESERVER_OFFLINE_H

#include "tests/voiceserver/server.h"

/* Runs the whole script at once, in its own time and without a network: every recorder is there
 * from the start and hears everything in `mode`. What comes of it are capture, keys and truth.
 * Control faults that befall a connection do nothing. TD_ERR_NOMEM. */
int offline_run(struct server *s, enum transport_mode mode);

#endif
