/*
 * Grants for tests, written short: lists are words with spaces between.  Everything lives in one arena that is never
 * released before the program ends, so that tests read without cleanup.
 */
#ifndef WRIT_TESTS_POLICY_MAKE_H
#define WRIT_TESTS_POLICY_MAKE_H

#include <stdlib.h>

#include "policy/policy.h"
#include "tests/unit/expect.h"

#define TD "spiffe://agents.corp.example"

static struct writ_arena make_arena = { .limit = 64 * 1024 * 1024 };

static inline void *
make_room(size_t len)
{
	void *room = writ_arena_take(&make_arena, len);

	assert_non_null(room);
	return room;
}

static inline struct texts
make_texts(const char *text)
{
	struct writ_bytes *list = make_room(32 * sizeof(*list));
	size_t n = 0;

	while (*text) {
		const size_t len = strcspn(text, " ");

		assert_true(n < 32);
		if (len > 0)
			list[n++] = writ_arena_copy(&make_arena, (struct writ_bytes){ (const uint8_t *)text, len });
		text += len + (text[len] == ' ');
	}
	return (struct texts){ n, list };
}

static inline struct constraints
make_constraints(size_t n, const struct constraint *from)
{
	struct constraint *list = make_room((n + 1) * sizeof(*list));

	for (size_t i = 0; i < n; i++)
		list[i] = from[i];
	return (struct constraints){ n, list };
}

#define CONSTRAINTS(...)                                                                                               \
	make_constraints(sizeof((struct constraint[]){ __VA_ARGS__ }) / sizeof(struct constraint),                     \
			 (struct constraint[]){ __VA_ARGS__ })

static inline struct constraint
param_max(const char *name, int64_t max)
{
	return (struct constraint){ .kind = CONSTRAINT_PARAM_MAX, .name = writ_str(name), .max = max };
}

static inline struct constraint
param_in(const char *name, const char *values)
{
	const struct texts list = make_texts(values);

	return (struct constraint){
		.kind = CONSTRAINT_PARAM_IN, .name = writ_str(name), .n_values = list.n, .values = list.list
	};
}

static inline struct constraint
window(writ_time from, writ_time to)
{
	return (struct constraint){ .kind = CONSTRAINT_WINDOW, .not_before = from, .not_after = to };
}

/* One IPv4 prefix. */
static inline struct constraint
source_net(uint32_t address, unsigned bits)
{
	uint8_t *net = make_room(8);
	struct writ_bytes *list = make_room(sizeof(*list));

	writ_put32(net, address);
	writ_put32(net + 4, bits == 0 ? 0 : UINT32_MAX << (32 - bits));
	*list = (struct writ_bytes){ net, 8 };
	return (struct constraint){ .kind = CONSTRAINT_SOURCE_NET, .n_values = 1, .values = list };
}

enum { LOCAL = 0, DELEGABLE = 1 };

static inline struct entitlement
make_entitlement(const char *actions, const char *resources, bool delegable)
{
	return (struct entitlement){ .actions = make_texts(actions),
				     .resources = make_texts(resources),
				     .delegable = delegable };
}

static inline struct grant
make_grant(size_t n, const struct entitlement *from, const char *audience)
{
	struct entitlement *list = make_room((n + 1) * sizeof(*list));

	for (size_t i = 0; i < n; i++)
		list[i] = from[i];
	return (struct grant){ .n_entitlements = n, .entitlements = list, .audience = make_texts(audience) };
}

#define GRANT(audience, ...)                                                                                           \
	make_grant(sizeof((struct entitlement[]){ __VA_ARGS__ }) / sizeof(struct entitlement),                         \
		   (struct entitlement[]){ __VA_ARGS__ }, audience)

/* A verdict as one line: "deny S1 | value | limit | hint". */
static inline const char *
verdict_line(const struct verdict *v)
{
	static const char *const kinds[] = {
		[VERDICT_DENY] = "deny", [VERDICT_ALLOW] = "allow", [VERDICT_RETRY] = "retry",
		[VERDICT_PENDING] = "pending"
	};
	static char line[700];

	snprintf(line, sizeof(line), "%s %s | %s | %s | %s", kinds[v->kind], v->rule, v->value, v->limit, v->hint);
	return line;
}

#endif
