/*
 * Errors: the return value is the error.  Knows nothing of who prints it.
 *
 * A message reaches terminals and logs, and parts of it come from strangers: whatever is not clean UTF-8 becomes '?'
 * here, once, so that no caller has to think of it.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/text.h"

/* Stands in when memory is gone; never freed, never written. */
static struct writ_err out_of_memory = { .code = WRIT_EXHAUSTED, .message = "out of memory" };

/* Copies what is clean; stops with "..." at a character's border when `out` is full or the text was cut before. */
static void
message_clean(char *out, const char *in, size_t in_len, bool cut)
{
	struct writ_bytes rest = { (const uint8_t *)in, in_len };
	size_t used = 0, fits = 0; /* fits: the last border that leaves room for "..." */

	while (rest.len > 0) {
		uint32_t c;
		const size_t n = writ_utf8(rest, &c);
		const bool clean = n > 0 && !writ_is_control(c);
		const size_t step = clean ? n : 1;

		if (used + step >= WRIT_MESSAGE_MAX) {
			cut = true;
			break;
		}
		if (used <= WRIT_MESSAGE_MAX - sizeof("..."))
			fits = used;
		if (clean)
			memcpy(out + used, rest.data, n);
		else
			out[used] = '?';
		used += step;
		rest.data += n > 0 ? n : 1;
		rest.len -= n > 0 ? n : 1;
	}
	if (cut) {
		if (used <= WRIT_MESSAGE_MAX - sizeof("..."))
			fits = used;
		memcpy(out + fits, "...", 3);
		used = fits + 3;
	}
	out[used] = '\0';
}

static struct writ_err *err_new(enum writ_code, struct writ_err *, const char *, va_list) WRIT_PRINTF(3, 0);

static struct writ_err *
err_new(enum writ_code code, struct writ_err *cause, const char *fmt, va_list args)
{
	char raw[2 * WRIT_MESSAGE_MAX];
	struct writ_err *err = malloc(sizeof(*err));
	int n;

	if (!err) {
		writ_err_free(cause);
		return &out_of_memory;
	}
	n = vsnprintf(raw, sizeof(raw), fmt, args);
	err->code = code;
	err->retry_after_s = cause ? cause->retry_after_s : 0;
	err->cause = cause;
	if (n < 0)
		n = snprintf(raw, sizeof(raw), "(message could not be formatted)");
	message_clean(err->message, raw, strlen(raw), (size_t)n >= sizeof(raw));
	return err;
}

struct writ_err *
writ_fail(enum writ_code code, const char *fmt, ...)
{
	struct writ_err *err;
	va_list args;

	va_start(args, fmt);
	err = err_new(code, NULL, fmt, args);
	va_end(args);
	return err;
}

struct writ_err *
writ_fail_errno(int errno_value, const char *fmt, ...)
{
	char what[WRIT_MESSAGE_MAX], why_room[64];
	/* The GNU form: returns the text, which need not be in the buffer. */
	const char *why = strerror_r(errno_value, why_room, sizeof(why_room));
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return writ_fail(WRIT_UNAVAILABLE, "%s: %s", what, why);
}

struct writ_err *
writ_because(struct writ_err *cause, const char *fmt, ...)
{
	struct writ_err *err;
	va_list args;

	va_start(args, fmt);
	err = err_new(cause ? cause->code : WRIT_BROKEN, cause, fmt, args);
	va_end(args);
	return err;
}

struct writ_err *
writ_recode(struct writ_err *cause, enum writ_code code, const char *fmt, ...)
{
	struct writ_err *err;
	va_list args;

	va_start(args, fmt);
	err = err_new(code, cause, fmt, args);
	va_end(args);
	return err;
}

struct writ_err *
writ_retry_after(struct writ_err *err, unsigned seconds)
{
	if (err != &out_of_memory)
		err->retry_after_s = seconds;
	return err;
}

void
writ_err_free(struct writ_err *err)
{
	while (err && err != &out_of_memory) {
		struct writ_err *cause = err->cause;

		free(err);
		err = cause;
	}
}

void
writ_err_freep(struct writ_err **err)
{
	writ_err_free(*err);
	*err = NULL;
}

char *
writ_err_text(const struct writ_err *err, char *out, size_t out_len)
{
	size_t used = 0;

	if (out_len == 0)
		return out;
	out[0] = '\0';
	for (const struct writ_err *e = err; e; e = e->cause) {
		const int n = snprintf(out + used, out_len - used, "%s%s", e == err ? "" : ": ", e->message);

		if (n < 0)
			break;
		used += (size_t)n;
		if (used < out_len)
			continue;
		if (out_len > 3) {
			used = out_len - 4;
			while (used > 0 && ((unsigned char)out[used] & 0xc0) == 0x80)
				used--; /* no half character before the dots */
			memcpy(out + used, "...", 4);
		}
		break;
	}
	return out;
}

const char *
writ_code_name(enum writ_code code)
{
	switch (code) {
	case WRIT_INVALID:
		return "INVALID";
	case WRIT_UNAUTHENTICATED:
		return "UNAUTHENTICATED";
	case WRIT_NOT_FOUND:
		return "NOT_FOUND";
	case WRIT_CONFLICT:
		return "CONFLICT";
	case WRIT_UNAVAILABLE:
		return "UNAVAILABLE";
	case WRIT_EXHAUSTED:
		return "EXHAUSTED";
	case WRIT_LOCKED:
		return "LOCKED";
	case WRIT_BROKEN:
		return "BROKEN";
	}
	return "BROKEN";
}
