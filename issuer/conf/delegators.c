/*
 * writ.yaml: delegators.  Who may ask with a certificate of their own, and what that certificate's holder is called.
 */
#include <stdio.h>

#include "issuer/conf/reader.h"

#define PRINCIPAL_MAX 512 /* delegation.md 7 */
#define DELEGATORS_MAX 32

static const char segment_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

static struct writ_err *
template_fail(const struct conf_reader *r, const struct yaml_node *node, const char *text, const char *why)
{
	return yaml_fail(r->yaml, node, "delegators.principal: found \"%.60s\": %s", text, why);
}

/*
 * "spiffe://TD/human/ALIAS/{...}" or "spiffe://TD/service/.../{...}/...", or {SAN:URI} alone.  The placeholder fills a
 * whole segment, so that no certificate can put a slash, or half of another name, into a principal (delegation.md 7).
 */
static struct writ_err *
template_check(const struct conf_reader *r, const struct yaml_node *node, const char *text, enum conf_kind kind)
{
	static const char *const placeholders[] = { "{CN}", "{SAN:URI}", "{SAN:email}", "{SAN:dns}" };
	const char *kind_name = kind == CONF_HUMAN ? "human" : "service";
	char prefix[16 + TRUST_DOMAIN_MAX + 16];
	unsigned n_segments = 0, n_placeholders = 0;
	bool first_is_placeholder = false;
	const char *at, *end;

	if (strcmp(text, "{SAN:URI}") == 0)
		return NULL;
	if (strlen(text) > PRINCIPAL_MAX)
		return template_fail(r, node, text, "over the 512 bytes of a principal");
	snprintf(prefix, sizeof(prefix), "spiffe://%s/%s/", r->conf->trust_domain, kind_name);
	if (strncmp(text, prefix, strlen(prefix)) != 0)
		return yaml_fail(r->yaml, node, "delegators.principal: found \"%.60s\", wanted {SAN:URI} or %s...",
				 text, prefix);

	for (at = text + strlen(prefix);; at = end + 1) {
		const size_t len = strcspn(at, "/");
		bool placeholder = false;

		end = at + len;
		for (size_t i = 0; i < N_OF(placeholders); i++)
			placeholder |= len == strlen(placeholders[i]) && memcmp(at, placeholders[i], len) == 0;
		if (!placeholder && (len == 0 || strspn(at, segment_chars) < len))
			return template_fail(
				r, node, text,
				"a segment is one of {CN} {SAN:URI} {SAN:email} {SAN:dns}, or of A-Z a-z 0-9 . _ -");
		if ((len == 1 && at[0] == '.') || (len == 2 && memcmp(at, "..", 2) == 0))
			return template_fail(r, node, text, "a segment is . or ..");
		if (n_segments++ == 0)
			first_is_placeholder = placeholder;
		n_placeholders += placeholder;
		if (*end == '\0')
			break;
	}
	if (n_placeholders != 1)
		return template_fail(r, node, text, "wanted is exactly one placeholder");
	if (kind == CONF_HUMAN && (n_segments != 2 || first_is_placeholder))
		return template_fail(r, node, text, "a human is .../human/ALIAS/{...}");
	return NULL;
}

static struct writ_err *
read_revocation(const struct conf_reader *r, const struct yaml_node *map, struct conf_delegators *ret)
{
	static const char *const keys[] = { "crl", "ocsp", "max_age", NULL };
	struct yaml_node *node, *age;
	const char *fault;
	struct writ_bytes text;
	struct writ_err *err;

	node = yaml_get(map, "revocation");
	if (!node)
		return yaml_fail(r->yaml, map,
				 "delegators.revocation is missing: say none, {crl: FILE, max_age: DURATION} or {ocsp: URL, max_age: DURATION}");
	if (node->kind == YAML_TEXT) {
		err = yaml_text(r->yaml, node, "delegators.revocation", &text);
		if (err)
			return err;
		if (!writ_equal(text, WRIT_LIT("none")))
			return yaml_fail(
				r->yaml, node,
				"delegators.revocation: found \"%.*s\", wanted none, {crl: FILE, max_age: DURATION} "
				"or {ocsp: URL, max_age: DURATION}",
				WRIT_FMT(text));
		ret->revocation = CONF_REVOCATION_NONE;
		return NULL;
	}
	err = yaml_kind_is(r->yaml, node, "delegators.revocation", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, node, keys);
	if (err)
		return err;
	if (yaml_get(node, "crl") && yaml_get(node, "ocsp"))
		return yaml_fail(r->yaml, node, "delegators.revocation has both crl and ocsp, wanted is one");
	ret->revocation = yaml_get(node, "ocsp") ? CONF_REVOCATION_OCSP : CONF_REVOCATION_CRL;
	if (ret->revocation == CONF_REVOCATION_OCSP)
		err = conf_text(r, node, "delegators.revocation.ocsp", READER_NEEDED, &ret->ocsp);
	else
		err = conf_file_path(r, node, "delegators.revocation.crl", &ret->crl);
	if (err)
		return err;
	fault = ret->ocsp ? conf_url_fault(ret->ocsp, false, true) : NULL;
	if (fault)
		return yaml_fail(r->yaml, yaml_get(node, "ocsp"), "delegators.revocation.ocsp: found \"%.80s\": %s",
				 ret->ocsp, fault);
	err = conf_find(r, node, "delegators.revocation.max_age", READER_NEEDED, &age);
	if (err)
		return err;
	if (ret->ocsp)
		return yaml_duration(r->yaml, age, "delegators.revocation.max_age", 10, 86400, &ret->ocsp_max_age_s);
	return yaml_duration(r->yaml, age, "delegators.revocation.max_age", 60, 30 * 86400, &ret->crl_max_age_s);
}

static struct writ_err *
read_delegator(const struct conf_reader *r, const struct yaml_node *map, struct conf_delegators *ret)
{
	static const char *const keys[] = { "anchors", "kind", "principal", "revocation", NULL };
	struct yaml_node *node;
	struct writ_err *err;
	bool service;

	ret->line = map->line;
	err = yaml_kind_is(r->yaml, map, "an entry of delegators", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, map, keys);
	if (err)
		return err;
	err = conf_file_path(r, map, "delegators.anchors", &ret->anchors);
	if (err)
		return err;
	err = conf_find(r, map, "delegators.kind", READER_NEEDED, &node);
	if (err)
		return err;
	err = conf_word(r, node, "delegators.kind", "human", "service",
			&service); /* I7: an agent is never configured */
	if (err)
		return err;
	ret->kind = service ? CONF_SERVICE : CONF_HUMAN;
	err = conf_find(r, map, "delegators.principal", READER_NEEDED, &node);
	if (err)
		return err;
	err = conf_text_of(r, node, "delegators.principal", &ret->principal);
	if (err)
		return err;
	err = template_check(r, node, ret->principal, ret->kind);
	if (err)
		return err;
	return read_revocation(r, map, ret);
}

struct writ_err *
conf_delegators(const struct conf_reader *r, const struct yaml_node *root)
{
	struct conf *conf = r->conf;
	struct conf_delegators *all;
	struct yaml_node *list;
	struct writ_err *err;
	size_t n = 0;

	err = conf_find(r, root, "delegators", READER_NEEDED, &list);
	if (err)
		return err;
	err = yaml_kind_is(r->yaml, list, "delegators", YAML_LIST);
	if (err)
		return err;
	if (list->n_items == 0 || list->n_items > DELEGATORS_MAX)
		return yaml_fail(r->yaml, list, "delegators has %zu entries, allowed are 1 to %d", list->n_items,
				 DELEGATORS_MAX);
	all = writ_arena_take(&conf->arena, list->n_items * sizeof(*all));
	if (!all)
		return writ_fail(WRIT_EXHAUSTED, "configuration: no memory for the delegators");
	for (const struct yaml_node *node = list->first; node; node = node->next) {
		err = read_delegator(r, node, &all[n++]);
		if (err)
			return err;
	}
	conf->delegators = all;
	conf->n_delegators = n;
	return NULL;
}
