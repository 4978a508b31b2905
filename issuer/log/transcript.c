/*
 * The transcript of a ceremony: see transcript.h.
 */
#include "issuer/log/transcript.h"

#include <stdio.h>

#include "base/text.h"

#define WITNESS "witness: "
#define ANCHOR "anchor certificate sha256: "
#define ENDED "ended: "

struct writ_err *
witness_name_check(struct writ_bytes name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
	bool good = name.len >= 1 && name.len <= WITNESS_NAME_MAX && name.data[0] >= 'a' && name.data[0] <= 'z';

	for (size_t i = 0; good && i < name.len; i++)
		good = memchr(allowed, name.data[i], sizeof(allowed) - 1) != NULL;
	if (!good)
		return writ_fail(WRIT_INVALID,
				 "witness '%.*s': a name has 1 to %d of a-z, 0-9, '.', '_' and '-', a letter first",
				 WRIT_FMT(name), WITNESS_NAME_MAX);
	if (writ_equal(name, WRIT_LIT("anchor")) || writ_equal(name, WRIT_LIT("transcript")))
		return writ_fail(WRIT_INVALID, "witness '%.*s': that name is taken", WRIT_FMT(name));
	return NULL;
}

/* ---- writing ---- */

struct writ_err *
transcript_line(struct writ_buf *text, const char *line)
{
	char clean[TRANSCRIPT_LINE_MAX + 2];
	size_t len = 0;

	for (; line[len] && len < TRANSCRIPT_LINE_MAX; len++)
		clean[len] = line[len] >= 0x20 && line[len] < 0x7f ? line[len] : '?';
	clean[len++] = '\n';
	return writ_buf_add(text, (struct writ_bytes){ (const uint8_t *)clean, len });
}

struct writ_err *
transcript_witness(struct writ_buf *text, const struct witness *w)
{
	AUTO(writ_buf_done) struct writ_buf line = WRIT_BUF(TRANSCRIPT_LINE_MAX);
	const struct writ_bytes spki = { w->spki, w->spki_len };
	struct writ_bytes raw;
	enum key_kind kind;
	struct writ_err *err;

	err = witness_name_check(writ_str(w->name));
	if (!err)
		err = spki_parse(spki, &kind, &raw);
	if (!err)
		err = writ_buf_printf(&line, WITNESS "%s, %s, ", w->name, key_kind_name(kind));
	if (!err)
		err = writ_base64(spki, &line);
	if (!err)
		err = writ_buf_add(&line, WRIT_LIT("\n"));
	return err ? err : writ_buf_add(text, writ_view(&line));
}

/* ---- reading ---- */

static bool
begins(struct writ_bytes line, const char *prefix, struct writ_bytes *ret_rest)
{
	const size_t len = strlen(prefix);

	if (line.len < len || memcmp(line.data, prefix, len) != 0)
		return false;
	*ret_rest = (struct writ_bytes){ line.data + len, line.len - len };
	return true;
}

static bool
take_line(struct writ_bytes *rest, struct writ_bytes *ret)
{
	const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;

	if (!end)
		return false;
	*ret = (struct writ_bytes){ rest->data, (size_t)(end - rest->data) };
	*rest = (struct writ_bytes){ end + 1, rest->len - ret->len - 1 };
	return true;
}

/* "NAME, KIND, BASE64" */
static struct writ_err *
read_witness(struct writ_bytes value, struct transcript *ret)
{
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX), again = WRIT_BUF(TRANSCRIPT_LINE_MAX + 1);
	struct witness *w = &ret->witnesses[ret->n_witnesses];
	const uint8_t *comma = memchr(value.data, ',', value.len);
	const uint8_t *space = value.len > 0 ? memrchr(value.data, ' ', value.len) : NULL;
	struct writ_bytes written;
	struct writ_err *err;

	if (ret->n_witnesses == WITNESSES_MAX)
		return writ_fail(WRIT_EXHAUSTED, "more than %d witnesses", WITNESSES_MAX);
	if (!comma || !space || comma > space || (size_t)(comma - value.data) > WITNESS_NAME_MAX)
		return writ_fail(WRIT_INVALID, "a witness is a name, a kind of key, and the key");
	*w = (struct witness){ .spki_len = 0 };
	memcpy(w->name, value.data, (size_t)(comma - value.data));
	err = writ_unbase64(BASE64_STD,
			    (struct writ_bytes){ space + 1, (size_t)(value.data + value.len - (space + 1)) }, &spki);
	if (err)
		return err;
	if (spki.len > 0)
		memcpy(w->spki, spki.data, spki.len);
	w->spki_len = spki.len;
	err = transcript_witness(&again, w); /* one way to write it */
	if (err)
		return err;
	written = (struct writ_bytes){ again.data + strlen(WITNESS), again.len - strlen(WITNESS) - 1 };
	if (!writ_equal(written, value))
		return writ_fail(WRIT_INVALID, "a witness is a name, a kind of key, and the key");
	for (size_t i = 0; i < ret->n_witnesses; i++) {
		const struct witness *other = &ret->witnesses[i];

		if (strcmp(other->name, w->name) == 0)
			return writ_fail(WRIT_INVALID, "witness %s stands there twice", w->name);
		if (other->spki_len == w->spki_len && memcmp(other->spki, w->spki, w->spki_len) == 0)
			return writ_fail(WRIT_INVALID, "witnesses %s and %s have one key: two persons have two",
					 other->name, w->name);
	}
	ret->n_witnesses++;
	return NULL;
}

static struct writ_err *
read_line(struct writ_bytes line, bool *anchor, struct transcript *ret)
{
	struct writ_bytes value;

	if (ret->ended)
		return writ_fail(WRIT_INVALID, "something follows the end");
	if (line.len == 0 || line.len > TRANSCRIPT_LINE_MAX)
		return writ_fail(WRIT_INVALID, "a line has 1 to %d characters, not %zu", TRANSCRIPT_LINE_MAX, line.len);
	for (size_t i = 0; i < line.len; i++)
		if (line.data[i] < 0x20 || line.data[i] > 0x7e)
			return writ_fail(WRIT_INVALID, "a character that is not printable ASCII");
	if (begins(line, WITNESS, &value))
		return read_witness(value, ret);
	if (begins(line, ANCHOR, &value)) {
		if (*anchor || !writ_unhex(value, ret->anchor_sha256, sizeof(ret->anchor_sha256)))
			return writ_fail(WRIT_INVALID, "the anchor's digest is 64 hex digits, once");
		*anchor = true;
	}
	ret->ended = begins(line, ENDED, &value);
	if (ret->ended && !*anchor)
		return writ_fail(WRIT_INVALID, "it ends and names no anchor certificate");
	return NULL;
}

struct writ_err *
transcript_read(struct writ_bytes text, struct transcript *ret)
{
	struct writ_bytes rest, line;
	bool anchor = false;

	*ret = (struct transcript){ .ended = false };
	if (text.len > TRANSCRIPT_MAX || !begins(text, TRANSCRIPT_TITLE, &rest))
		return writ_fail(WRIT_INVALID,
				 "this is no transcript of a ceremony: at most %d bytes, and the title first",
				 TRANSCRIPT_MAX);
	for (unsigned n = 2; rest.len > 0; n++) {
		struct writ_err *err;

		if (!take_line(&rest, &line))
			return writ_fail(WRIT_INVALID, "transcript line %u has no end", n);
		err = read_line(line, &anchor, ret);
		if (err)
			return writ_because(err, "transcript line %u", n);
	}
	return NULL;
}
