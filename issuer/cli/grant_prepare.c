/*
 * writ grant prepare: the exact bytes of a grant, and the nonce with which a log-in authorises them (delegation.md 8).
 *
 * The log-in itself is any OpenID Connect client's: the code flow with PKCE, this nonce, this client_id.
 */
#include "base/file.h"
#include "base/text.h"
#include "issuer/cli/api.h"
#include "issuer/cli/delegate.h"

#define GRANT_BODY_MAX (24 * 1024)

static struct writ_err *
body_write(const struct options *o, const json_t *answer)
{
	AUTO(writ_buf_done) struct writ_buf grant = WRIT_BUF(GRANT_BODY_MAX);
	struct writ_err *err = writ_unbase64(BASE64_URL, writ_str(api_text(answer, "grant_body")), &grant);

	if (err)
		return writ_recode(err, WRIT_BROKEN, "the answer's grant_body is not base64url: is it a Writ?");
	return cli_write(option(o, "--out"), 0644, writ_view(&grant));
}

static int
tell(const struct options *o, const struct api_answer *answer)
{
	const json_t *acr = json_object_get(answer->json, "acr_values");
	const int code = api_verdict("grant prepare", answer);
	struct writ_err *err;

	if (code != CLI_DONE)
		return code;
	err = body_write(o, answer->json);
	if (err)
		return cli_fail("grant prepare", err);
	if (strcmp(option(o, "--out"), "-") == 0 || api_printed_json(o, answer))
		return CLI_DONE;
	cli_say("nonce", "%s", api_text(answer->json, "nonce"));
	cli_say("issuer", "%s", api_text(answer->json, "issuer"));
	cli_say("client id", "%s", api_text(answer->json, "client_id"));
	for (size_t i = 0; i < json_array_size(acr); i++)
		cli_say("acr", "%s", json_string_value(json_array_get(acr, i)));
	if (json_object_get(answer->json, "max_age_s"))
		cli_say("max_age", "%lld", api_number(answer->json, "max_age_s"));
	cli_say("expires", "%s", api_text(answer->json, "expires"));
	return CLI_DONE;
}

int
cmd_grant_prepare(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--idp", OPTION_VALUE, true, NULL },
		{ "--out", OPTION_VALUE, true, NULL },
		DELEGATE_OPTIONS,
		API_OPTIONS,
	};
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);
	json_t *body, *task;

	if (err)
		return cli_misused("grant prepare", err);
	body = json_object();
	task = json_object();
	json_object_set_new(body, "idp", json_string(option(&o, "--idp")));
	json_object_set_new(body, "task", task);
	err = delegate_body(&o, false, task);
	if (err) {
		json_decref(body);
		return cli_misused("grant prepare", err);
	}
	err = api_ask_json(&o, "POST", "/v1/grants/prepare", body, &answer);
	return err ? cli_fail("grant prepare", err) : tell(&o, &answer);
}
