/*
 * The signer wire's messages but HEALTH, encoded and decoded: one function a direction, fields in the order of the
 * struct.  Knows no socket.
 */
#include "issuer/signer/wire_body.h"

struct writ_err *
signer_hello_write(const struct signer_hello *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	put_fixed(&out, m->conf_digest, sizeof(m->conf_digest));
	return written(&out, "HELLO");
}

struct writ_err *
signer_hello_read(struct writ_bytes body, struct signer_hello *ret)
{
	struct body_in in = body_read(body);

	body_get(&in, ret->conf_digest, sizeof(ret->conf_digest));
	return read_all(&in, true, "HELLO");
}

struct writ_err *
signer_welcome_write(const struct signer_welcome *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put8(&out, (uint8_t)m->tier);
	body_put8(&out, m->sealed);
	put_fixed(&out, m->log_id, sizeof(m->log_id));
	body_put64(&out, m->next_index);
	body_put64(&out, m->settled);
	body_put_bytes(&out, m->anchor);
	body_put_bytes(&out, m->issuing);
	put_fixed(&out, m->conf_digest, sizeof(m->conf_digest));
	return written(&out, "welcome");
}

struct writ_err *
signer_welcome_read(struct writ_bytes body, struct signer_welcome *ret)
{
	struct body_in in = body_read(body);
	bool ok = true;

	*ret = (struct signer_welcome){ .tier = (enum leaf_tier)body_get8(&in) };
	ok = ret->tier >= LEAF_TIER_RESIDENT && ret->tier <= LEAF_TIER_SOFTWARE;
	ret->sealed = get_bool(&in, &ok);
	body_get(&in, ret->log_id, sizeof(ret->log_id));
	ret->next_index = body_get64(&in);
	ret->settled = body_get64(&in);
	ret->anchor = body_get_bytes(&in);
	ret->issuing = body_get_bytes(&in);
	body_get(&in, ret->conf_digest, sizeof(ret->conf_digest));
	return read_all(&in, ok, "welcome");
}

struct writ_err *
signer_leaf_write(const struct signer_leaf *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put_bytes(&out, m->tbs);
	body_put_bytes(&out, m->said);
	return written(&out, "LEAF");
}

struct writ_err *
signer_leaf_read(struct writ_bytes body, struct signer_leaf *ret)
{
	struct body_in in = body_read(body);

	ret->tbs = body_get_bytes(&in);
	ret->said = body_get_bytes(&in);
	return read_all(&in, ret->tbs.len <= LEAF_MAX && ret->said.len <= SIGNER_SAID_MAX, "LEAF");
}

struct writ_err *
signer_signed_write(const struct signer_signed *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	put_fixed(&out, m->serial, sizeof(m->serial));
	body_put64(&out, m->index);
	put_fixed(&out, m->leaf_hash, sizeof(m->leaf_hash));
	body_put_bytes(&out, m->signature);
	return written(&out, "signed");
}

struct writ_err *
signer_signed_read(struct writ_bytes body, struct signer_signed *ret)
{
	struct body_in in = body_read(body);

	body_get(&in, ret->serial, sizeof(ret->serial));
	ret->index = body_get64(&in);
	body_get(&in, ret->leaf_hash, sizeof(ret->leaf_hash));
	ret->signature = body_get_bytes(&in);
	return read_all(&in, ret->signature.len > 0 && ret->signature.len <= SIGNATURE_MAX, "signed");
}

struct writ_err *
signer_revoke_write(const struct signer_revoke *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put64(&out, (uint64_t)m->at);
	body_put16(&out, (uint16_t)m->n);
	for (size_t i = 0; i < m->n && i < SIGNER_REVOKE_MAX; i++) {
		put_fixed(&out, m->items[i].serial, sizeof(m->items[i].serial));
		body_put8(&out, m->items[i].reason);
	}
	body_put16(&out, (uint16_t)m->n_edges);
	for (size_t i = 0; i < m->n_edges && i < SIGNER_REVOKE_MAX; i++)
		put_fixed(&out, m->edges[i], EDGE_ID);
	return written(&out, "REVOKE");
}

struct writ_err *
signer_revoke_read(struct writ_bytes body, struct signer_revoke *ret)
{
	struct body_in in = body_read(body);
	bool ok = true;

	ret->at = (writ_time)body_get64(&in);
	ok = ret->at >= 0;
	ret->n = get_count(&in, SIGNER_REVOKE_MAX, &ok);
	for (size_t i = 0; i < ret->n; i++) {
		body_get(&in, ret->items[i].serial, sizeof(ret->items[i].serial));
		ret->items[i].reason = body_get8(&in);
	}
	ret->n_edges = get_count(&in, SIGNER_REVOKE_MAX, &ok);
	for (size_t i = 0; i < ret->n_edges; i++)
		body_get(&in, ret->edges[i], EDGE_ID);
	return read_all(&in, ok, "REVOKE");
}

struct writ_err *
signer_revoked_write(bool logged, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put8(&out, logged);
	return written(&out, "revoked");
}

struct writ_err *
signer_revoked_read(struct writ_bytes body, bool *ret_logged)
{
	struct body_in in = body_read(body);
	bool ok = true;

	*ret_logged = get_bool(&in, &ok);
	return read_all(&in, ok, "revoked");
}

struct writ_err *
signer_ocsp_write(const struct signer_ocsp *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put_bytes(&out, m->cert_id);
	body_put_bytes(&out, m->nonce);
	return written(&out, "OCSP");
}

struct writ_err *
signer_ocsp_read(struct writ_bytes body, struct signer_ocsp *ret)
{
	struct body_in in = body_read(body);

	ret->cert_id = body_get_bytes(&in);
	ret->nonce = body_get_bytes(&in);
	return read_all(&in, ret->cert_id.len <= OCSP_CERT_ID_MAX && ret->nonce.len <= OCSP_NONCE_MAX, "OCSP");
}

struct writ_err *
signer_status_write(const struct signer_status *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put8(&out, m->status);
	body_put64(&out, (uint64_t)m->this_update);
	body_put64(&out, (uint64_t)m->next_update);
	body_put_bytes(&out, m->response);
	return written(&out, "status");
}

struct writ_err *
signer_status_read(struct writ_bytes body, struct signer_status *ret)
{
	struct body_in in = body_read(body);

	ret->status = body_get8(&in);
	ret->this_update = (writ_time)body_get64(&in);
	ret->next_update = (writ_time)body_get64(&in);
	ret->response = body_get_bytes(&in);
	return read_all(&in,
			ret->status <= OCSP_REVOKED && ret->response.len > 0 && ret->response.len <= OCSP_RESPONSE_MAX,
			"status");
}

struct writ_err *
signer_crl_write(const struct signer_crl *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	put_fixed(&out, m->key_id, sizeof(m->key_id));
	body_put16(&out, m->shard);
	return written(&out, "CRL");
}

struct writ_err *
signer_crl_read(struct writ_bytes body, struct signer_crl *ret)
{
	struct body_in in = body_read(body);

	body_get(&in, ret->key_id, sizeof(ret->key_id));
	ret->shard = body_get16(&in);
	return read_all(&in, true, "CRL");
}

struct writ_err *
signer_crl_is_write(const struct signer_crl_is *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put16(&out, m->first);
	body_put16(&out, m->last);
	body_put64(&out, m->number);
	body_put64(&out, (uint64_t)m->this_update);
	body_put64(&out, (uint64_t)m->next_update);
	body_put32(&out, m->len);
	return written(&out, "CRL answer");
}

struct writ_err *
signer_crl_is_read(struct writ_bytes body, struct signer_crl_is *ret)
{
	struct body_in in = body_read(body);

	ret->first = body_get16(&in);
	ret->last = body_get16(&in);
	ret->number = body_get64(&in);
	ret->this_update = (writ_time)body_get64(&in);
	ret->next_update = (writ_time)body_get64(&in);
	ret->len = body_get32(&in);
	return read_all(&in, ret->first <= ret->last && ret->last - ret->first < SIGNER_SHARDS_MAX, "CRL answer");
}

struct writ_err *
signer_note_write(const struct signer_note *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put8(&out, m->type);
	body_put_bytes(&out, m->said);
	return written(&out, "NOTE");
}

struct writ_err *
signer_note_read(struct writ_bytes body, struct signer_note *ret)
{
	struct body_in in = body_read(body);

	ret->type = body_get8(&in);
	ret->said = body_get_bytes(&in);
	return read_all(&in, ret->said.len <= SIGNER_SAID_MAX, "NOTE");
}

struct writ_err *
signer_abort_write(const struct signer_abort *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put16(&out, (uint16_t)m->n);
	for (size_t i = 0; i < m->n && i < SIGNER_REVOKE_MAX; i++)
		put_fixed(&out, m->serials[i], sizeof(m->serials[i]));
	return written(&out, "ABORT");
}

struct writ_err *
signer_abort_read(struct writ_bytes body, struct signer_abort *ret)
{
	struct body_in in = body_read(body);
	bool ok = true;

	ret->n = get_count(&in, SIGNER_REVOKE_MAX, &ok);
	for (size_t i = 0; i < ret->n; i++)
		body_get(&in, ret->serials[i], sizeof(ret->serials[i]));
	return read_all(&in, ok, "ABORT");
}

struct writ_err *
signer_settled_write(const struct signer_settled *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put64(&out, m->index);
	return written(&out, "SETTLED");
}

struct writ_err *
signer_settled_read(struct writ_bytes body, struct signer_settled *ret)
{
	struct body_in in = body_read(body);

	ret->index = body_get64(&in);
	return read_all(&in, true, "SETTLED");
}

struct writ_err *
signer_certs_write(const struct signer_certs *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put64(&out, m->above);
	return written(&out, "CERTS");
}

struct writ_err *
signer_certs_read(struct writ_bytes body, struct signer_certs *ret)
{
	struct body_in in = body_read(body);

	ret->above = body_get64(&in);
	return read_all(&in, true, "CERTS");
}

#define CERTS_FIXED_LEN (8 + 8 + 8 + 2 + 1 + 2)
#define CERT_FIXED_LEN (8 + 2 + 4)

bool
signer_certs_are_fit(const struct signer_certs_are *m, struct writ_bytes der)
{
	size_t len = CERTS_FIXED_LEN + CERT_FIXED_LEN + der.len;

	for (size_t i = 0; i < m->n; i++)
		len += CERT_FIXED_LEN + m->certs[i].der.len;
	return m->n < SIGNER_CERTS_MAX && len <= FRAME_BODY_MAX;
}

struct writ_err *
signer_certs_are_write(const struct signer_certs_are *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put64(&out, m->changes);
	body_put64(&out, m->issuing);
	body_put64(&out, m->lowest);
	body_put16(&out, m->shard);
	body_put8(&out, m->more);
	body_put16(&out, (uint16_t)m->n);
	for (size_t i = 0; i < m->n && i < SIGNER_CERTS_MAX; i++) {
		body_put64(&out, m->certs[i].number);
		body_put16(&out, m->certs[i].shard);
		body_put_bytes(&out, m->certs[i].der);
	}
	return written(&out, "certificates");
}

/* Ascending, all above zero, and more only after some: a reader that goes on from the last one comes to an end. */
struct writ_err *
signer_certs_are_read(struct writ_bytes body, struct signer_certs_are *ret)
{
	struct body_in in = body_read(body);
	uint64_t last = 0;
	bool ok = true;

	ret->changes = body_get64(&in);
	ret->issuing = body_get64(&in);
	ret->lowest = body_get64(&in);
	ret->shard = body_get16(&in);
	ret->more = get_bool(&in, &ok);
	ret->n = get_count(&in, SIGNER_CERTS_MAX, &ok);
	for (size_t i = 0; i < ret->n; i++) {
		ret->certs[i].number = body_get64(&in);
		ret->certs[i].shard = body_get16(&in);
		ret->certs[i].der = body_get_bytes(&in);
		ok = ok && ret->certs[i].number > last && ret->certs[i].der.len > 0;
		last = ret->certs[i].number;
	}
	ok = ok && ret->lowest > 0 && ret->lowest <= ret->issuing && (ret->n > 0 || !ret->more);
	return read_all(&in, ok, "certificates");
}

struct writ_err *
signer_error_write(const struct writ_err *refused, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);
	char text[WRIT_MESSAGE_MAX];

	body_put8(&out, (uint8_t)refused->code);
	body_put32(&out, refused->retry_after_s < SIGNER_RETRY_MAX_S ? refused->retry_after_s : SIGNER_RETRY_MAX_S);
	body_put_bytes(&out, writ_str(writ_err_text(refused, text, sizeof(text))));
	return written(&out, "error");
}

struct writ_err *
signer_error_read(struct writ_bytes body)
{
	struct body_in in = body_read(body);
	const uint8_t code = body_get8(&in);
	const uint32_t retry_after_s = body_get32(&in);
	const struct writ_bytes text = body_get_bytes(&in);
	struct writ_err *err;

	if (!body_done(&in) || code > WRIT_BROKEN || retry_after_s > SIGNER_RETRY_MAX_S ||
	    text.len >= WRIT_MESSAGE_MAX)
		return writ_fail(WRIT_BROKEN, "the signer's error answer is malformed");
	err = writ_fail((enum writ_code)code, "%.*s", (int)text.len, text.len > 0 ? (const char *)text.data : "");
	return writ_retry_after(err, retry_after_s);
}
