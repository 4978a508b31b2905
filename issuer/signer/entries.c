/*
 * What the signer writes down, in canonical JSON, keys in order; replay.c reads it back.
 *
 * What the signer saw for itself stands beside `said`, what the issuer told (DESIGN.md, Journal).  Every entry has "t",
 * its type, "v", 1, and "clock", both clocks in milliseconds: a verifier compares them with notBefore.  The replay
 * reads only the fixed header, never JSON.
 */
#include <stdio.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/text.h"
#include "issuer/signer/signer.h"

#define END_ID_LEN 32 /* hex digits of a serial or an edge id */

static struct canon_out
entry_begin(struct signer *s)
{
	struct canon_out out;

	writ_buf_clear(&s->json);
	out = canon_write(&s->json);
	canon_object(&out, NULL);
	return out;
}

static int64_t
wall_ms(const struct signer *s)
{
	return s->now.wall * 1000 + s->now.wall_ns / 1000000;
}

static void
put_clock(struct signer *s, struct canon_out *out)
{
	canon_object(out, "clock");
	canon_int(out, "mono_ms", s->now.mono_ms);
	canon_int(out, "wall_ms", wall_ms(s));
	canon_end(out);
}

WRIT_CHECKED static struct writ_err *
entry_finish(struct canon_out *out)
{
	canon_int(out, "v", 1);
	canon_end(out);
	return canon_finish(out);
}

/* With the time of this wake-up. */
static struct writ_err *
entry_journal(struct signer *s, struct entry *e)
{
	e->time = s->now.wall;
	e->time_ms = (unsigned)(s->now.wall_ns / 1000000);
	return journal_add(s->journal, e);
}

/* Ends the object, and adds the entry. */
static struct writ_err *
entry_add(struct signer *s, struct canon_out *out, struct entry *e)
{
	struct writ_err *err = entry_finish(out);

	if (err)
		return err;
	e->json = writ_view(&s->json);
	return entry_journal(s, e);
}

static void
put_type(struct canon_out *out, enum entry_type type)
{
	canon_text(out, "t", writ_str(entry_type_name(type)));
}

static struct writ_bytes
fixed(const uint8_t *data, size_t len)
{
	return (struct writ_bytes){ data, len };
}

/* `tbs` has its serial and a zero log reference: what the digest of delegation.md 3.4 is of. */
struct writ_err *
entry_issue(struct signer *s, const struct leaf *leaf, unsigned shard, const uint8_t serial[16], struct writ_bytes tbs,
	    struct writ_bytes said, struct entry *ret)
{
	struct canon_out out = entry_begin(s);
	uint8_t digest[SHA256_LEN];

	writ_sha256(tbs, digest);
	*ret = (struct entry){ .type = ENTRY_ISSUE, .reason = shard, .not_after = leaf->not_after, .tbs = tbs };
	memcpy(ret->serial, serial, 16);
	memcpy(ret->key, leaf->authority_key_id.data, 8);
	canon_hex(&out, "ca", leaf->authority_key_id);
	put_clock(s, &out);
	canon_int(&out, "not_after", leaf->not_after);
	canon_int(&out, "not_before", leaf->not_before);
	canon_raw(&out, "said", said);
	canon_text(&out, "san", leaf->san);
	canon_hex(&out, "serial", fixed(serial, 16));
	canon_hex(&out, "spki", fixed(leaf->spki_sha256, 32));
	put_type(&out, ENTRY_ISSUE);
	canon_text(&out, "task", leaf->task_id);
	canon_hex(&out, "tbs", fixed(digest, sizeof(digest)));
	return entry_add(s, &out, ret);
}

bool
entry_names_edge(const uint8_t key[8])
{
	static const uint8_t none[8];

	return memcmp(key, none, sizeof(none)) == 0;
}

WRIT_CHECKED static struct writ_err *
end_form_make(struct signer *s, const struct end_form *of)
{
	struct canon_out out = entry_begin(s);
	struct end_form *form = &s->end_form;
	struct writ_err *err;
	size_t id_ends = 0;

	form->len = 0;
	put_clock(s, &out);
	if (of->names_edge) {
		canon_hex(&out, "edge", fixed(of->of.serial, 16));
		id_ends = s->json.len;
	}
	canon_text(&out, "reason", writ_str(crl_reason_name(of->of.reason)));
	if (of->of.type == ENTRY_REVOKE)
		canon_int(&out, "revoked_at", of->of.at);
	if (!of->names_edge) {
		canon_hex(&out, "serial", fixed(of->of.serial, 16));
		id_ends = s->json.len;
	}
	put_type(&out, of->of.type);
	err = entry_finish(&out);
	if (err)
		return err;
	if (s->json.len > sizeof(form->json))
		return writ_fail(WRIT_BROKEN, "an entry of %zu octets", s->json.len);
	*form = *of;
	form->id_at = id_ends - 1 - END_ID_LEN; /* before its closing quote */
	memcpy(form->json, s->json.data, s->json.len);
	form->len = s->json.len;
	return NULL;
}

/* One after the other, as a cascade has 100,000 of them, the text is made once: half of what an entry costs. */
struct writ_err *
entry_end(struct signer *s, const struct owed *end)
{
	const struct end_form of = { .of = *end,
				     .names_edge = entry_names_edge(end->key),
				     .mono_ms = s->now.mono_ms,
				     .wall_ms = wall_ms(s) };
	struct end_form *form = &s->end_form;
	struct entry e = { .type = end->type, .reason = end->reason };
	char id[END_ID_LEN + 1];

	if (form->len == 0 || form->of.type != end->type || form->of.reason != end->reason || form->of.at != end->at ||
	    form->names_edge != of.names_edge || form->mono_ms != of.mono_ms || form->wall_ms != of.wall_ms) {
		struct writ_err *err = end_form_make(s, &of);

		if (err)
			return err;
	}
	writ_hex(fixed(end->serial, 16), id);
	memcpy(form->json + form->id_at, id, END_ID_LEN);
	memcpy(e.serial, end->serial, 16);
	memcpy(e.key, end->key, 8);
	e.not_after = end->type == ENTRY_REVOKE ? end->at : 0;
	e.json = fixed(form->json, form->len);
	return entry_journal(s, &e);
}

struct writ_err *
entry_deny(struct signer *s, const char *what, const struct writ_err *why, struct writ_bytes tbs,
	   struct writ_bytes said)
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_DENY };
	uint8_t digest[SHA256_LEN];
	char text[WRIT_MESSAGE_MAX];

	put_clock(s, &out);
	if (s->denials.dropped > 0)
		canon_int(&out, "dropped", (int64_t)s->denials.dropped);
	canon_text(&out, "refused", writ_str(what));
	if (said.len > 0)
		canon_raw(&out, "said", said);
	put_type(&out, ENTRY_DENY);
	if (tbs.len > 0) {
		writ_sha256(tbs, digest);
		canon_hex(&out, "tbs", fixed(digest, sizeof(digest)));
	}
	if (why)
		canon_text(&out, "text", writ_str(writ_err_text(why, text, sizeof(text))));
	return entry_add(s, &out, &e);
}

struct writ_err *
entry_note(struct signer *s, enum entry_type type, struct writ_bytes said)
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = type };

	put_clock(s, &out);
	canon_raw(&out, "said", said);
	put_type(&out, type);
	return entry_add(s, &out, &e);
}

struct writ_err *
entry_key(struct signer *s, const char *role, const uint8_t serial[16], writ_time not_after, const uint8_t key_id[20],
	  const uint8_t by[20], struct writ_bytes tbs)
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_KEY, .not_after = not_after, .tbs = tbs };
	uint8_t digest[SHA256_LEN];

	writ_sha256(tbs, digest);
	memcpy(e.serial, serial, 16);
	memcpy(e.key, key_id, 8);
	canon_hex(&out, "by", fixed(by, 20));
	put_clock(s, &out);
	canon_hex(&out, "key", fixed(key_id, 20));
	canon_int(&out, "not_after", not_after);
	canon_text(&out, "role", writ_str(role));
	canon_hex(&out, "serial", fixed(serial, 16));
	put_type(&out, ENTRY_KEY);
	canon_hex(&out, "tbs", fixed(digest, sizeof(digest)));
	return entry_add(s, &out, &e);
}

struct writ_err *
entry_generation(struct signer *s, enum generation_event what, uint64_t number, const uint8_t key_id[20])
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_KEY, .reason = what };
	struct writ_err *err;

	memcpy(e.key, key_id, 8);
	put_clock(s, &out);
	canon_text(&out, "event", what == GENERATION_SWITCHED ? WRIT_LIT("switched") : WRIT_LIT("destroyed"));
	canon_hex(&out, "key", fixed(key_id, 20));
	canon_int(&out, "number", (int64_t)number);
	canon_text(&out, "role", WRIT_LIT("issuing"));
	put_type(&out, ENTRY_KEY);
	err = entry_add(s, &out, &e);
	if (!err && what == GENERATION_SWITCHED)
		replay_switched(s, &e);
	return err;
}

struct writ_err *
entry_key_revoked(struct signer *s, const struct generation *g, enum crl_reason reason, uid_t by)
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_KEY, .reason = KEY_REVOKED + reason, .not_after = g->cert.not_after };

	memcpy(e.serial, g->cert.serial.data, sizeof(e.serial));
	memcpy(e.key, g->cert.key_id, sizeof(e.key));
	canon_int(&out, "by_uid", by);
	put_clock(s, &out);
	canon_text(&out, "event", WRIT_LIT("revoked"));
	canon_hex(&out, "key", fixed(g->cert.key_id, 20));
	canon_int(&out, "number", (int64_t)g->number);
	canon_text(&out, "reason", writ_str(crl_reason_name(reason)));
	canon_text(&out, "role", WRIT_LIT("issuing"));
	canon_hex(&out, "serial", g->cert.serial);
	put_type(&out, ENTRY_KEY);
	return entry_add(s, &out, &e);
}

struct writ_err *
entry_crl(struct signer *s, const uint8_t key_id[20], unsigned shard, uint64_t number, writ_time next_update,
	  size_t n_entries, const uint8_t digest[32])
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_CRL, .reason = shard, .not_after = next_update };

	writ_put64(e.serial + 8, number);
	memcpy(e.key, key_id, 8);
	canon_hex(&out, "ca", fixed(key_id, 20));
	put_clock(s, &out);
	canon_int(&out, "entries", (int64_t)n_entries);
	canon_int(&out, "next_update", next_update);
	canon_int(&out, "number", (int64_t)number);
	if (shard > 0)
		canon_int(&out, "shard", shard);
	put_type(&out, ENTRY_CRL);
	canon_hex(&out, "tbs", fixed(digest, SHA256_LEN));
	return entry_add(s, &out, &e);
}

struct writ_err *
entry_settled(struct signer *s, uint64_t index)
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_SETTLED };

	writ_put64(e.serial + 8, index);
	put_clock(s, &out);
	canon_int(&out, "n", (int64_t)index);
	put_type(&out, ENTRY_SETTLED);
	return entry_add(s, &out, &e);
}

struct writ_err *
entry_state(struct signer *s, enum state_event what, uint64_t value, const char *why)
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_STATE, .reason = what };

	writ_put64(e.serial + 8, value);
	put_clock(s, &out);
	canon_int(&out, "counter", (int64_t)value);
	canon_text(&out, "for", writ_str(why));
	canon_bool(&out, "reached", what == STATE_REACHED);
	put_type(&out, ENTRY_STATE);
	return entry_add(s, &out, &e);
}

struct writ_err *
entry_start(struct signer *s)
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_START };

	if (s->keys.anchor.whole.len > 0)
		canon_hex(&out, "anchor", fixed(s->keys.anchor.key_id, 20));
	put_clock(s, &out);
	canon_hex(&out, "conf", fixed(s->conf->digest, 32));
	put_type(&out, ENTRY_START);
	canon_text(&out, "tier", writ_str(leaf_tier_name(s->keys.tier)));
	return entry_add(s, &out, &e);
}

struct writ_err *
entry_stop(struct signer *s)
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_STOP };

	put_clock(s, &out);
	put_type(&out, ENTRY_STOP);
	return entry_add(s, &out, &e);
}

struct writ_err *
entry_recover(struct signer *s, const struct journal_cut *cut)
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_RECOVER };

	canon_int(&out, "bytes", (int64_t)cut->bytes);
	put_clock(s, &out);
	canon_int(&out, "index", (int64_t)cut->index);
	put_type(&out, ENTRY_RECOVER);
	return entry_add(s, &out, &e);
}

struct writ_err *
entry_admin(struct signer *s, const char *did, uid_t by, struct writ_bytes detail)
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_ADMIN };

	canon_int(&out, "by_uid", by);
	put_clock(s, &out);
	canon_text(&out, "detail", detail);
	canon_text(&out, "did", writ_str(did));
	put_type(&out, ENTRY_ADMIN);
	return entry_add(s, &out, &e);
}

struct writ_err *
entry_clock(struct signer *s, bool right, int64_t step_s)
{
	struct canon_out out = entry_begin(s);
	struct entry e = { .type = ENTRY_CLOCK };

	put_clock(s, &out);
	canon_bool(&out, "right", right);
	canon_int(&out, "step_s", step_s);
	put_type(&out, ENTRY_CLOCK);
	return entry_add(s, &out, &e);
}

/* A custody statement was asked for; it names this entry. */
struct writ_err *
entry_attest(struct signer *s, uid_t by, struct writ_bytes nonce_hex, struct entry *ret)
{
	struct canon_out out = entry_begin(s);

	*ret = (struct entry){ .type = ENTRY_ADMIN };
	canon_int(&out, "by_uid", by);
	put_clock(s, &out);
	canon_text(&out, "did", WRIT_LIT("attest"));
	canon_text(&out, "nonce", nonce_hex);
	put_type(&out, ENTRY_ADMIN);
	return entry_add(s, &out, ret);
}
