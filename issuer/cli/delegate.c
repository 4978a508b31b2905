/*
 * writ delegate: a person or service opens a task for an agent; an agent delegates on, one hop deeper.
 *
 * Which of the two is decided by the certificate that authenticates: a leaf of ours makes it the second.  Or a signed
 * grant is submitted, which says all of it; or an ID token, and the grant that it was made for.
 */
#include "issuer/cli/delegate.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/auth/jws.h"
#include "issuer/cli/approvals.h"
#include "issuer/cli/keys.h"

#define TOKEN_MAX (16 * 1024)
#define GRANT_BODY_MAX (24 * 1024)

static const struct option_spec specs[] = {
	DELEGATE_OPTIONS,
	API_OPTIONS,
};

/* With --grant everything else is inside what was signed. */
static const struct option_spec grant_specs[] = {
	{ "--grant", OPTION_VALUE, true, NULL },
	API_OPTIONS,
};

/* With --id-token it is in the grant that writ grant prepare wrote. */
static const struct option_spec token_specs[] = {
	{ "--id-token", OPTION_VALUE, true, NULL },
	{ "--grant-body", OPTION_VALUE, true, NULL },
	API_OPTIONS,
};

/* "a,b" as an array of texts. */
static json_t *
comma_list(const char *text, size_t len)
{
	json_t *list = json_array();
	const char *end = text + len;

	while (text < end) {
		const char *comma = memchr(text, ',', (size_t)(end - text)), *stop = comma ? comma : end;

		json_array_append_new(list, json_stringn(text, (size_t)(stop - text)));
		text = comma ? comma + 1 : end;
	}
	return list;
}

/* "ACTION,... on RESOURCE,...": one entitlement. */
static struct writ_err *
add_entitlements(const struct options *o, const char *name, bool delegable, json_t *scope)
{
	const char *const *texts;
	size_t n = option_list(o, name, &texts);

	for (size_t i = 0; i < n; i++) {
		const char *on = strstr(texts[i], " on ");
		json_t *one = json_object();

		if (!on || on == texts[i] || !on[4]) {
			json_decref(one);
			return writ_fail(WRIT_INVALID, "%s: '%.80s' is not 'ACTION[,ACTION] on RESOURCE[,RESOURCE]'",
					 name, texts[i]);
		}
		json_object_set_new(one, "actions", comma_list(texts[i], (size_t)(on - texts[i])));
		json_object_set_new(one, "resources", comma_list(on + 4, strlen(on + 4)));
		json_object_set_new(one, "delegable", json_boolean(delegable));
		json_array_append_new(scope, one);
	}
	return NULL;
}

static struct writ_err *
add_constraints(const struct options *o, json_t *body)
{
	const char *const *texts;
	size_t n = option_list(o, "--constraint", &texts);
	json_t *list;

	if (n == 0)
		return NULL;
	list = json_array();
	json_object_set_new(body, "constraints", list);
	for (size_t i = 0; i < n; i++) {
		json_t *one = json_loads(texts[i], JSON_REJECT_DUPLICATES, NULL);

		if (!json_is_object(one)) {
			json_decref(one);
			return writ_fail(WRIT_INVALID, "--constraint: '%.80s' is not a JSON object", texts[i]);
		}
		json_array_append_new(list, one);
	}
	return NULL;
}

static struct writ_err *
agent_of(const struct options *o, json_t *body)
{
	const char *key_of = option(o, "--key-of"), *spki = option(o, "--spki");
	json_t *agent = json_object();
	char hex[65] = "";
	struct writ_err *err;

	json_object_set_new(body, "agent", agent);
	json_object_set_new(agent, "class", json_string(option(o, "--agent")));
	if (!key_of == !spki)
		return writ_fail(
			WRIT_INVALID,
			"the agent's key is named by either --key-of FILE or --spki HEX: a delegation is to a key");
	if (key_of) {
		err = keys_spki_sha256(key_of, hex);
		if (err)
			return err;
	}
	json_object_set_new(agent, "spki_sha256", json_string(key_of ? hex : spki));
	return NULL;
}

struct writ_err *
delegate_terms(const struct options *o, json_t *body)
{
	const char *const *audience;
	size_t n_audience = option_list(o, "--audience", &audience);
	json_t *scope = json_array(), *list = json_array();
	uint64_t depth = 0;
	uint32_t ends_s = 0;
	struct writ_err *err;

	json_object_set_new(body, "scope", scope);
	json_object_set_new(body, "audience", list);
	for (size_t i = 0; i < n_audience; i++)
		json_array_append_new(list, json_string(audience[i]));
	err = add_entitlements(o, "--allow", false, scope);
	if (!err)
		err = add_entitlements(o, "--allow-delegable", true, scope);
	if (!err && json_array_size(scope) == 0)
		err = writ_fail(
			WRIT_INVALID,
			"nothing is allowed: give --allow or --allow-delegable; an empty scope never means all");
	if (!err)
		err = add_constraints(o, body);
	if (!err)
		err = option_number(o, "--depth", 7, &depth);
	if (!err)
		err = option_seconds(o, "--ends", DELEGATE_ENDS_MAX_S, &ends_s);
	if (err)
		return err;
	json_object_set_new(body, "depth", json_integer((json_int_t)depth));
	if (ends_s)
		json_object_set_new(body, "ends_in_s", json_integer(ends_s));
	return NULL;
}

struct writ_err *
delegate_body(const struct options *o, bool by_agent, json_t *body)
{
	struct writ_err *err = agent_of(o, body);

	if (!err)
		err = delegate_terms(o, body);
	if (err)
		return err;
	if (by_agent && (option_given(o, "--task") || option_given(o, "--purpose")))
		return writ_fail(
			WRIT_INVALID,
			"--task and --purpose belong to whoever opens the task; an agent delegates within its own");
	if (option_given(o, "--task"))
		json_object_set_new(body, "id", json_string(option(o, "--task")));
	if (option_given(o, "--purpose"))
		json_object_set_new(body, "purpose", json_string(option(o, "--purpose")));
	return NULL;
}

static int
told(const struct options *o, const struct api_answer *answer)
{
	const int code = api_verdict("delegate", answer);

	if (code != CLI_DONE || api_printed_json(o, answer))
		return code;
	if (answer->status == 202) { /* done as asked: others have the next word */
		approvals_say_pending(answer->json);
		return CLI_DONE;
	}
	cli_say("task", "%s", api_text(answer->json, "task"));
	cli_say("edge", "%s", api_text(answer->json, "edge"));
	cli_say("agent", "%s", api_text(answer->json, "agent"));
	cli_say("depth", "%lld more", api_number(answer->json, "depth"));
	cli_say("ends", "%s", api_text(answer->json, "not_after"));
	cli_say("allowed by", "rule %s", api_text(answer->json, "rule"));
	return CLI_DONE;
}

/* One line of a file: a compact JWS. */
static struct writ_err *
grant_read(const struct options *o, json_t *body)
{
	const char *path = option(o, "--grant");
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(JWS_MAX + 1);
	struct writ_err *err = file_read(path, FILE_ANY, &text);

	if (err)
		return err;
	if (text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	json_object_set_new(body, "grant", json_stringn((const char *)text.data, text.len));
	if (!json_object_get(body, "grant"))
		return writ_fail(WRIT_INVALID, "%s: not a grant in compact form, as writ grant writes it", path);
	return NULL;
}

/* A token, on a line of its own or not, and the exact bytes of its grant. */
static struct writ_err *
token_read(const struct options *o, json_t *body)
{
	AUTO(writ_buf_done)
	struct writ_buf token = WRIT_BUF(TOKEN_MAX), grant = WRIT_BUF(GRANT_BODY_MAX),
			text = WRIT_BUF(2 * GRANT_BODY_MAX);
	struct writ_err *err = file_read(option(o, "--id-token"), FILE_ANY, &token);

	if (!err)
		err = file_read(option(o, "--grant-body"), FILE_ANY, &grant);
	if (!err)
		err = writ_base64url(writ_view(&grant), &text);
	if (err)
		return err;
	while (token.len > 0 && strchr("\r\n", token.data[token.len - 1]))
		token.len--;
	json_object_set_new(body, "id_token", json_stringn((const char *)token.data, token.len));
	json_object_set_new(body, "grant_body", json_stringn((const char *)text.data, text.len));
	if (!json_object_get(body, "id_token"))
		return writ_fail(WRIT_INVALID, "%s: not an ID token in compact form", option(o, "--id-token"));
	return NULL;
}

/* writ delegate --grant FILE, or --id-token FILE: whoever submits it, the signature inside says who delegates. */
static int
submit(int argc, char **argv, const struct option_spec *of, size_t n_of,
       struct writ_err *(*fill)(const struct options *, json_t *))
{
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct options o;
	struct writ_err *err = options_read(argc, argv, of, n_of, 0, &o);
	json_t *body;

	if (err)
		return cli_misused("delegate", err);
	body = json_object();
	err = fill(&o, body);
	if (err) {
		json_decref(body);
		return cli_fail("delegate", err);
	}
	err = api_ask_json(&o, "POST", "/v1/tasks", body, &answer);
	return err ? cli_fail("delegate", err) : told(&o, &answer);
}

static bool
has(int argc, char **argv, const char *name)
{
	const size_t len = strlen(name);

	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], name, len) == 0 && (argv[i][len] == '\0' || argv[i][len] == '='))
			return true;
	return false;
}

int
cmd_delegate(int argc, char **argv)
{
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct options o;
	struct writ_err *err;
	json_t *body;
	bool by_agent;

	if (has(argc, argv, "--grant"))
		return submit(argc, argv, grant_specs, N_OF(grant_specs), grant_read);
	if (has(argc, argv, "--id-token"))
		return submit(argc, argv, token_specs, N_OF(token_specs), token_read);
	err = options_read(argc, argv, specs, N_OF(specs), 0, &o);
	if (err)
		return cli_misused("delegate", err);
	if (!option_given(&o, "--cert"))
		return cli_misused(
			"delegate",
			writ_fail(WRIT_INVALID, "--cert is missing: who delegates?  it may also come from WRIT_CERT"));
	by_agent = keys_is_leaf(option(&o, "--cert"));
	body = json_object();
	err = delegate_body(&o, by_agent, body);
	if (err) {
		json_decref(body);
		return cli_misused("delegate", err);
	}
	err = api_ask_json(&o, "POST", by_agent ? "/v1/delegations" : "/v1/tasks", body, &answer);
	return err ? cli_fail("delegate", err) : told(&o, &answer);
}
