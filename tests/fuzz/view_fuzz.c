/*
 * Input: a leaf.  Whatever the strict reader takes prints as JSON that another parser takes, without a name twice, and
 * that says of principals, task, audience and scope what was read.  (Signatures are not looked at: they would keep
 * every mutation out.)
 */
#include <string.h>

#include <jansson.h>

#include "issuer/x509/verify.h"
#include "tests/fuzz/fuzz.h"

static bool
says(const json_t *json, struct writ_bytes text)
{
	return json_is_string(json) && json_string_length(json) == text.len &&
	       memcmp(json_string_value(json), text.data, text.len) == 0;
}

static void
check_actors(const json_t *json, const struct leaf *leaf)
{
	const struct delegation *d = &leaf->delegation;
	const json_t *act = json_object_get(json, "act");

	FUZZ_CHECK(says(json_object_get(json, "sub"), d->hops[0].principal));
	FUZZ_CHECK(says(json_object_get(act, "sub"), leaf->san));
	for (size_t i = d->n_hops - 1; i > 0; i--) {
		act = json_object_get(act, "act");
		FUZZ_CHECK(says(json_object_get(act, "sub"), d->hops[i].principal));
	}
	FUZZ_CHECK(!json_object_get(act, "act"));
}

static void
check_list(const json_t *json, const struct texts *texts)
{
	FUZZ_CHECK(json_array_size(json) == texts->n);
	for (size_t i = 0; i < texts->n; i++)
		FUZZ_CHECK(says(json_array_get(json, i), texts->list[i]));
}

static void
check_scope(const json_t *json, const struct grant *grant)
{
	const json_t *details = json_object_get(json, "authorization_details");

	FUZZ_CHECK(json_array_size(details) == grant->n_entitlements);
	for (size_t i = 0; i < grant->n_entitlements; i++) {
		const struct entitlement *e = &grant->entitlements[i];
		const json_t *entry = json_array_get(details, i);

		check_list(json_object_get(entry, "actions"), &e->actions);
		check_list(json_object_get(entry, "resources"), &e->resources);
		FUZZ_CHECK(json_is_true(json_object_get(entry, "delegable")) == e->delegable);
		FUZZ_CHECK(json_array_size(json_object_get(entry, "constraints")) ==
			   grant->constraints.n + e->constraints.n);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct writ_arena arena = WRIT_ARENA(64 * 1024);
	struct writ_buf text = WRIT_BUF(1024 * 1024);
	struct leaf leaf;
	json_t *json;

	if (fuzz_accepted(leaf_read((struct writ_bytes){ data, len }, &arena, &leaf))) {
		FUZZ_CHECK(fuzz_accepted(leaf_json(&leaf, (struct writ_bytes){ data, len }, &text)));
		FUZZ_CHECK(!memchr(text.data, '\n', text.len) && !memchr(text.data, '\0', text.len));
		json = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
		FUZZ_CHECK(json != NULL);
		check_actors(json, &leaf);
		check_list(json_object_get(json, "aud"), &leaf.delegation.grant.audience);
		check_scope(json, &leaf.delegation.grant);
		json_decref(json);
	}
	writ_buf_done(&text);
	writ_arena_done(&arena);
	return 0;
}
