/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_NOMEM_H
#define TD_TESTS_NOMEM_H

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/locked.h"

/*
 * malloc() and its kin for a program of which one allocation is to fail, those of its libraries
 * too. They count between arm() and disarm() only. Needs --wrap=sodium_malloc,
 * --wrap=pthread_create.
 */
#define VISIBLE __attribute__((visibility("default")))

static atomic_bool armed;
static atomic_long fail_in = -1, counted;
static atomic_bool failed;

static void *(*real_malloc)(size_t n);
static void *(*real_calloc)(size_t n, size_t size);
static void *(*real_realloc)(void *p, size_t n);

void *__real_sodium_malloc(size_t n);
void *__wrap_sodium_malloc(size_t n);
VISIBLE void *malloc(size_t n);
VISIBLE void *calloc(size_t n, size_t size);
VISIBLE void *realloc(void *p, size_t n);

/* dlsym() may ask for memory while it looks for who gives it. */
static _Alignas(16) uint8_t first_bytes[4096];
static size_t first_used;

static void *first_memory(size_t n)
{
	void *p = first_bytes + first_used;

	n = (n + 15) & ~(size_t)15;
	if (n > sizeof(first_bytes) - first_used)
		abort();
	first_used += n;
	return p;
}

static void find_real(void)
{
	static bool looking;

	if (looking)
		return;
	looking = true;
	*(void **)&real_malloc = dlsym(RTLD_NEXT, "malloc");
	*(void **)&real_calloc = dlsym(RTLD_NEXT, "calloc");
	*(void **)&real_realloc = dlsym(RTLD_NEXT, "realloc");
}

/*
 * Libraries whose own allocations are left alone, because they crash without: libsndfile does not
 * look whether it got memory for a chunk that it was given, LAME not for its filters, soxr not for
 * its stages.
 */
#ifndef NOMEM_FRAIL
#define NOMEM_FRAIL "/libsndfile.so", "/libmp3lame.so", "/libsoxr.so"
#endif
static const char *const frail[] = { NOMEM_FRAIL };
static struct range {
	uintptr_t from, to;
} left_alone[16];
static size_t left_alone_count;

static int find_frail(struct dl_phdr_info *info, size_t size, void *user)
{
	(void)size;
	(void)user;
	for (size_t i = 0; i < sizeof(frail) / sizeof(frail[0]); i++) {
		if (strstr(info->dlpi_name, frail[i]) == NULL)
			continue;
		for (int k = 0; k < info->dlpi_phnum; k++) {
			const ElfW(Phdr) *p = &info->dlpi_phdr[k];

			if (p->p_type != PT_LOAD || (p->p_flags & PF_X) == 0)
				continue;
			if (left_alone_count == 16)
				abort();
			left_alone[left_alone_count++] =
				(struct range){ info->dlpi_addr + p->p_vaddr,
					info->dlpi_addr + p->p_vaddr + p->p_memsz };
		}
	}
	return 0;
}

static bool is_left_alone(const void *caller)
{
	for (size_t i = 0; i < left_alone_count; i++) {
		if ((uintptr_t)caller >= left_alone[i].from && (uintptr_t)caller < left_alone[i].to)
			return true;
	}
	return false;
}

/* Where the one was that failed, for addr2line. */
static void *where[24];
static int where_count;
static void (*on_failed)(void); /* may be NULL */

static bool fails_now(const void *caller)
{
	if (!atomic_load(&armed) || is_left_alone(caller) ||
		atomic_fetch_add(&counted, 1) != atomic_load(&fail_in))
		return false;
	atomic_store(&failed, true);
	atomic_store(&armed, false);
	where_count = backtrace(where, 24);
	if (on_failed != NULL)
		on_failed();
	atomic_store(&armed, true);
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	if (real_malloc == NULL)
		find_real();
	if (real_malloc == NULL)
		return first_memory(n);
	return fails_now(__builtin_return_address(0)) ? NULL : real_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	if (real_calloc == NULL)
		find_real();
	if (real_calloc == NULL)
		return first_memory(n * size);
	return fails_now(__builtin_return_address(0)) ? NULL : real_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	if (real_realloc == NULL)
		find_real();
	return fails_now(__builtin_return_address(0)) ? NULL : real_realloc(p, n);
}

void *__wrap_sodium_malloc(size_t n)
{
	return fails_now(__builtin_return_address(0)) ? NULL : __real_sodium_malloc(n);
}

/* A thread's start is the system's, and the sanitizers': nothing counts until it runs. */
struct beginning {
	void *(*run)(void *);
	void *arg;
	sem_t runs;
};

static void *begin(void *user)
{
	struct beginning *b = user;
	void *(*run)(void *) = b->run;
	void *arg = b->arg;

	sem_post(&b->runs);
	return run(arg);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
	void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
	void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
	void *arg)
{
	struct beginning b = { .run = run, .arg = arg };
	bool was = atomic_exchange(&armed, false);
	int r;

	sem_init(&b.runs, 0, 0);
	r = __real_pthread_create(thread, attr, begin, &b);
	while (r == 0 && sem_wait(&b.runs) != 0)
		;
	sem_destroy(&b.runs);
	atomic_store(&armed, was);
	return r;
}

/* Once, before the first arm(). */
static void nomem_init(void)
{
	locked_alone = true;                /* each can fail, and not only the first of many */
	where_count = backtrace(where, 24); /* the first time it loads a library */
	dl_iterate_phdr(find_frail, NULL);
}

static void arm(long at)
{
	atomic_store(&counted, 0);
	atomic_store(&failed, false);
	atomic_store(&fail_in, at);
	atomic_store(&armed, true);
}

static void disarm(void)
{
	atomic_store(&armed, false);
}

#endif
