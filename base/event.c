/*
 * Events: one JSON object a line, written whole or dropped and counted.
 */
#include "base/event.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

#define LINE_MAX_BYTES 4000 /* with its newline; below PIPE_BUF */
#define TAIL_ROOM 64	    /* kept free for "truncated" and "dropped" */
#define TEXT_MAX_BYTES 1000 /* of one field: the rest of the line has room beside it */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* keeps two lines from racing for the same room in a pipe */
static int out_fd = STDERR_FILENO;
static const char *out_role = "writ";
static atomic_int out_least = EVENT_INFO;
static uint64_t dropped, dropped_told;

static const char *const level_names[] = { "debug", "info", "warn", "alarm" };

void
event_start(int fd, const char *role, enum event_level least)
{
	pthread_mutex_lock(&lock);
	out_fd = fd;
	out_role = role;
	pthread_mutex_unlock(&lock);
	atomic_store(&out_least, (int)least);
}

bool
event_level_from(struct writ_bytes name, enum event_level *ret)
{
	for (size_t i = 0; i < N_OF(level_names); i++)
		if (writ_equal(name, writ_str(level_names[i]))) {
			*ret = (enum event_level)i;
			return true;
		}
	return false;
}

/* The line is on the stack with all its room, so that nothing here allocates; what does not fit is taken back. */
static bool
fits(struct writ_err *err)
{
	writ_err_free(err);
	return err == NULL;
}

static bool
put_name(struct writ_buf *line, const char *name)
{
	return fits(writ_buf_add(line, WRIT_LIT(","))) && fits(writ_json_string(writ_str(name), line)) &&
	       fits(writ_buf_add(line, WRIT_LIT(":")));
}

static bool
put_text(struct writ_buf *line, struct writ_bytes text)
{
	struct writ_bytes shown = text;

	if (text.len > TEXT_MAX_BYTES) {
		shown.len = TEXT_MAX_BYTES;
		while (shown.len > 0 && (text.data[shown.len] & 0xc0) == 0x80)
			shown.len--; /* no half character */
	}
	if (!fits(writ_json_string(shown, line)))
		return false;
	if (shown.len == text.len)
		return true;
	line->len--; /* its quote */
	return fits(writ_buf_add(line, WRIT_LIT("...\"")));
}

static bool
put_hex(struct writ_buf *line, struct writ_bytes bytes)
{
	char hex[2 * TEXT_MAX_BYTES / 2 + 1];

	if (bytes.len > TEXT_MAX_BYTES / 2)
		bytes.len = TEXT_MAX_BYTES / 2;
	return put_text(line, writ_str(writ_hex(bytes, hex)));
}

static bool
put_field(struct writ_buf *line, const struct event_field *field)
{
	char text[TEXT_MAX_BYTES];

	switch (field->kind) {
	case EVENT_TEXT:
		return put_name(line, field->name) && put_text(line, field->bytes);
	case EVENT_HEX:
		return put_name(line, field->name) && put_hex(line, field->bytes);
	case EVENT_NUMBER:
		return put_name(line, field->name) && fits(writ_buf_printf(line, "%lld", (long long)field->number));
	case EVENT_FLAG:
		return put_name(line, field->name) && fits(writ_buf_printf(line, field->number ? "true" : "false"));
	case EVENT_ERR:
		if (!field->err)
			return true;
		return put_name(line, "code") && put_text(line, writ_str(writ_code_name(field->err->code))) &&
		       put_name(line, field->name) &&
		       put_text(line, writ_str(writ_err_text(field->err, text, sizeof(text))));
	}
	return true;
}

static void
line_build(struct writ_buf *line, enum event_level level, const char *name, const struct event_field *fields,
	   size_t n_fields)
{
	const struct clock now = clock_read();
	char when[WRIT_RFC3339_LEN + 1];
	bool whole;

	line->limit = LINE_MAX_BYTES - TAIL_ROOM;
	writ_time_rfc3339(now.wall, when);
	whole = fits(writ_buf_printf(line, "{\"time\":\"%.19s.%03dZ\",\"level\":\"%s\",\"role\":", when,
				     (int)(now.wall_ns / 1000000), level_names[level]));
	whole = whole && put_text(line, writ_str(out_role)) && put_name(line, "event") &&
		put_text(line, writ_str(name));
	for (size_t i = 0; i < n_fields; i++) {
		const size_t before = line->len;

		if (put_field(line, &fields[i]))
			continue;
		line->len = before;
		whole = false;
	}
	line->limit = LINE_MAX_BYTES;
	if (!whole)
		fits(writ_buf_add(line, WRIT_LIT(",\"truncated\":true")));
}

/* Written whole at once, or not: with room for PIPE_BUF bytes a pipe takes the line whole, and so does a socket. */
static bool
line_write(struct writ_bytes line)
{
	struct pollfd ready = { .fd = out_fd, .events = POLLOUT };

	if (poll(&ready, 1, 0) != 1 || ready.revents != POLLOUT)
		return false; /* full; or nobody reads any more, and writing would raise SIGPIPE */
	return write(out_fd, line.data, line.len) == (ssize_t)line.len;
}

void
event_write(enum event_level level, const char *name, const struct event_field *fields, size_t n_fields)
{
	uint8_t room[LINE_MAX_BYTES];
	struct writ_buf line = { .data = room, .cap = sizeof(room), .limit = sizeof(room) };
	uint64_t missing;

	if ((int)level < atomic_load(&out_least))
		return;
	pthread_mutex_lock(&lock);
	line_build(&line, level, name, fields, n_fields);
	missing = dropped - dropped_told;
	if (missing > 0)
		fits(writ_buf_printf(&line, ",\"dropped\":%llu", (unsigned long long)missing));
	fits(writ_buf_add(&line, WRIT_LIT("}\n")));
	if (line_write(writ_view(&line)))
		dropped_told += missing;
	else
		dropped++;
	pthread_mutex_unlock(&lock);
}

uint64_t
event_dropped(void)
{
	uint64_t n;

	pthread_mutex_lock(&lock);
	n = dropped;
	pthread_mutex_unlock(&lock);
	return n;
}
