/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_ROGUE_H
#define TD_TESTS_VOICESERVER_ROGUE_H

/*
 * Servers that are none: a port on the loopback interface for each of the kinds (README.md), and in
 * join_out a record for each, guild 1 and up. Runs for so long, or until a signal. TD_ERR_SYS,
 * TD_ERR_IO. kinds: names with commas, or "all".
 */
int rogue_run(const char *kinds, const char *join_out, double max_seconds);

#endif
