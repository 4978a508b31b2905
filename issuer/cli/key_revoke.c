/*
 * writ key revoke: an issuing CA's certificate goes into the anchor's CRL, and it issues no more.
 *
 * Whoever asks names the whole key id, as `writ key list` prints it: there is no way back.
 */
#include "base/frame.h"
#include "base/text.h"
#include "issuer/cli/admin.h"
#include "issuer/x509/crl.h"

#define KEY_ID_LEN 20
#define TIMEOUT_MS 75000 /* a new key may be made in the device, and two certificates and a list signed */

static struct writ_err *
body_write(const struct options *o, struct body_out *out)
{
	const char *const said = option(o, "--reason");
	enum crl_reason reason = REASON_CA_COMPROMISE;
	uint8_t key_id[KEY_ID_LEN];

	if (!writ_unhex(writ_str(o->arguments[0]), key_id, sizeof(key_id)))
		return writ_fail(WRIT_INVALID, "'%.48s' is no key id of 40 hex digits, as `writ key list` prints them",
				 o->arguments[0]);
	if (said && !crl_reason_from(writ_str(said), &reason))
		return writ_fail(WRIT_INVALID,
				 "--reason %.40s: it is one of keyCompromise, cACompromise, superseded, "
				 "cessationOfOperation, affiliationChanged, privilegeWithdrawn and unspecified",
				 said);
	body_put(out, (struct writ_bytes){ key_id, sizeof(key_id) });
	body_put8(out, (uint8_t)reason);
	return NULL;
}

int
key_revoke(int argc, char **argv)
{
	static const struct option_spec specs[] = { ADMIN_OPTIONS, { "--reason", OPTION_VALUE, false, NULL } };
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(KEY_ID_LEN + 1);
	struct body_out out = { .buf = &body };
	json_t *answer = NULL;
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (!err)
		err = body_write(&o, &out);
	if (err)
		return cli_misused("key revoke", err);
	err = out.failed ? writ_fail(WRIT_EXHAUSTED, "no memory for a request") : NULL;
	if (!err)
		err = admin_ask_json(&o, ADMIN_KEY_REVOKE, writ_view(&body), TIMEOUT_MS, &answer);
	if (!err)
		admin_print(&o, answer);
	json_decref(answer);
	return err ? cli_fail("key revoke", err) : CLI_DONE;
}
