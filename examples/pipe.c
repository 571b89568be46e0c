/* SPDX-License-Identifier: ISC */

/*
 * Every speaker into a program of their own: its standard input gets their sound as it comes, s16le
 * at 48 kHz, from their first word on.
 *
 *   receiver ... --sink 'pipe:cmd=python3 examples/pipe_reader.py {user}'
 *   receiver ... --sink 'pipe:cmd=sox -t s16 -r {rate} -c {channels} - "{folder}/{user}.ogg"'
 *
 * cmd is cut into words at blanks; "..." and '...' keep them, \ takes the next character as it is.
 * No shell is involved: say sh -c '...' for one, and keep names out of what it interprets. (On the
 * command line of the receiver a comma in cmd is \, and a backslash \\.) Replaced inside words:
 *
 *   {user}      id of the speaker; ssrc-<n> for one who is not known yet
 *   {ssrc}      of their first stream
 *   {rate}, {channels}
 *   {session}   name of the session's folder, {folder}: its whole path
 *   {start}     where the first word is, in seconds from the start of the session: 12.345678
 *
 * The recording never waits for a program, nor dies of one; this is the place for code that may
 * crash. Live, up to `keep` seconds are kept for one that does not keep up; what is beyond is
 * dropped, counted in a warning, and silence in its place (silence=yes). A replay waits. With
 * silence=yes a pause is written when the next word comes: between the first word and the last one
 * time is kept, before and after them there is nothing.
 *
 * At the end of the session all programs together have `wait` seconds to finish after the end of
 * their input, then they are told to (SIGTERM, and SIGKILL half a second later). So long the end of
 * a session takes, and the other sessions of its lane wait. What programs print goes to the
 * receiver's standard error.
 *
 * Height 2: one object a speaker, sound without gap or overlap.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tapedeck/sink.h>

enum {
	RATE = 48000,
	WORDS_MAX = 64,
	PROGRAMS_MAX = 256,  /* of one session at a time */
	PATIENCE_MS = 60000, /* of a replay with a program that reads nothing */
	GRACE_MS = 500,      /* between SIGTERM and SIGKILL */
	SAY_AGAIN_S = 10,
	PIPE_BYTES = 1 << 20, /* of sound in the pipe; as far as the system allows it */
	PUMP_BYTES = 4 << 20, /* that one call writes when the session is live */
	LOOK_MS = 5,          /* between looks at who has ended */
};

extern char **environ;

/* Sound that was not taken yet, and the silence before it. */
struct chunk {
	struct chunk *next;
	uint64_t silence; /* bytes */
	size_t at, len;
	unsigned char data[];
};

struct piper {
	const struct td_host *host;
	const struct td_session *session;
	char *words[WORDS_MAX + 1]; /* of cmd, and NULL */
	char *text;                 /* what they point into */
	unsigned channels, keep_s, wait_s, programs;
	bool silence;
	bool ending; /* nothing waits any more */
	struct pipe_track *tracks;
};

struct pipe_track {
	struct pipe_track *next;
	struct piper *piper;
	char who[32];
	uint64_t user_id;
	uint32_t ssrc;
	uint64_t start; /* samples before the first word */
	bool heard;     /* it came, and the program was started */
	pid_t pid;      /* 0: there is no program, or not any more */
	int fd;         /* its standard input; -1: closed */
	bool over;      /* its input is complete */
	bool broken;    /* it closed its input before */
	bool said;      /* that it ended too early */
	struct chunk *first, **end;
	size_t kept;                    /* bytes of sound in chunks */
	uint64_t gap;                   /* bytes of silence before what comes next */
	uint64_t dropped, said_dropped; /* samples */
	uint64_t said_ms;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

__attribute__((format(printf, 4, 5))) static void say(const struct piper *s, uint32_t type,
	uint64_t user_id, const char *fmt, ...)
{
	char text[400];
	struct td_event event = { .size = sizeof(event),
		.type = type,
		.text = text,
		.user_id = user_id };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->host->event(s->host->user, &event);
}

/* ---- the command ---- */

/* Cuts cmd into words; they point into *ret_text, from malloc. NULL: what is wrong with it. */
static const char *cut(const char *cmd, char *words[WORDS_MAX + 1], char **ret_text)
{
	char *to = malloc(strlen(cmd) + 1), quote = '\0';
	size_t count = 0;
	bool inside = false; /* a word */

	if ((*ret_text = to) == NULL)
		return "out of memory";
	for (; *cmd != '\0'; cmd++) {
		if (quote == '\0' && (*cmd == ' ' || *cmd == '\t')) {
			if (inside)
				*to++ = '\0';
			inside = false;
			continue;
		}
		if (!inside) {
			if (count == WORDS_MAX)
				return "cmd has too many words";
			words[count++] = to;
			inside = true;
		}
		if (quote != '\0' && *cmd == quote) {
			quote = '\0';
		} else if (quote == '\0' && (*cmd == '"' || *cmd == '\'')) {
			quote = *cmd;
		} else if (*cmd == '\\' && quote != '\'') {
			if (*++cmd == '\0')
				return "cmd ends with a backslash";
			*to++ = *cmd;
		} else {
			*to++ = *cmd;
		}
	}
	*to = '\0';
	words[count] = NULL;
	if (quote != '\0')
		return "cmd has a quote without its end";
	return count > 0 ? NULL : "cmd is needed: the program, and what it is given";
}

/* The whole path of the session's folder. */
static void folder_path(const struct td_session *session, char *ret, size_t len)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", (int)session->dir_fd);
	n = readlink(link, ret, len - 1);
	ret[n > 0 ? n : 0] = '\0';
}

/* A word with what stands in braces replaced; from malloc. */
static char *fill_in(const struct pipe_track *t, const char *word)
{
	const struct piper *s = t->piper;
	char ssrc[16], rate[16], channels[16], folder[4096], begin[40], *ret = NULL;
	const struct {
		const char *name, *value;
	} known[] = { { "{user}", t->who }, { "{ssrc}", ssrc }, { "{rate}", rate },
		{ "{channels}", channels }, { "{session}", s->session->name },
		{ "{folder}", folder }, { "{start}", begin } };
	size_t len, i, count = sizeof(known) / sizeof(known[0]);
	FILE *f = open_memstream(&ret, &len);

	if (f == NULL)
		return NULL;
	snprintf(ssrc, sizeof(ssrc), "%" PRIu32, t->ssrc);
	snprintf(rate, sizeof(rate), "%d", RATE);
	snprintf(channels, sizeof(channels), "%u", s->channels);
	folder_path(s->session, folder, sizeof(folder));
	/* By hand: in some locales %f has a comma. */
	snprintf(begin, sizeof(begin), "%" PRIu64 ".%06" PRIu64, t->start / RATE,
		t->start % RATE * 1000000 / RATE);
	while (*word != '\0') {
		for (i = 0; i < count; i++) {
			if (strncmp(word, known[i].name, strlen(known[i].name)) == 0)
				break;
		}
		if (i < count) {
			fputs(known[i].value, f);
			word += strlen(known[i].name);
		} else {
			fputc(*word++, f);
		}
	}
	if (fclose(f) != 0) {
		free(ret);
		return NULL;
	}
	return ret;
}

/* ---- programs ---- */

/* Starts argv with this standard input and no other descriptor of ours but standard error. In a
 * group of its own: Ctrl-C is for the receiver, which ends it in good order. 0, or an errno. */
static int start(pid_t *ret, char *const *argv, int input)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t set;
	int r;

	if ((r = posix_spawn_file_actions_init(&files)) != 0)
		return r;
	if ((r = posix_spawnattr_init(&attr)) != 0) {
		posix_spawn_file_actions_destroy(&files);
		return r;
	}
	posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
	/* The receiver's are all closed on exec; of other plugins nobody knows. */
	posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
#endif
	posix_spawnattr_setflags(&attr,
		POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setpgroup(&attr, 0);
	r = posix_spawnp(ret, argv[0], &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return r;
}

static void close_input(struct pipe_track *t)
{
	struct chunk *c;

	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	while ((c = t->first) != NULL) {
		t->first = c->next;
		free(c);
	}
	t->end = &t->first;
	t->kept = 0;
}

/* Its program is not there any more: said when it is news. */
static void ended(struct pipe_track *t, int status)
{
	char how[64];
	bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	t->pid = 0;
	t->piper->programs--;
	close_input(t);
	if (t->said || (well && t->over && !t->broken))
		return;
	t->said = true;
	if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "was killed by signal %d", WTERMSIG(status));
	else
		snprintf(how, sizeof(how), "ended with exit status %d", WEXITSTATUS(status));
	say(t->piper, well ? TD_EVENT_WARNING : TD_EVENT_FAILED, t->user_id,
		"pipe: the program of %s %s%s", t->who, how,
		t->over && !t->broken ? "" : "; nothing more of this speaker is written to it");
}

/* Looks whether the program has ended, or waits for that. */
static void reap(struct pipe_track *t, bool wait)
{
	int status;
	pid_t r;

	if (t->pid == 0)
		return;
	while ((r = waitpid(t->pid, &status, wait ? 0 : WNOHANG)) < 0 && errno == EINTR)
		;
	if (r != 0)
		ended(t, r > 0 ? status : 0);
}

static void tell(const struct pipe_track *t, int signal)
{
	if (t->pid > 0 && kill(-t->pid, signal) != 0)
		kill(t->pid, signal);
}

/* ---- sound ---- */

/* As write(2), without SIGPIPE whatever the process made of that. */
static ssize_t write_quietly(int fd, const void *data, size_t len)
{
	const struct timespec at_once = { 0, 0 };
	sigset_t pipe_only, before;
	ssize_t n;
	int cause;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
	n = write(fd, data, len);
	cause = errno;
	if (n < 0 && cause == EPIPE)
		sigtimedwait(&pipe_only, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = cause;
	return n;
}

/* Writes what the program takes, and live no more than what takes a moment; a replay waits for it.
 */
static void pump(struct pipe_track *t)
{
	static const unsigned char zeros[16384];
	bool waits = !t->piper->session->live && !t->piper->ending;
	size_t written = 0;
	struct chunk *c;

	while (t->fd >= 0 && (c = t->first) != NULL && (waits || written < PUMP_BYTES)) {
		struct pollfd writable = { .fd = t->fd, .events = POLLOUT };
		bool silent = c->silence > 0;
		size_t len = !silent                 ? c->len - c->at
			: c->silence < sizeof(zeros) ? (size_t)c->silence
						     : sizeof(zeros);
		ssize_t n = write_quietly(t->fd, silent ? zeros : c->data + c->at, len);

		if (n < 0 && errno == EAGAIN) {
			if (!waits)
				return;
			if (poll(&writable, 1, PATIENCE_MS) == 0) {
				t->said = true;
				say(t->piper, TD_EVENT_FAILED, t->user_id,
					"pipe: the program of %s does not read; nothing more of "
					"this speaker is written to it",
					t->who);
				close_input(t);
			}
			continue;
		}
		if (n < 0 && errno != EINTR) {
			t->broken = true; /* reap() will tell why */
			close_input(t);
			return;
		}
		if (n < 0)
			continue;
		written += (size_t)n;
		if (silent) {
			c->silence -= (uint64_t)n;
			continue;
		}
		c->at += (size_t)n;
		t->kept -= (size_t)n;
		if (c->at == c->len) {
			t->first = c->next;
			if (t->first == NULL)
				t->end = &t->first;
			free(c);
		}
	}
}

static void say_dropped(struct pipe_track *t)
{
	if (t->dropped == t->said_dropped)
		return;
	t->said_dropped = t->dropped;
	t->said_ms = now_ms();
	say(t->piper, TD_EVENT_WARNING, t->user_id,
		"pipe: the program of %s does not keep up; %.1f s of sound dropped so far", t->who,
		(double)t->dropped / RATE);
}

/* ---- tracks ---- */

static void track_free(void *track)
{
	struct pipe_track *t = track, **at;

	/* One that is left did not heed SIGTERM, or the session broke off. */
	close_input(t);
	tell(t, SIGKILL);
	t->said = true;
	reap(t, true);
	for (at = &t->piper->tracks; *at != NULL; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			break;
		}
	}
	free(t);
}

static int track_open(void **ret_track, void *state, const struct td_track *track)
{
	struct piper *s = state;
	struct pipe_track *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return TD_SINK_ERR_NOMEM;
	t->piper = s;
	t->fd = -1;
	t->end = &t->first;
	t->user_id = track->user_id;
	t->ssrc = track->ssrc;
	if (track->user_id != 0)
		snprintf(t->who, sizeof(t->who), "%" PRIu64, track->user_id);
	else
		snprintf(t->who, sizeof(t->who), "ssrc-%" PRIu32, track->ssrc);
	t->next = s->tracks;
	s->tracks = t;
	*ret_track = t;
	return 0;
}

/* Starts the program: the first word is there, and with it all that is filled in. */
static int launch(struct pipe_track *t)
{
	struct piper *s = t->piper;
	char *argv[WORDS_MAX + 1] = { NULL };
	int ends[2] = { -1, -1 }, r = TD_SINK_ERR_NOMEM, cause = ENOMEM;

	t->heard = true;
	for (size_t i = 0; s->words[i] != NULL; i++) {
		if ((argv[i] = fill_in(t, s->words[i])) == NULL)
			goto out;
	}
	r = TD_SINK_ERR_IO;
	if (s->programs == PROGRAMS_MAX) {
		cause = EAGAIN;
		goto out;
	}
	if (pipe2(ends, O_CLOEXEC) != 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0) {
		cause = errno;
		goto out;
	}
	(void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
	if ((cause = start(&t->pid, argv, ends[0])) != 0) {
		t->pid = 0;
		goto out;
	}
	s->programs++;
	t->fd = ends[1];
	r = 0;
out:
	if (r < 0)
		say(s, TD_EVENT_FAILED, t->user_id, "pipe: %s cannot be started for %s: %s",
			s->words[0], t->who, strerror(cause));
	for (size_t i = 0; argv[i] != NULL; i++)
		free(argv[i]);
	if (ends[0] >= 0)
		close(ends[0]);
	if (r < 0 && ends[1] >= 0)
		close(ends[1]);
	return r;
}

static int track_audio(void *track, const int16_t *pcm, uint32_t samples)
{
	struct pipe_track *t = track;
	size_t count = (size_t)samples * t->piper->channels, len = 2 * count;
	struct chunk *c;
	int r;

	if (!t->heard && (r = launch(t)) < 0)
		return r;
	if (t->fd < 0)
		return 0; /* the track goes on without its program */
	if (t->kept + len > (size_t)t->piper->keep_s * RATE * 2 * t->piper->channels) {
		t->dropped += samples;
		t->gap += t->piper->silence ? len : 0;
		pump(t);
		return 0;
	}
	if ((c = malloc(sizeof(*c) + len)) == NULL)
		return TD_SINK_ERR_NOMEM;
	*c = (struct chunk){ .silence = t->gap, .len = len };
	for (size_t i = 0; i < count; i++) {
		uint16_t sample = htole16((uint16_t)pcm[i]);

		memcpy(c->data + 2 * i, &sample, 2);
	}
	*t->end = c;
	t->end = &c->next;
	t->kept += len;
	t->gap = 0;
	pump(t);
	return 0;
}

static int track_silence(void *track, uint64_t n)
{
	struct pipe_track *t = track;

	if (!t->heard)
		t->start += n;
	else if (t->piper->silence)
		t->gap += n * 2 * t->piper->channels;
	return 0;
}

static int track_end(void *track)
{
	struct pipe_track *t = track;

	t->over = true; /* its program has time until finish() is through */
	return 0;
}

/* ---- the session ---- */

static const struct td_option options[] = {
	{ .name = "cmd",
		.type = TD_OPTION_TEXT,
		.fallback = "",
		.min = 1,
		.max = 4096,
		.meaning = "the program and its arguments, with {user}, {ssrc}, {rate}, "
			   "{channels}, {session}, {folder}, {start}; no shell" },
	{ .name = "channels",
		.type = TD_OPTION_NUMBER,
		.fallback = "1",
		.min = 1,
		.max = 2,
		.meaning = "of the sound" },
	{ .name = "silence",
		.type = TD_OPTION_CHOICE,
		.fallback = "yes",
		.choices = "yes|no",
		.meaning = "pauses between words are written, so that time is kept" },
	{ .name = "keep",
		.type = TD_OPTION_NUMBER,
		.fallback = "10",
		.min = 1,
		.max = 600,
		.meaning = "seconds of sound that are kept for a program that does not keep up" },
	{ .name = "wait",
		.type = TD_OPTION_NUMBER,
		.fallback = "2",
		.max = 3600,
		.meaning = "seconds that programs have to finish when a session ends" },
	{ .name = NULL },
};
enum { CMD = 1, CHANNELS = 3, SILENCE = 5, KEEP = 7, WAIT = 9 };

static void pipe_wants(const char *const *values, struct td_wants *ret)
{
	ret->what = TD_WANT_PCM;
	ret->channels = values[CHANNELS][0] == '1' ? 1 : 2;
}

static int pipe_check(const char *const *values, char *err, size_t err_len)
{
	char *words[WORDS_MAX + 1], *text;
	const char *why = cut(values[CMD], words, &text);

	if (why != NULL)
		snprintf(err, err_len, "%s", why);
	else if (strchr(words[0], '/') != NULL && strchr(words[0], '{') == NULL &&
		access(words[0], X_OK) != 0)
		snprintf(err, err_len, "%s: %s", words[0], why = strerror(errno));
	free(text);
	return why == NULL ? 0 : TD_SINK_ERR_USAGE;
}

static void pipe_close(void *state)
{
	struct piper *s = state;

	free(s->text);
	free(s);
}

static int pipe_begin(void **ret_state, const struct td_host *host,
	const struct td_session *session, const char *const *values)
{
	struct piper *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return TD_SINK_ERR_NOMEM;
	s->host = host;
	s->session = session;
	s->channels = values[CHANNELS][0] == '1' ? 1 : 2;
	s->silence = values[SILENCE][0] == 'y';
	s->keep_s = (unsigned)strtoul(values[KEEP], NULL, 10);
	s->wait_s = (unsigned)strtoul(values[WAIT], NULL, 10);
	if (cut(values[CMD], s->words, &s->text) != NULL) {
		pipe_close(s);
		return TD_SINK_ERR_NOMEM; /* the rest was checked */
	}
	*ret_state = s;
	return 0;
}

static int pipe_tick(void *state, uint64_t now_ns)
{
	struct piper *s = state;

	(void)now_ns;
	for (struct pipe_track *t = s->tracks; t != NULL; t = t->next) {
		pump(t);
		reap(t, false);
		if (t->pid != 0 && t->fd < 0 && !t->said) {
			t->said = true;
			say(s, TD_EVENT_WARNING, t->user_id,
				"pipe: the program of %s reads no more", t->who);
		}
		if (now_ms() - t->said_ms >= SAY_AGAIN_S * 1000)
			say_dropped(t);
	}
	return 0;
}

/* Writes what is left and looks who is done, until nobody is left or it is late. */
static bool finish_until(struct piper *s, uint64_t deadline_ms)
{
	struct pollfd inputs[PROGRAMS_MAX];

	for (;;) {
		nfds_t count = 0;

		for (struct pipe_track *t = s->tracks; t != NULL; t = t->next) {
			pump(t);
			if (t->first == NULL)
				close_input(t);
			reap(t, false);
			if (t->fd >= 0)
				inputs[count++] = (struct pollfd){ t->fd, POLLOUT, 0 };
		}
		if (s->programs == 0 || now_ms() >= deadline_ms)
			return s->programs == 0;
		poll(inputs, count, LOOK_MS);
	}
}

static int pipe_finish(void *state)
{
	struct piper *s = state;
	struct pipe_track *t;

	s->ending = true;
	if (!finish_until(s, now_ms() + s->wait_s * UINT64_C(1000))) {
		for (t = s->tracks; t != NULL; t = t->next) {
			if (t->pid == 0)
				continue;
			t->dropped += t->kept / (2 * s->channels);
			close_input(t);
			tell(t, SIGTERM);
			t->said = true;
			say(s, TD_EVENT_WARNING, t->user_id,
				"pipe: the program of %s was not done after %u s and is ended",
				t->who, s->wait_s);
		}
		finish_until(s, now_ms() + GRACE_MS);
	}
	for (t = s->tracks; t != NULL; t = t->next)
		say_dropped(t);
	return 0; /* whoever is still there is killed by track_free() */
}

static const struct td_track_ops track = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_track_ops),
	.name = "pipe",
	.meaning = "every speaker into a program of their own, s16le at 48 kHz",
	.options = options,
	.wants = pipe_wants,
	.begin = pipe_begin,
	.open = track_open,
	.silence = track_silence,
	.end = track_end,
	.free = track_free,
	.close = pipe_close,
	.audio = track_audio,
	.tick = pipe_tick,
	.finish = pipe_finish,
	.check = pipe_check,
};

static const struct td_plugin plugin = { TD_SINK_ABI, sizeof(plugin), NULL, &track, NULL };

TD_PLUGIN(plugin)
