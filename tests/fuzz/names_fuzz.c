/*
 * Input: up to three lines, each a name.  Each checker reads each line; where two are canonical, covering must be an
 * order and keep every match, and what comes apart must lie within the text.
 */
#include "policy/names.h"
#include "tests/fuzz/fuzz.h"

typedef struct writ_err *check_fn(struct writ_bytes);
typedef bool cover_fn(struct writ_bytes parent, struct writ_bytes child);

static void
fuzz_check_order(check_fn *check, cover_fn *covers, bool (*is_pattern)(struct writ_bytes),
		 const struct writ_bytes lines[3])
{
	bool canonical[3];

	for (size_t i = 0; i < 3; i++) {
		canonical[i] = fuzz_accepted(check(lines[i]));
		FUZZ_CHECK(!canonical[i] || covers(lines[i], lines[i]));
	}
	for (size_t a = 0; a < 3; a++) {
		for (size_t b = 0; b < 3; b++) {
			if (!canonical[a] || !canonical[b] || !covers(lines[a], lines[b]))
				continue;
			FUZZ_CHECK(!covers(lines[b], lines[a]) || writ_equal(lines[a], lines[b]));
			FUZZ_CHECK(is_pattern(lines[a]) || writ_equal(lines[a], lines[b]));
			for (size_t c = 0; c < 3; c++)
				FUZZ_CHECK(!canonical[c] || !covers(lines[b], lines[c]) || covers(lines[a], lines[c]));
		}
	}
}

static bool
lies_in(struct writ_bytes view, struct writ_bytes text)
{
	return view.len == 0 || (view.data >= text.data && view.data + view.len <= text.data + text.len);
}

static void
fuzz_check_spiffe(struct writ_bytes text)
{
	const bool pattern = fuzz_accepted(principal_pattern_check(text));
	struct spiffe_id id, class;

	if (!fuzz_accepted(spiffe_parse(text, &id)))
		return;
	FUZZ_CHECK(pattern && principal_matches(text, text));
	FUZZ_CHECK(lies_in(id.trust_domain, text) && lies_in(id.path, text) && lies_in(id.class_uri, text) &&
		   lies_in(id.class_name, text) && lies_in(id.instance, text));
	FUZZ_CHECK(strlen("spiffe://") + id.trust_domain.len + id.path.len == text.len);
	FUZZ_CHECK(fuzz_accepted(trust_domain_check(id.trust_domain)));
	if (id.kind != PRINCIPAL_AGENT)
		return;
	FUZZ_CHECK(fuzz_accepted(spiffe_parse(id.class_uri, &class)));
	FUZZ_CHECK(class.instance.len == 0 && writ_equal(class.class_name, id.class_name));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct writ_bytes lines[3] = { { data, 0 }, { data, 0 }, { data, 0 } };
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n' && n < 2)
			lines[++n] = (struct writ_bytes){ data + i + 1, 0 };
		else
			lines[n].len++;
	}
	fuzz_check_order(action_check, action_covers, action_is_pattern, lines);
	fuzz_check_order(resource_check, resource_covers, resource_is_pattern, lines);
	for (size_t i = 0; i < 3; i++) {
		fuzz_check_spiffe(lines[i]);
		(void)fuzz_accepted(task_id_check(lines[i]));
	}
	return 0;
}
