/*
 * writ inspect, writ verify: what a leaf says in plain words, and whether a relying party should believe it.
 *
 * Verification is issuer/x509/verify.h; this file only gathers what it needs: files, and with --status what the leaf's
 * own URLs answer.
 */
#include "base/file.h"
#include "issuer/cli/api.h"
#include "issuer/cli/keys.h"
#include "issuer/x509/verify.h"

#define CHAIN_MAX (64 * 1024)
#define ARENA_MAX (256 * 1024)
#define CRL_FETCH_MAX (64 * 1024 * 1024) /* bytes: a list of a million entries has 49 MB */
#define OCSP_FETCH_MAX (64 * 1024)

struct chain {
	struct writ_buf leaf, issuing, rest;
	size_t n;
};

static void
chain_done(struct chain *c)
{
	writ_buf_done(&c->leaf);
	writ_buf_done(&c->issuing);
	writ_buf_done(&c->rest);
}

/* A leaf's file: the leaf first, its issuing CA behind it unless it is a lone certificate. */
static struct writ_err *
chain_read(const char *path, struct chain *ret)
{
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(CHAIN_MAX);
	struct writ_bytes rest;
	struct writ_err *err = file_read(path, FILE_ANY, &file);

	*ret = (struct chain){
		.leaf = WRIT_BUF(CHAIN_MAX), .issuing = WRIT_BUF(CHAIN_MAX), .rest = WRIT_BUF(CHAIN_MAX), .n = 1
	};
	if (err)
		return err;
	rest = writ_view(&file);
	if (rest.len && rest.data[0] == 0x30)
		return writ_buf_add(&ret->leaf, rest);
	err = pem_read("CERTIFICATE", &rest, &ret->leaf);
	if (err)
		return writ_because(err, "%s", path);
	err = pem_read("CERTIFICATE", &rest, &ret->issuing);
	if (!err)
		ret->n = 2;
	else if (err->code == WRIT_NOT_FOUND)
		writ_err_free(TAKE(err));
	return err;
}

static int
print_buf(const char *command, struct writ_err *err, const struct writ_buf *text)
{
	if (!err)
		err = cli_write("-", 0, writ_view(text));
	return err ? cli_fail(command, err) : CLI_DONE;
}

int
cmd_inspect(int argc, char **argv)
{
	static const struct option_spec specs[] = { { "--json", OPTION_FLAG, false, NULL },
						    { "--chain", OPTION_FLAG, false, NULL } };
	AUTO(chain_done) struct chain chain = { 0 };
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ARENA_MAX);
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(ARENA_MAX);
	struct options o;
	struct leaf leaf;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (err)
		return cli_misused("inspect", err);
	err = chain_read(o.arguments[0], &chain);
	if (err)
		return cli_fail("inspect", err);
	if (option_given(&o, "--chain")) {
		if (chain.n < 2)
			return cli_fail("inspect", writ_fail(WRIT_NOT_FOUND, "%s holds no issuing CA behind the leaf",
							     o.arguments[0]));
		err = pem_write("CERTIFICATE", writ_view(&chain.issuing), &out);
		return print_buf("inspect", err, &out);
	}
	err = leaf_read(writ_view(&chain.leaf), &arena, &leaf);
	if (err)
		return cli_fail("inspect", writ_because(err, "%s is not a leaf of a Writ", o.arguments[0]));
	if (option_given(&o, "--json"))
		err = leaf_json(&leaf, writ_view(&chain.leaf), &out);
	else
		err = leaf_tell(&leaf, clock_read().wall, &out);
	if (!err && option_given(&o, "--json"))
		err = writ_buf_add(&out, WRIT_LIT("\n"));
	return print_buf("inspect", err, &out);
}

/* ---- verify ---- */

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
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(CRL_FETCH_MAX);
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
		err = fetch(leaf->crl_url, NULL, (struct writ_bytes){ 0 }, CRL_FETCH_MAX, &e->crl);
	if (!err && issuing.crl_url.len)
		err = fetch(issuing.crl_url, NULL, (struct writ_bytes){ 0 }, CRL_FETCH_MAX, &e->anchor_crl);
	return err;
}

static struct writ_err *
gather(const struct options *o, const struct chain *chain, const struct leaf *leaf, struct evidence *e)
{
	size_t n;
	struct writ_err *err = keys_certificates(option(o, "--anchor"), &e->anchor, 1, &n);

	if (!err && option_given(o, "--status"))
		err = fetch_status(chain, leaf, e);
	if (!err && option_given(o, "--crl"))
		err = read_crl(option(o, "--crl"), &e->crl);
	if (!err && option_given(o, "--anchor-crl"))
		err = read_crl(option(o, "--anchor-crl"), &e->anchor_crl);
	return err;
}

int
cmd_verify(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--anchor", OPTION_VALUE, true, NULL },	  { "--trust-domain", OPTION_VALUE, true, NULL },
		{ "--allow-software", OPTION_FLAG, false, NULL }, { "--audience", OPTION_VALUE, false, NULL },
		{ "--crl", OPTION_VALUE, false, NULL },		  { "--anchor-crl", OPTION_VALUE, false, NULL },
		{ "--status", OPTION_FLAG, false, NULL },
	};
	AUTO(chain_done) struct chain chain = { 0 };
	AUTO(evidence_done)
	struct evidence evidence = { WRIT_BUF(CHAIN_MAX), WRIT_BUF(CRL_FETCH_MAX), WRIT_BUF(CRL_FETCH_MAX),
				     WRIT_BUF(OCSP_FETCH_MAX) };
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ARENA_MAX), first = WRIT_ARENA(ARENA_MAX);
	struct verify_with with;
	struct options o;
	struct leaf leaf;
	char text[WRIT_RFC3339_LEN + 1];
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (!err && option_given(&o, "--status") && (option_given(&o, "--crl") || option_given(&o, "--anchor-crl")))
		err = writ_fail(WRIT_INVALID, "--status fetches the lists: leave --crl and --anchor-crl away");
	if (err)
		return cli_misused("verify", err);
	err = chain_read(o.arguments[0], &chain);
	if (!err && chain.n < 2)
		err = writ_fail(WRIT_INVALID, "%s holds no issuing CA behind the leaf: a path needs it",
				o.arguments[0]);
	if (!err)
		err = leaf_read(writ_view(&chain.leaf), &first, &leaf);
	if (!err)
		err = gather(&o, &chain, &leaf, &evidence);
	if (err)
		return cli_fail("verify", err);
	with = (struct verify_with){
		.anchor = writ_view(&evidence.anchor),
		.trust_domain = writ_str(option(&o, "--trust-domain")),
		.now = clock_read().wall,
		.allow_software = option_given(&o, "--allow-software"),
		.crl = writ_view(&evidence.crl),
		.anchor_crl = writ_view(&evidence.anchor_crl),
		.ocsp = writ_view(&evidence.ocsp),
		.demand_status = option_given(&o, "--status"),
		.audience = writ_str(option(&o, "--audience")),
	};
	err = verify_chain(writ_view(&chain.leaf), writ_view(&chain.issuing), &with, &arena, &leaf);
	if (err)
		return cli_fail("verify", writ_because(err, "%s is refused", o.arguments[0]));
	cli_say("verified", "path, profile and delegation%s",
		with.ocsp.len || with.crl.len ? ", and status" : "; status was not asked for");
	cli_say("agent", "%.*s", (int)leaf.san.len, (const char *)leaf.san.data);
	cli_say("until", "%s", writ_time_rfc3339(leaf.not_after, text));
	return CLI_DONE;
}
