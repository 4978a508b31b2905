/*
 * CA certificates and CRLs: see publish.h.  The lists are the signer's; they come as a sealed memfd, are read back
 * once, and swapped in whole.
 */
#include "issuer/serve/publish.h"

#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "issuer/x509/ca.h"
#include "issuer/x509/crl.h"

#define CA_MAX_AGE_S 3600
#define LIST_MAX_AGE_S 30     /* as OCSP answers: delegation.md R5 counts with it */
#define ISSUING_PEM_MAX (2 * CA_CERT_MAX) /* of one issuing CA: base64, and its two lines */
#define LIST_PATH_LEN 64	/* "/crl/KEYID-65535.crl" and its newline: at most */
#define LIST_TIMEOUT_MS 30000 /* a list of millions, signed by a device */
#define LIST_MAX (512u * 1024 * 1024)

WRIT_CHECKED static struct writ_err *
ca_put(struct publish *publish, const char *name, struct writ_bytes der, writ_time not_before, writ_time now)
{
	char path[80];

	snprintf(path, sizeof(path), "/ca/%s.cer", name);
	return publish_put(publish, path, "application/pkix-cert", der, not_before, now + CA_MAX_AGE_S, CA_MAX_AGE_S);
}

struct writ_err *
publish_anchor(struct publish *publish, struct writ_bytes anchor, writ_time now)
{
	struct ca_cert ca;
	struct writ_err *err;
	char hex[41];

	err = ca_read(anchor, &ca);
	if (err)
		return writ_because(err, "the signer's anchor");
	err = ca_put(publish, writ_hex((struct writ_bytes){ ca.key_id, sizeof(ca.key_id) }, hex), anchor, ca.not_before, now);
	return err ? err : ca_put(publish, "anchor", anchor, ca.not_before, now);
}

struct writ_err *
publish_cas(struct publish *publish, struct cas *cas, writ_time now)
{
	AUTO(writ_buf_done) struct writ_buf all = WRIT_BUF(SIGNER_GENERATIONS_MAX * ISSUING_PEM_MAX);
	struct writ_err *err = NULL;
	char hex[41];

	for (size_t i = cas->n; i-- > 0 && !err;) {
		struct ca_known *ca = &cas->all[i];

		if (!ca->published)
			err = ca_put(publish, writ_hex((struct writ_bytes){ ca->key_id, sizeof(ca->key_id) }, hex),
				     writ_view(&ca->der), ca->not_before, now);
		ca->published = !err;
		if (!err)
			err = pem_write("CERTIFICATE", writ_view(&ca->der), &all);
	}
	if (err)
		return err;
	return publish_put(publish, "/ca/issuing.pem", "application/x-pem-file", writ_view(&all), now,
			   now + CA_MAX_AGE_S, LIST_MAX_AGE_S);
}

static char *
list_path(const uint8_t key_id[20], unsigned shard, char out[SIGNER_URL_MAX])
{
	return signer_crl_url("", key_id, shard, out);
}

void
publish_ca_drop(struct publish *publish, const struct ca_known *ca)
{
	char path[SIGNER_URL_MAX], hex[41];

	writ_hex((struct writ_bytes){ ca->key_id, sizeof(ca->key_id) }, hex);
	snprintf(path, sizeof(path), "/ca/%s.cer", hex);
	publish_drop(publish, path);
	for (unsigned shard = ca->first; shard <= ca->last; shard++)
		publish_drop(publish, list_path(ca->key_id, shard, path));
}

/* What it says it speaks of must be what was asked for: all of that CA's certificates, or those that name the URL it is put under. */
WRIT_CHECKED static struct writ_err *
list_is_whose(const struct serve *serve, const uint8_t key_id[20], unsigned shard, const struct crl *crl)
{
	char url[SIGNER_URL_MAX];

	if (!writ_equal(crl->authority_key_id, (struct writ_bytes){ key_id, 20 }))
		return writ_fail(WRIT_BROKEN, "the signer gave another CA's CRL");
	signer_crl_url(serve->conf.status_url, key_id, shard, url);
	if (crl->idp_url.len == 0 ? shard > 0 : !writ_equal(crl->idp_url, writ_str(url)))
		return writ_fail(WRIT_BROKEN, "the signer gave another shard's CRL than %u", shard);
	return NULL;
}

WRIT_CHECKED static struct writ_err *
list_put(struct serve *serve, const uint8_t key_id[20], unsigned shard, struct writ_bytes *takes_mapping,
	 const struct signer_crl_is *is)
{
	const struct writ_bytes der = { takes_mapping->data, is->len };
	char path[SIGNER_URL_MAX];
	struct writ_err *err;
	struct crl crl;

	err = crl_read(der, &crl);
	if (err)
		return writ_recode(err, WRIT_BROKEN, "a CRL of the signer cannot be read");
	err = list_is_whose(serve, key_id, shard, &crl);
	if (err)
		return err;
	return publish_put_mapped(serve->publish, list_path(key_id, shard, path), "application/pkix-crl", der, takes_mapping,
				  is->this_update, is->next_update, LIST_MAX_AGE_S);
}

struct writ_err *
publish_list(struct serve *serve, int sock, const uint8_t key_id[20], unsigned shard, uint64_t *number,
	     struct signer_crl_is *ret_is)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	AUTO(file_memfd_unmap) struct writ_bytes list = { NULL, 0 };
	AUTO(file_closep) int fd = -1;
	struct signer_crl asked = { .shard = (uint16_t)shard };
	struct signer_crl_is is;
	struct writ_err *err;

	memcpy(asked.key_id, key_id, sizeof(asked.key_id));
	err = signer_crl_write(&asked, &body);
	if (!err)
		err = signer_call(sock, SIGNER_CRL, writ_view(&body), &answer, &fd, LIST_TIMEOUT_MS);
	if (!err)
		err = signer_crl_is_read(writ_view(&answer), &is);
	if (err)
		return writ_because(err, "fetching a CRL");
	if (ret_is)
		*ret_is = is;
	if (is.number == *number)
		return NULL;
	if (fd < 0 || is.len == 0)
		return writ_fail(WRIT_BROKEN, "the signer handed over no CRL of the length it says");
	err = file_memfd_map(fd, is.len, LIST_MAX, &list);
	if (err)
		return writ_recode(err, err->code == WRIT_INVALID ? WRIT_BROKEN : err->code,
				   "the signer handed over no CRL of the length it says");
	err = list_put(serve, key_id, shard, &list, &is);
	if (err)
		return err;
	*number = is.number;
	metrics_add(&serve->metrics, METRIC_CRLS, 1);
	return NULL;
}

/* From the last to the first: which there are, the answer to the last one says. */
WRIT_CHECKED static struct writ_err *
shard_publish(struct serve *serve, int sock, struct ca_known *ca, unsigned shard, bool new_only,
	      struct signer_crl_is *ret_is)
{
	uint64_t *number = &ca->list_numbers[shard % SIGNER_SHARDS_MAX];

	if (new_only && *number != 0)
		return NULL;
	return publish_list(serve, sock, ca->key_id, shard, number, ret_is);
}

/* Forgets what the signer has no more, and makes room for what it has now. */
static void
shards_follow(struct publish *publish, struct ca_known *ca, unsigned first, unsigned last)
{
	char path[SIGNER_URL_MAX];

	for (; ca->first < first && ca->first <= ca->last; ca->first++) {
		publish_drop(publish, list_path(ca->key_id, ca->first, path));
		ca->list_numbers[ca->first % SIGNER_SHARDS_MAX] = 0;
	}
	ca->first = first;
	ca->last = last;
}

struct writ_err *
publish_lists(struct serve *serve, int sock, struct ca_known *ca, bool new_only)
{
	struct signer_crl_is is;
	struct writ_err *err;
	unsigned known;

	do {
		known = ca->last;
		err = shard_publish(serve, sock, ca, known, false, &is);
		if (!err)
			shards_follow(serve->publish, ca, is.first, is.last);
	} while (!err && ca->last != known);
	for (unsigned shard = ca->first; shard < ca->last && !err; shard++) {
		err = shard_publish(serve, sock, ca, shard, new_only, NULL);
		if (!err || err->code != WRIT_NOT_FOUND)
			continue;
		writ_err_free(err); /* its leaves have expired a moment ago: the next answer says so */
		err = NULL;
	}
	return err;
}

struct writ_err *
publish_index(struct publish *publish, const struct cas *cas, writ_time now)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF((size_t)SIGNER_GENERATIONS_MAX * SIGNER_SHARDS_MAX * LIST_PATH_LEN);
	struct writ_err *err = NULL;
	char path[SIGNER_URL_MAX];

	for (size_t i = cas->n; i-- > 0;)
		for (unsigned shard = cas->all[i].first; shard <= cas->all[i].last && !err; shard++)
			if (cas->all[i].list_numbers[shard % SIGNER_SHARDS_MAX] != 0)
				err = writ_buf_printf(&text, "%s\n", list_path(cas->all[i].key_id, shard, path));
	return err ? err
		   : publish_put(publish, "/crl/issuing.txt", "text/plain", writ_view(&text), now, now + LIST_MAX_AGE_S,
				 LIST_MAX_AGE_S);
}
