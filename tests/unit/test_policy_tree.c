/*
 * Properties of patterns and of attenuation, by enumeration and by chance (delegation.md 9).
 *
 * Names are drawn from a small world - hosts and segments that are prefixes of one another - so that random patterns
 * meet.  Children are made from their parents, mostly narrowed, sometimes widened, and pass through grant_inherit() and
 * grant_excess() as the issuer has it: what is accepted may never allow a request that one of its ancestors denies.  Of
 * what is refused it is shown that some would have, so that the claim has teeth.
 *
 * WRIT_TREES: how many trees (100000; a million takes a debug build about a minute).  WRIT_SEED: another run than the
 * usual one.
 */
#include <inttypes.h>
#include <time.h>

#include "policy/allow.h"
#include "policy/within.h"
#include "tests/unit/policy_make.h"

#define NOW INT64_C(1795467097)
#define TREES 100000
#define REQUESTS_A_NODE 4
#define GENERATIONS 3 /* below the root */

/* ---- chance ---- */

static uint64_t seed;

/* splitmix64 */
static uint64_t
draw(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned
below(unsigned n)
{
	return (unsigned)(draw() % n);
}

static bool
chance(unsigned percent)
{
	return below(100) < percent;
}

static uint64_t
setting(const char *name, uint64_t usual)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 10) : usual;
}

/* ---- a small world ---- */

static struct writ_arena arena = { .limit = 1024 * 1024 };

static void *
room(size_t len)
{
	void *ret = writ_arena_take(&arena, len);

	assert_non_null(ret);
	return ret;
}

static struct writ_bytes
joined(struct writ_bytes a, const char *b)
{
	const size_t len = strlen(b);
	uint8_t *text = room(a.len + len);

	memcpy(text, a.data, a.len);
	memcpy(text + a.len, b, len);
	return (struct writ_bytes){ text, a.len + len };
}

/* What differs between resources and actions. */
struct names {
	const char *heads[3], *segments[3];
	const char *one, *all; /* wildcards; NULL: there is none of that reach */
	const char *fresh;     /* a segment that no pattern of ours has */
	covers_fn *covers;
	bool (*is_pattern)(struct writ_bytes);
	struct writ_err *(*check)(struct writ_bytes);
};

static const struct names resources = {
	.heads = { "https://h", "https://hh", "https://h:8443" },
	.segments = { "/a", "/b", "/ab" },
	.one = "/*",
	.all = "/**",
	.fresh = "/zz",
	.covers = resource_covers,
	.is_pattern = resource_is_pattern,
	.check = resource_check,
};

static const struct names actions = {
	.heads = { "re", "read", "write" },
	.segments = { ":a", ":b", ":ab" },
	.all = ":*",
	.fresh = ":zz",
	.covers = action_covers,
	.is_pattern = action_is_pattern,
	.check = action_check,
};

/* What stands before the wildcard. */
static struct writ_bytes
base_of(const struct names *names, struct writ_bytes pattern, const char **ret_wildcard)
{
	const char *const wildcards[] = { names->all, names->one };

	*ret_wildcard = NULL;
	for (size_t i = 0; i < N_OF(wildcards) && !*ret_wildcard; i++) {
		const size_t len = wildcards[i] ? strlen(wildcards[i]) : 0;

		if (len && pattern.len > len && memcmp(pattern.data + pattern.len - len, wildcards[i], len) == 0) {
			*ret_wildcard = wildcards[i];
			pattern.len -= len;
		}
	}
	return pattern;
}

static struct writ_bytes
deeper(const struct names *names, struct writ_bytes name, unsigned most)
{
	for (unsigned n = below(most + 1); n > 0; n--)
		name = joined(name, names->segments[below(3)]);
	return name;
}

/* With a wildcard or without. */
static struct writ_bytes
ended(const struct names *names, struct writ_bytes name)
{
	if (names->all && chance(35))
		return joined(name, names->all);
	return names->one && chance(25) ? joined(name, names->one) : name;
}

static struct writ_bytes
any_pattern(const struct names *names)
{
	return ended(names, deeper(names, writ_str(names->heads[chance(70) ? 0 : below(3)]), 3));
}

/* One of the names that a pattern matches. */
static struct writ_bytes
match_of(const struct names *names, struct writ_bytes pattern)
{
	const char *wildcard;
	struct writ_bytes name = base_of(names, pattern, &wildcard);

	if (!wildcard)
		return name;
	name = joined(name, names->segments[below(3)]);
	return wildcard == names->all ? deeper(names, name, 2) : name;
}

/* Inside a pattern for the most part: itself, one of its matches, a pattern below it. */
static struct writ_bytes
narrowed(const struct names *names, struct writ_bytes pattern)
{
	const char *wildcard;
	const struct writ_bytes base = base_of(names, pattern, &wildcard);

	if (chance(35) || !wildcard)
		return pattern;
	if (wildcard == names->all && chance(50))
		return ended(names, joined(deeper(names, base, 1), names->segments[below(3)]));
	return match_of(names, pattern);
}

/* ---- patterns ---- */

/* Every pattern of up to two segments under two heads. */
static size_t
all_patterns(const struct names *names, struct writ_bytes *ret, size_t max)
{
	size_t n = 0;

	for (unsigned head = 0; head < 2; head++) {
		for (unsigned path = 0; path < 1 + 3 + 9; path++) {
			struct writ_bytes base = writ_str(names->heads[head]);

			if (path >= 4)
				base = joined(base, names->segments[(path - 4) / 3]);
			if (path >= 1)
				base = joined(base, names->segments[(path - 1) % 3]);
			assert_true(n + 3 <= max);
			ret[n++] = base;
			ret[n++] = joined(base, names->all);
			if (names->one)
				ret[n++] = joined(base, names->one);
		}
	}
	return n;
}

static void
covers_is_a_partial_order(const struct names *names)
{
	struct writ_bytes p[80];
	const size_t n = all_patterns(names, p, N_OF(p));
	size_t pairs = 0, chains = 0;

	for (size_t i = 0; i < n; i++) {
		expect_ok(names->check(p[i]));
		assert_true(names->covers(p[i], p[i])); /* reflexive */
		for (size_t j = 0; j < n; j++) {
			if (i == j || !names->covers(p[i], p[j]))
				continue;
			pairs++;
			assert_false(names->covers(p[j], p[i])); /* antisymmetric */
			for (size_t k = 0; k < n; k++) {
				if (!names->covers(p[j], p[k]))
					continue;
				chains++;
				assert_true(names->covers(p[i], p[k])); /* transitive */
			}
		}
	}
	assert_true(pairs > n && chains > pairs);
	writ_arena_clear(&arena);
}

static void
covers_is_reflexive_antisymmetric_and_transitive_on_all_small_patterns(void **state)
{
	(void)state;
	covers_is_a_partial_order(&actions);
	covers_is_a_partial_order(&resources);
}

/* Exactly: what is covered is matched name by name, and of what is not, a name of a fresh segment is not matched. */
static void
check_meaning(const struct names *names, struct writ_bytes p, struct writ_bytes c)
{
	const char *wildcard;
	const struct writ_bytes base = base_of(names, c, &wildcard);
	const struct writ_bytes one = wildcard ? joined(base, names->fresh) : c;
	const struct writ_bytes two = wildcard == names->all && wildcard ? joined(one, names->fresh) : one;
	bool all = names->covers(p, one) && names->covers(p, two);

	for (unsigned i = 0; i < 8; i++) {
		const struct writ_bytes match = match_of(names, c);

		assert_false(names->is_pattern(match));
		assert_true(names->covers(c, match));
		if (names->covers(p, c))
			assert_true(names->covers(p, match));
	}
	assert_int_equal(names->covers(p, c), all);
}

static void
a_pattern_covers_another_exactly_when_it_matches_every_name_that_the_other_matches(void **state)
{
	unsigned covered = 0;

	(void)state;
	for (unsigned i = 0; i < 50000; i++) {
		const struct names *names = i % 2 ? &actions : &resources;
		const struct writ_bytes p = any_pattern(names);
		const struct writ_bytes c = chance(50) ? narrowed(names, p) : any_pattern(names);

		expect_ok(names->check(p));
		expect_ok(names->check(c));
		check_meaning(names, p, c);
		covered += names->covers(p, c);
		writ_arena_clear(&arena);
	}
	print_message("covered %u of 50000 pairs\n", covered);
	assert_true(covered > 10000 && covered < 40000);
}

/* ---- grants ---- */

static const struct writ_bytes *
one_text(struct writ_bytes text)
{
	struct writ_bytes *list = room(sizeof(*list));

	*list = text;
	return list;
}

/* 10.0.0.0/8 and what lies in it, and one network elsewhere. */
static struct writ_bytes
any_net(void)
{
	static const uint8_t nets[][8] = {
		{ 10, 0, 0, 0, 255, 0, 0, 0 },
		{ 10, 1, 0, 0, 255, 255, 0, 0 },
		{ 10, 1, 2, 0, 255, 255, 255, 0 },
		{ 192, 168, 0, 0, 255, 255, 0, 0 },
	};

	return (struct writ_bytes){ nets[below(N_OF(nets))], 8 };
}

static struct constraint
any_constraint(void)
{
	static const char *const values[] = { "x", "y", "z" };
	struct writ_bytes *list;
	const int64_t from = below(50);

	switch (below(4)) {
	case 0:
		return (struct constraint){ .kind = CONSTRAINT_SOURCE_NET,
					    .n_values = 1,
					    .values = one_text(any_net()) };
	case 1:
		return (struct constraint){ .kind = CONSTRAINT_WINDOW,
					    .not_before = NOW + from,
					    .not_after = NOW + from + below(50) };
	case 2:
		list = room(2 * sizeof(*list));
		list[0] = writ_str(values[below(3)]);
		list[1] = writ_str(values[below(3)]);
		return (struct constraint){ .kind = CONSTRAINT_PARAM_IN,
					    .name = WRIT_LIT("to"),
					    .n_values = writ_order(list[0], list[1]) < 0 ? 2 : 1,
					    .values = list };
	default:
		return (struct constraint){ .kind = CONSTRAINT_PARAM_MAX,
					    .name = chance(80) ? WRIT_LIT("limit") : WRIT_LIT("to"),
					    .max = below(20) };
	}
}

/* Tighter, or as it was. */
static struct constraint
tightened(const struct constraint *from)
{
	struct constraint c = *from;

	switch (c.kind) {
	case CONSTRAINT_WINDOW:
		c.not_before += below((unsigned)(c.not_after - c.not_before) + 1);
		break;
	case CONSTRAINT_PARAM_IN:
		c.n_values = 1;
		break;
	case CONSTRAINT_PARAM_MAX:
		c.max -= below(3);
		break;
	case CONSTRAINT_SOURCE_NET:
		if (c.values[0].data[4] == 255 && c.values[0].data[5] == 0)
			c.values = one_text(any_net());
		break;
	}
	return c;
}

static void
constraint_add(struct constraints *to, struct constraint *list, struct constraint c)
{
	for (size_t i = 0; i < to->n; i++)
		if (constraint_counterpart(&list[i], &c))
			return; /* E9 */
	list[to->n++] = c;
}

static struct constraints
some_constraints(const struct constraints *from)
{
	struct constraint *list = room(8 * sizeof(*list));
	struct constraints ret = { 0, list };

	for (size_t i = 0; from && i < from->n && ret.n < 6; i++)
		if (chance(30)) /* what is left out is copied down */
			constraint_add(&ret, list, tightened(&from->list[i]));
	if (chance(20))
		constraint_add(&ret, list, any_constraint());
	return ret;
}

static struct texts
some_texts(const struct names *names, const struct texts *from)
{
	struct writ_bytes *list = room(2 * sizeof(*list));
	struct texts ret = { 0, list };
	const unsigned n = 1 + below(2);

	for (unsigned i = 0; i < n; i++) {
		const struct writ_bytes text =
			from && !chance(4) ? narrowed(names, from->list[below((unsigned)from->n)]) : any_pattern(names);

		if (i == 0 || !writ_equal(text, list[0]))
			list[ret.n++] = text;
	}
	return ret;
}

/* A grant out of nothing, or one made from its parent's. */
static struct grant
some_grant(const struct grant *parent)
{
	struct entitlement *es = room(3 * sizeof(*es));
	struct grant grant = { .n_entitlements = 1 + below(parent ? 2 : 3), .entitlements = es };

	for (size_t i = 0; i < grant.n_entitlements; i++) {
		const struct entitlement *f =
			parent ? &parent->entitlements[below((unsigned)parent->n_entitlements)] : NULL;

		es[i].actions = some_texts(&actions, f ? &f->actions : NULL);
		es[i].resources = some_texts(&resources, f ? &f->resources : NULL);
		es[i].delegable = chance(90);
		es[i].constraints = some_constraints(f ? &f->constraints : NULL);
	}
	grant.audience = (struct texts){ 1, one_text(WRIT_LIT("https://h")) };
	grant.constraints = some_constraints(parent ? &parent->constraints : NULL);
	return grant;
}

/* ---- requests ---- */

struct asked {
	struct allow_request request;
	struct allow_parameter parameters[3];
	uint8_t peer[4];
	char limit[8];
	writ_time now;
};

/* One that the grant's names match for the most part; its inputs are as they come. */
static void
some_request(const struct grant *grant, struct asked *ret)
{
	static const char *const values[] = { "x", "y", "z", "5" };
	const struct entitlement *e = &grant->entitlements[below((unsigned)grant->n_entitlements)];
	const struct writ_bytes action = e->actions.list[below((unsigned)e->actions.n)];
	const struct writ_bytes resource = e->resources.list[below((unsigned)e->resources.n)];
	size_t n = 0;

	*ret = (struct asked){ .now = NOW + below(60), .peer = { 10, 1, 2, (uint8_t)below(256) } };
	ret->request.action = match_of(&actions, chance(95) ? action : any_pattern(&actions));
	ret->request.resource = match_of(&resources, chance(95) ? resource : any_pattern(&resources));
	if (chance(30))
		ret->peer[below(3)] = 192;
	if (chance(90))
		ret->request.peer = (struct writ_bytes){ ret->peer, 4 };
	snprintf(ret->limit, sizeof(ret->limit), "%d", (int)below(20) - 3);
	if (chance(90))
		ret->parameters[n++] = (struct allow_parameter){ WRIT_LIT("limit"), writ_str(ret->limit) };
	if (chance(90))
		ret->parameters[n++] = (struct allow_parameter){ WRIT_LIT("to"), writ_str(values[below(4)]) };
	if (chance(3) && n)
		ret->parameters[n++] = ret->parameters[0];
	ret->request.parameters = ret->parameters;
	ret->request.n_parameters = n;
}

static bool
allows(const struct grant *grant, const struct asked *asked)
{
	struct allow answer;

	allow_request(grant, &asked->request, asked->now, &answer);
	return answer.result == ALLOW_YES;
}

/* ---- trees ---- */

struct tally {
	uint64_t trees, nodes, refused, malformed;
	uint64_t allowed;	 /* requests that a node of a tree allows */
	uint64_t denied_by_root; /* requests that the root denies */
	uint64_t would_leak;	 /* refused children that allow what their parent denies */
};

/* As the issuer does it: in canonical order, well formed, with what it inherits, inside its parent. */
static bool
accepted(const struct grant *asked, const struct grant *parent, struct grant *ret, struct tally *tally)
{
	struct grant canonical;
	struct excess excess;
	struct writ_err *err;

	err = grant_canonical(asked, &arena, &canonical);
	if (!err)
		err = grant_check(&canonical);
	if (!err && parent)
		err = grant_inherit(&canonical, parent, &arena, ret);
	if (err) {
		writ_err_free(err);
		tally->malformed++;
		return false;
	}
	if (!parent) {
		*ret = canonical;
		return true;
	}
	grant_excess(ret, parent, true, &excess);
	if (!excess.rule)
		return true;
	tally->refused++;
	for (unsigned i = 0; i < 2; i++) {
		struct asked request;

		some_request(&canonical, &request);
		if (allows(&canonical, &request) && !allows(parent, &request)) {
			tally->would_leak++;
			break;
		}
	}
	return false;
}

static void
check_node(const struct grant *const *line, unsigned depth, struct tally *tally)
{
	const struct grant *leaf = line[depth], *root = line[0];

	for (unsigned i = 0; i < REQUESTS_A_NODE; i++) {
		struct asked asked;
		bool by_leaf, by_root;

		/* Half of them are asked of the root's scope: what the leaf was not given. */
		some_request(i % 2 ? root : leaf, &asked);
		by_leaf = allows(leaf, &asked);
		by_root = allows(root, &asked);
		tally->allowed += by_leaf;
		tally->denied_by_root += !by_root;
		for (unsigned above = 0; by_leaf && above < depth; above++)
			if (!allows(line[above], &asked))
				fail_msg("tree %" PRIu64 ", generation %u allows %.*s on %.*s, generation %u denies it",
					 tally->trees, depth, WRIT_FMT(asked.request.action),
					 WRIT_FMT(asked.request.resource), above);
	}
}

static void
grow(const struct grant **line, unsigned depth, struct tally *tally)
{
	if (depth == GENERATIONS)
		return;
	for (unsigned children = 1 + below(2); children > 0; children--) {
		const struct grant asked = some_grant(line[depth]);
		struct grant *child = room(sizeof(*child));

		if (!accepted(&asked, line[depth], child, tally))
			continue;
		tally->nodes++;
		line[depth + 1] = child;
		check_node(line, depth + 1, tally);
		grow(line, depth + 1, tally);
	}
}

static void
no_leaf_of_a_random_tree_of_delegations_allows_what_its_root_denies(void **state)
{
	const uint64_t trees = setting("WRIT_TREES", TREES);
	const clock_t began = clock();
	struct tally tally = { 0 };

	(void)state;
	while (tally.trees < trees) {
		const struct grant *line[GENERATIONS + 1];
		const struct grant asked = some_grant(NULL);
		struct grant root;

		writ_arena_clear(&make_arena);
		if (accepted(&asked, NULL, &root, &tally)) {
			line[0] = &root;
			grow(line, 0, &tally);
			tally.trees++;
		}
		writ_arena_clear(&arena);
	}
	print_message("%" PRIu64 " trees: %" PRIu64 " delegations accepted, %" PRIu64 " refused, %" PRIu64
		      " malformed; %" PRIu64 " requests allowed, %" PRIu64 " denied by the root; %" PRIu64
		      " refused ones would have leaked; %.1f s\n",
		      tally.trees, tally.nodes, tally.refused, tally.malformed, tally.allowed, tally.denied_by_root,
		      tally.would_leak, (double)(clock() - began) / CLOCKS_PER_SEC);
	assert_true(tally.nodes > trees && tally.nodes > tally.refused / 2);
	assert_true(tally.refused > trees / 4);
	assert_true(tally.allowed > trees);
	assert_true(tally.denied_by_root > trees / 2);
	assert_true(tally.would_leak > trees / 50);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(covers_is_reflexive_antisymmetric_and_transitive_on_all_small_patterns),
		cmocka_unit_test(a_pattern_covers_another_exactly_when_it_matches_every_name_that_the_other_matches),
		cmocka_unit_test(no_leaf_of_a_random_tree_of_delegations_allows_what_its_root_denies),
	};
	int failed;

	seed = setting("WRIT_SEED", 20261123);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	writ_arena_done(&arena);
	return failed;
}
