/*
 * The trust bundle over the API: see trust.h.
 */
#include "issuer/serve/trust.h"

#include <sys/stat.h>

#include "base/file.h"
#include "issuer/serve/work.h"
#include "issuer/x509/bundle.h"

void
trust_done(struct trust *trust)
{
	writ_buf_done(&trust->json);
	writ_buf_done(&trust->spiffe);
}

WRIT_CHECKED static struct writ_err *
file_add(const char *key, const char *path, enum bundle_state state, writ_time now, struct bundle *bundle)
{
	AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(BUNDLE_TEXT_MAX);
	struct writ_err *err;

	if (!path)
		return NULL;
	err = file_read(path, FILE_CONFIG, &pem);
	if (!err)
		err = bundle_add_pem(bundle, writ_view(&pem), state, now);
	return err ? writ_because(err, "%s %s", key, path) : NULL;
}

/* When a file was changed, if it is there. */
static void
since(struct bundle *bundle, const char *path)
{
	struct stat st;

	if (path && stat(path, &st) == 0)
		bundle_since(bundle, st.st_mtime);
}

struct writ_err *
trust_load(const struct conf *conf, struct writ_bytes own_anchor, enum leaf_tier tier, writ_time now, struct trust *ret)
{
	AUTO(bundle_done) struct bundle bundle;
	struct writ_err *err;

	*ret = (struct trust){ WRIT_BUF(BUNDLE_TEXT_MAX), WRIT_BUF(BUNDLE_TEXT_MAX) };
	bundle_init(&bundle, writ_str(conf->trust_domain));
	err = bundle_add(&bundle, own_anchor, BUNDLE_ACTIVE, tier, now);
	if (!err)
		err = file_add("custody.standby", conf->custody.standby, BUNDLE_STANDBY, now, &bundle);
	if (!err)
		err = file_add("custody.retiring", conf->custody.retiring, BUNDLE_RETIRING, now, &bundle);
	since(&bundle, conf->path);
	since(&bundle, conf->custody.standby);
	since(&bundle, conf->custody.retiring);
	if (!err)
		err = bundle_write_json(&bundle, &ret->json);
	if (!err)
		err = bundle_write_spiffe(&bundle, &ret->spiffe);
	if (err)
		trust_done(ret);
	return err ? writ_because(err, "the trust bundle") : NULL;
}

struct writ_err *
trust_show(struct work *work)
{
	work_answer(work, 200, writ_view(&work->rules->trust.json));
	return NULL;
}

struct writ_err *
trust_spiffe(struct work *work)
{
	work_answer(work, 200, writ_view(&work->rules->trust.spiffe));
	return NULL;
}
