/*
 * Revoking an issuing CA: its certificate goes into the anchor's list, and its key signs no leaf any more.
 *
 * (1) It is journalled, and durable, before anything follows from it; a start finds it there.	I2
 * (2) From then on no leaf is signed by it: another generation takes over at once, or - the device being away - issuing
 *     stops, and says why, until there is one (rotate.c).
 * (3) No `good` is signed for a leaf of it, whatever the reason: RFC 6960 2.7 lets a responder say revoked of all that
 * a compromised CA issued, and I8 asks it of everything below what was revoked.  Its own list stays as it was: who
 * reads that has read in the anchor's that its signer is revoked. (4) The anchor's list names it until its certificate
 * has expired and a list of after that was made (RFC 5280 3.3).
 *
 * The anchor itself is revoked by nobody here: relying parties drop it from their bundle.
 */
#include "base/event.h"
#include "base/fault.h"
#include "issuer/signer/admin.h"

const struct revoked_ca *
key_revoked(const struct signer *s, const uint8_t key[8])
{
	for (size_t i = 0; i < s->revoked_cas.n; i++)
		if (memcmp(s->revoked_cas.ca[i].key, key, 8) == 0)
			return &s->revoked_cas.ca[i];
	return NULL;
}

static struct writ_err *
remember(struct signer *s, const struct revoked_ca *ca)
{
	struct revoked_cas *all = &s->revoked_cas;

	if (key_revoked(s, ca->key))
		return NULL;
	if (all->n == REVOKED_CAS_MAX)
		return writ_fail(WRIT_EXHAUSTED,
				 "%d revoked issuing CAs are listed, which is the limit: they go as they expire",
				 REVOKED_CAS_MAX);
	all->ca[all->n++] = *ca;
	all->changes++;
	return NULL;
}

struct writ_err *
key_revoke_replay(struct signer *s, const struct entry *e)
{
	struct revoked_ca ca = { .reason = (enum crl_reason)(e->reason - KEY_REVOKED),
				 .at = e->time,
				 .not_after = e->not_after };

	memcpy(ca.serial, e->serial, sizeof(ca.serial));
	memcpy(ca.key, e->key, sizeof(ca.key));
	if (ca.not_after + ANCHOR_CRL_LIFE_S < s->now.wall)
		return NULL; /* (4) */
	return remember(s, &ca);
}

struct writ_err *
key_revoke_entries(struct signer *s, struct writ_buf *ret, size_t *ret_n)
{
	struct revoked_cas *all = &s->revoked_cas;
	struct writ_err *err = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < all->n; i++) /* (4) */
		if (all->ca[i].not_after + ANCHOR_CRL_LIFE_S >= s->now.wall)
			all->ca[kept++] = all->ca[i];
	all->n = kept;
	for (size_t i = 0; !err && i < all->n; i++)
		err = crl_entry_write((struct writ_bytes){ all->ca[i].serial, 16 }, all->ca[i].at, all->ca[i].reason,
				      ret);
	*ret_n = all->n;
	return err;
}

/* Which of ours, by the id that an operator typed. */
static struct writ_err *
which(struct signer *s, const uint8_t key_id[20], struct generation **ret)
{
	*ret = keys_find(s, key_id);
	if (*ret && (*ret)->revoked)
		return writ_fail(WRIT_CONFLICT, "generation %llu is revoked already",
				 (unsigned long long)(*ret)->number);
	if (*ret)
		return NULL;
	if (memcmp(s->keys.anchor.key_id, key_id, 20) == 0)
		return writ_fail(
			WRIT_INVALID,
			"that is the anchor: nobody above it could revoke it. Relying parties drop it from their "
			"bundle (OPERATING.md, Compromise)");
	return writ_fail(WRIT_NOT_FOUND, "no issuing CA of that key id is live: `writ key list` names those that are");
}

struct writ_err *
key_revoke(struct signer *s, struct generation *g, enum crl_reason reason, uid_t by)
{
	struct revoked_ca ca = { .reason = reason, .at = s->now.wall, .not_after = g->cert.not_after };
	struct writ_err *err;

	memcpy(ca.serial, g->cert.serial.data, sizeof(ca.serial));
	memcpy(ca.key, g->cert.key_id, sizeof(ca.key));
	if (s->revoked_cas.n == REVOKED_CAS_MAX)
		return remember(s, &ca);
	err = entry_key_revoked(s, g, reason, by);
	if (err)
		return err;
	journal_sync(s->journal); /* (1) */
	FAULT("key:revoked");
	err = remember(s, &ca);
	g->revoked = true;
	rotation_without(s, g); /* (2) */
	event(EVENT_ALARM, "signer.key-revoked", EV_NUM("number", g->number),
	      EV_HEX("key", ((struct writ_bytes){ g->cert.key_id, 20 })), EV_STR("reason", crl_reason_name(reason)),
	      EV_NUM("uid", by));
	return err;
}

struct writ_err *
key_revoke_asked(struct signer *s, const struct admin_asked *asked, struct canon_out *out)
{
	AUTO(writ_err_freep) struct writ_err *blocked = NULL;
	const struct crl_made *made = NULL;
	struct generation *g;
	struct writ_err *err;
	unsigned reason;

	if (asked->body.len != 21)
		return writ_fail(WRIT_INVALID,
				 "KEY_REVOKE: a body of %zu bytes, wanted are a key id and a reason in 21",
				 asked->body.len);
	reason = asked->body.data[20];
	if (!crl_reason_ok(reason))
		return writ_fail(WRIT_INVALID, "KEY_REVOKE: %u is no reason that we give", reason);
	err = which(s, asked->body.data, &g);
	if (!err)
		err = key_revoke(s, g, (enum crl_reason)reason, asked->by);
	if (err)
		return err;
	blocked = issue_blocked(s);
	err = publish_anchor_crl(s, &made); /* away: the old one, and the new one when the device is back */
	writ_err_free(err);
	canon_bool(out, "can_issue", !blocked);
	if (made)
		canon_int(out, "crl_number", (int64_t)made->is.number);
	canon_hex(out, "issuing", (struct writ_bytes){ s->keys.current->cert.key_id, 20 });
	canon_bool(out, "listed", made && made->changes == s->revoked_cas.changes);
	canon_text(out, "reason", writ_str(crl_reason_name(reason)));
	canon_hex(out, "revoked", (struct writ_bytes){ asked->body.data, 20 });
	return NULL;
}
