/*
 * Reading a leaf's file.
 */
#include "issuer/cli/chain.h"

#include "base/file.h"
#include "issuer/x509/ca.h"

void
chain_done(struct chain *c)
{
	writ_buf_done(&c->leaf);
	writ_buf_done(&c->issuing);
}

struct writ_err *
chain_read(const char *path, struct chain *ret)
{
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(CHAIN_MAX);
	struct writ_bytes rest;
	struct writ_err *err = file_read(path, FILE_ANY, &file);

	*ret = (struct chain){ .leaf = WRIT_BUF(CHAIN_MAX), .issuing = WRIT_BUF(CHAIN_MAX), .n = 1 };
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
