/*
 * writ rotate: has the operator's anchor certify generations of issuing keys ahead.  Its PIN is given to this command,
 * for as long as it runs; the running signer does the work (issuer/signer/operator.c).
 */
#include <time.h>

#include "base/file.h"
#include "base/frame.h"
#include "issuer/cli/admin.h"
#include "issuer/cli/api.h"
#include "issuer/cli/operator.h"

#define GENERATIONS_DEFAULT 6 /* a day, at a rotation of four hours */
#define GENERATIONS_MOST 200
#define POLL_MS 100

/* One question; `ret` is the caller's to json_decref(). */
static struct writ_err *
ask(const struct conf *conf, struct writ_bytes body, int beside, json_t **ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(ADMIN_ANSWER_MAX);
	struct writ_err *err = admin_ask_with(conf->run, ADMIN_CERTIFY, body, beside, ADMIN_TIMEOUT_MS, &text);

	if (err)
		return err;
	*ret = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	return json_is_object(*ret) ? NULL : writ_fail(WRIT_BROKEN, "the signer's answer is no JSON object");
}

static struct writ_err *
begin(const struct conf *conf, const struct operator* op, uint32_t n, json_t **ret)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(4);
	AUTO(file_closep) int beside = -1;
	struct body_out out = { .buf = &body };
	struct writ_err *err = operator_connection(op, &beside);

	if (err)
		return err;
	body_put32(&out, n);
	if (out.failed)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a request");
	return ask(conf, writ_view(&body), beside, ret);
}

static struct writ_err *
certify(const struct conf *conf, const struct operator* op, uint32_t n, json_t **ret)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
	struct writ_err *err = begin(conf, op, n, ret);

	while (!err && !json_is_true(json_object_get(*ret, "done"))) {
		nanosleep(&pause, NULL);
		json_decref(*ret);
		*ret = NULL;
		err = ask(conf, (struct writ_bytes){ NULL, 0 }, -1, ret);
	}
	if (!err && *api_text(*ret, "why"))
		err = writ_fail(WRIT_UNAVAILABLE, "%lld of %u generations were certified: %s",
				api_number(*ret, "certified"), n, api_text(*ret, "why"));
	return err;
}

int
cmd_rotate(int argc, char **argv)
{
	static const struct option_spec specs[] = { ADMIN_OPTIONS,
						    { "--generations", OPTION_VALUE, false, NULL },
						    OPERATOR_OPTIONS };
	AUTO(conf_done) struct conf conf = { 0 };
	AUTO(operator_closep) struct operator* op = NULL;
	uint64_t n = GENERATIONS_DEFAULT;
	struct options o;
	json_t *answer = NULL;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (!err)
		err = option_number(&o, "--generations", GENERATIONS_MOST, &n);
	if (!err && n == 0)
		err = writ_fail(WRIT_INVALID, "--generations 0 certifies nothing");
	if (!err)
		err = conf_read(option(&o, "--config"), &conf);
	if (!err && !conf.custody.operator)
		err = writ_fail(
			WRIT_INVALID,
			"custody.anchor is device: generations come by themselves, and at once by writ key rotate");
	if (err)
		return cli_misused("rotate", err);
	err = operator_open(&conf, &o, &op);
	if (!err)
		err = certify(&conf, op, (uint32_t)n, &answer);
	if (!err)
		admin_print(&o, answer);
	json_decref(answer);
	return err ? cli_fail("rotate", err) : CLI_DONE;
}
