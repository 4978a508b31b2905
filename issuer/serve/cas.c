/*
 * The signer's issuing CAs: see cas.h.  What the last page says holds: numbers only grow, so what changed between two
 * pages stands on a later one.
 */
#include "issuer/serve/cas.h"

#include "issuer/serve/control.h"
#include "issuer/x509/ca.h"

static void
known_done(struct ca_known *known)
{
	writ_buf_done(&known->der);
}

void
cas_done(struct cas *cas)
{
	while (cas->n > 0)
		known_done(&cas->all[--cas->n]);
	cas->changes = cas->issuing = 0;
}

const struct ca_known *
cas_issuing(const struct cas *cas)
{
	for (size_t i = cas->n; i-- > 0;)
		if (cas->all[i].number == cas->issuing)
			return &cas->all[i];
	return NULL;
}

const struct ca_known *
cas_find(const struct cas *cas, const uint8_t key_id[20])
{
	for (size_t i = 0; i < cas->n; i++)
		if (memcmp(cas->all[i].key_id, key_id, sizeof(cas->all[i].key_id)) == 0)
			return &cas->all[i];
	return NULL;
}

WRIT_CHECKED static struct writ_err *
known_read(struct ca_known *known, uint64_t number, struct writ_bytes der)
{
	struct ca_cert ca;
	struct writ_err *err;

	*known = (struct ca_known){ .number = number, .der = WRIT_BUF(CA_CERT_MAX) };
	err = writ_buf_add(&known->der, der);
	if (!err)
		err = ca_read(writ_view(&known->der), &ca);
	if (!err)
		err = ocsp_issuer_init(ca.subject, ca.spki, &known->ocsp);
	if (err)
		return writ_recode(err, WRIT_BROKEN, "generation %llu of the signer", (unsigned long long)number);
	memcpy(known->key_id, ca.key_id, sizeof(known->key_id));
	known->not_before = ca.not_before;
	known->not_after = ca.not_after;
	return NULL;
}

WRIT_CHECKED static struct writ_err *
known_add(struct cas *cas, uint64_t number, unsigned shard, struct writ_bytes der)
{
	struct writ_err *err;

	if (cas->n == SIGNER_GENERATIONS_MAX || (cas->n > 0 && cas->all[cas->n - 1].number >= number))
		return writ_fail(WRIT_BROKEN, "the signer names generation %llu out of order, or one too many",
				 (unsigned long long)number);
	err = known_read(&cas->all[cas->n], number, der);
	if (err)
		known_done(&cas->all[cas->n]);
	else
		cas->all[cas->n].first = cas->all[cas->n].last = shard;
	cas->n += !err;
	return err;
}

static void
lower_drop(struct cas *cas, uint64_t lowest, void (*gone)(void *ctx, const struct ca_known *), void *ctx)
{
	size_t n = 0;

	while (n < cas->n && cas->all[n].number < lowest) {
		gone(ctx, &cas->all[n]);
		known_done(&cas->all[n++]);
	}
	cas->n -= n;
	memmove(cas->all, cas->all + n, cas->n * sizeof(cas->all[0]));
}

WRIT_CHECKED static struct writ_err *
page_ask(int sock, uint64_t above, struct writ_buf *bytes, struct signer_certs_are *ret)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	struct writ_err *err = signer_certs_write(&(struct signer_certs){ .above = above }, &body);

	writ_buf_clear(bytes);
	if (!err)
		err = signer_call(sock, SIGNER_CERTS, writ_view(&body), bytes, NULL, CONTROL_TIMEOUT_MS);
	return err ? err : signer_certs_are_read(writ_view(bytes), ret);
}

struct writ_err *
cas_fetch(struct cas *cas, int sock, void (*gone)(void *ctx, const struct ca_known *), void *ctx)
{
	AUTO(writ_buf_done) struct writ_buf bytes = WRIT_BUF(FRAME_BODY_MAX);
	struct signer_certs_are are = { .more = true };
	struct writ_err *err = NULL;

	while (are.more && !err) {
		err = page_ask(sock, cas->n > 0 ? cas->all[cas->n - 1].number : 0, &bytes, &are);
		if (!err)
			lower_drop(cas, are.lowest, gone, ctx);
		for (size_t i = 0; i < are.n && !err; i++)
			err = known_add(cas, are.certs[i].number, are.certs[i].shard, are.certs[i].der);
	}
	if (err)
		return writ_because(err, "the signer's issuing CAs");
	cas->changes = are.changes;
	cas->issuing = are.issuing;
	cas->shard = are.shard;
	if (!cas_issuing(cas))
		return writ_fail(WRIT_BROKEN, "the signer issues with generation %llu, which it did not show",
				 (unsigned long long)are.issuing);
	return NULL;
}
