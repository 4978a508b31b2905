/*
 * Input: an approval of PCR values, or what a machine says of its PCRs.  Whatever is read is written again to the same
 * bytes. An approval whose policy does not follow is given the one that does, so that mutations get past it.
 */
#include "tests/fuzz/fuzz.h"

#include "base/text.h"
#include "hsm/approval.h"

static void
check_approval(struct writ_bytes text)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(APPROVAL_FILE_MAX);
	struct approval approval;

	if (!fuzz_accepted(approval_read(text, &approval)))
		return;
	FUZZ_CHECK(fuzz_accepted(approval_write(&approval, &again)));
	FUZZ_CHECK(writ_equal(writ_view(&again), text));
}

/* The lines but the last two, and then what follows from them. */
static void
check_repaired(struct writ_bytes text)
{
	AUTO(writ_buf_done) struct writ_buf repaired = WRIT_BUF(APPROVAL_FILE_MAX);
	const uint8_t *const at = text.len > 0 ? memmem(text.data, text.len, "policy: ", 8) : NULL;
	uint8_t none[SHA256_LEN] = { 0 };
	char hex[2 * SHA256_LEN + 1];
	struct approval approval;
	struct writ_err *err;

	if (!at || !fuzz_accepted(writ_buf_add(&repaired, (struct writ_bytes){ text.data, (size_t)(at - text.data) })))
		return;
	/* A first reading, which ends at the policy, leaves the fields before it. */
	if (!fuzz_accepted(writ_buf_printf(&repaired, "policy: %s\n",
					   writ_hex((struct writ_bytes){ none, sizeof(none) }, hex))))
		return;
	err = approval_read(writ_view(&repaired), &approval);
	writ_err_free(err);
	if (approval.pcrs.mask == 0)
		return;
	approval_policy(&approval.pcrs, approval.version, approval.policy);
	approval.signature_len = 1;
	writ_buf_clear(&repaired);
	if (fuzz_accepted(approval_write(&approval, &repaired)))
		check_approval(writ_view(&repaired));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(APPROVAL_FILE_MAX);
	const struct writ_bytes text = { data, len };
	struct pcr_report report;

	check_approval(text);
	check_repaired(text);
	if (!fuzz_accepted(pcr_report_read(text, &report)))
		return 0;
	FUZZ_CHECK(fuzz_accepted(pcr_report_write(&report, &again)));
	FUZZ_CHECK(writ_equal(writ_view(&again), text));
	return 0;
}
