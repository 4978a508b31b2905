/*
 * Where what the signer publishes is found: the URLs that certificates carry, written, and read back by the gate.
 */
#include <stdio.h>

#include "base/text.h"
#include "issuer/signer/wire.h"

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
