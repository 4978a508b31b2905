/*
 * writ custody verify: is a custody statement what it says?  Offline: files in, one line a claim out.
 *
 * Exit 0: everything that can be proved is; 3: nothing is wrong, but some of it rests on the host's or the token's word
 * (--accept-claims takes that); 1: something is refuted, or the file is no bundle.
 */
#include <stdlib.h>

#include "base/file.h"
#include "base/text.h"
#include "hsm/statement.h"
#include "issuer/cli/custody_claims.h"
#include "issuer/cli/keys.h"
#include "issuer/x509/ca.h"

#define SECRET_MAX 1024 /* bytes of the file that `writ custody challenge` keeps */

static const char *const standings[] = { "proved", "claimed", "said", "REFUTED" };

void
claim(struct claims *claims, enum standing standing, const char *what, const char *fmt, ...)
{
	char text[1024], label[64];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	claims->claimed += standing == STANDS_CLAIMED;
	claims->refuted += standing == STANDS_REFUTED;
	if (claims->json) {
		json_array_append_new(claims->list, json_pack("{s:s, s:s, s:s}", "claim", what, "stands",
							      standings[standing], "text", text));
		return;
	}
	snprintf(label, sizeof(label), "%-8s %s", standings[standing], what);
	cli_say(label, "%s", text);
}

void
claim_refuted(struct claims *claims, const char *what, struct writ_err *err)
{
	char text[1000];

	claim(claims, STANDS_REFUTED, what, "%s", writ_err_text(err, text, sizeof(text)));
	writ_err_free(err);
}

/* ---- options ---- */

struct given {
	struct writ_arena arena;
	struct writ_buf anchor;
	struct wanted wanted;
};

static void
given_done(struct given *g)
{
	writ_secret_done(&g->wanted.secret);
	writ_buf_done(&g->anchor);
	writ_arena_done(&g->arena);
}

/* Hex of an option into the arena. */
static struct writ_err *
take_hex(struct given *g, const char *option, const char *hex, size_t min, size_t max, struct writ_bytes *ret)
{
	uint8_t bytes[ATTEST_NONCE_MAX];
	const size_t len = strlen(hex);

	if (len % 2 != 0 || len / 2 < min || len / 2 > max || !writ_unhex(writ_str(hex), bytes, len / 2))
		return writ_fail(WRIT_INVALID, "%s: %zu to %zu bytes in hex are wanted", option, min, max);
	*ret = writ_arena_copy(&g->arena, (struct writ_bytes){ bytes, len / 2 });
	return ret->data ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for options");
}

/* What `writ custody challenge` kept. */
static struct writ_err *
take_challenge(struct given *g, const char *path)
{
	static const char *const members[] = { "ak", "nonce", "secret", "version", NULL };
	struct writ_bytes secret;
	json_t *json = NULL;
	struct writ_err *err = custody_json_read(path, SECRET_MAX, members, &json);

	if (!err)
		err = custody_hex(json, "ak", TPM_NAME_LEN, TPM_NAME_LEN, &g->arena, &g->wanted.ak_name);
	if (!err)
		err = custody_hex(json, "nonce", ATTEST_NONCE_MIN, ATTEST_NONCE_MAX, &g->arena, &g->wanted.nonce);
	if (!err)
		err = custody_hex(json, "secret", ATTEST_SECRET_LEN, ATTEST_SECRET_LEN, &g->arena, &secret);
	if (!err)
		err = writ_secret_set(&g->wanted.secret, secret);
	json_decref(json);
	return err;
}

static struct writ_err *
take_policies(struct given *g, const struct options *o)
{
	const char *const *hex;
	const size_t n = option_list(o, "--policy", &hex);
	struct writ_err *err = NULL;

	for (size_t i = 0; !err && i < n; i++)
		err = take_hex(g, "--policy", hex[i], SHA256_LEN, SHA256_LEN,
			       &g->wanted.policies[g->wanted.n_policies++]);
	return err;
}

static struct writ_err *
take(struct given *g, const struct options *o)
{
	struct wanted *const w = &g->wanted;
	struct writ_err *err = writ_secret_start();

	if (!err && !option_given(o, "--nonce") == !option_given(o, "--challenge-secret"))
		err = writ_fail(WRIT_INVALID,
				"one of --nonce and --challenge-secret is wanted: a challenge has its own nonce");
	if (!err && option_given(o, "--nonce"))
		err = take_hex(g, "--nonce", option(o, "--nonce"), ATTEST_NONCE_MIN, ATTEST_NONCE_MAX, &w->nonce);
	else if (!err)
		err = take_challenge(g, option(o, "--challenge-secret"));
	if (!err)
		err = take_policies(g, o);
	if (!err)
		err = option_seconds(o, "--max-age", 10 * 366 * 86400u, &w->max_age_s);
	if (!err && option_given(o, "--anchor")) {
		size_t n;

		err = keys_certificates(option(o, "--anchor"), &g->anchor, 1, &n);
		w->anchor = writ_view(&g->anchor);
	}
	w->trust_domain = option(o, "--trust-domain");
	w->ek_roots = option(o, "--ek-roots");
	w->ek_chain = option(o, "--ek-chain");
	w->now = clock_read().wall;
	return err;
}

/* ---- the command ---- */

static int
verdict(const struct options *o, struct claims *claims)
{
	const bool accepted = claims->claimed == 0 || option_given(o, "--accept-claims");
	const char *const text = claims->refuted > 0	? "refuted"
				 : claims->claimed == 0 ? "proved"
				 : accepted		? "accepted as claimed"
							: "claimed";

	if (claims->json) {
		json_t *const all = json_pack("{s:O, s:s}", "claims", claims->list, "verdict", text);

		json_dumpf(all, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
		putchar('\n');
		json_decref(all);
	} else {
		cli_say("verdict", "%s%s", text,
			accepted || claims->refuted > 0
				? ""
				: ": what is marked so is the host's or the token's word (--accept-claims takes it)");
	}
	if (claims->refuted > 0)
		return CLI_FAILED;
	return accepted ? CLI_DONE : CLI_REFUSED;
}

int
custody_verify(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--nonce", OPTION_VALUE, false, NULL },	 { "--challenge-secret", OPTION_VALUE, false, NULL },
		{ "--ek-roots", OPTION_VALUE, false, NULL },	 { "--ek-chain", OPTION_VALUE, false, NULL },
		{ "--anchor", OPTION_VALUE, false, NULL },	 { "--trust-domain", OPTION_VALUE, false, NULL },
		{ "--policy", OPTION_LIST, false, NULL },	 { "--max-age", OPTION_VALUE, false, NULL },
		{ "--accept-claims", OPTION_FLAG, false, NULL }, { "--json", OPTION_FLAG, false, NULL },
	};
	AUTO(given_done) struct given given = { .arena = WRIT_ARENA(64 * 1024), .anchor = WRIT_BUF(CA_CERT_MAX) };
	AUTO(custody_bundle_done) struct custody_bundle bundle = { 0 };
	struct claims claims = { 0 };
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);
	int code;

	if (!err)
		err = take(&given, &o);
	if (err)
		return cli_misused("custody verify", err);
	err = custody_bundle_read(o.arguments[0], &bundle);
	if (err)
		return cli_fail("custody verify", err);
	claims.json = option_given(&o, "--json");
	claims.list = claims.json ? json_array() : NULL;
	custody_claims(&bundle, &given.wanted, &claims);
	code = verdict(&o, &claims);
	json_decref(claims.list);
	return code;
}
