/*
 * libwrit's answers on standard input and output, for holding it against other verifiers (tests/vectors/README.md).
 *
 * usage: judge
 *
 * One command a line, words with one space between; octets and texts are hexadecimal, "-" stands for none.  One line
 * answers each: the refusal's name, the rule, and what else there is, with tabs between.
 *
 *	new					a verifier that trusts nothing yet
 *	anchor CERTIFICATE TRUST-DOMAIN
 *	option NAME VALUE			ALLOW_SOFTWARE 1
 *	identity RESOURCE | policy DIGEST | acr TEXT
 *	issuing CERTIFICATE NOW | crl CRL NOW
 *	verify NOW OCSP LEAF CERTIFICATE...	OK, "", when to ask again
 *	json					of the leaf verified last: OK, "", the view
 *	allow NOW PEER ACTION RESOURCE [NAME VALUE]...	OK, "", the entitlement's index
 *	within PARENT CHILD			DER HopGrants: OK or REJECT (not canonical) or DENY, the rule, the child
 *						with what it inherits
 *
 *	decide ACT DELEGATOR KIND AGENT CHILD DEPTH EDGE-ENDS TASK-ENDS LIFETIME
 *	       PARENT PARENT-DEPTH PARENT-HOP-ENDS PARENT-NEWEST-LEAF POLICY NOW
 *						ALLOW, DENY or RETRY, the rule, the leaf's notAfter
 *
 * The library's public header does all but the last two, which ask policy/ as the issuer does.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "issuer/x509/delegation.h"
#include "issuer/x509/writ.h"
#include "policy/policy.h"

#define WORDS_MAX 160		  /* of a line: 64 parameters have 128 */
#define ARENA_MAX (1024 * 1024)	  /* bytes, of one grant */
#define CHILD_MAX (2 * 16 * 1024) /* bytes: a HopGrant and what it inherits */

struct judge {
	struct writ_verifier *verifier;
	struct writ_agent *agent;
};

struct line {
	size_t n;
	char *word[WORDS_MAX];
};

static _Noreturn void
die(const char *what, const char *word)
{
	fprintf(stderr, "judge: %s: '%.80s'\n", what, word);
	exit(2);
}

static void
answer(const char *code, const char *rule, const char *more)
{
	printf("%s\t%s\t%s\n", code, rule, more);
}

static void
answer_refusal(enum writ_refusal refusal, const struct writ_why *why)
{
	answer(writ_refusal_name(refusal), refusal ? why->rule : "", refusal ? why->text : "");
}

static const char *
word(const struct line *line, size_t i)
{
	if (i >= line->n)
		die("a word is missing after", line->word[0]);
	return line->word[i];
}

static int64_t
number(const struct line *line, size_t i)
{
	const char *text = word(line, i);
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || end == text || *end)
		die("not a number", text);
	return value;
}

/* Hex is decoded where it stands, which has room for it and a NUL. */
static struct writ_bytes
octets(const struct line *line, size_t i)
{
	char *text = line->word[i < line->n ? i : 0];
	const size_t len = strlen(word(line, i)) / 2;

	if (strcmp(text, "-") == 0)
		return (struct writ_bytes){ 0 };
	if (strlen(text) % 2 || !writ_unhex(writ_str(text), (uint8_t *)text, len))
		die("not hexadecimal", text);
	text[len] = '\0';
	return (struct writ_bytes){ (const uint8_t *)text, len };
}

static const char *
text(const struct line *line, size_t i)
{
	const struct writ_bytes bytes = octets(line, i);

	return bytes.data ? (const char *)bytes.data : "";
}

static void
judge_done(struct judge *judge)
{
	writ_agent_free(judge->agent);
	writ_verifier_free(judge->verifier);
	*judge = (struct judge){ 0 };
}

/* ---- commands ---- */

static void
do_new(struct judge *judge, const struct line *line)
{
	(void)line;
	judge_done(judge);
	judge->verifier = writ_verifier_new();
	answer(judge->verifier ? "OK" : "MEMORY", "", "");
}

static void
do_anchor(struct judge *judge, const struct line *line)
{
	const struct writ_bytes der = octets(line, 1);
	struct writ_why why = { 0 };

	answer_refusal(writ_verifier_anchor(judge->verifier, der.data, der.len, text(line, 2), &why), &why);
}

static void
do_option(struct judge *judge, const struct line *line)
{
	static const struct {
		const char *name;
		enum writ_option option;
	} options[] = {
		{ "ALLOW_SOFTWARE", WRIT_ALLOW_SOFTWARE },
		{ "ANY_AUDIENCE", WRIT_ANY_AUDIENCE },
		{ "DEMAND_STATUS", WRIT_DEMAND_STATUS },
		{ "SOFT_FAIL", WRIT_SOFT_FAIL },
		{ "ALLOW_NO_REV", WRIT_ALLOW_NO_REV },
		{ "DEMAND_HUMAN", WRIT_DEMAND_HUMAN },
		{ "HOPS_MAX", WRIT_HOPS_MAX },
		{ "DEMAND_ATTESTED", WRIT_DEMAND_ATTESTED },
		{ "DEMAND_CA_STATUS", WRIT_DEMAND_CA_STATUS },
	};
	struct writ_why why = { 0 };

	for (size_t i = 0; i < N_OF(options); i++) {
		if (strcmp(options[i].name, word(line, 1)) != 0)
			continue;
		answer_refusal(writ_verifier_set(judge->verifier, options[i].option, (int)number(line, 2), &why), &why);
		return;
	}
	die("no such option", word(line, 1));
}

static void
do_identity(struct judge *judge, const struct line *line)
{
	struct writ_why why = { 0 };

	answer_refusal(writ_verifier_identity(judge->verifier, text(line, 1), &why), &why);
}

static void
do_policy(struct judge *judge, const struct line *line)
{
	const struct writ_bytes digest = octets(line, 1);
	struct writ_why why = { 0 };

	if (digest.len != 32)
		die("not a digest of 32 octets", word(line, 1));
	answer_refusal(writ_verifier_policy(judge->verifier, digest.data, &why), &why);
}

static void
do_acr(struct judge *judge, const struct line *line)
{
	struct writ_why why = { 0 };

	answer_refusal(writ_verifier_acr(judge->verifier, text(line, 1), &why), &why);
}

static void
do_issuing(struct judge *judge, const struct line *line)
{
	const struct writ_bytes der = octets(line, 1);
	struct writ_why why = { 0 };

	answer_refusal(writ_verifier_issuing(judge->verifier, der.data, der.len, number(line, 2), &why), &why);
}

static void
do_crl(struct judge *judge, const struct line *line)
{
	const struct writ_bytes der = octets(line, 1);
	struct writ_why why = { 0 };

	answer_refusal(writ_verifier_crl(judge->verifier, der.data, der.len, number(line, 2), &why), &why);
}

static void
do_verify(struct judge *judge, const struct line *line)
{
	const struct writ_bytes ocsp = octets(line, 2);
	struct writ_presented presented = { .ocsp = { ocsp.data, ocsp.len } };
	struct writ_why why = { 0 };
	enum writ_refusal refusal;
	char until[24];

	for (size_t i = 3; i < line->n && presented.n < WRIT_CHAIN_MAX; i++) {
		const struct writ_bytes der = octets(line, i);

		presented.certificate[presented.n++] = (struct writ_bytes_in){ der.data, der.len };
	}
	writ_agent_free(judge->agent);
	refusal = writ_verify(judge->verifier, &presented, number(line, 1), &judge->agent, &why);
	if (refusal) {
		answer_refusal(refusal, &why);
		return;
	}
	(void)snprintf(until, sizeof(until), "%" PRId64, writ_agent_expires_at(judge->agent));
	answer("OK", "", until);
}

static void
do_json(struct judge *judge, const struct line *line)
{
	(void)line;
	answer(judge->agent ? "OK" : "MISUSE", "", judge->agent ? writ_agent_json(judge->agent) : "");
}

static void
do_allow(struct judge *judge, const struct line *line)
{
	const struct writ_bytes peer = octets(line, 2);
	struct writ_parameter parameters[WORDS_MAX / 2];
	struct writ_request request = {
		.action = text(line, 3),
		.resource = text(line, 4),
		.peer = peer.data,
		.peer_len = peer.len,
		.parameters = parameters,
	};
	struct writ_why why = { 0 };
	enum writ_refusal refusal;
	unsigned entitlement = 0;
	char index[16];

	for (size_t i = 5; i < line->n; i += 2)
		parameters[request.n_parameters++] = (struct writ_parameter){ text(line, i), text(line, i + 1) };
	refusal = writ_allow(judge->agent, &request, number(line, 1), &entitlement, &why);
	if (refusal) {
		answer_refusal(refusal, &why);
		return;
	}
	(void)snprintf(index, sizeof(index), "%u", entitlement);
	answer("OK", "", index);
}

/* Takes `err`. */
static void
answer_error(struct writ_err *err)
{
	char why[400], rule[8] = "";

	writ_err_text(err, why, sizeof(why));
	if (why[0] == 'E')
		(void)snprintf(rule, sizeof(rule), "%.*s", (int)strcspn(why, ":"), why);
	writ_err_free(err);
	answer("REJECT", rule, why);
}

static struct writ_err *
within(const struct line *line, struct writ_arena *arena, struct writ_buf *child_der, struct excess *ret)
{
	struct grant parent, child, inherited;
	struct writ_err *err;

	err = hop_grant_read(octets(line, 1), arena, &parent);
	if (!err)
		err = hop_grant_read(octets(line, 2), arena, &child);
	if (!err)
		err = grant_inherit(&child, &parent, arena, &inherited);
	if (!err)
		err = hop_grant_write(&inherited, child_der);
	if (!err)
		grant_excess(&inherited, &parent, false, ret);
	return err;
}

static void
do_within(struct judge *judge, const struct line *line)
{
	static char hex[2 * CHILD_MAX + 1];
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ARENA_MAX);
	AUTO(writ_buf_done) struct writ_buf child = WRIT_BUF(CHILD_MAX);
	struct excess excess = { 0 };
	struct writ_err *err = within(line, &arena, &child, &excess);

	(void)judge;
	if (err)
		answer_error(err);
	else if (excess.rule)
		answer("DENY", excess.rule, excess.value);
	else
		answer("OK", "", writ_hex(writ_view(&child), hex));
}

static enum policy_act
act_named(const char *name)
{
	if (strcmp(name, "delegate") == 0)
		return ACT_DELEGATE;
	if (strcmp(name, "issue") == 0)
		return ACT_ISSUE;
	if (strcmp(name, "renew") != 0)
		die("no such act", name);
	return ACT_RENEW;
}

static struct writ_err *
decide(const struct line *line, struct writ_arena *arena, struct verdict *ret)
{
	AUTO(policy_freep) struct policy *policy = NULL;
	struct grant child, grant;
	struct policy_parent parent = {
		.grant = &grant,
		.depth_remaining = (unsigned)number(line, 11),
		.hop_not_after = number(line, 12),
		.newest_leaf = number(line, 13),
	};
	struct policy_facts facts = {
		.act = act_named(word(line, 1)),
		.delegator = octets(line, 2),
		.agent = octets(line, 4),
		.grant = &child,
		.depth = (unsigned)number(line, 6),
		.edge_not_after = number(line, 7),
		.task_ends = number(line, 8),
		.lifetime_s = (uint32_t)number(line, 9),
		.parent = &parent,
		.parent_liveness = true,
	};
	struct writ_err *err;

	if (!principal_kind_from(writ_str(word(line, 3)), &facts.delegator_kind))
		die("no such kind", word(line, 3));
	err = hop_grant_read(octets(line, 5), arena, &child);
	if (!err)
		err = hop_grant_read(octets(line, 10), arena, &grant);
	if (!err)
		err = policy_parse("policy", octets(line, 14), &policy);
	if (!err)
		policy_decide(policy, &facts, number(line, 15), ret);
	return err;
}

static void
do_decide(struct judge *judge, const struct line *line)
{
	static const char *const names[] = {
		[VERDICT_DENY] = "DENY", [VERDICT_ALLOW] = "ALLOW", [VERDICT_RETRY] = "RETRY"
	};
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ARENA_MAX);
	struct verdict verdict = { 0 };
	struct writ_err *err = decide(line, &arena, &verdict);
	char until[24];

	(void)judge;
	if (err) {
		answer_error(err);
		return;
	}
	(void)snprintf(until, sizeof(until), "%" PRId64, verdict.not_after);
	answer(names[verdict.kind], verdict.rule, verdict.kind == VERDICT_ALLOW ? until : verdict.value);
}

static const struct {
	const char *name;
	void (*run)(struct judge *, const struct line *);
} commands[] = {
	{ "new", do_new },	 { "anchor", do_anchor }, { "option", do_option },   { "identity", do_identity },
	{ "policy", do_policy }, { "acr", do_acr },	  { "issuing", do_issuing }, { "crl", do_crl },
	{ "verify", do_verify }, { "json", do_json },	  { "allow", do_allow },     { "within", do_within },
	{ "decide", do_decide },
};

static void
obey(struct judge *judge, char *text_line)
{
	struct line line = { 0 };

	for (char *rest = text_line, *one; (one = strsep(&rest, " ")) && line.n < WORDS_MAX;)
		line.word[line.n++] = one;
	for (size_t i = 0; i < N_OF(commands); i++) {
		if (strcmp(commands[i].name, line.word[0]) != 0)
			continue;
		commands[i].run(judge, &line);
		return;
	}
	die("no such command", line.word[0]);
}

int
main(void)
{
	struct judge judge = { 0 };
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while ((len = getline(&line, &size, stdin)) > 0) {
		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		obey(&judge, line);
	}
	free(line);
	judge_done(&judge);
	return fflush(stdout) == 0 ? 0 : 1;
}
