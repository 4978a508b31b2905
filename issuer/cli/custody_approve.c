/*
 * writ custody approve: PCR values that an offline key signs for, so that a TPM's keys may be used under them.
 *
 * Needs neither the TPM nor the machine: what it signs is computed in software (hsm/approval.h).  The values come from
 * the file that `writ custody pcrs` wrote on the machine, or are named one by one, as when they are known before a new
 * kernel has booted.  Shows what it signs, and reads back what it wrote.
 */
#include "hsm/approval.h"

#include "base/file.h"
#include "base/text.h"
#include "issuer/cli/custody_approve.h"
#include "issuer/cli/sign_with.h"

static const struct option_spec specs[] = {
	SIGN_WITH_OPTIONS("--sign-with"),	    { "--values", OPTION_VALUE, false, NULL },
	{ "--pcr", OPTION_LIST, false, NULL },	    { "--trust-domain", OPTION_VALUE, false, NULL },
	{ "--version", OPTION_VALUE, false, NULL }, { "--out", OPTION_VALUE, true, NULL },
};

/* What is to be approved, before it is. */
struct wanted {
	struct approval approval;
	bool key_known; /* from the values file: what the machine checks approvals by; else that of the key that signs
			 */
	uint8_t key_name[APPROVAL_NAME_LEN];
	uint64_t counter; /* of the machine; 0: not known */
};

static struct writ_err *
values_take(const char *path, struct wanted *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(APPROVAL_FILE_MAX);
	struct pcr_report report;
	struct writ_err *err;

	err = file_read(path, FILE_ANY, &text);
	if (!err)
		err = pcr_report_read(writ_view(&text), &report);
	if (err)
		return writ_because(err, "--values %s", path);
	memcpy(ret->approval.ref, report.ref, sizeof(report.ref));
	ret->approval.pcrs = report.pcrs;
	ret->approval.version = ret->counter = report.counter;
	ret->key_known = true;
	memcpy(ret->key_name, report.key_name, sizeof(ret->key_name));
	return NULL;
}

/* "7=HEX": instead of what the file has, or on its own when there is no file. */
static struct writ_err *
pcr_take(const char *text, bool from_file, uint32_t *seen, struct pcr_values *ret)
{
	const size_t len = strcspn(text, "=");
	uint8_t value[SHA256_LEN];
	uint64_t n;

	if (text[len] != '=' ||
	    !writ_decimal((struct writ_bytes){ (const uint8_t *)text, len }, APPROVAL_PCR_END - 1, &n) ||
	    !writ_unhex(writ_str(text + len + 1), value, sizeof(value)))
		return writ_fail(WRIT_INVALID, "--pcr '%.80s': NUMBER=64 hex digits is wanted", text);
	if (from_file && (ret->mask >> n & 1) == 0)
		return writ_fail(WRIT_INVALID, "--pcr %u: the machine binds its keys to other PCRs, those of --values",
				 (unsigned)n);
	if (*seen >> n & 1)
		return writ_fail(WRIT_INVALID, "--pcr %u is given twice", (unsigned)n);
	*seen |= UINT32_C(1) << n;
	ret->mask |= UINT32_C(1) << n;
	memcpy(ret->value[n], value, sizeof(value));
	return NULL;
}

static struct writ_err *
pcrs_take(const struct options *o, struct pcr_values *ret)
{
	const char *const *list;
	const size_t n = option_list(o, "--pcr", &list);
	struct writ_err *err = NULL;
	uint32_t seen = 0;

	for (size_t i = 0; !err && i < n; i++)
		err = pcr_take(list[i], option_given(o, "--values"), &seen, ret);
	return err ? err : pcr_mask_check(ret->mask);
}

/* A file says which machine and which version; without one both must be said. */
static struct writ_err *
source_take(const struct options *o, struct wanted *ret)
{
	const char *const values = option(o, "--values"), *const domain = option(o, "--trust-domain");

	if (!values == !domain)
		return writ_fail(WRIT_INVALID, "one of --values and --trust-domain is needed: whose approval is it?");
	if (values)
		return values_take(values, ret);
	if (!option_given(o, "--version"))
		return writ_fail(WRIT_INVALID,
				 "--version is missing: without --values nothing says where the machine's "
				 "approval counter is");
	if (strlen(APPROVAL_REF_PREFIX) + strlen(domain) > APPROVAL_REF_MAX)
		return writ_fail(WRIT_INVALID, "--trust-domain has over %zu bytes",
				 APPROVAL_REF_MAX - strlen(APPROVAL_REF_PREFIX));
	snprintf(ret->approval.ref, sizeof(ret->approval.ref), APPROVAL_REF_PREFIX "%s", domain);
	return NULL;
}

static struct writ_err *
wanted_read(const struct options *o, struct wanted *ret)
{
	struct writ_err *err;

	*ret = (struct wanted){ 0 };
	err = source_take(o, ret);
	if (!err)
		err = pcrs_take(o, &ret->approval.pcrs);
	if (!err)
		err = option_number(o, "--version", UINT64_MAX, &ret->approval.version);
	if (err)
		return err;
	if (ret->approval.version < ret->counter)
		return writ_fail(WRIT_INVALID,
				 "--version %llu: the machine's approval counter is at %llu, and what is below is dead",
				 (unsigned long long)ret->approval.version, (unsigned long long)ret->counter);
	approval_policy(&ret->approval.pcrs, ret->approval.version, ret->approval.policy);
	return NULL;
}

/* Is it the key that the machine checks approvals by? */
static struct writ_err *
key_check(struct wanted *wanted, struct writ_bytes spki)
{
	uint8_t name[APPROVAL_NAME_LEN], point[APPROVAL_POINT_LEN];
	struct writ_err *err = approval_key_point(spki, point);

	if (err)
		return err;
	approval_key_name(point, name);
	if (!wanted->key_known)
		memcpy(wanted->key_name, name, sizeof(name));
	if (memcmp(name, wanted->key_name, sizeof(name)) == 0)
		return NULL;
	return writ_fail(WRIT_INVALID,
			 "--sign-with is another key than the machine's custody.tpm.approval_key: it would "
			 "not take this approval");
}

static struct writ_err *
approval_sign(struct sign_with *key, struct approval *approval)
{
	AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_MAX);
	uint8_t message[APPROVAL_MESSAGE_LEN];
	struct writ_err *err;

	approval_message(approval->policy, approval->ref, message);
	err = sign_with_sign(key, (struct writ_bytes){ message, sizeof(message) }, &signature);
	if (err)
		return err;
	if (signature.len > sizeof(approval->signature))
		return writ_fail(WRIT_BROKEN, "the key made a signature of %zu bytes", signature.len);
	memcpy(approval->signature, signature.data, signature.len);
	approval->signature_len = signature.len;
	return NULL;
}

/* What a device will read, judged as it will judge it. */
static struct writ_err *
approval_keep(const struct approval *approval, struct writ_bytes spki, const char *path)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(APPROVAL_FILE_MAX);
	struct approval again;
	struct writ_err *err;

	err = approval_write(approval, &text);
	if (!err)
		err = approval_read(writ_view(&text), &again);
	if (!err)
		err = approval_verify(&again, spki);
	return err ? err : cli_write(path, 0644, writ_view(&text));
}

static void
approval_show(const struct approval *approval, const uint8_t key_name[APPROVAL_NAME_LEN], const char *path)
{
	char hex[2 * SHA256_LEN + 1], name[16];
	uint8_t policy[SHA256_LEN];

	if (strcmp(path, "-") == 0)
		return;
	cli_say("approves for", "%s", approval->ref + strlen(APPROVAL_REF_PREFIX));
	cli_say("version", "%llu", (unsigned long long)approval->version);
	for (unsigned n = 0; n < APPROVAL_PCR_END; n++) {
		if ((approval->pcrs.mask >> n & 1) == 0)
			continue;
		snprintf(name, sizeof(name), "pcr %u", n);
		cli_say(name, "%s", writ_hex((struct writ_bytes){ approval->pcrs.value[n], SHA256_LEN }, hex));
	}
	cli_say("policy", "%s", writ_hex((struct writ_bytes){ approval->policy, SHA256_LEN }, hex));
	approval_key_policy(key_name, approval->ref, policy);
	cli_say("keys' policy", "%s", writ_hex((struct writ_bytes){ policy, SHA256_LEN }, hex));
	cli_say("written", "%s: put it into the machine's custody.tpm.approvals as NAME.approval", path);
}

int
custody_approve_cmd(int argc, char **argv)
{
	AUTO(sign_with_closep) struct sign_with *key = NULL;
	struct wanted wanted;
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (!err)
		err = wanted_read(&o, &wanted);
	if (err)
		return cli_misused("custody approve", err);
	err = sign_with_open(&o, &key);
	if (!err)
		err = key_check(&wanted, sign_with_spki(key));
	if (!err)
		err = approval_sign(key, &wanted.approval);
	if (!err)
		err = approval_keep(&wanted.approval, sign_with_spki(key), option(&o, "--out"));
	if (err)
		return cli_fail("custody approve", err);
	approval_show(&wanted.approval, wanted.key_name, option(&o, "--out"));
	return CLI_DONE;
}
