/*
 * Policies that were in force, and requests that they denied, in SQLite.
 *
 * A row's number is the order in which policies were taken: the last row is the one in force.  A policy that comes back
 * gets a new number, so that the table has one row a content.
 */
#include "base/text.h"
#include "issuer/store/sqlite.h"

static struct writ_err *
revision_check(const struct store_policy *policy, uint64_t last, const uint8_t *last_digest, writ_time since)
{
	char when[WRIT_RFC3339_LEN + 1];
	const unsigned long long least = (unsigned long long)last + 1;

	writ_time_rfc3339(since, when);
	if (policy->revision == 0 && last > 0)
		return writ_fail(
			WRIT_CONFLICT,
			"the policy has no revision, and revision %llu is in force since %s: give it %llu or more",
			least - 1, when, least);
	if (policy->revision < last)
		return writ_fail(
			WRIT_CONFLICT,
			"policy revision %llu is below %llu, in force since %s: it only grows; give it %llu or more",
			(unsigned long long)policy->revision, least - 1, when, least);
	if (last > 0 && policy->revision == last && memcmp(policy->digest, last_digest, sizeof(policy->digest)) != 0)
		return writ_fail(
			WRIT_CONFLICT,
			"policy revision %llu is in force since %s with another content: give this one %llu or more",
			least - 1, when, least);
	return NULL;
}

struct writ_err *
sqlite_policy_take(struct sqlite *s, const struct store_item *item)
{
	const struct store_policy *policy = item->policy;
	uint8_t last_digest[sizeof(policy->digest)] = { 0 };
	uint64_t last = 0;
	writ_time since = 0;
	struct writ_err *err;
	bool same = false;

	{
		AUTO(rows_done) sqlite3_stmt *row = NULL;

		err = sqlite_ask(s, Q_POLICY_LAST, &row, NULL, 0);
		if (err)
			return err;
		if (row) {
			column_fixed(row, 0, last_digest, sizeof(last_digest));
			last = (uint64_t)sqlite3_column_int64(row, 1);
			since = sqlite3_column_int64(row, 3);
			same = memcmp(last_digest, policy->digest, sizeof(last_digest)) == 0;
		}
	}
	if (same)
		return NULL;
	err = revision_check(policy, last, last_digest, since);
	if (err)
		return err;
	return sqlite_do(s, Q_ADD_POLICY,
			 VALUES(V_FIXED(policy->digest, sizeof(policy->digest)), V_INT(policy->revision),
				V_TEXT(policy->id), V_INT(item->now), V_BYTES(policy->text)));
}

struct writ_err *
sqlite_policy_last(struct store *store, struct writ_arena *arena, struct store_policy *ret)
{
	struct sqlite *s = (struct sqlite *)store;
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	s->failed = false;
	err = sqlite_ask(s, Q_POLICY_LAST, &row, NULL, 0);
	if (err)
		return err;
	if (!row)
		return writ_fail(WRIT_NOT_FOUND, "no policy has been in force yet");
	*ret = (struct store_policy){
		.revision = (uint64_t)sqlite3_column_int64(row, 1),
		.id = writ_arena_copy(arena, column_bytes(row, 2)),
		.since = sqlite3_column_int64(row, 3),
		.text = writ_arena_copy(arena, column_bytes(row, 4)),
	};
	column_fixed(row, 0, ret->digest, sizeof(ret->digest));
	return ret->id.data && ret->text.data ? NULL : writ_fail(WRIT_EXHAUSTED, "store: no room for a policy");
}

struct writ_err *
sqlite_denied_keep(struct sqlite *s, const struct store_item *item)
{
	const struct store_denied *d = item->denied;

	return sqlite_do(s, Q_ADD_DENIED,
			 VALUES(V_TEXT(d->delegator), V_INT(d->slot), V_INT(d->kind), V_TEXT(d->agent),
				V_BYTES(d->grant), V_INT(d->depth), V_INT(d->ends_s), V_INT(d->task_ends_s),
				V_FIXED(d->parent, EDGE_ID_LEN), V_INT(d->at)));
}

struct writ_err *
sqlite_all_denied(struct store *store, struct writ_arena *arena, store_each_denied *each, void *ctx)
{
	struct sqlite *s = (struct sqlite *)store;
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	s->failed = false;
	err = sqlite_ask(s, Q_ALL_DENIED, &row, NULL, 0);
	while (!err && row) {
		struct store_denied d;

		writ_arena_clear(arena);
		d = (struct store_denied){
			.delegator = writ_arena_copy(arena, column_bytes(row, 0)),
			.slot = (uint8_t)sqlite3_column_int(row, 1),
			.kind = (uint8_t)sqlite3_column_int(row, 2),
			.agent = writ_arena_copy(arena, column_bytes(row, 3)),
			.grant = writ_arena_copy(arena, column_bytes(row, 4)),
			.depth = (unsigned)sqlite3_column_int(row, 5),
			.ends_s = (uint32_t)sqlite3_column_int64(row, 6),
			.task_ends_s = (uint32_t)sqlite3_column_int64(row, 7),
			.at = sqlite3_column_int64(row, 9),
		};
		column_fixed(row, 8, d.parent, EDGE_ID_LEN);
		if (!d.delegator.data || !d.agent.data || !d.grant.data)
			return writ_fail(WRIT_EXHAUSTED, "store: no room for a denied request");
		err = each(&d, ctx);
		if (!err)
			err = sqlite_next(s, &row);
	}
	return err;
}
