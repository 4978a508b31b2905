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

void
publish_ca_drop(struct publish *publish, const struct ca_known *ca)
{
	char path[80], hex[41];

	writ_hex((struct writ_bytes){ ca->key_id, sizeof(ca->key_id) }, hex);
	snprintf(path, sizeof(path), "/ca/%s.cer", hex);
	publish_drop(publish, path);
	snprintf(path, sizeof(path), "/crl/%s.crl", hex);
	publish_drop(publish, path);
}

/* The list's issuer must be whose list was asked for: what we publish under a CA's name is that CA's. */
WRIT_CHECKED static struct writ_err *
list_put(struct serve *serve, const uint8_t key_id[20], struct writ_bytes der, const struct signer_crl_is *is)
{
	char path[80], hex[41];
	struct writ_err *err;
	struct crl crl;

	err = crl_read(der, &crl);
	if (err)
		return writ_recode(err, WRIT_BROKEN, "a CRL of the signer cannot be read");
	if (!writ_equal(crl.authority_key_id, (struct writ_bytes){ key_id, 20 }))
		return writ_fail(WRIT_BROKEN, "the signer gave another CA's CRL");
	snprintf(path, sizeof(path), "/crl/%s.crl", writ_hex((struct writ_bytes){ key_id, 20 }, hex));
	return publish_put(serve->publish, path, "application/pkix-crl", der, is->this_update, is->next_update,
			   LIST_MAX_AGE_S);
}

struct writ_err *
publish_list(struct serve *serve, int sock, const uint8_t key_id[20], uint64_t *number)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	AUTO(file_memfd_unmap) struct writ_bytes list = { NULL, 0 };
	AUTO(file_closep) int fd = -1;
	struct signer_crl asked;
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
	if (is.number == *number)
		return NULL;
	if (fd < 0 || is.len == 0)
		return writ_fail(WRIT_BROKEN, "the signer handed over no CRL of the length it says");
	err = file_memfd_map(fd, is.len, LIST_MAX, &list);
	if (err)
		return writ_recode(err, err->code == WRIT_INVALID ? WRIT_BROKEN : err->code,
				   "the signer handed over no CRL of the length it says");
	err = list_put(serve, key_id, (struct writ_bytes){ list.data, is.len }, &is);
	if (err)
		return err;
	*number = is.number;
	metrics_add(&serve->metrics, METRIC_CRLS, 1);
	return NULL;
}
