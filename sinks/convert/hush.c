/* SPDX-License-Identifier: ISC */
#include "sinks/convert/hush.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void hush_open(struct hush *h)
{
	*h = HUSH_NONE;
	h->file = memfd_create("complaints", MFD_CLOEXEC);
}

void hush_close(struct hush *h)
{
	if (h->file >= 0)
		close(h->file);
	h->file = -1;
}

void hush_begin(struct hush *h)
{
	if (h->file < 0 || (h->saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) < 0)
		return;
	if (dup2(h->file, STDERR_FILENO) < 0) {
		close(h->saved);
		h->saved = -1;
	}
}

void hush_end(struct hush *h)
{
	ssize_t n;

	if (h->saved < 0)
		return;
	(void)dup2(h->saved, STDERR_FILENO);
	close(h->saved);
	h->saved = -1;
	if (lseek(h->file, 0, SEEK_CUR) <= 0)
		return;
	if (h->first[0] == '\0') {
		n = pread(h->file, h->first, sizeof(h->first) - 1, 0);
		h->first[n > 0 ? n : 0] = '\0';
		h->first[strcspn(h->first, "\n")] = '\0';
	}
	if (ftruncate(h->file, 0) == 0)
		(void)lseek(h->file, 0, SEEK_SET);
}
