/*
 * A relying party in a page: believes an agent's chain, or says why not, and answers one request.
 *
 *	cc relying.c $(pkg-config --cflags --libs writ) -o relying
 *	./relying anchor.pem agents.corp.example issuing.crl bot.pem https://erp.corp.example \
 *	    invoices:read https://erp.corp.example/v2/invoices/17
 *
 * Instead of the CRL, "-" asks for no status: then a revoked leaf is believed until it ends.  A server does the first
 * half once a connection and writ_allow() each request, and drops the connection at writ_agent_expires_at().
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <writ.h>

#define FILE_MAX (16 * 1024 * 1024)

static char anchor[65536], chain[65536], crl[FILE_MAX];

static size_t
read_file(const char *path, char *out, size_t max)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		return 0; /* refused as an empty one is */
	n = fread(out, 1, max, f);
	fclose(f);
	return n;
}

static enum writ_refusal
configure(struct writ_verifier *v, char **arg, const struct writ_presented *presented, int64_t now,
	  struct writ_why *why)
{
	enum writ_refusal no;

	no = writ_verifier_anchor(v, anchor, read_file(arg[1], anchor, sizeof(anchor)), arg[2], why);
	if (!no)
		no = writ_verifier_identity(v, arg[5], why);
	if (!no)
		no = writ_verifier_set(v, WRIT_ALLOW_SOFTWARE, 1, why); /* the examples run over a software TPM */
	if (no || strcmp(arg[3], "-") == 0)
		return no ? no : writ_verifier_set(v, WRIT_DEMAND_STATUS, 0, why);
	/* A list is taken once its CA is known: the one presented. */
	if (presented->n > 1)
		no = writ_verifier_issuing(v, presented->certificate[1].data, presented->certificate[1].len, now, why);
	return no ? no : writ_verifier_crl(v, crl, read_file(arg[3], crl, sizeof(crl)), now, why);
}

/* PEM: the leaf, and its issuing CA behind it. */
static void
present(const char *path, struct writ_presented *ret)
{
	const size_t len = read_file(path, chain, sizeof(chain) - 1);
	char *second = strstr(chain + 1, "-----BEGIN");

	ret->n = second ? 2 : 1;
	ret->certificate[0] = (struct writ_bytes_in){ chain, second ? (size_t)(second - chain) : len };
	ret->certificate[1] = (struct writ_bytes_in){ second, second ? strlen(second) : 0 };
}

int
main(int argc, char **argv)
{
	const int64_t now = time(NULL);
	struct writ_presented presented = { 0 };
	struct writ_verifier *v = writ_verifier_new();
	struct writ_agent *agent = NULL;
	struct writ_why why;
	enum writ_refusal no;
	unsigned entitlement = 0;

	if (argc != 8 || !v) {
		fprintf(stderr, "usage: relying ANCHOR TRUST_DOMAIN CRL|- CHAIN IDENTITY ACTION RESOURCE\n");
		return 2;
	}
	present(argv[4], &presented);
	no = configure(v, argv, &presented, now, &why);
	if (!no)
		no = writ_verify(v, &presented, now, &agent, &why);
	if (no) {
		printf("refused: %s: %s\n", writ_refusal_name(no), why.text);
	} else {
		const struct writ_request request = { .action = argv[6], .resource = argv[7] };

		printf("agent: %s\nfor: %s\ntask: %s\n", writ_agent_id(agent), writ_agent_root(agent),
		       writ_agent_task(agent));
		no = writ_allow(agent, &request, now, &entitlement, &why);
		if (no)
			printf("denied: %s: %s\n", writ_refusal_name(no), why.text);
		else
			printf("allowed: by entitlement %u\n", entitlement + 1);
	}
	writ_agent_free(agent);
	writ_verifier_free(v);
	return no ? 3 : 0;
}
