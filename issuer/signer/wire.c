/*
 * The signer wire's messages, encoded and decoded: one function a direction, fields in the order of the struct.
 *
 * One text has one meaning: a decoder accepts a body only if it is what the encoder would write of the values read, so
 * booleans are 0 or 1, counts are bounded before they are believed, and nothing may follow.  Knows no socket but in
 * signer_call().
 */
#include "issuer/signer/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"

static struct body_out
body_write(struct writ_buf *buf)
{
	return (struct body_out){ .buf = buf };
}

static struct writ_err *
written(const struct body_out *out, const char *what)
{
	if (out->failed)
		return writ_fail(WRIT_EXHAUSTED, "a %s message is over the %zu bytes of a frame", what,
				 out->buf->limit);
	return NULL;
}

static struct writ_err *
read_all(const struct body_in *in, bool values_ok, const char *what)
{
	if (!body_done(in))
		return writ_fail(WRIT_INVALID, "a %s message is %s", what, in->failed ? "cut short" : "too long");
	if (!values_ok)
		return writ_fail(WRIT_INVALID, "a %s message has a value out of bounds", what);
	return NULL;
}

static bool
get_bool(struct body_in *in, bool *ok)
{
	const uint8_t v = body_get8(in);

	*ok = *ok && v <= 1;
	return v == 1;
}

static void
put_fixed(struct body_out *out, const uint8_t *data, size_t len)
{
	body_put(out, (struct writ_bytes){ data, len });
}

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

/* A count, or 0 and a failure when it is over the limit. */
static size_t
get_count(struct body_in *in, size_t max, bool *ok)
{
	const size_t n = body_get16(in);

	if (n <= max)
		return n;
	*ok = false;
	return 0;
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

/* ---- times ---- */

const unsigned signer_bounds_ms[SIGNER_BOUNDS] = { 1, 5, 10, 50, 100, 200, 500, 1000, 2000, 5000 };

void
signer_times_note(struct signer_times *times, int64_t ms)
{
	const uint64_t took_ms = ms > 0 ? (uint64_t)ms : 0;
	size_t i = 0;

	while (i < SIGNER_BOUNDS && took_ms > signer_bounds_ms[i])
		i++;
	times->n[i]++;
	times->sum_ms += took_ms;
}

const char *
device_refusal_name(enum device_refusal why)
{
	static const char *const names[DEVICE_REFUSALS] = { "full", "share", "late", "away", "gone" };

	return names[why];
}

static void
times_put(struct body_out *out, const struct signer_times *times)
{
	for (size_t i = 0; i <= SIGNER_BOUNDS; i++)
		body_put64(out, times->n[i]);
	body_put64(out, times->sum_ms);
}

static void
times_get(struct body_in *in, struct signer_times *ret)
{
	for (size_t i = 0; i <= SIGNER_BOUNDS; i++)
		ret->n[i] = body_get64(in);
	ret->sum_ms = body_get64(in);
}

const char *
signer_device_name(enum signer_device device)
{
	static const char *const names[] = { [SIGNER_DEVICE_DOWN] = "down",
					     [SIGNER_DEVICE_UP] = "up",
					     [SIGNER_DEVICE_DEGRADED] = "degraded",
					     [SIGNER_DEVICE_LOCKED] = "locked" };

	return names[device];
}

static void
put_text(struct body_out *out, const char *text, size_t max)
{
	body_put_bytes(out, (struct writ_bytes){ (const uint8_t *)text, strnlen(text, max) });
}

static void
get_text(struct body_in *in, bool *ok, char *out, size_t out_len)
{
	const struct writ_bytes text = body_get_bytes(in);

	*ok = *ok && text.len < out_len && writ_is_clean_utf8(text);
	if (*ok && text.len > 0)
		memcpy(out, text.data, text.len);
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
signer_health_write(const struct signer_health *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put8(&out, m->can_issue);
	body_put8(&out, m->device_up);
	body_put8(&out, (uint8_t)m->device);
	body_put64(&out, (uint64_t)m->device_since);
	body_put64(&out, m->device_latency_us);
	body_put64(&out, m->device_failed);
	body_put32(&out, m->keys_quarantined);
	put_text(&out, m->device_why, sizeof(m->device_why));
	put_text(&out, m->device_last_error, sizeof(m->device_last_error));
	body_put64(&out, m->entries);
	body_put64(&out, m->issued);
	body_put64(&out, m->revoked_live);
	body_put64(&out, m->owed);
	body_put64(&out, m->unknown_asked);
	body_put32(&out, m->device_queue);
	body_put32(&out, m->clock_accepted);
	for (size_t i = 0; i < DEVICE_REFUSALS; i++)
		body_put64(&out, m->device_refused[i]);
	times_put(&out, &m->device_waited);
	times_put(&out, &m->device_signed);
	body_put64(&out, (uint64_t)m->issuing_until);
	body_put64(&out, m->changes);
	put_text(&out, m->why, sizeof(m->why));
	return written(&out, "health");
}

struct writ_err *
signer_health_read(struct writ_bytes body, struct signer_health *ret)
{
	struct body_in in = body_read(body);
	bool ok = true;
	uint8_t state;

	*ret = (struct signer_health){ 0 };
	ret->can_issue = get_bool(&in, &ok);
	ret->device_up = get_bool(&in, &ok);
	state = body_get8(&in);
	ok = ok && state <= SIGNER_DEVICE_LOCKED;
	ret->device = (enum signer_device)state;
	ret->device_since = (writ_time)body_get64(&in);
	ret->device_latency_us = body_get64(&in);
	ret->device_failed = body_get64(&in);
	ret->keys_quarantined = body_get32(&in);
	get_text(&in, &ok, ret->device_why, sizeof(ret->device_why));
	get_text(&in, &ok, ret->device_last_error, sizeof(ret->device_last_error));
	ret->entries = body_get64(&in);
	ret->issued = body_get64(&in);
	ret->revoked_live = body_get64(&in);
	ret->owed = body_get64(&in);
	ret->unknown_asked = body_get64(&in);
	ret->device_queue = body_get32(&in);
	ret->clock_accepted = body_get32(&in);
	for (size_t i = 0; i < DEVICE_REFUSALS; i++)
		ret->device_refused[i] = body_get64(&in);
	times_get(&in, &ret->device_waited);
	times_get(&in, &ret->device_signed);
	ret->issuing_until = (writ_time)body_get64(&in);
	ret->changes = body_get64(&in);
	get_text(&in, &ok, ret->why, sizeof(ret->why));
	return read_all(&in, ok, "health");
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

/* ---- URLs ---- */

static char *
key_url(const char *status_url, const char *folder, const uint8_t key_id[20], const char *suffix,
	char out[SIGNER_URL_MAX])
{
	char hex[41];

	snprintf(out, SIGNER_URL_MAX, "%s/%s/%s.%s", status_url, folder,
		 writ_hex((struct writ_bytes){ key_id, 20 }, hex), suffix);
	return out;
}

char *
signer_crl_url(const char *status_url, const uint8_t key_id[20], unsigned shard, char out[SIGNER_URL_MAX])
{
	char hex[41];

	if (shard == 0)
		return key_url(status_url, "crl", key_id, "crl", out);
	snprintf(out, SIGNER_URL_MAX, "%s/crl/%s-%u.crl", status_url, writ_hex((struct writ_bytes){ key_id, 20 }, hex),
		 shard);
	return out;
}

/* Strict: one way to write a number. */
bool
signer_crl_shard(struct writ_bytes first_url, struct writ_bytes url, unsigned *ret_shard)
{
	const size_t suffix = strlen(".crl"), stem = first_url.len - suffix;
	unsigned shard = 0;

	*ret_shard = 0;
	if (writ_equal(url, first_url))
		return true;
	if (url.len < stem + 2 + suffix || url.len > stem + 6 + suffix || memcmp(url.data, first_url.data, stem) != 0 ||
	    url.data[stem] != '-' || url.data[stem + 1] == '0' ||
	    memcmp(url.data + url.len - suffix, first_url.data + stem, suffix) != 0)
		return false;
	for (size_t i = stem + 1; i < url.len - suffix; i++) {
		if (url.data[i] < '0' || url.data[i] > '9')
			return false;
		shard = shard * 10 + (unsigned)(url.data[i] - '0');
	}
	*ret_shard = shard;
	return shard <= UINT16_MAX;
}

char *
signer_ca_url(const char *status_url, const uint8_t key_id[20], char out[SIGNER_URL_MAX])
{
	return key_url(status_url, "ca", key_id, "cer", out);
}

char *
signer_ocsp_url(const char *status_url, char out[SIGNER_URL_MAX])
{
	snprintf(out, SIGNER_URL_MAX, "%s/ocsp", status_url);
	return out;
}

/* ---- the client's blocking use ---- */

static struct writ_err *
answer_check(const struct frame *frame, enum signer_message type, struct writ_buf *ret_body)
{
	if (frame->type == SIGNER_ERROR)
		return signer_error_read(frame->body);
	if (frame->type != (type | SIGNER_ANSWER) || frame->id != 1)
		return writ_fail(WRIT_BROKEN, "the signer answered %u to message %u", frame->type, (unsigned)type);
	return writ_buf_add(ret_body, frame->body);
}

struct writ_err *
signer_call(int sock, enum signer_message type, struct writ_bytes body, struct writ_buf *ret_body, int *ret_fd,
	    int timeout_ms)
{
	uint8_t *packet = malloc(FRAME_MAX);
	struct writ_err *err;
	struct frame frame;

	if (ret_fd)
		*ret_fd = -1;
	if (!packet)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a frame");
	err = frame_send(sock, (uint16_t)type, 1, body, -1, timeout_ms);
	if (!err)
		err = frame_receive(sock, packet, &frame, ret_fd, timeout_ms);
	if (!err)
		err = answer_check(&frame, type, ret_body);
	free(packet);
	if (err && ret_fd && *ret_fd >= 0) {
		close(*ret_fd);
		*ret_fd = -1;
	}
	return err;
}
