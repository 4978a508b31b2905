/*
 * Input: one TPM 2.0 key file, or its DER alone, which is wrapped first.  Whatever is read is written again to the same
 * bytes; its public area, when it is one of a key of ours, has a SubjectPublicKeyInfo that reads back.
 */
#include "tests/fuzz/fuzz.h"

#include "base/text.h"
#include "hsm/tpm2_keyfile.h"
#include "hsm/tpm2_object.h"

static void
check_areas(const struct keyfile *file)
{
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX);
	TPM2B_PUBLIC public;
	TPM2B_PRIVATE private;
	struct writ_bytes raw;
	enum key_kind kind;

	(void)fuzz_accepted(tpm2_private_read(file->private, &private));
	if (fuzz_accepted(tpm2_public_read(file->public, &public)) && fuzz_accepted(tpm2_key_spki(&public, &file->policy, &spki)))
		FUZZ_CHECK(fuzz_accepted(spki_parse(writ_view(&spki), &kind, &raw)));
}

/* So that mutations reach the DER, and do not end in the base64. */
static struct writ_bytes
wrapped(struct writ_bytes in, struct writ_buf *pem)
{
	const struct writ_bytes begin = WRIT_LIT("-----BEGIN TSS2 PRIVATE KEY-----\n");
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(KEYFILE_MAX);

	if (in.len > KEYFILE_MAX / 2 || (in.len >= begin.len && memcmp(in.data, begin.data, 5) == 0))
		return in;
	FUZZ_CHECK(fuzz_accepted(writ_base64(in, &text)) && fuzz_accepted(writ_buf_add(pem, begin)));
	for (size_t at = 0; at < text.len; at += 64)
		FUZZ_CHECK(fuzz_accepted(writ_buf_printf(pem, "%.*s\n", (int)(text.len - at < 64 ? text.len - at : 64),
							 (const char *)text.data + at)));
	FUZZ_CHECK(fuzz_accepted(writ_buf_add(pem, WRIT_LIT("-----END TSS2 PRIVATE KEY-----\n"))));
	return writ_view(pem);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_buf_done)
	struct writ_buf der = WRIT_BUF(KEYFILE_MAX),
			again = WRIT_BUF(KEYFILE_MAX), wrap = WRIT_BUF(KEYFILE_MAX);
	const struct writ_bytes pem = wrapped((struct writ_bytes){ data, len }, &wrap);
	struct keyfile file;

	if (!fuzz_accepted(keyfile_read(pem, &der, &file)))
		return 0;
	FUZZ_CHECK(fuzz_accepted(keyfile_write(&file, &again)));
	FUZZ_CHECK(writ_equal(writ_view(&again), pem));
	check_areas(&file);
	return 0;
}
