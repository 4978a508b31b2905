/*
 * One record of the journal, written and read; the layout is in journal.h.  Knows no segment and no file.
 */
#include "issuer/log/record.h"

#include "base/digest.h"

#define CHECK_LEN 8
#define HEADER_LEN 52
#define FIXED_LEN (32 + CHECK_LEN + HEADER_LEN)
#define TYPE_LAST ENTRY_STATE
#define FLAG_GROUP_FIRST 1

static const char *const type_names[] = {
	[ENTRY_ISSUE] = "issue", [ENTRY_ABORT] = "abort",     [ENTRY_DENY] = "deny",	 [ENTRY_REVOKE] = "revoke",
	[ENTRY_TASK] = "task",	 [ENTRY_GRANT] = "grant",     [ENTRY_POLICY] = "policy", [ENTRY_KEY] = "key",
	[ENTRY_CRL] = "crl",	 [ENTRY_SETTLED] = "settled", [ENTRY_ADMIN] = "admin",	 [ENTRY_START] = "start",
	[ENTRY_STOP] = "stop",	 [ENTRY_RECOVER] = "recover", [ENTRY_CLOCK] = "clock",	 [ENTRY_FREEZE] = "freeze",
	[ENTRY_STATE] = "state",
};

const char *
entry_type_name(enum entry_type type)
{
	return type >= ENTRY_ISSUE && type <= TYPE_LAST ? type_names[type] : "unknown";
}

static uint32_t
get32le(const uint8_t *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static uint64_t
get64le(const uint8_t *p)
{
	return (uint64_t)get32le(p + 4) << 32 | get32le(p);
}

static void
put32le(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static void
put64le(uint8_t *p, uint64_t v)
{
	put32le(p, (uint32_t)v);
	put32le(p + 4, (uint32_t)(v >> 32));
}

/* RFC 6962 2.1: a leaf is hashed behind a zero byte, so that it is never taken for a node. */
static void
leaf_hash(struct writ_bytes json, uint8_t out[32])
{
	static const uint8_t zero = 0;
	const struct writ_bytes pieces[] = { { &zero, 1 }, json };

	writ_sha256v(pieces, N_OF(pieces), out);
}

/* Over all that the leaf hash does not cover, and the leaf hash. */
static void
check_of(const uint8_t leaf[32], const uint8_t *header, struct writ_bytes tbs, uint8_t out[CHECK_LEN])
{
	const struct writ_bytes pieces[] = { { leaf, 32 }, { header, HEADER_LEN }, tbs };
	uint8_t hash[SHA256_LEN];

	writ_sha256v(pieces, N_OF(pieces), hash);
	memcpy(out, hash, CHECK_LEN);
}

/* Types whose reason is the number of a shard: 16 bits. */
static bool
has_shard(uint8_t type)
{
	return type == ENTRY_ISSUE || type == ENTRY_CRL;
}

size_t
record_len(const struct entry *e)
{
	return 4 + FIXED_LEN + e->json.len + e->tbs.len;
}

struct writ_err *
record_write(struct entry *e, struct writ_buf *ret)
{
	struct writ_err *err;
	uint8_t *at, *header;

	if (e->type < ENTRY_ISSUE || e->type > TYPE_LAST ||
	    e->reason > (has_shard((uint8_t)e->type) ? UINT16_MAX : UINT8_MAX))
		return writ_fail(WRIT_BROKEN, "an entry of type %d and reason %u cannot be written", (int)e->type,
				 e->reason);
	if (e->json.len == 0 || e->json.len > JOURNAL_ENTRY_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%s entry of %zu bytes: 1 to %d are allowed", entry_type_name(e->type),
				 e->json.len, JOURNAL_ENTRY_MAX);
	if (e->tbs.len > JOURNAL_TBS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%s entry with a TBS of %zu bytes: at most %d are allowed",
				 entry_type_name(e->type), e->tbs.len, JOURNAL_TBS_MAX);
	err = writ_buf_grow(ret, record_len(e), &at);
	if (err)
		return err;
	leaf_hash(e->json, e->leaf_hash);
	header = at + 4 + 32 + CHECK_LEN;
	put32le(at, (uint32_t)(record_len(e) - 4));
	memcpy(at + 4, e->leaf_hash, 32);
	header[0] = (uint8_t)e->type;
	header[1] = (uint8_t)e->reason;
	header[2] = e->group_first ? FLAG_GROUP_FIRST : 0;
	header[3] = (uint8_t)(e->reason >> 8);
	put32le(header + 4, (uint32_t)e->json.len);
	memcpy(header + 8, e->serial, 16);
	put64le(header + 24, (uint64_t)e->not_after);
	memcpy(header + 32, e->key, 8);
	put64le(header + 40, (uint64_t)e->time);
	put32le(header + 48, e->time_ms);
	memcpy(header + HEADER_LEN, e->json.data, e->json.len);
	if (e->tbs.len > 0)
		memcpy(header + HEADER_LEN + e->json.len, e->tbs.data, e->tbs.len);
	check_of(e->leaf_hash, header, e->tbs, at + 4 + 32);
	return NULL;
}

/* Bounds and types: all that can be told without hashing.  NULL: it may be a record. */
static const char *
shape(struct writ_bytes at)
{
	const uint8_t *header;
	uint32_t len, json_len;

	if (at.len < 4 + FIXED_LEN + 1)
		return "fewer bytes are left than a record has";
	header = at.data + 4 + 32 + CHECK_LEN;
	len = get32le(at.data);
	if (len < FIXED_LEN + 1 || len > FIXED_LEN + JOURNAL_ENTRY_MAX + JOURNAL_TBS_MAX)
		return "its length is out of bounds";
	if (len > at.len - 4)
		return "it goes past the end";
	if (header[0] < ENTRY_ISSUE || header[0] > TYPE_LAST)
		return "its type is unknown";
	if ((header[2] != 0 && header[2] != FLAG_GROUP_FIRST) || (header[3] != 0 && !has_shard(header[0])))
		return "its flags are unknown";
	json_len = get32le(header + 4);
	if (json_len == 0 || json_len > JOURNAL_ENTRY_MAX || json_len > len - FIXED_LEN ||
	    len - FIXED_LEN - json_len > JOURNAL_TBS_MAX)
		return "its entry does not fit it";
	return NULL;
}

bool
record_plausible(struct writ_bytes at)
{
	return shape(at) == NULL;
}

struct writ_err *
record_read(struct writ_bytes at, struct entry *ret, size_t *ret_len)
{
	uint8_t hash[32], check[CHECK_LEN];
	const uint8_t *header;
	uint32_t len, json_len;
	const char *why;

	*ret_len = 0;
	if (at.len < 4 || get32le(at.data) == 0)
		return NULL;
	why = shape(at);
	if (why)
		return writ_fail(WRIT_BROKEN, "a bad record: %s", why);
	header = at.data + 4 + 32 + CHECK_LEN;
	len = get32le(at.data);
	json_len = get32le(header + 4);
	*ret = (struct entry){
		.type = (enum entry_type)header[0],
		.reason = header[1] | (unsigned)header[3] << 8,
		.group_first = header[2] == FLAG_GROUP_FIRST,
		.not_after = (writ_time)get64le(header + 24),
		.time = (writ_time)get64le(header + 40),
		.time_ms = get32le(header + 48),
		.json = { header + HEADER_LEN, json_len },
		.tbs = { header + HEADER_LEN + json_len, len - FIXED_LEN - json_len },
	};
	memcpy(ret->serial, header + 8, 16);
	memcpy(ret->key, header + 32, 8);
	memcpy(ret->leaf_hash, at.data + 4, 32);
	check_of(ret->leaf_hash, header, ret->tbs, check);
	if (memcmp(check, at.data + 4 + 32, CHECK_LEN) != 0)
		return writ_fail(WRIT_BROKEN, "a bad record: its check does not fit its contents");
	leaf_hash(ret->json, hash);
	if (memcmp(hash, ret->leaf_hash, 32) != 0)
		return writ_fail(WRIT_BROKEN, "a bad record: its hash does not fit its text");
	*ret_len = 4 + (size_t)len;
	return NULL;
}
