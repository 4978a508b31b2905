/*
 * The feed of status as bytes: see feed.h.
 */
#include "issuer/status/feed.h"

#include <inttypes.h>
#include <stdio.h>

static const uint8_t magic[4] = { 'W', 'R', 'F', '1' };

/* ---- pages ---- */

struct writ_err *
feed_write(const struct feed_head *head, const struct status_change *changes, struct writ_buf *ret)
{
	uint8_t *at = NULL;
	struct writ_err *err = writ_buf_grow(ret, FEED_HEAD_LEN + (size_t)head->count * FEED_RECORD_LEN, &at);

	if (err)
		return err;
	memset(at, 0, FEED_HEAD_LEN);
	memcpy(at, magic, sizeof(magic));
	at[4] = (uint8_t)head->kind;
	memcpy(at + 8, head->epoch, STATUS_EPOCH_LEN);
	writ_put64(at + 24, head->from);
	writ_put64(at + 32, head->next);
	writ_put64(at + 40, head->newest);
	writ_put64(at + 48, head->documents);
	writ_put64(at + 56, (uint64_t)head->time_ms);
	writ_put32(at + 64, head->count);
	at += FEED_HEAD_LEN;
	for (uint32_t i = 0; i < head->count; i++, at += FEED_RECORD_LEN) {
		memcpy(at, changes[i].serial, 16);
		at[16] = (uint8_t)changes[i].state;
		writ_put32(at + 17, changes[i].life_s);
	}
	return NULL;
}

static struct writ_err *
bad(const char *why)
{
	return writ_fail(WRIT_INVALID, "status feed: %s", why);
}

static struct writ_err *
numbers_check(const struct feed_head *head)
{
	switch (head->kind) {
	case FEED_CHANGES:
		if (head->from > head->newest || head->next != head->from + head->count || head->next > head->newest)
			return bad("the numbers of its changes do not follow each other");
		return NULL;
	case FEED_BEGIN:
		if (head->count != 0 || head->next > head->newest)
			return bad("a beginning has no records, and is no later than the newest change");
		return NULL;
	case FEED_TABLE:
		if (head->next <= head->from || head->next > FEED_TABLE_END)
			return bad("a page of the table does not lead on");
		return NULL;
	}
	return bad("a kind that is not known here");
}

struct writ_err *
feed_read(struct writ_bytes page, struct feed_head *ret, struct writ_bytes *ret_records)
{
	const uint8_t *at = page.data;
	struct writ_err *err;

	*ret = (struct feed_head){ 0 };
	if (page.len < FEED_HEAD_LEN || memcmp(at, magic, sizeof(magic)) != 0 || at[5] != 0 || at[6] != 0 || at[7] != 0)
		return bad("it does not begin as a page does");
	ret->kind = (enum feed_kind)at[4];
	memcpy(ret->epoch, at + 8, STATUS_EPOCH_LEN);
	ret->from = writ_get64(at + 24);
	ret->next = writ_get64(at + 32);
	ret->newest = writ_get64(at + 40);
	ret->documents = writ_get64(at + 48);
	ret->time_ms = (int64_t)writ_get64(at + 56);
	ret->count = writ_get32(at + 64);
	if (ret->count > FEED_RECORDS_MAX || page.len != FEED_HEAD_LEN + (size_t)ret->count * FEED_RECORD_LEN)
		return bad("it has not the length of its records");
	err = numbers_check(ret);
	if (err)
		return err;
	*ret_records = (struct writ_bytes){ at + FEED_HEAD_LEN, page.len - FEED_HEAD_LEN };
	for (uint32_t i = 0; i < ret->count; i++) {
		const uint8_t state = ret_records->data[(size_t)i * FEED_RECORD_LEN + 16];

		if (state != STATUS_GOOD && state != STATUS_REVOKED)
			return bad("a state that is neither good nor revoked");
	}
	return NULL;
}

struct status_change
feed_record(struct writ_bytes records, size_t i)
{
	const uint8_t *at = records.data + i * FEED_RECORD_LEN;
	struct status_change change = { .state = (enum status_state)at[16], .life_s = writ_get32(at + 17) };

	memcpy(change.serial, at, sizeof(change.serial));
	return change;
}

/* ---- documents ---- */

struct writ_err *
feed_document_write(const struct feed_document *doc, struct writ_buf *ret)
{
	return writ_buf_printf(ret, "%s %" PRIu64 " %lld %lld %u %s %s\n", doc->sha256, doc->len,
			       (long long)doc->last_modified, (long long)doc->expires, (unsigned)doc->max_age_s,
			       doc->content_type, doc->path);
}

/* The next word of a line, printable; the blank behind it goes too, and only between words there is one. */
static bool
word_take(struct writ_bytes *line, struct writ_bytes *ret)
{
	const uint8_t *blank = line->len > 0 ? memchr(line->data, ' ', line->len) : NULL;

	*ret = (struct writ_bytes){ line->data, blank ? (size_t)(blank - line->data) : line->len };
	line->data += ret->len + (blank ? 1 : 0);
	line->len -= ret->len + (blank ? 1 : 0);
	if (blank && line->len == 0)
		return false;
	for (size_t i = 0; i < ret->len; i++)
		if (ret->data[i] < 0x21 || ret->data[i] > 0x7e)
			return false;
	return ret->len > 0;
}

static bool
number_take(struct writ_bytes *line, uint64_t max, uint64_t *ret)
{
	struct writ_bytes word;

	return word_take(line, &word) && writ_decimal(word, max, ret);
}

static bool
text_take(struct writ_bytes *line, char *ret, size_t room)
{
	struct writ_bytes word;

	if (!word_take(line, &word) || word.len >= room)
		return false;
	memcpy(ret, word.data, word.len);
	ret[word.len] = '\0';
	return true;
}

/* "/crl/NAME" or "/ca/NAME", NAME of [A-Za-z0-9._-], not all of dots. */
static bool
path_ok(const char *path)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	const char *name = strncmp(path, "/crl/", 5) == 0 ? path + 5 : strncmp(path, "/ca/", 4) == 0 ? path + 4 : "";

	return *name != '\0' && strspn(name, chars) == strlen(name) && strspn(name, ".") != strlen(name);
}

static bool
digest_ok(const char *hex)
{
	return strlen(hex) == 2 * SHA256_LEN && strspn(hex, "0123456789abcdef") == 2 * SHA256_LEN;
}

struct writ_err *
feed_document_read(struct writ_bytes *rest, struct feed_document *ret)
{
	const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
	struct writ_bytes line = { rest->data, end ? (size_t)(end - rest->data) : 0 };
	uint64_t modified, expires, max_age;

	if (rest->len == 0)
		return writ_fail(WRIT_NOT_FOUND, "no more documents");
	if (!end)
		return bad("a line of the list of documents does not end");
	*ret = (struct feed_document){ 0 };
	if (!text_take(&line, ret->sha256, sizeof(ret->sha256)) || !digest_ok(ret->sha256) ||
	    !number_take(&line, FEED_DOCUMENT_MAX, &ret->len) || !number_take(&line, WRIT_TIME_MAX, &modified) ||
	    !number_take(&line, WRIT_TIME_MAX, &expires) || !number_take(&line, 86400, &max_age) ||
	    !text_take(&line, ret->content_type, sizeof(ret->content_type)) ||
	    !text_take(&line, ret->path, sizeof(ret->path)) || !path_ok(ret->path) || line.len > 0)
		return bad("a line of the list of documents is not one");
	ret->last_modified = (writ_time)modified;
	ret->expires = (writ_time)expires;
	ret->max_age_s = (uint32_t)max_age;
	rest->len -= (size_t)(end + 1 - rest->data);
	rest->data = end + 1;
	return NULL;
}
