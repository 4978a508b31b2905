/*
 * What the signer publishes: the anchor's CRL, from what key_revoke.c knows, and OCSP responses, from the ledger and nothing
 * else (I9, I10).  The CRLs of issuing CAs: lists.c.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/der.h"
#include "base/event.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/signer/signer.h"

#define CRL_MAX (512u * 1024 * 1024)
#define ANCHOR_CRL_MAX (1024 * 1024)

/* ---- CRLs ---- */

/* An operator's anchor is not there tomorrow: its list lasts as long as the generations that it has certified. */
static writ_time
anchor_list_until(const struct signer *s)
{
	writ_time until = s->now.wall + ANCHOR_CRL_LIFE_S;

	for (size_t i = 0; s->conf->custody.operator && i < s->keys.n; i++)
		if (s->keys.gen[i]->cert.not_after > until)
			until = s->keys.gen[i]->cert.not_after;
	return until;
}

uint64_t
crl_number_next(const struct signer *s)
{
	return (s->crl_number > (uint64_t)s->now.wall ? s->crl_number : (uint64_t)s->now.wall) + 1;
}

struct writ_err *
crl_sign(struct signer *s, struct generation *by, unsigned shard, const struct crl_facts *facts, size_t n_entries,
	 struct signer_crl_is *is, struct writ_buf *ret_der)
{
	AUTO(writ_buf_done) struct writ_buf tbs = WRIT_BUF(CRL_MAX);
	AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_MAX);
	const bool in_device = !by || !by->soft.pkey;
	uint8_t digest[SHA256_LEN];
	struct writ_err *err;

	err = crl_build_tbs(facts, &tbs);
	if (!err && in_device && tbs.len > CUSTODY_MESSAGE_MAX)
		return writ_fail(WRIT_EXHAUSTED,
				 "a CRL of %zu entries has %zu bytes: the device signs at most %d (resident tier)",
				 n_entries, tbs.len, CUSTODY_MESSAGE_MAX);
	if (err)
		return err;
	writ_sha256(writ_view(&tbs), digest);
	err = entry_crl(s, facts->issuer_key_id.data, shard, facts->number, facts->next_update, n_entries, digest);
	if (err)
		return err;
	s->crl_number = facts->number;
	journal_sync(s->journal); /* I2 */
	err = keys_sign(s, by, writ_view(&tbs), &signature);
	if (!err)
		err = x509_assemble(writ_view(&tbs), facts->kind, writ_view(&signature), ret_der);
	*is = (struct signer_crl_is){ .number = facts->number,
				      .this_update = facts->this_update,
				      .next_update = facts->next_update,
				      .len = (uint32_t)ret_der->len };
	return err;
}

static struct writ_err *
anchor_crl_make(struct signer *s)
{
	AUTO(writ_buf_done) struct writ_buf entries = WRIT_BUF(REVOKED_CAS_MAX * CRL_ENTRY_MAX);
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(ANCHOR_CRL_MAX);
	struct crl_made made = { .fd = -1, .changes = s->revoked_cas.changes };
	const struct ca_cert *ca = &s->keys.anchor;
	struct crl_facts facts = {
		.issuer_name = ca->subject,
		.issuer_key_id = { ca->key_id, 20 },
		.kind = ca->kind,
		.number = crl_number_next(s),
		.this_update = s->now.wall - SIGNER_BACKDATE_S,
		.next_update = anchor_list_until(s),
	};
	char path[PATH_MAX];
	struct writ_err *err;
	size_t n = 0;

	if (!anchor_ready(s))
		return anchor_away(s);
	err = key_revoke_entries(s, &entries, &n);
	facts.entries = writ_view(&entries);
	if (!err)
		err = crl_sign(s, NULL, 0, &facts, n, &made.is, &der);
	if (!err)
		err = file_replace(state_path(s, "certs", "anchor.crl", path), 0644, writ_view(&der));
	if (!err)
		err = file_memfd("writ-crl", writ_view(&der), &made.fd);
	if (err)
		return err;
	if (made.changes != s->keys.anchor_crl.changes)
		s->keys.changes++; /* the issuer asks for it at once */
	crl_made_done(&s->keys.anchor_crl);
	s->keys.anchor_crl = made;
	return NULL;
}

/* What an earlier run signed, so that it survives a device that is away. */
struct writ_err *
publish_anchor_crl_load(struct signer *s)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(ANCHOR_CRL_MAX);
	struct crl_made *made = &s->keys.anchor_crl;
	char path[PATH_MAX];
	struct writ_err *err;
	struct crl crl;

	err = file_read(state_path(s, "certs", "anchor.crl", path), FILE_CONFIG, &der);
	if (err && err->code == WRIT_NOT_FOUND) {
		writ_err_free(err);
		return NULL;
	}
	if (!err)
		err = crl_read(writ_view(&der), &crl);
	if (!err)
		err = pubkey_verify(&s->keys.anchor_public, crl.tbs, crl.signature);
	if (!err)
		err = file_memfd("writ-crl", writ_view(&der), &made->fd);
	if (err)
		return writ_because(err, "%s", path);
	made->is = (struct signer_crl_is){ .number = crl.number,
					   .this_update = crl.this_update,
					   .next_update = crl.next_update,
					   .len = (uint32_t)der.len };
	return NULL;
}

static bool
anchor_crl_stale(const struct signer *s)
{
	const struct crl_made *made = &s->keys.anchor_crl;
	const writ_time age_s = s->now.wall - (made->is.this_update + SIGNER_BACKDATE_S);

	if (made->fd < 0)
		return true;
	if (s->conf->custody.operator)
		return s->operator.list_due; /* nobody could sign it otherwise */
	return s->revoked_cas.changes != made->changes || age_s >= ANCHOR_CRL_AGE_MAX_S || age_s < 0;
}

struct writ_err *
publish_anchor_crl(struct signer *s, const struct crl_made **ret)
{
	const struct crl_made *made = &s->keys.anchor_crl;
	struct writ_err *err = NULL;

	if (anchor_crl_stale(s))
		err = anchor_crl_make(s);
	if (err && (made->fd < 0 || made->is.next_update <= s->now.wall))
		return writ_because(err, "the CRL");
	if (err) /* the old list is true until its nextUpdate */
		event(EVENT_ALARM, "signer.crl-not-renewed", EV_ERR(err), EV_NUM("next_update", made->is.next_update));
	writ_err_free(err);
	*ret = made;
	return NULL;
}

/* ---- OCSP ---- */

/* A CertID alone, read by the reader of whole requests: one parser, one set of rules.  What may follow it there would
 * stand in the response (I1). */
static struct writ_err *
cert_id_parse(struct writ_bytes cert_id, struct writ_buf *scratch, struct ocsp_request *ret)
{
	struct der_out out = der_write(scratch);
	struct writ_err *err;

	for (unsigned i = 0; i < 4; i++) /* OCSPRequest, TBSRequest, requestList, Request */
		der_open(&out, DER_SEQUENCE);
	der_put_raw(&out, cert_id);
	for (unsigned i = 0; i < 4; i++)
		der_close(&out);
	err = der_finish(&out, "an OCSP CertID");
	if (!err)
		err = ocsp_request_parse(writ_view(scratch), ret);
	if (err)
		return err;
	return writ_equal(ret->cert_id, cert_id) ? NULL : writ_fail(WRIT_INVALID, "OCSP: something follows the CertID");
}

/* By the ledger's word for the serial: one comparison of hashes, however many generations live.  NULL: nothing of ours. */
static struct generation *
issuer_of(const struct signer *s, const struct ocsp_request *request, struct ledger_row *ret_row)
{
	struct generation *g;

	if (request->serial.len != 16 || !ledger_find(s->ledger, request->serial.data, ret_row))
		return NULL;
	g = keys_find8(s, ret_row->key);
	return g && ocsp_issuer_is(&g->ocsp, request) && ret_row->not_after >= s->now.wall ? g : NULL;
}

/* A leaf of a revoked CA is revoked with it, unless it was before (key_revoke.c, 3). */
static void
row_below(const struct revoked_ca *ca, struct ledger_row *row)
{
	if (!ca || row->state != LEDGER_ISSUED)
		return;
	row->state = LEDGER_REVOKED;
	row->reason = ca->reason == REASON_KEY_COMPROMISE ? REASON_CA_COMPROMISE : ca->reason;
	row->ended_at = ca->at;
}

struct writ_err *
publish_ocsp(struct signer *s, const struct signer_ocsp *asked, struct writ_buf *ret, struct signer_status *status)
{
	AUTO(writ_buf_done) struct writ_buf scratch = WRIT_BUF(OCSP_REQUEST_MAX);
	AUTO(writ_buf_done) struct writ_buf tbs = WRIT_BUF(OCSP_RESPONSE_MAX);
	uint8_t signature[SOFT_KEY_SIGNATURE_MAX];
	struct ocsp_request request;
	struct ledger_row row;
	struct generation *g;
	struct writ_err *err;
	size_t len;

	err = cert_id_parse(asked->cert_id, &scratch, &request);
	if (err)
		return err;
	g = issuer_of(s, &request, &row);
	if (!g)
		return writ_fail(WRIT_NOT_FOUND, "OCSP: not a live serial of a CA of ours"); /* I9 */
	if (g->responder.len == 0 || g->responder_until < s->now.wall)
		return writ_fail(WRIT_UNAVAILABLE,
				 "OCSP: the responder's certificate has expired, and the CA cannot sign a new one now");
	if (g->revoked)
		row_below(key_revoked(s, row.key), &row);
	*status = (struct signer_status){
		.status = row.state == LEDGER_ISSUED ? OCSP_GOOD : OCSP_REVOKED,
		.this_update = s->now.wall - SIGNER_BACKDATE_S,
		.next_update = s->now.wall + OCSP_LIFE_S,
	};
	if (status->next_update > row.not_after)
		status->next_update = row.not_after;
	if (status->next_update > g->responder_until) /* nobody could verify it later */
		status->next_update = g->responder_until;
	err = ocsp_build_tbs(&(struct ocsp_facts){ .cert_id = asked->cert_id,
						   .status = (enum ocsp_status)status->status,
						   .revoked_at = row.ended_at,
						   .reason = (enum crl_reason)row.reason,
						   .produced_at = s->now.wall,
						   .this_update = status->this_update,
						   .next_update = status->next_update,
						   .nonce = asked->nonce,
						   .responder_key_id = { s->keys.ocsp_key_id, 20 },
						   .responder_cert = writ_view(&g->responder),
						   .kind = KEY_P256 },
			     &tbs);
	if (!err)
		err = soft_key_sign(&s->keys.ocsp, writ_view(&tbs), signature, &len);
	if (!err)
		err = ocsp_assemble(writ_view(&tbs), KEY_P256, (struct writ_bytes){ signature, len },
				    writ_view(&g->responder), ret);
	status->response = writ_view(ret);
	return err;
}
