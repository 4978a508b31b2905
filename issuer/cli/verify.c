/*
 * writ verify: whether a relying party should believe a leaf, and whether it allows a request.
 *
 * The answer is writ.h's; this file gathers what it needs: files, and with --status what the leaf's own URLs say.
 */
#include <arpa/inet.h>

#include "base/file.h"
#include "issuer/cli/api.h"
#include "issuer/cli/chain.h"
#include "issuer/cli/keys.h"
#include "issuer/x509/ca.h"
#include "issuer/x509/crl_index.h"
#include "issuer/x509/ocsp.h"
#include "issuer/x509/writ.h"

#define OCSP_FETCH_MAX (64 * 1024)
#define ARENA_MAX (256 * 1024)
#define PARAMETERS_MAX OPTION_VALUES_MAX

/* ---- what is held against it ---- */

struct evidence {
	struct writ_buf anchor, crl, anchor_crl, ocsp;
};

static void
evidence_done(struct evidence *e)
{
	writ_buf_done(&e->anchor);
	writ_buf_done(&e->crl);
	writ_buf_done(&e->anchor_crl);
	writ_buf_done(&e->ocsp);
}

/* A CRL's file, PEM or DER. */
static struct writ_err *
read_crl(const char *path, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(CRL_MAX);
	struct writ_bytes rest;
	struct writ_err *err = file_read(path, FILE_ANY, &file);

	if (err)
		return err;
	rest = writ_view(&file);
	if (rest.len && rest.data[0] == 0x30)
		return writ_buf_add(ret, rest);
	err = pem_read("X509 CRL", &rest, ret);
	return err ? writ_because(err, "%s", path) : NULL;
}

static struct writ_err *
fetch(struct writ_bytes url, const char *content_type, struct writ_bytes body, size_t max, struct writ_buf *ret)
{
	char text[1024];
	long status;
	struct writ_err *err;

	snprintf(text, sizeof(text), "%.*s", (int)(url.len > 1000 ? 1000 : url.len), (const char *)url.data);
	err = http_fetch(text, content_type, body, max, ret, &status);
	if (!err && status != 200)
		err = writ_fail(WRIT_UNAVAILABLE, "%s answered %ld", text, status);
	return err;
}

/* What the leaf's and the issuing CA's own URLs say now. */
static struct writ_err *
fetch_status(const struct chain *chain, const struct leaf *leaf, struct evidence *e)
{
	AUTO(writ_buf_done) struct writ_buf request = WRIT_BUF(OCSP_REQUEST_MAX);
	struct ocsp_issuer issuer;
	struct ca_cert issuing;
	struct writ_err *err;

	if (leaf->no_rev_avail)
		return writ_fail(WRIT_INVALID, "this leaf has noRevAvail: there is no status to fetch");
	err = ca_read(writ_view(&chain->issuing), &issuing);
	if (!err)
		err = ocsp_issuer_init(issuing.subject, issuing.spki, &issuer);
	if (!err)
		err = ocsp_request_build(&issuer, false, leaf->serial, (struct writ_bytes){ 0 }, &request);
	if (!err)
		err = fetch(leaf->ocsp_url, "application/ocsp-request", writ_view(&request), OCSP_FETCH_MAX, &e->ocsp);
	if (!err)
		err = fetch(leaf->crl_url, NULL, (struct writ_bytes){ 0 }, CRL_MAX, &e->crl);
	if (!err && issuing.crl_url.len)
		err = fetch(issuing.crl_url, NULL, (struct writ_bytes){ 0 }, CRL_MAX, &e->anchor_crl);
	return err;
}

static struct writ_err *
gather(const struct options *o, const struct chain *chain, const struct leaf *leaf, struct evidence *e)
{
	AUTO(writ_buf_done) struct writ_buf first = WRIT_BUF(CHAIN_MAX);
	size_t n;
	struct writ_err *err = keys_certificates(option(o, "--anchor"), &first, 1, &n);

	if (!err) /* all of them, if it is a bundle */
		err = file_read(option(o, "--anchor"), FILE_ANY, &e->anchor);
	if (!err && option_given(o, "--status"))
		err = fetch_status(chain, leaf, e);
	if (!err && option_given(o, "--crl"))
		err = read_crl(option(o, "--crl"), &e->crl);
	if (!err && option_given(o, "--anchor-crl"))
		err = read_crl(option(o, "--anchor-crl"), &e->anchor_crl);
	return err;
}

/* ---- the verifier ---- */

/* "chain: " before every refusal: what is refused is the chain in that file. */
static int
refused(const struct options *o, const struct writ_why *why)
{
	fprintf(stderr, "writ verify: %s is refused: chain: %s\n", o->arguments[0], why->text);
	return CLI_FAILED;
}

static void
verifier_freep(struct writ_verifier **v)
{
	writ_verifier_free(*v);
}

static void
agent_freep(struct writ_agent **agent)
{
	writ_agent_free(*agent);
}

/* What is trusted and demanded. */
static enum writ_refusal
configure(struct writ_verifier *v, const struct options *o, const struct evidence *e, struct writ_why *why)
{
	const bool status = option_given(o, "--status") || option_given(o, "--crl");
	const char *const *audience;
	const size_t n = option_list(o, "--audience", &audience);
	enum writ_refusal no;

	no = writ_verifier_anchor(v, e->anchor.data, e->anchor.len, option(o, "--trust-domain"), why);
	if (!no)
		no = writ_verifier_set(v, WRIT_ALLOW_SOFTWARE, option_given(o, "--allow-software"), why);
	if (!no)
		no = writ_verifier_set(v, WRIT_DEMAND_STATUS, status, why);
	if (!no)
		no = writ_verifier_set(v, WRIT_ANY_AUDIENCE, n == 0, why);
	for (size_t i = 0; !no && i < n; i++)
		no = writ_verifier_identity(v, audience[i], why);
	return no;
}

/* Lists are of CAs that are known: the issuing CA comes first. */
static enum writ_refusal
give_lists(struct writ_verifier *v, const struct chain *chain, const struct evidence *e, writ_time now,
	   struct writ_why *why)
{
	enum writ_refusal no = WRIT_OK;

	if (e->crl.len)
		no = writ_verifier_issuing(v, chain->issuing.data, chain->issuing.len, now, why);
	if (!no && e->crl.len)
		no = writ_verifier_crl(v, e->crl.data, e->crl.len, now, why);
	if (!no && e->anchor_crl.len)
		no = writ_verifier_crl(v, e->anchor_crl.data, e->anchor_crl.len, now, why);
	return no;
}

/* ---- one request ---- */

struct asked {
	struct writ_request request;
	struct writ_parameter parameters[PARAMETERS_MAX];
	char names[PARAMETERS_MAX][64 + 1]; /* no constraint has a longer one */
	uint8_t peer[sizeof(struct in6_addr)];
};

/* --param NAME=VALUE */
static struct writ_err *
read_parameters(const struct options *o, struct asked *ret)
{
	const char *const *given;
	const size_t n = option_list(o, "--param", &given);

	for (size_t i = 0; i < n; i++) {
		const char *equals = strchr(given[i], '=');
		const size_t len = equals ? (size_t)(equals - given[i]) : 0;

		if (len == 0 || len >= sizeof(ret->names[i]))
			return writ_fail(WRIT_INVALID,
					 "--param: '%.80s' is not NAME=VALUE with a name of 1 to 64 octets", given[i]);
		memcpy(ret->names[i], given[i], len);
		ret->names[i][len] = '\0';
		ret->parameters[i] = (struct writ_parameter){ ret->names[i], equals + 1 };
	}
	ret->request.parameters = ret->parameters;
	ret->request.n_parameters = n;
	return NULL;
}

static struct writ_err *
read_request(const struct options *o, struct asked *ret)
{
	const char *peer = option(o, "--peer");

	*ret = (struct asked){ .request = { .action = option(o, "--action"), .resource = option(o, "--resource") } };
	if (!ret->request.action != !ret->request.resource)
		return writ_fail(WRIT_INVALID, "--action and --resource go together: a request is one on the other");
	if (!ret->request.action && (peer || option_given(o, "--param")))
		return writ_fail(WRIT_INVALID, "--peer and --param are of a request: say its --action and --resource");
	if (peer && inet_pton(AF_INET, peer, ret->peer) == 1)
		ret->request.peer_len = 4;
	else if (peer && inet_pton(AF_INET6, peer, ret->peer) == 1)
		ret->request.peer_len = 16;
	else if (peer)
		return writ_fail(WRIT_INVALID, "--peer: '%.80s' is no IP address", peer);
	ret->request.peer = peer ? ret->peer : NULL;
	return read_parameters(o, ret);
}

/* ---- the answer ---- */

static int
answer(const struct options *o, const struct writ_agent *agent, const struct asked *asked, writ_time now,
       writ_time not_after, bool with_status)
{
	char text[WRIT_RFC3339_LEN + 1];
	struct writ_why why;
	unsigned entitlement = 0;

	if (asked->request.action && writ_allow(agent, &asked->request, now, &entitlement, &why)) {
		fprintf(stderr, "writ verify: %s is believed, but does not allow it: %s\n", o->arguments[0], why.text);
		return CLI_REFUSED;
	}
	if (option_given(o, "--json")) {
		puts(writ_agent_json(agent));
		return CLI_DONE;
	}
	cli_say("verified", "path, profile and delegation%s",
		with_status ? ", and status" : "; status was not asked for");
	cli_say("agent", "%s", writ_agent_id(agent));
	cli_say("until", "%s", writ_time_rfc3339(not_after, text));
	if (asked->request.action)
		cli_say("allowed", "%s on %s, by entitlement %u", asked->request.action, asked->request.resource,
			entitlement + 1);
	return CLI_DONE;
}

int
cmd_verify(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--anchor", OPTION_VALUE, true, NULL },	  { "--trust-domain", OPTION_VALUE, true, NULL },
		{ "--allow-software", OPTION_FLAG, false, NULL }, { "--audience", OPTION_LIST, false, NULL },
		{ "--crl", OPTION_VALUE, false, NULL },		  { "--anchor-crl", OPTION_VALUE, false, NULL },
		{ "--status", OPTION_FLAG, false, NULL },	  { "--json", OPTION_FLAG, false, NULL },
		{ "--action", OPTION_VALUE, false, NULL },	  { "--resource", OPTION_VALUE, false, NULL },
		{ "--peer", OPTION_VALUE, false, NULL },	  { "--param", OPTION_LIST, false, NULL },
	};
	AUTO(chain_done) struct chain chain = { 0 };
	AUTO(evidence_done)
	struct evidence evidence = { WRIT_BUF(CHAIN_MAX), WRIT_BUF(CRL_MAX), WRIT_BUF(CRL_MAX),
				     WRIT_BUF(OCSP_FETCH_MAX) };
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ARENA_MAX);
	AUTO(verifier_freep) struct writ_verifier *v = writ_verifier_new();
	AUTO(agent_freep) struct writ_agent *agent = NULL;
	const writ_time now = clock_read().wall;
	struct writ_presented presented;
	struct asked asked;
	struct options o;
	struct leaf leaf;
	struct writ_why why = { 0 };
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);
	enum writ_refusal no;

	if (!err && option_given(&o, "--status") && (option_given(&o, "--crl") || option_given(&o, "--anchor-crl")))
		err = writ_fail(WRIT_INVALID, "--status fetches the lists: leave --crl and --anchor-crl away");
	if (!err)
		err = read_request(&o, &asked);
	if (err)
		return cli_misused("verify", err);
	err = chain_read(o.arguments[0], &chain);
	if (!err && chain.n < 2)
		err = writ_fail(WRIT_INVALID, "%s holds no issuing CA behind the leaf: a path needs it",
				o.arguments[0]);
	if (!err)
		err = leaf_read(writ_view(&chain.leaf), &arena, &leaf);
	if (!err)
		err = gather(&o, &chain, &leaf, &evidence);
	if (!err && !v)
		err = writ_fail(WRIT_EXHAUSTED, "no memory for a verifier");
	if (err)
		return cli_fail("verify", err);
	presented = (struct writ_presented){
		.n = 2,
		.certificate = { { chain.leaf.data, chain.leaf.len }, { chain.issuing.data, chain.issuing.len } },
		.ocsp = { evidence.ocsp.data, evidence.ocsp.len },
	};
	no = configure(v, &o, &evidence, &why);
	if (!no)
		no = give_lists(v, &chain, &evidence, now, &why);
	if (!no)
		no = writ_verify(v, &presented, now, &agent, &why);
	if (no)
		return refused(&o, &why);
	return answer(&o, agent, &asked, now, leaf.not_after, evidence.ocsp.len || evidence.crl.len);
}
