/*
 * Approvals of PCR values, as far as the signer has to do with them: it passes on what an approver must know of this
 * machine, and raises the counter that ends older approvals.  What an approval is: hsm/approval.h; who judges: the
 * device.
 *
 * Each asks over a connection of its own, so that a device whose keys are locked for want of an approval can be asked.
 */
#include "base/event.h"
#include "issuer/signer/admin.h"

struct writ_err *
admin_pcrs(struct signer *s, const struct admin_asked *asked, struct canon_out *out)
{
	AUTO(device_closep) struct device *device = NULL;
	AUTO(writ_buf_done) struct writ_buf report = WRIT_BUF(CUSTODY_REPORT_MAX);
	struct writ_err *err = device_dial(s, &device);

	(void)asked;
	if (!err)
		err = device_pcrs(device, &report);
	if (err)
		return err;
	canon_text(out, "report", writ_view(&report));
	return NULL;
}

struct writ_err *
admin_approvals_raise(struct signer *s, const struct admin_asked *asked, struct canon_out *out)
{
	AUTO(device_closep) struct device *device = NULL;
	struct writ_err *err = device_dial(s, &device);
	uint64_t value;

	if (!err)
		err = entry_admin(s, "approvals-raise", asked->by, (struct writ_bytes){ NULL, 0 });
	if (err)
		return err;
	journal_sync(s->journal); /* it cannot be taken back, so it is written down before */
	err = device_counter_raise(device, COUNTER_APPROVAL, &value);
	if (err)
		return err;
	event(EVENT_WARN, "signer.approvals-raised", EV_NUM("uid", asked->by), EV_NUM("counter", value));
	canon_int(out, "counter", (int64_t)value);
	return NULL;
}
