/*
 * The form of a custody statement's bundle.
 */
#include "issuer/cli/custody_bundle.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/text.h"
#include "issuer/log/json.h"
#include "issuer/x509/ca.h"

#define ARENA_MAX (512 * 1024)

/* ---- members ---- */

static struct writ_err *
members_check(const json_t *object, const char *what, const char *const *members)
{
	const char *name;
	json_t *value;

	if (!json_is_object(object))
		return writ_fail(WRIT_INVALID, "%s is no object", what);
	json_object_foreach((json_t *)object, name, value)
	{
		size_t i = 0;

		while (members[i] && strcmp(members[i], name) != 0)
			i++;
		if (!members[i])
			return writ_fail(WRIT_INVALID, "%s: there is no member '%.40s' in version 1", what, name);
	}
	return NULL;
}

static struct writ_err *
keep(struct writ_arena *arena, struct writ_bytes bytes, struct writ_bytes *ret)
{
	*ret = writ_arena_copy(arena, bytes);
	return ret->data ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for a bundle");
}

struct writ_err *
custody_hex(const json_t *object, const char *name, size_t min, size_t max, struct writ_arena *arena,
	    struct writ_bytes *ret)
{
	const struct writ_bytes text = writ_str(json_string_value(json_object_get(object, name)));
	uint8_t bytes[64];

	if (text.len % 2 != 0 || text.len / 2 < min || text.len / 2 > max || max > sizeof(bytes) ||
	    !writ_unhex(text, bytes, text.len / 2))
		return writ_fail(WRIT_INVALID, "'%s' is not %zu to %zu bytes in hex", name, min, max);
	return keep(arena, (struct writ_bytes){ bytes, text.len / 2 }, ret);
}

struct writ_err *
custody_base64(const json_t *value, const char *name, size_t max, struct writ_arena *arena, struct writ_bytes *ret)
{
	AUTO(writ_buf_done) struct writ_buf bytes = WRIT_BUF(max);
	struct writ_err *err;

	if (!json_is_string(value))
		return writ_fail(WRIT_INVALID, "'%s' is no text in base64", name);
	err = writ_unbase64(BASE64_STD, writ_str(json_string_value(value)), &bytes);
	return err ? writ_because(err, "'%s'", name) : keep(arena, writ_view(&bytes), ret);
}

static struct writ_err *
text(const json_t *object, const char *name, struct writ_arena *arena, const char **ret)
{
	const struct writ_bytes value = writ_str(json_string_value(json_object_get(object, name)));
	struct writ_bytes kept;
	struct writ_err *err;

	if (!json_is_string(json_object_get(object, name)) || value.len > 255)
		return writ_fail(WRIT_INVALID, "'%s' is no text of up to 255 bytes", name);
	err = keep(arena, value, &kept);
	*ret = (const char *)kept.data; /* the arena's copy ends in a NUL */
	return err;
}

static struct writ_err *
count(const json_t *object, const char *name, uint64_t *ret)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return writ_fail(WRIT_INVALID, "'%s' is no number from 0 up", name);
	*ret = (uint64_t)json_integer_value(value);
	return NULL;
}

/* ---- files ---- */

/* What jansson makes of the text must print as the text: then a member's print is what stands there, too. */
static struct writ_err *
same_again(const json_t *json, struct writ_bytes whole)
{
	char *const again = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	const bool same = again && writ_equal(writ_str(again), whole);

	free(again);
	return same ? NULL : writ_fail(WRIT_INVALID, "the JSON has characters that are not written so");
}

static struct writ_err *
json_parse(struct writ_bytes whole, size_t max, const char *const *members, json_t **ret)
{
	struct writ_err *err;

	*ret = NULL;
	if (whole.len > 0 && whole.data[whole.len - 1] == '\n')
		whole.len--;
	err = canon_check(whole, max);
	if (!err)
		*ret = json_loadb((const char *)whole.data, whole.len, JSON_REJECT_DUPLICATES, NULL);
	if (!err && !*ret)
		err = writ_fail(WRIT_INVALID, "it is no JSON");
	if (!err)
		err = same_again(*ret, whole);
	if (!err)
		err = members_check(*ret, "the file", members);
	if (!err && json_integer_value(json_object_get(*ret, "version")) != 1)
		err = writ_fail(WRIT_INVALID, "its version is not 1");
	if (!err)
		return NULL;
	json_decref(*ret);
	*ret = NULL;
	return err;
}

struct writ_err *
custody_json_read(const char *path, size_t max, const char *const *members, json_t **ret)
{
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(max);
	struct writ_err *err = file_read(path, FILE_ANY, &file);

	if (err)
		return err;
	err = json_parse(writ_view(&file), max, members, ret);
	return err ? writ_because(err, "%s", path) : NULL;
}

/* ---- the statement ---- */

static struct writ_err *
read_certificates(const json_t *list, struct custody_bundle *b)
{
	const size_t n = json_array_size(list);

	if (!json_is_array(list) || n > CUSTODY_CERTIFICATES_MAX)
		return writ_fail(WRIT_INVALID, "'certificates' is no list of up to %d", CUSTODY_CERTIFICATES_MAX);
	for (size_t i = 0; i < n; i++) {
		struct writ_err *err = custody_base64(json_array_get(list, i), "certificates", CA_CERT_MAX, &b->arena,
						      &b->certificates[i]);

		if (err)
			return err;
	}
	b->n_certificates = n;
	return NULL;
}

static struct writ_err *
read_device(const json_t *device, struct custody_bundle *b)
{
	static const char *const members[] = { "firmware", "maker", "model", "scheme", "serial", "software", NULL };
	struct writ_err *err = members_check(device, "'device'", members);

	if (!err)
		err = text(device, "firmware", &b->arena, &b->firmware);
	if (!err)
		err = text(device, "maker", &b->arena, &b->maker);
	if (!err)
		err = text(device, "model", &b->arena, &b->model);
	if (!err)
		err = text(device, "scheme", &b->arena, &b->scheme);
	if (!err)
		err = text(device, "serial", &b->arena, &b->serial);
	if (!err && !json_is_boolean(json_object_get(device, "software")))
		err = writ_fail(WRIT_INVALID, "'software' is neither true nor false");
	b->software = json_is_true(json_object_get(device, "software"));
	return err;
}

static struct writ_err *
read_journal(const json_t *journal, struct custody_bundle *b)
{
	static const char *const members[] = { "hash", "index", "origin", NULL };
	struct writ_err *err = members_check(journal, "'journal'", members);

	if (!err)
		err = custody_hex(journal, "hash", SHA256_LEN, SHA256_LEN, &b->arena, &b->journal_hash);
	if (!err)
		err = count(journal, "index", &b->journal_index);
	if (!err)
		err = text(journal, "origin", &b->arena, &b->journal_origin);
	return err;
}

static struct writ_err *
read_statement(const json_t *s, struct custody_bundle *b)
{
	static const char *const members[] = { "ak",	  "anchor", "certificates", "custody", "device",       "ek",
					       "journal", "nonce",  "tier",	    "time",    "trust_domain", NULL };
	struct writ_err *err = members_check(s, "'statement'", members);
	uint64_t time = 0;

	if (!err && json_object_get(s, "ak"))
		err = custody_base64(json_object_get(s, "ak"), "ak", ATTEST_AREA_MAX, &b->arena, &b->ak);
	if (!err && json_object_get(s, "ek"))
		err = custody_base64(json_object_get(s, "ek"), "ek", ATTEST_EK_MAX, &b->arena, &b->ek);
	if (!err)
		err = custody_base64(json_object_get(s, "anchor"), "anchor", CA_CERT_MAX, &b->arena, &b->anchor);
	if (!err)
		err = read_certificates(json_object_get(s, "certificates"), b);
	if (!err)
		err = text(s, "custody", &b->arena, &b->custody);
	if (!err)
		err = read_device(json_object_get(s, "device"), b);
	if (!err)
		err = read_journal(json_object_get(s, "journal"), b);
	if (!err)
		err = custody_hex(s, "nonce", ATTEST_NONCE_MIN, ATTEST_NONCE_MAX, &b->arena, &b->nonce);
	if (!err)
		err = text(s, "tier", &b->arena, &b->tier);
	if (!err)
		err = count(s, "time", &time);
	if (!err)
		err = text(s, "trust_domain", &b->arena, &b->trust_domain);
	b->time = (writ_time)time;
	return err;
}

/* ---- what stands behind it ---- */

static struct writ_err *
read_what(const json_t *item, enum attested *ret)
{
	static const char *const names[] = { "key", "parent", "pcrs", "counter", "claim" }; /* from ATTESTED_KEY on */
	const char *name = json_string_value(json_object_get(item, "what"));

	for (size_t i = 0; name && i < N_OF(names); i++)
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum attested)(ATTESTED_KEY + i);
			return NULL;
		}
	return writ_fail(WRIT_INVALID, "'what' is none of key, parent, pcrs, counter, claim");
}

static struct writ_err *
read_said(const json_t *item, struct custody_bundle *b)
{
	static const char *const members[] = { "about", "said", "signature", "what", NULL };
	struct custody_said *const said = &b->said[b->n_said];
	struct writ_err *err = members_check(item, "an attestation", members);

	if (!err)
		err = read_what(item, &said->what);
	if (!err)
		err = custody_base64(json_object_get(item, "about"), "about", ATTEST_ABOUT_MAX, &b->arena,
				     &said->about);
	if (!err)
		err = custody_base64(json_object_get(item, "said"), "said", ATTEST_SAID_MAX, &b->arena, &said->said);
	if (!err)
		err = custody_base64(json_object_get(item, "signature"), "signature", ATTEST_SIGNATURE_MAX, &b->arena,
				     &said->signature);
	b->n_said++;
	return err;
}

static struct writ_err *
read_bundle(const json_t *json, struct custody_bundle *b)
{
	const json_t *const list = json_object_get(json, "attestations"), *const statement =
										  json_object_get(json, "statement");
	struct writ_err *err = NULL;
	char *print;

	if (!json_is_array(list) || json_array_size(list) > ATTEST_ITEMS_MAX)
		return writ_fail(WRIT_INVALID, "'attestations' is no list of up to %d", ATTEST_ITEMS_MAX);
	for (size_t i = 0; !err && i < json_array_size(list); i++)
		err = read_said(json_array_get(list, i), b);
	if (!err && json_object_get(json, "activation"))
		err = custody_hex(json, "activation", SHA256_LEN, SHA256_LEN, &b->arena, &b->mac);
	if (!err)
		err = custody_base64(json_object_get(json, "signature"), "signature", SIGNATURE_MAX, &b->arena,
				     &b->signature);
	if (!err)
		err = read_statement(statement, b);
	if (err)
		return err;
	print = json_dumps(statement, JSON_COMPACT | JSON_SORT_KEYS);
	err = print ? keep(&b->arena, writ_str(print), &b->statement)
		    : writ_fail(WRIT_EXHAUSTED, "no memory for a bundle");
	free(print);
	if (!err)
		writ_sha256(b->statement, b->digest);
	return err;
}

struct writ_err *
custody_bundle_parse(struct writ_bytes text, struct custody_bundle *ret)
{
	static const char *const members[] = {
		"activation", "attestations", "signature", "statement", "version", NULL
	};
	struct writ_err *err;
	json_t *json;

	*ret = (struct custody_bundle){ .arena = WRIT_ARENA(ARENA_MAX) };
	err = json_parse(text, CUSTODY_BUNDLE_MAX, members, &json);
	if (!err)
		err = read_bundle(json, ret);
	json_decref(json);
	return err;
}

struct writ_err *
custody_bundle_read(const char *path, struct custody_bundle *ret)
{
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(CUSTODY_BUNDLE_MAX);
	struct writ_err *err = file_read(path, FILE_ANY, &file);

	if (err)
		return err;
	err = custody_bundle_parse(writ_view(&file), ret);
	return err ? writ_because(err, "%s", path) : NULL;
}

void
custody_bundle_done(struct custody_bundle *b)
{
	writ_arena_done(&b->arena);
}
