/* Input: a byte that chooses the message, and its body.  A body that is accepted is encoded again to the same bytes; so is
 * the URL of a list. */
#include "issuer/signer/wire.h"
#include "tests/fuzz/fuzz.h"

#define CASE(number, name, type)                                                                                       \
	case number: {                                                                                                 \
		static type m;                                                                                         \
		if (!fuzz_accepted(signer_##name##_read(body, &m)))                                                    \
			return 0;                                                                                      \
		FUZZ_CHECK(fuzz_accepted(signer_##name##_write(&m, &again)));                                          \
		break;                                                                                                 \
	}

static void
list_url(struct writ_bytes url)
{
	static const uint8_t key_id[20] = { 0xab };
	char first[SIGNER_URL_MAX], again[SIGNER_URL_MAX];
	unsigned shard;

	if (signer_crl_shard(writ_str(signer_crl_url("http://s", key_id, 0, first)), url, &shard))
		FUZZ_CHECK(writ_equal(writ_str(signer_crl_url("http://s", key_id, shard, again)), url));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(FRAME_BODY_MAX);
	const struct writ_bytes body = { len > 0 ? data + 1 : data, len > 0 ? len - 1 : 0 };
	bool logged;

	if (len == 0 || body.len > FRAME_BODY_MAX)
		return 0;
	switch (data[0]) {
		CASE(0, hello, struct signer_hello)
		CASE(1, welcome, struct signer_welcome)
		CASE(2, leaf, struct signer_leaf)
		CASE(3, signed, struct signer_signed)
		CASE(4, revoke, struct signer_revoke)
	case 5:
		if (!fuzz_accepted(signer_revoked_read(body, &logged)))
			return 0;
		FUZZ_CHECK(fuzz_accepted(signer_revoked_write(logged, &again)));
		break;
		CASE(6, ocsp, struct signer_ocsp)
		CASE(7, status, struct signer_status)
		CASE(8, crl, struct signer_crl)
		CASE(9, crl_is, struct signer_crl_is)
		CASE(10, note, struct signer_note)
		CASE(11, abort, struct signer_abort)
		CASE(12, settled, struct signer_settled)
		CASE(13, health, struct signer_health)
		CASE(14, certs, struct signer_certs)
		CASE(15, certs_are, struct signer_certs_are)
	case 16:
		list_url(body);
		return 0;
	default:
		writ_err_free(signer_error_read(body)); /* never NULL, and cleans what it is told */
		return 0;
	}
	FUZZ_CHECK(again.len == body.len && (body.len == 0 || memcmp(again.data, body.data, body.len) == 0));
	return 0;
}
