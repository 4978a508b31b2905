/*
 * Input: one byte, then what a TPM said: 0 a TPMT_PUBLIC, 1 a TPMS_ATTEST, 2 a TPMT_SIGNATURE, 3 a TPMS_NV_PUBLIC. What
 * is read lies within the input, and is of the kinds that the header names; one byte more or less is never read.
 */
#include "tests/fuzz/fuzz.h"

#include "hsm/statement.h"

static bool
inside(struct writ_bytes part, struct writ_bytes whole)
{
	return part.len == 0 || (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static void
check_area(struct writ_bytes in)
{
	struct tpm_area area, again;
	struct writ_bytes raw;
	enum key_kind kind;

	if (!fuzz_accepted(tpm_area_read(in, &area)))
		return;
	FUZZ_CHECK(inside(area.policy, in) && (area.policy.len == 0 || area.policy.len == SHA256_LEN));
	FUZZ_CHECK(fuzz_accepted(spki_parse((struct writ_bytes){ area.spki, area.spki_len }, &kind, &raw)) &&
		   kind == area.kind);
	FUZZ_CHECK(!fuzz_accepted(tpm_area_read((struct writ_bytes){ in.data, in.len - 1 }, &again)));
}

static void
check_attest(struct writ_bytes in)
{
	struct tpm_attest said, again;

	if (!fuzz_accepted(tpm_attest_read(in, &said)))
		return;
	FUZZ_CHECK(inside(said.signer, in) && inside(said.extra, in) && inside(said.name, in) &&
		   inside(said.qualified, in) && inside(said.pcr_digest, in) && inside(said.contents, in));
	FUZZ_CHECK(said.signer.len == TPM_NAME_LEN);
	FUZZ_CHECK(!fuzz_accepted(tpm_attest_read((struct writ_bytes){ in.data, in.len - 1 }, &again)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(SIGNATURE_MAX);
	const struct writ_bytes in = { data + 1, len - 1 };
	struct tpm_counter_area counter;

	if (len < 2)
		return 0;
	if (data[0] == 0)
		check_area(in);
	else if (data[0] == 1)
		check_attest(in);
	else if (data[0] == 2 && fuzz_accepted(tpm_signature_read(in, &der)))
		FUZZ_CHECK(der.len >= 8 && der.len <= 72);
	else if (data[0] == 3 && fuzz_accepted(tpm_counter_read(in, &counter)))
		FUZZ_CHECK(in.len == 14 || in.len == 14 + 32 || in.len > 14);
	return 0;
}
