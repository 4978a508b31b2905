/*
 * writ inspect: what a leaf says, in plain words or as JSON.  Nothing is verified: that is writ verify.
 */
#include "issuer/cli/chain.h"
#include "issuer/cli/cli.h"
#include "issuer/x509/verify.h"

#define ARENA_MAX (256 * 1024)
#define TEXT_MAX (1024 * 1024)

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
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(TEXT_MAX);
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
