/*
 * Input: one TPM 2.0 key file.  Whatever is read is written again to the same bytes; its public area, when it is one of
 * a key of ours, has a SubjectPublicKeyInfo that reads back.
 */
#include "tests/fuzz/fuzz.h"

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
	if (fuzz_accepted(tpm2_public_read(file->public, &public)) && fuzz_accepted(tpm2_key_spki(&public, &spki)))
		FUZZ_CHECK(fuzz_accepted(spki_parse(writ_view(&spki), &kind, &raw)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(KEYFILE_MAX), again = WRIT_BUF(KEYFILE_MAX);
	const struct writ_bytes pem = { data, len };
	struct keyfile file;

	if (!fuzz_accepted(keyfile_read(pem, &der, &file)))
		return 0;
	FUZZ_CHECK(fuzz_accepted(keyfile_write(&file, &again)));
	FUZZ_CHECK(writ_equal(writ_view(&again), pem));
	check_areas(&file);
	return 0;
}
