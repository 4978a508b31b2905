/*
 * What every store promises (issuer/store/store.h), claimed of each backend in turn.
 *
 * A backend is a row of the table below: how to name a store of its own for one test.  Run with --crash URI, this
 * program is the victim of its own crash tests.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "issuer/store/store.h"
#include "tests/unit/expect.h"

#define NOW ((writ_time)1800000000) /* 2027-01-15T08:00:00Z */

struct world {
	char folder[64], uri[128];
	struct store *store;
	struct writ_arena arena;
};

static struct world w;

static void
sqlite_uri(const char *folder, char *out, size_t out_len)
{
	snprintf(out, out_len, "sqlite:%s/store/writ.db", folder);
}

static const struct backend {
	const char *name;
	void (*uri)(const char *folder, char *out, size_t out_len); /* of a store that is not there yet */
} backends[] = { { "sqlite", sqlite_uri } };

static const struct backend *backend;

static int
world_made(void **state)
{
	(void)state;
	w = (struct world){ .arena = WRIT_ARENA((size_t)64 * 1024 * 1024) };
	snprintf(w.folder, sizeof(w.folder), "/tmp/writ-store-XXXXXX");
	if (!mkdtemp(w.folder))
		return -1;
	backend->uri(w.folder, w.uri, sizeof(w.uri));
	expect_ok(store_open(w.uri, STORE_WRITE, &w.store));
	return 0;
}

static int
world_gone(void **state)
{
	static const char *const names[] = { "store/writ.db", "store/writ.db-wal", "store/writ.db-shm", "store/lock" };
	char path[128];

	(void)state;
	store_closep(&w.store);
	writ_arena_done(&w.arena);
	for (size_t i = 0; i < N_OF(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", w.folder, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/store", w.folder);
	rmdir(path);
	return rmdir(w.folder);
}

/* ---- what is stored ---- */

static struct writ_bytes WRIT_PRINTF(1, 2) words(const char *fmt, ...)
{
	char text[200];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return writ_arena_copy(&w.arena, writ_str(text));
}

/* Ids are told apart by their first byte and end in the number. */
static void
id_of(uint8_t kind, unsigned n, uint8_t *out, size_t len)
{
	memset(out, 0, len);
	out[0] = kind;
	writ_put32(out + len - 4, n);
}

static struct writ_bytes
edge_id(unsigned n)
{
	uint8_t id[EDGE_ID_LEN];

	id_of(0xed, n, id, sizeof(id));
	return writ_arena_copy(&w.arena, (struct writ_bytes){ id, sizeof(id) });
}

static struct writ_bytes
serial_of(unsigned n)
{
	uint8_t serial[SERIAL_LEN];

	id_of(0x01, n, serial, sizeof(serial));
	return writ_arena_copy(&w.arena, (struct writ_bytes){ serial, sizeof(serial) });
}

static struct store_task
task_of(unsigned n)
{
	return (struct store_task){
		.id = words("t%u", n),
		.opener = WRIT_LIT("spiffe://td/human/corp/ada"),
		.purpose = WRIT_LIT("Pay the invoices of June"),
		.created = NOW,
		.ends = NOW + 3600,
	};
}

/* Edge n of task t under edge `parent` (0: none), for a key of its own, to an agent of its own. */
static struct store_edge
edge_of(unsigned n, unsigned parent, unsigned task)
{
	struct store_edge edge = {
		.task = words("t%u", task),
		.delegator = parent ? words("spiffe://td/agent/a/%u", parent) : WRIT_LIT("spiffe://td/human/corp/ada"),
		.agent = words("spiffe://td/agent/a/%u", n),
		.depth_remaining = parent ? 1 : 2,
		.granted_at = NOW,
		.not_after = NOW + 3000,
		.grant = words("grant %u", n),
		.hops = words("hops %u", n),
		.context = WRIT_LIT(""),
		.max_lifetime_s = 900,
	};

	id_of(0xed, n, edge.id, sizeof(edge.id));
	if (parent)
		id_of(0xed, parent, edge.parent, sizeof(edge.parent));
	id_of(0x4b, n, edge.spki_sha256, sizeof(edge.spki_sha256));
	return edge;
}

static struct store_cert
cert_of(unsigned n, unsigned edge, writ_time not_after)
{
	struct store_cert cert = {
		.log_index = 1000 + n,
		.not_before = NOW - 30,
		.not_after = not_after,
		.der = words("certificate %u", n),
	};

	id_of(0x01, n, cert.serial, sizeof(cert.serial));
	id_of(0xed, edge, cert.edge, sizeof(cert.edge));
	id_of(0x15, 1, cert.issuer_key_id, sizeof(cert.issuer_key_id));
	id_of(0xce, n, cert.sha256, sizeof(cert.sha256));
	return cert;
}

/* One item, alone in its group: the group's error or the item's. */
static struct writ_err *
commit(struct store_item *item)
{
	struct writ_err *err;

	item->now = item->now ? item->now : NOW;
	item->arena = &w.arena;
	err = store_commit(w.store, item, 1);
	return err ? err : TAKE(item->result);
}

static struct writ_err *
open_task(unsigned task, unsigned edge)
{
	const struct store_task t = task_of(task);
	const struct store_edge e = edge_of(edge, 0, task);

	return commit(&(struct store_item){ .op = STORE_OPEN_TASK, .task = &t, .edge = &e });
}

static struct writ_err *
add_edge(unsigned edge, unsigned parent, unsigned task)
{
	const struct store_edge e = edge_of(edge, parent, task);

	return commit(&(struct store_item){ .op = STORE_ADD_EDGE, .edge = &e });
}

static struct writ_err *
issue(unsigned cert, unsigned edge, writ_time not_after)
{
	const struct store_cert c = cert_of(cert, edge, not_after);

	return commit(&(struct store_item){ .op = STORE_ISSUE, .cert = &c });
}

static struct writ_err *
revoke_one(enum revoke_what what, struct writ_bytes id, unsigned reason, struct store_item *ret)
{
	const struct store_revoke r = { .what = what, .id = id, .reason = reason, .end_task_as = TASK_COMPLETE };
	struct writ_err *err;

	*ret = (struct store_item){ .op = STORE_REVOKE, .revoke = &r };
	err = commit(ret);
	ret->revoke = NULL;
	return err;
}

/* Task 1: edge 1 (leaf 11) over edges 2 (leaf 12) and 3 (leaf 13); edge 4 (leaf 14) under 2.  Task 2: edge 5 (leaf 15).
 */
static void
plant_tree(void)
{
	expect_ok(open_task(1, 1));
	expect_ok(issue(11, 1, NOW + 600));
	expect_ok(add_edge(2, 1, 1));
	expect_ok(add_edge(3, 1, 1));
	expect_ok(issue(12, 2, NOW + 500));
	expect_ok(issue(13, 3, NOW + 500));
	expect_ok(add_edge(4, 2, 1));
	expect_ok(issue(14, 4, NOW + 400));
	expect_ok(open_task(2, 5));
	expect_ok(issue(15, 5, NOW + 600));
}

static struct store_cert
stored_cert(unsigned n)
{
	struct store_cert cert = { 0 };

	expect_ok(store_cert(w.store, serial_of(n).data, &w.arena, &cert));
	return cert;
}

static struct store_edge
stored_edge(unsigned n)
{
	struct store_edge edge = { 0 };

	expect_ok(store_edge(w.store, edge_id(n).data, &w.arena, &edge));
	return edge;
}

static struct writ_err *
count_one(uint64_t number, void *ctx)
{
	(void)number;
	(*(unsigned *)ctx)++;
	return NULL;
}

static unsigned
owed(void)
{
	unsigned n = 0;

	expect_ok(store_outbox(w.store, count_one, &n));
	return n;
}

/* ---- tasks and edges ---- */

static void
a_task_is_opened_with_its_first_edge_and_read_back(void **state)
{
	struct store_task task;
	struct store_edge edge, want = edge_of(1, 0, 1);
	struct store_edge *edges;
	size_t n;

	(void)state;
	expect_ok(open_task(1, 1));
	expect_ok(store_task(w.store, WRIT_LIT("t1"), &w.arena, &task));
	expect_bytes(task.id, WRIT_LIT("t1"));
	expect_bytes(task.opener, WRIT_LIT("spiffe://td/human/corp/ada"));
	expect_bytes(task.purpose, WRIT_LIT("Pay the invoices of June"));
	expect_bytes(task.parent, WRIT_LIT(""));
	assert_int_equal(task.created, NOW);
	assert_int_equal(task.ends, NOW + 3600);
	assert_int_equal(task.state, TASK_OPEN);
	assert_int_equal(task.ended, 0);

	edge = stored_edge(1);
	assert_memory_equal(edge.id, want.id, EDGE_ID_LEN);
	assert_memory_equal(edge.parent, want.parent, EDGE_ID_LEN);
	expect_bytes(edge.task, WRIT_LIT("t1"));
	expect_bytes(edge.delegator, want.delegator);
	expect_bytes(edge.agent, want.agent);
	assert_memory_equal(edge.spki_sha256, want.spki_sha256, 32);
	assert_int_equal(edge.depth_remaining, 2);
	assert_int_equal(edge.granted_at, NOW);
	assert_int_equal(edge.not_after, NOW + 3000);
	expect_bytes(edge.grant, WRIT_LIT("grant 1"));
	expect_bytes(edge.hops, WRIT_LIT("hops 1"));
	expect_bytes(edge.context, WRIT_LIT(""));
	assert_int_equal(edge.max_lifetime_s, 900);
	assert_int_equal(edge.state, EDGE_LIVE);

	expect_ok(store_edge_by_key(w.store, WRIT_LIT("t1"), want.spki_sha256, &w.arena, &edge));
	assert_memory_equal(edge.id, want.id, EDGE_ID_LEN);
	expect_ok(store_edges(w.store, WRIT_LIT("t1"), &w.arena, &edges, &n));
	assert_int_equal(n, 1);
}

static void
edges_of_a_task_come_in_order_of_granting(void **state)
{
	struct store_edge *edges;
	size_t n;

	(void)state;
	expect_ok(open_task(1, 50));
	expect_ok(issue(11, 50, NOW + 600));
	for (unsigned i = 0; i < 20; i++)
		expect_ok(add_edge(40 - i, 50, 1));
	expect_ok(store_edges(w.store, WRIT_LIT("t1"), &w.arena, &edges, &n));
	assert_int_equal(n, 21);
	assert_memory_equal(edges[0].id, edge_id(50).data, EDGE_ID_LEN);
	for (unsigned i = 0; i < 20; i++) {
		assert_memory_equal(edges[i + 1].id, edge_id(40 - i).data, EDGE_ID_LEN);
		assert_memory_equal(edges[i + 1].parent, edge_id(50).data, EDGE_ID_LEN);
	}
}

static void
what_is_not_there_is_not_found(void **state)
{
	struct store_task task;
	struct store_edge edge, *edges;
	struct store_cert cert;
	struct store_answer answer;
	struct store_evidence evidence;
	struct writ_bytes der;
	writ_time newest;
	uint8_t dead[EDGE_ID_LEN];
	bool yes;
	size_t n;

	(void)state;
	expect_refused(store_task(w.store, WRIT_LIT("t9"), &w.arena, &task), WRIT_NOT_FOUND, "task t9 is not known");
	expect_refused(store_edge(w.store, edge_id(9).data, &w.arena, &edge), WRIT_NOT_FOUND,
		       "edge ed000000000000000000000000000009 is not known");
	expect_refused(store_edge_by_key(w.store, WRIT_LIT("t9"), (uint8_t[32]){ 0 }, &w.arena, &edge), WRIT_NOT_FOUND,
		       "task t9 has no edge for this key");
	expect_refused(store_edges(w.store, WRIT_LIT("t9"), &w.arena, &edges, &n), WRIT_NOT_FOUND,
		       "task t9 has no edge");
	expect_refused(store_cert(w.store, serial_of(9).data, &w.arena, &cert), WRIT_NOT_FOUND,
		       "serial 01000000000000000000000000000009 is not known");
	expect_refused(store_cert_der(w.store, serial_of(9).data, &w.arena, &der), WRIT_NOT_FOUND,
		       "serial 01000000000000000000000000000009 is not known");
	expect_refused(store_lineage_live(w.store, edge_id(9).data, &yes, dead), WRIT_NOT_FOUND,
		       "edge ed000000000000000000000000000009 is not known");
	expect_refused(store_answer(w.store, WRIT_LIT("k"), NOW, &w.arena, &answer), WRIT_NOT_FOUND,
		       "this Idempotency-Key has no answer yet");
	expect_refused(store_evidence(w.store, (uint8_t[32]){ 0xaa }, &w.arena, &evidence), WRIT_NOT_FOUND,
		       "evidence aa00000000000000000000000000000000000000000000000000000000000000 is not kept");
	expect_ok(store_newest_leaf(w.store, edge_id(9).data, NOW, &newest));
	assert_int_equal(newest, 0);
	expect_ok(store_key_blocked(w.store, (uint8_t[32]){ 0 }, &yes));
	assert_false(yes);
}

struct seen_edges {
	unsigned n;
	char agents[8][64], grants[8][32];
};

/* Reads the parent too, into the same arena: a pass allows that. */
static struct writ_err *
edge_seen(const struct store_edge *edge, void *ctx)
{
	static const uint8_t none[EDGE_ID_LEN];
	struct seen_edges *seen = ctx;
	struct store_edge parent;

	if (seen->n == 6)
		return writ_fail(WRIT_BROKEN, "enough");
	if (memcmp(edge->parent, none, sizeof(none)) != 0)
		expect_ok(store_edge(w.store, edge->parent, &w.arena, &parent));
	snprintf(seen->agents[seen->n], 64, "%.*s", WRIT_FMT(edge->agent));
	snprintf(seen->grants[seen->n++], 32, "%.*s", WRIT_FMT(edge->grant));
	return NULL;
}

static void
all_edges_of_all_tasks_are_told_oldest_first(void **state)
{
	struct seen_edges seen = { 0 };

	(void)state;
	expect_ok(store_all_edges(w.store, &w.arena, edge_seen, &seen));
	assert_int_equal(seen.n, 0);
	plant_tree();
	expect_ok(store_all_edges(w.store, &w.arena, edge_seen, &seen));
	assert_int_equal(seen.n, 5);
	for (unsigned i = 0; i < 5; i++) {
		char agent[64], grant[32];

		snprintf(agent, sizeof(agent), "spiffe://td/agent/a/%u", i + 1);
		snprintf(grant, sizeof(grant), "grant %u", i + 1);
		assert_string_equal(seen.agents[i], agent);
		assert_string_equal(seen.grants[i], grant);
	}
	seen.n = 3; /* the callback's error ends the pass, and is what the caller gets */
	expect_refused(store_all_edges(w.store, &w.arena, edge_seen, &seen), WRIT_BROKEN, "enough");
	assert_int_equal(seen.n, 6);
}

/* ---- policies ---- */

static struct writ_err *
take_policy(uint8_t digest, uint64_t revision, writ_time now)
{
	struct store_policy policy = { .digest = { digest }, .revision = revision, .id = WRIT_LIT("p"), .text = words("text %u", digest) };

	return commit(&(struct store_item){ .op = STORE_POLICY, .policy = &policy, .now = now });
}

static void
expect_policy(uint8_t digest, uint64_t revision, writ_time since)
{
	struct store_policy last;
	char text[32];

	snprintf(text, sizeof(text), "text %u", digest);
	expect_ok(store_policy_last(w.store, &w.arena, &last));
	assert_int_equal(last.digest[0], digest);
	assert_int_equal(last.revision, revision);
	assert_int_equal(last.since, since);
	expect_bytes(last.id, WRIT_LIT("p"));
	expect_bytes(last.text, writ_str(text));
}

static void
policies_without_a_revision_follow_each_other_in_any_order(void **state)
{
	struct store_policy last;

	(void)state;
	expect_refused(store_policy_last(w.store, &w.arena, &last), WRIT_NOT_FOUND, "no policy has been in force yet");
	expect_ok(take_policy(1, 0, NOW));
	expect_policy(1, 0, NOW);
	expect_ok(take_policy(2, 0, NOW + 1));
	expect_ok(take_policy(1, 0, NOW + 2)); /* back again: it is the last one now */
	expect_policy(1, 0, NOW + 2);
	expect_ok(take_policy(1, 0, NOW + 3)); /* the last one again: nothing new */
	expect_policy(1, 0, NOW + 2);
}

static void
a_policys_revision_only_grows(void **state)
{
	(void)state;
	expect_ok(take_policy(1, 0, NOW));
	expect_ok(take_policy(2, 5, NOW + 1));
	expect_refused(take_policy(3, 4, NOW + 2), WRIT_CONFLICT,
		       "policy revision 4 is below 5, in force since 2027-01-15T08:00:01Z: it only grows; give it 6 or more");
	expect_refused(take_policy(1, 0, NOW + 2), WRIT_CONFLICT,
		       "the policy has no revision, and revision 5 is in force since 2027-01-15T08:00:01Z: give it 6 or more");
	expect_refused(take_policy(3, 5, NOW + 2), WRIT_CONFLICT,
		       "policy revision 5 is in force since 2027-01-15T08:00:01Z with another content: give this one 6 or more");
	expect_policy(2, 5, NOW + 1);
	expect_ok(take_policy(2, 5, NOW + 2)); /* the same again */
	expect_policy(2, 5, NOW + 1);
	expect_ok(take_policy(3, UINT64_C(9007199254740991), NOW + 3));
	store_closep(&w.store);
	expect_ok(store_open(w.uri, STORE_WRITE, &w.store)); /* across restarts */
	expect_policy(3, UINT64_C(9007199254740991), NOW + 3);
	expect_refused(take_policy(4, 6, NOW + 4), WRIT_CONFLICT,
		       "policy revision 6 is below 9007199254740991, in force since 2027-01-15T08:00:03Z: it only grows; give it "
		       "9007199254740992 or more");
	expect_policy(3, UINT64_C(9007199254740991), NOW + 3);
}

/* ---- denied requests ---- */

struct seen_denied {
	unsigned n;
	char all[512];
};

static struct writ_err *
denied_seen(const struct store_denied *d, void *ctx)
{
	struct seen_denied *seen = ctx;
	const size_t at = strlen(seen->all);

	seen->n++;
	snprintf(seen->all + at, sizeof(seen->all) - at, "%.*s/%u kind %u %.*s '%.*s' depth %u %u %u parent %u at +%lld;",
		 WRIT_FMT(d->delegator), d->slot, d->kind, WRIT_FMT(d->agent), WRIT_FMT(d->grant), d->depth, d->ends_s,
		 d->task_ends_s, d->parent[0], (long long)(d->at - NOW));
	return NULL;
}

static struct writ_err *
deny(const char *delegator, unsigned slot, const char *grant, writ_time at)
{
	const struct store_denied d = { .delegator = writ_str(delegator), .slot = (uint8_t)slot, .kind = 1, .agent = WRIT_LIT("c"),
					.grant = writ_str(grant), .depth = 2, .ends_s = 60, .task_ends_s = 70, .parent = { 9 }, .at = at };

	return commit(&(struct store_item){ .op = STORE_DENIED, .denied = &d });
}

static void
a_principal_has_a_few_denied_requests_each_in_its_slot(void **state)
{
	struct seen_denied seen = { 0 };
	struct store_item prune = { .op = STORE_PRUNE, .before = NOW + 5 };

	(void)state;
	expect_ok(deny("b", 7, "one", NOW));
	expect_ok(deny("a", STORE_DENIED_SLOTS - 1, "two", NOW + 5));
	expect_ok(deny("b", 7, "three", NOW + 4)); /* the slot is one */
	expect_refused(deny("b", STORE_DENIED_SLOTS, "four", NOW), WRIT_BROKEN, "store: an item of operation 13 lacks what that needs");
	expect_ok(store_all_denied(w.store, &w.arena, denied_seen, &seen));
	assert_string_equal(seen.all, "a/63 kind 1 c 'two' depth 2 60 70 parent 9 at +5;b/7 kind 1 c 'three' depth 2 60 70 parent 9 at +4;");
	expect_ok(commit(&prune));
	assert_int_equal(prune.n_pruned, 1);
	seen = (struct seen_denied){ 0 };
	expect_ok(store_all_denied(w.store, &w.arena, denied_seen, &seen));
	assert_string_equal(seen.all, "a/63 kind 1 c 'two' depth 2 60 70 parent 9 at +5;");
}

static void
a_task_id_is_given_once(void **state)
{
	struct store_edge edge;

	(void)state;
	expect_ok(open_task(1, 1));
	expect_refused(open_task(1, 2), WRIT_CONFLICT, "task t1 is there already");
	expect_refused(store_edge(w.store, edge_id(2).data, &w.arena, &edge), WRIT_NOT_FOUND,
		       "edge ed000000000000000000000000000002 is not known");
	expect_refused(open_task(2, 1), WRIT_CONFLICT, "edge ed000000000000000000000000000001 is there already");
}

static void
an_item_without_a_name_is_refused(void **state)
{
	struct store_task task = task_of(1);
	struct store_edge edge = edge_of(1, 0, 1);
	struct store_item item = { .op = STORE_OPEN_TASK, .task = &task, .edge = &edge };

	(void)state;
	edge.task = WRIT_LIT("t2");
	expect_refused(commit(&item), WRIT_INVALID, "task t1 comes with an edge of task t2");
	edge.task = WRIT_LIT("t1");
	edge.agent = WRIT_LIT("");
	expect_refused(commit(&item), WRIT_INVALID, "a principal of 26 and one of 0 bytes, allowed are 1 to 512");
	task.opener = WRIT_LIT("");
	expect_refused(commit(&item), WRIT_INVALID, "an opener of 0 bytes, allowed are 1 to 512");
	task.id = WRIT_LIT("a123456789b123456789c123456789d123456789e123456789f123456789");
	expect_refused(commit(&item), WRIT_INVALID, "a task id of 60 bytes, allowed are 1 to 59");
	item.task = NULL;
	expect_refused(commit(&item), WRIT_BROKEN, "store: an item of operation 0 lacks what that needs");
}

static void
a_child_edge_needs_an_open_task_and_a_parent_alive_with_a_leaf(void **state)
{
	struct store_item revoked;
	struct store_edge e = edge_of(9, 1, 1);

	(void)state;
	expect_ok(open_task(1, 1));
	expect_refused(add_edge(2, 1, 1), WRIT_UNAVAILABLE, "parent has no leaf: retry after it has taken one");
	expect_ok(issue(11, 1, NOW + 60));
	expect_ok(add_edge(2, 1, 1));
	expect_refused(add_edge(3, 8, 1), WRIT_NOT_FOUND, "parent: edge ed000000000000000000000000000008 is not known");
	expect_refused(
		commit(&(struct store_item){ .op = STORE_ADD_EDGE, .edge = &e, .now = NOW + 61 }), WRIT_UNAVAILABLE,
		"parent's newest leaf ends at 2027-01-15T08:01:00Z, before 2027-01-15T08:01:01Z: retry after the "
		"parent renews");
	expect_ok(commit(&(struct store_item){ .op = STORE_ADD_EDGE, .edge = &e, .now = NOW + 60 }));

	expect_ok(open_task(2, 20));
	expect_refused(add_edge(21, 1, 2), WRIT_INVALID, "an edge of task t2 hangs on one of task t1");

	e = edge_of(4, 1, 1);
	memcpy(e.spki_sha256, edge_of(1, 0, 1).spki_sha256, 32);
	expect_refused(commit(&(struct store_item){ .op = STORE_ADD_EDGE, .edge = &e }), WRIT_CONFLICT,
		       "task t1 has an edge for this key already");

	e = edge_of(4, 1, 1);
	expect_refused(commit(&(struct store_item){ .op = STORE_ADD_EDGE, .edge = &e, .children_max = 2 }),
		       WRIT_EXHAUSTED, "parent has delegated 2 times, its limit is 2");
	expect_ok(commit(&(struct store_item){ .op = STORE_ADD_EDGE, .edge = &e, .children_max = 3 }));

	expect_ok(revoke_one(REVOKE_EDGE, edge_id(1), 9, &revoked));
	expect_refused(add_edge(5, 1, 1), WRIT_CONFLICT, "parent: edge ed000000000000000000000000000001 was revoked");
	expect_refused(add_edge(5, 2, 1), WRIT_CONFLICT, "parent: edge ed000000000000000000000000000001 was revoked");
	expect_ok(revoke_one(REVOKE_TASK, WRIT_LIT("t1"), 5, &revoked));
	expect_refused(add_edge(5, 1, 1), WRIT_CONFLICT, "parent: task t1 has ended");
}

static void
the_same_key_may_serve_in_another_task(void **state)
{
	struct store_task task = task_of(2);
	struct store_edge e = edge_of(2, 0, 2);

	(void)state;
	expect_ok(open_task(1, 1));
	memcpy(e.spki_sha256, edge_of(1, 0, 1).spki_sha256, 32);
	expect_ok(commit(&(struct store_item){ .op = STORE_OPEN_TASK, .task = &task, .edge = &e }));
	expect_ok(store_edge_by_key(w.store, WRIT_LIT("t2"), e.spki_sha256, &w.arena, &e));
	assert_memory_equal(e.id, edge_id(2).data, EDGE_ID_LEN);
}

static void
a_sub_task_needs_its_enclosing_task_open(void **state)
{
	struct store_task task = task_of(2), read;
	struct store_edge e = edge_of(2, 1, 2);
	struct store_item item = { .op = STORE_OPEN_TASK, .task = &task, .edge = &e }, revoked;

	(void)state;
	task.parent = WRIT_LIT("t1");
	expect_refused(commit(&item), WRIT_NOT_FOUND, "enclosing task t1 is not known");
	expect_ok(open_task(1, 1));
	expect_refused(commit(&item), WRIT_UNAVAILABLE, "parent has no leaf: retry after it has taken one");
	expect_ok(issue(11, 1, NOW + 600));
	expect_ok(open_task(3, 3));
	task.parent = WRIT_LIT("t3");
	expect_refused(commit(&item), WRIT_INVALID,
		       "task t2: its first edge hangs on one of task t1, which does not enclose it");
	task.parent = WRIT_LIT("");
	expect_refused(commit(&item), WRIT_INVALID,
		       "task t2: its first edge hangs on one of task t1, which does not enclose it");
	task.parent = WRIT_LIT("t1");
	expect_ok(commit(&item));
	expect_ok(store_task(w.store, WRIT_LIT("t2"), &w.arena, &read));
	expect_bytes(read.parent, WRIT_LIT("t1"));

	expect_ok(revoke_one(REVOKE_TASK, WRIT_LIT("t1"), 5, &revoked));
	task.id = e.task = WRIT_LIT("t4");
	expect_refused(commit(&item), WRIT_CONFLICT, "enclosing task t1 has ended");
}

/* ---- leaves ---- */

static void
a_leaf_is_issued_and_read_back(void **state)
{
	struct store_cert cert;
	struct writ_bytes der;
	writ_time newest;

	(void)state;
	expect_ok(open_task(1, 1));
	expect_ok(issue(11, 1, NOW + 600));
	cert = stored_cert(11);
	assert_memory_equal(cert.serial, serial_of(11).data, SERIAL_LEN);
	assert_memory_equal(cert.edge, edge_id(1).data, EDGE_ID_LEN);
	assert_memory_equal(cert.issuer_key_id, cert_of(11, 1, 0).issuer_key_id, 20);
	assert_memory_equal(cert.sha256, cert_of(11, 1, 0).sha256, 32);
	assert_int_equal(cert.log_index, 1011);
	assert_int_equal(cert.not_before, NOW - 30);
	assert_int_equal(cert.not_after, NOW + 600);
	assert_int_equal(cert.state, CERT_GOOD);
	assert_int_equal(cert.reason, 0);
	assert_int_equal(cert.revoked_at, 0);
	expect_ok(store_cert_der(w.store, serial_of(11).data, &w.arena, &der));
	expect_bytes(der, WRIT_LIT("certificate 11"));

	expect_ok(issue(12, 1, NOW + 300));
	expect_ok(store_newest_leaf(w.store, edge_id(1).data, NOW, &newest));
	assert_int_equal(newest, NOW + 600);
	expect_ok(store_newest_leaf(w.store, edge_id(1).data, NOW + 600, &newest));
	assert_int_equal(newest, NOW + 600);
	expect_ok(store_newest_leaf(w.store, edge_id(1).data, NOW + 601, &newest));
	assert_int_equal(newest, 0);
}

static void
a_leaf_is_refused_where_its_edge_is_not_alive(void **state)
{
	struct store_item revoked;

	(void)state;
	expect_refused(issue(11, 1, NOW + 600), WRIT_NOT_FOUND, "edge ed000000000000000000000000000001 is not known");
	plant_tree();
	expect_ok(revoke_one(REVOKE_EDGE, edge_id(2), 9, &revoked));
	expect_refused(issue(21, 2, NOW + 300), WRIT_CONFLICT, "edge ed000000000000000000000000000002 was revoked");
	expect_refused(issue(21, 4, NOW + 300), WRIT_CONFLICT, "edge ed000000000000000000000000000002 was revoked");
	expect_ok(issue(21, 3, NOW + 300));
	expect_ok(revoke_one(REVOKE_TASK, WRIT_LIT("t1"), 5, &revoked));
	expect_refused(issue(22, 3, NOW + 300), WRIT_CONFLICT, "task t1 has ended");
	expect_ok(issue(22, 5, NOW + 300));
}

static void
a_serial_is_used_once(void **state)
{
	(void)state;
	expect_ok(open_task(1, 1));
	expect_ok(issue(11, 1, NOW + 600));
	expect_refused(issue(11, 1, NOW + 700), WRIT_CONFLICT,
		       "serial 0100000000000000000000000000000b is there already");
	assert_int_equal(stored_cert(11).not_after, NOW + 600);
}

static void
a_leaf_ends_no_later_than_its_parents_newest(void **state)
{
	(void)state;
	plant_tree();
	expect_ok(issue(21, 2, NOW + 600));
	expect_refused(
		issue(22, 2, NOW + 601), WRIT_UNAVAILABLE,
		"parent's newest leaf ends at 2027-01-15T08:10:00Z, before 2027-01-15T08:10:01Z: retry after the "
		"parent renews");
	expect_ok(issue(23, 1, NOW + 700));
	expect_ok(issue(24, 2, NOW + 700));
}

static void
live_leaves_of_an_edge_are_limited(void **state)
{
	struct store_cert cert = cert_of(13, 1, NOW + 900);
	struct store_item item = { .op = STORE_ISSUE, .cert = &cert, .leaves_max = 2 };

	(void)state;
	expect_ok(open_task(1, 1));
	expect_ok(issue(11, 1, NOW + 100));
	expect_ok(issue(12, 1, NOW + 200));
	expect_refused(commit(&item), WRIT_EXHAUSTED, "edge has 2 live leaves, its limit is 2");
	item.now = NOW + 100;
	expect_refused(commit(&item), WRIT_EXHAUSTED, "edge has 2 live leaves, its limit is 2");
	item.now = NOW + 101; /* the first has expired */
	expect_ok(commit(&item));
}

/* The limit holds at each moment, whatever the writer remembers of its last count. */
static void
an_edge_gets_another_leaf_as_soon_as_one_has_ended_and_not_before(void **state)
{
	writ_time ends[40] = { 0 };

	(void)state;
	expect_ok(open_task(1, 1));
	for (unsigned i = 0; i < 40; i++) {
		const writ_time now = NOW + 7 * i;
		struct store_cert cert = cert_of(100 + i, 1, now + 20 + i * 13 % 30);
		struct store_item item = { .op = STORE_ISSUE, .cert = &cert, .leaves_max = 3, .now = now };
		unsigned live = 0;
		struct writ_err *err;

		for (unsigned j = 0; j < i; j++)
			live += ends[j] >= now;
		assert_true(live <= 3);
		err = commit(&item);
		assert_int_equal(err != NULL, live == 3);
		ends[i] = err ? 0 : cert.not_after;
		writ_err_free(err);
	}
}

static void
an_aborted_leaf_has_a_row_and_was_never_good(void **state)
{
	struct store_cert cert = cert_of(11, 1, NOW + 600), read;
	struct store_item item = { .op = STORE_ABORT, .cert = &cert };
	writ_time newest;

	(void)state;
	cert.reason = 5;
	cert.revoked_at = NOW;
	cert.der = WRIT_LIT("");
	memset(cert.sha256, 0, sizeof(cert.sha256));
	expect_ok(commit(&item)); /* its edge never came to be */
	read = stored_cert(11);
	assert_int_equal(read.state, CERT_ABORTED);
	assert_int_equal(read.reason, 5);
	assert_int_equal(read.revoked_at, NOW);
	assert_memory_equal(read.edge, (uint8_t[EDGE_ID_LEN]){ 0 }, EDGE_ID_LEN);
	expect_ok(commit(&item));

	expect_ok(open_task(1, 1));
	cert = cert_of(12, 1, NOW + 600);
	expect_ok(commit(&item));
	assert_memory_equal(stored_cert(12).edge, edge_id(1).data, EDGE_ID_LEN);
	expect_ok(store_newest_leaf(w.store, edge_id(1).data, NOW, &newest));
	assert_int_equal(newest, 0);
	expect_refused(issue(12, 1, NOW + 600), WRIT_CONFLICT,
		       "serial 0100000000000000000000000000000c is there already");

	expect_ok(issue(13, 1, NOW + 600));
	cert = cert_of(13, 1, NOW + 600);
	expect_refused(commit(&item), WRIT_CONFLICT, "serial 0100000000000000000000000000000d is there already");
	assert_int_equal(stored_cert(13).state, CERT_GOOD);
}

/* ---- groups ---- */

static void
a_group_gives_each_item_its_own_result_in_order(void **state)
{
	const struct store_task tasks[] = { task_of(1), task_of(1), task_of(2) };
	const struct store_edge edges[] = { edge_of(1, 0, 1), edge_of(2, 0, 1), edge_of(3, 0, 2), edge_of(4, 1, 1) };
	const struct store_cert certs[] = { cert_of(11, 1, NOW + 600), cert_of(12, 2, NOW + 600),
					    cert_of(13, 4, NOW + 600), cert_of(14, 4, NOW + 601) };
	struct store_item items[] = {
		{ .op = STORE_OPEN_TASK, .task = &tasks[0], .edge = &edges[0] },
		{ .op = STORE_OPEN_TASK, .task = &tasks[1], .edge = &edges[1] }, /* the id is taken */
		{ .op = STORE_ISSUE, .cert = &certs[0] },			 /* under the edge of item 0 */
		{ .op = STORE_ISSUE, .cert = &certs[1] }, /* under the edge that item 1 did not make */
		{ .op = STORE_OPEN_TASK, .task = &tasks[2], .edge = &edges[2] },
		{ .op = STORE_ADD_EDGE, .edge = &edges[3] },
		{ .op = STORE_ISSUE, .cert = &certs[2] },
		{ .op = STORE_ISSUE, .cert = &certs[3] }, /* longer than its parent's */
		{ .op = STORE_ISSUE },			  /* nothing to issue */
	};
	static const char *const results[] = {
		NULL,
		"task t1 is there already",
		NULL,
		"edge ed000000000000000000000000000002 is not known",
		NULL,
		NULL,
		NULL,
		"parent's newest leaf ends at 2027-01-15T08:10:00Z, before 2027-01-15T08:10:01Z: retry after the "
		"parent "
		"renews",
		"store: an item of operation 2 lacks what that needs",
	};
	struct store_counts counts;

	(void)state;
	for (size_t i = 0; i < N_OF(items); i++)
		items[i].now = NOW;
	expect_ok(store_commit(w.store, items, N_OF(items)));
	for (size_t i = 0; i < N_OF(items); i++) {
		if (results[i]) {
			assert_non_null(items[i].result);
			assert_string_equal(items[i].result->message, results[i]);
		} else {
			assert_null(items[i].result);
		}
		writ_err_freep(&items[i].result);
	}
	expect_ok(store_counts(w.store, NOW, &counts));
	assert_int_equal(counts.tasks_open, 2);
	assert_int_equal(counts.edges_live, 3);
	assert_int_equal(counts.certs_good, 2);
	expect_ok(store_commit(w.store, items, 0));
}

static void
a_refused_item_leaves_nothing_of_what_came_with_it(void **state)
{
	const struct store_once once[] = { { WRIT_LIT("grant:new"), NOW + 600 }, { WRIT_LIT("grant:old"), NOW + 600 } };
	const struct store_answer answer = {
		.key = WRIT_LIT("ada\0k"), .status = 201, .body = WRIT_LIT("{}"), .expires = NOW + 600
	};
	const struct store_evidence evidence = {
		.digest = { 1 }, .kind = WRIT_LIT("context"), .bytes = WRIT_LIT("x"), .expires = NOW + 600
	};
	const struct store_cert cert = cert_of(12, 1, NOW + 600);
	struct store_item item = { .op = STORE_ISSUE,
				   .cert = &cert,
				   .once = once,
				   .n_once = 2,
				   .answer = &answer,
				   .evidence = &evidence,
				   .n_evidence = 1 };
	struct store_answer read;
	struct store_evidence kept;
	struct store_cert c;

	(void)state;
	expect_ok(open_task(1, 1));
	expect_ok(commit(&(struct store_item){ .op = STORE_OUTBOX_DONE, .once = &once[1], .n_once = 1 }));
	expect_refused(commit(&item), WRIT_CONFLICT, "used already: grant:old");
	expect_refused(store_answer(w.store, answer.key, NOW, &w.arena, &read), WRIT_NOT_FOUND,
		       "this Idempotency-Key has no answer yet");
	expect_refused(store_evidence(w.store, evidence.digest, &w.arena, &kept), WRIT_NOT_FOUND,
		       "evidence 0100000000000000000000000000000000000000000000000000000000000000 is not kept");
	expect_refused(store_cert(w.store, cert.serial, &w.arena, &c), WRIT_NOT_FOUND,
		       "serial 0100000000000000000000000000000c is not known");
	item.n_once = 1; /* so the first was not burnt */
	expect_ok(commit(&item));
}

static void
a_once_key_succeeds_exactly_once_in_a_group_and_ever_after(void **state)
{
	const struct store_once once = { WRIT_LIT("grant:spiffe://td/human/corp/ada\0jti"), NOW + 600 };
	const struct store_once twice[] = { { WRIT_LIT("a"), NOW + 1 }, { WRIT_LIT("a"), NOW + 1 } };
	struct store_cert certs[100];
	struct store_item items[100];
	struct store_cert cert;
	struct store_counts counts;
	unsigned n = 0;
	bool used;

	(void)state;
	expect_ok(open_task(1, 1));
	expect_ok(store_once_used(w.store, once.key, NOW, &used));
	assert_false(used);
	for (unsigned i = 0; i < 100; i++) {
		certs[i] = cert_of(100 + i, 1, NOW + 600);
		items[i] = (struct store_item){
			.op = STORE_ISSUE, .cert = &certs[i], .once = &once, .n_once = 1, .now = NOW
		};
	}
	expect_ok(store_commit(w.store, items, 100));
	for (unsigned i = 0; i < 100; i++) {
		n += !items[i].result;
		if (items[i].result) {
			assert_int_equal(items[i].result->code, WRIT_CONFLICT);
			assert_string_equal(items[i].result->message, "used already: grant:spiffe://td/human/corp/ada");
		}
		writ_err_freep(&items[i].result);
	}
	assert_int_equal(n, 1);
	expect_ok(store_counts(w.store, NOW, &counts));
	assert_int_equal(counts.certs_good, 1);
	expect_ok(store_once_used(w.store, once.key, NOW + 600, &used));
	assert_true(used);
	expect_ok(store_once_used(w.store, once.key, NOW + 601, &used));
	assert_false(used);
	expect_ok(store_once_used(w.store, WRIT_LIT("grant:spiffe://td/human/corp/ada"), NOW, &used));
	assert_false(used);

	cert = cert_of(300, 1, NOW + 600);
	expect_refused(commit(&(struct store_item){
			       .op = STORE_ISSUE, .cert = &cert, .once = &once, .n_once = 1, .now = NOW + 600 }),
		       WRIT_CONFLICT, "used already: grant:spiffe://td/human/corp/ada");
	expect_ok(commit(&(struct store_item){
		.op = STORE_ISSUE, .cert = &cert, .once = &once, .n_once = 1, .now = NOW + 601 }));
	cert = cert_of(301, 1, NOW + 600);
	expect_refused(commit(&(struct store_item){ .op = STORE_ISSUE, .cert = &cert, .once = twice, .n_once = 2 }),
		       WRIT_CONFLICT, "used already: a");
}

static void
an_idempotency_key_has_one_answer(void **state)
{
	struct store_answer answer = { .key = WRIT_LIT("spiffe://td/human/corp/ada\0k1"),
				       .body_sha256 = { 7 },
				       .status = 201,
				       .body = WRIT_LIT("{\"task\":1}"),
				       .expires = NOW + 600 };
	struct store_cert cert = cert_of(11, 1, NOW + 600);
	struct store_item item = { .op = STORE_ISSUE, .cert = &cert, .answer = &answer };
	struct store_answer read;

	(void)state;
	expect_ok(open_task(1, 1));
	expect_ok(commit(&item));
	expect_ok(store_answer(w.store, answer.key, NOW + 600, &w.arena, &read));
	expect_bytes(read.key, answer.key);
	assert_memory_equal(read.body_sha256, answer.body_sha256, 32);
	assert_int_equal(read.status, 201);
	expect_bytes(read.body, answer.body);
	assert_int_equal(read.expires, NOW + 600);

	cert = cert_of(12, 1, NOW + 600);
	expect_refused(commit(&item), WRIT_CONFLICT, "answered already: this Idempotency-Key has an answer");
	answer.body_sha256[0] = 8;
	expect_refused(commit(&item), WRIT_CONFLICT,
		       "this Idempotency-Key was used with another request: take a new one");

	expect_refused(store_answer(w.store, answer.key, NOW + 601, &w.arena, &read), WRIT_NOT_FOUND,
		       "this Idempotency-Key has no answer yet");
	item.now = NOW + 601;
	answer.body = WRIT_LIT("second");
	answer.expires = NOW + 1200;
	expect_ok(commit(&item));
	expect_ok(store_answer(w.store, answer.key, NOW + 601, &w.arena, &read));
	expect_bytes(read.body, WRIT_LIT("second"));
}

static void
evidence_is_kept_behind_its_digest_for_the_longest_time_asked(void **state)
{
	struct store_evidence evidence[] = {
		{ .digest = { 1 }, .kind = WRIT_LIT("hop-grant"), .bytes = WRIT_LIT("\x30\x00"), .expires = NOW + 600 },
		{ .digest = { 2 }, .kind = WRIT_LIT("context"), .bytes = WRIT_LIT(""), .expires = NOW + 600 },
	};
	struct store_item item = { .op = STORE_OUTBOX_DONE, .evidence = evidence, .n_evidence = 2 };
	struct store_evidence read;

	(void)state;
	expect_ok(commit(&item));
	expect_ok(store_evidence(w.store, evidence[0].digest, &w.arena, &read));
	expect_bytes(read.kind, WRIT_LIT("hop-grant"));
	expect_bytes(read.bytes, WRIT_LIT("\x30\x00"));
	assert_memory_equal(read.digest, evidence[0].digest, 32);
	assert_int_equal(read.expires, NOW + 600);
	expect_ok(store_evidence(w.store, evidence[1].digest, &w.arena, &read));
	expect_bytes(read.bytes, WRIT_LIT(""));

	evidence[0].expires = NOW + 900;
	evidence[1].expires = NOW + 300;
	expect_ok(commit(&item));
	expect_ok(store_evidence(w.store, evidence[0].digest, &w.arena, &read));
	assert_int_equal(read.expires, NOW + 900);
	expect_ok(store_evidence(w.store, evidence[1].digest, &w.arena, &read));
	assert_int_equal(read.expires, NOW + 600);
}

/* ---- revocation ---- */

static void
revoking_an_edge_takes_all_below_it_and_nothing_beside(void **state)
{
	struct store_item item;
	uint8_t dead[EDGE_ID_LEN];
	bool live;

	(void)state;
	plant_tree();
	expect_ok(revoke_one(REVOKE_EDGE, edge_id(2), 4, &item));
	assert_int_equal(item.n_revoked, 2);
	assert_int_equal(item.n_edges, 1);
	assert_memory_equal(item.edges[0], edge_id(2).data, EDGE_ID_LEN);
	for (size_t i = 0; i < 2; i++) {
		const bool origin = memcmp(item.revoked[i].serial, serial_of(12).data, SERIAL_LEN) == 0;

		if (!origin)
			assert_memory_equal(item.revoked[i].serial, serial_of(14).data, SERIAL_LEN);
		assert_int_equal(item.revoked[i].reason, origin ? 4 : 9);
		assert_int_equal(item.revoked[i].not_after, NOW + (origin ? 500 : 400));
	}
	assert_memory_not_equal(item.revoked[0].serial, item.revoked[1].serial, SERIAL_LEN);

	assert_int_equal(stored_cert(12).state, CERT_REVOKED);
	assert_int_equal(stored_cert(12).reason, 4);
	assert_int_equal(stored_cert(12).revoked_at, NOW);
	assert_int_equal(stored_cert(14).reason, 9);
	assert_int_equal(stored_edge(2).state, EDGE_REVOKED);
	assert_int_equal(stored_edge(4).state, EDGE_REVOKED);
	for (unsigned n = 1; n <= 5; n += 2) {
		assert_int_equal(stored_edge(n).state, EDGE_LIVE);
		assert_int_equal(stored_cert(10 + n).state, CERT_GOOD);
		expect_ok(store_lineage_live(w.store, edge_id(n).data, &live, dead));
		assert_true(live);
	}
	expect_ok(store_lineage_live(w.store, edge_id(4).data, &live, dead));
	assert_false(live);
	assert_memory_equal(dead, edge_id(2).data, EDGE_ID_LEN);
	assert_int_equal(owed(), 1);
}

static void
revoking_twice_is_once_and_never_weakens_the_reason(void **state)
{
	const struct store_revoke again = { .what = REVOKE_EDGE, .id = edge_id(1), .reason = 5 };
	struct store_item item;

	(void)state;
	plant_tree();
	expect_ok(revoke_one(REVOKE_EDGE, edge_id(2), 1, &item));
	item = (struct store_item){ .op = STORE_REVOKE, .revoke = &again, .now = NOW + 10 };
	expect_ok(commit(&item)); /* now from above */
	assert_int_equal(item.n_revoked, 2);
	assert_int_equal(item.n_edges, 1);
	assert_int_equal(stored_cert(12).reason, 1);
	assert_int_equal(stored_cert(12).revoked_at, NOW);
	assert_int_equal(stored_cert(11).reason, 5);
	assert_int_equal(stored_cert(13).reason, 9);
	assert_int_equal(owed(), 2);

	expect_ok(commit(&item));
	assert_int_equal(item.n_revoked, 0);
	assert_int_equal(item.n_edges, 0);
	assert_int_equal(owed(), 2);
}

static void
revoking_a_leaf_takes_its_edge(void **state)
{
	struct store_item item;

	(void)state;
	plant_tree();
	expect_ok(issue(22, 2, NOW + 550));
	expect_ok(revoke_one(REVOKE_LEAF, serial_of(12), 1, &item));
	assert_int_equal(item.n_revoked, 3);
	assert_int_equal(item.n_edges, 1);
	assert_memory_equal(item.edges[0], edge_id(2).data, EDGE_ID_LEN);
	assert_int_equal(stored_cert(22).reason, 1);
	assert_int_equal(stored_cert(14).reason, 9);
	assert_int_equal(stored_cert(13).state, CERT_GOOD);
}

static void
revoking_a_task_ends_it_with_its_sub_tasks(void **state)
{
	struct store_task sub = task_of(3), apart = task_of(4), task;
	struct store_edge under = edge_of(6, 4, 3), own = edge_of(7, 0, 4);
	struct store_item item;

	(void)state;
	plant_tree();
	sub.parent = apart.parent = WRIT_LIT("t1");
	expect_ok(commit(&(struct store_item){ .op = STORE_OPEN_TASK, .task = &sub, .edge = &under }));
	expect_ok(issue(16, 6, NOW + 400));
	expect_ok(commit(&(struct store_item){ .op = STORE_OPEN_TASK, .task = &apart, .edge = &own }));
	expect_ok(issue(17, 7, NOW + 400));

	expect_ok(revoke_one(REVOKE_TASK, WRIT_LIT("t1"), 5, &item));
	assert_int_equal(item.n_revoked, 6);
	assert_int_equal(item.n_edges, 2); /* edges 1 and 7: nothing taken is above them */
	for (size_t i = 0; i < 2; i++)
		assert_true(memcmp(item.edges[i], edge_id(1).data, EDGE_ID_LEN) == 0 ||
			    memcmp(item.edges[i], edge_id(7).data, EDGE_ID_LEN) == 0);
	assert_int_equal(stored_cert(11).reason, 5);
	assert_int_equal(stored_cert(17).reason, 5);
	assert_int_equal(stored_cert(12).reason, 9);
	assert_int_equal(stored_cert(16).reason, 9);
	assert_int_equal(stored_cert(15).state, CERT_GOOD);
	for (unsigned n = 1; n <= 4; n++) {
		expect_ok(store_task(w.store, words("t%u", n), &w.arena, &task));
		assert_int_equal(task.state, n == 2 ? TASK_OPEN : TASK_COMPLETE);
		assert_int_equal(task.ended, n == 2 ? 0 : NOW);
	}
}

static void
a_task_ends_once(void **state)
{
	const struct store_revoke later = {
		.what = REVOKE_TASK, .id = WRIT_LIT("t1"), .end_task_as = TASK_REVOKED, .reason = 1
	};
	struct store_item item;
	struct store_task task;

	(void)state;
	plant_tree();
	expect_ok(revoke_one(REVOKE_TASK, WRIT_LIT("t1"), 5, &item));
	item = (struct store_item){ .op = STORE_REVOKE, .revoke = &later, .now = NOW + 5 };
	expect_ok(commit(&item));
	assert_int_equal(item.n_revoked, 0);
	expect_ok(store_task(w.store, WRIT_LIT("t1"), &w.arena, &task));
	assert_int_equal(task.state, TASK_COMPLETE);
	assert_int_equal(task.ended, NOW);
	assert_int_equal(stored_cert(11).reason, 5);
}

static void
revoking_a_principal_takes_what_it_gave_and_what_it_got(void **state)
{
	struct store_item item;

	(void)state;
	plant_tree();
	expect_ok(revoke_one(REVOKE_PRINCIPAL, WRIT_LIT("spiffe://td/agent/a/2"), 1, &item));
	assert_int_equal(item.n_revoked, 2);
	assert_int_equal(item.n_edges, 1); /* 4, given by it, lies below 2, given to it */
	assert_memory_equal(item.edges[0], edge_id(2).data, EDGE_ID_LEN);
	assert_int_equal(stored_cert(12).reason, 1);
	assert_int_equal(stored_cert(14).reason, 9);
	assert_int_equal(stored_edge(1).state, EDGE_LIVE);

	expect_ok(revoke_one(REVOKE_PRINCIPAL, WRIT_LIT("spiffe://td/human/corp/ada"), 9, &item));
	assert_int_equal(item.n_revoked, 3);
	assert_int_equal(item.n_edges, 2); /* 1 and 5 */
	assert_int_equal(stored_edge(3).state, EDGE_REVOKED);
	expect_ok(revoke_one(REVOKE_PRINCIPAL, WRIT_LIT("spiffe://td/human/corp/ada"), 9, &item));
	assert_int_equal(item.n_revoked + item.n_edges, 0);
}

static void
what_cannot_be_revoked_is_refused(void **state)
{
	const struct store_revoke bad[] = {
		{ .what = REVOKE_TASK, .id = WRIT_LIT("t1"), .end_task_as = TASK_OPEN },
		{ .what = REVOKE_TASK, .id = WRIT_LIT("t1"), .end_task_as = TASK_REVOKED, .block_key = true },
		{ .what = (enum revoke_what)7, .id = WRIT_LIT("t1") },
	};
	struct store_item item;

	(void)state;
	expect_refused(revoke_one(REVOKE_EDGE, edge_id(9), 9, &item), WRIT_NOT_FOUND,
		       "edge ed000000000000000000000000000009 is not known");
	expect_refused(revoke_one(REVOKE_LEAF, serial_of(9), 9, &item), WRIT_NOT_FOUND,
		       "serial 01000000000000000000000000000009 is not known");
	expect_refused(revoke_one(REVOKE_TASK, WRIT_LIT("t9"), 9, &item), WRIT_NOT_FOUND, "task t9 is not known");
	expect_refused(revoke_one(REVOKE_PRINCIPAL, WRIT_LIT("spiffe://td/x"), 9, &item), WRIT_NOT_FOUND,
		       "principal spiffe://td/x is not known");
	expect_refused(revoke_one(REVOKE_EDGE, WRIT_LIT("short"), 9, &item), WRIT_INVALID,
		       "an edge id of 5 bytes, it has 16");
	expect_refused(revoke_one(REVOKE_LEAF, WRIT_LIT(""), 9, &item), WRIT_INVALID, "a serial of 0 bytes, it has 16");
	expect_refused(commit(&(struct store_item){ .op = STORE_REVOKE, .revoke = &bad[0] }), WRIT_INVALID,
		       "a task ends as complete or revoked, not as 1");
	expect_refused(commit(&(struct store_item){ .op = STORE_REVOKE, .revoke = &bad[1] }), WRIT_INVALID,
		       "a task has no key to block: revoke the edge whose key is compromised");
	expect_refused(commit(&(struct store_item){ .op = STORE_REVOKE, .revoke = &bad[2] }), WRIT_INVALID,
		       "nothing that can be revoked has the number 7");
}

static void
without_room_for_the_answer_nothing_is_revoked(void **state)
{
	AUTO(writ_arena_done) struct writ_arena tight = WRIT_ARENA(40);
	const struct store_revoke r = { .what = REVOKE_EDGE, .id = edge_id(1), .reason = 9 };
	struct store_item item = { .op = STORE_REVOKE, .revoke = &r, .now = NOW, .arena = &tight };

	(void)state;
	plant_tree();
	expect_ok(store_commit(w.store, &item, 1));
	expect_refused(TAKE(item.result), WRIT_EXHAUSTED,
		       "no room for the answer: 4 serials and 1 edges would be revoked");
	assert_int_equal(item.n_revoked, 0);
	assert_int_equal(stored_edge(1).state, EDGE_LIVE);
	assert_int_equal(stored_cert(14).state, CERT_GOOD);
	assert_int_equal(owed(), 0);
}

static void
expired_leaves_are_left_alone_and_expired_edges_not_listed(void **state)
{
	const struct store_revoke r = { .what = REVOKE_EDGE, .id = edge_id(2), .reason = 9 };
	struct store_item item = { .op = STORE_REVOKE, .revoke = &r, .now = NOW + 401 };

	(void)state;
	plant_tree();
	expect_ok(commit(&item));
	assert_int_equal(item.n_revoked, 1); /* 14 ended at 400 */
	assert_int_equal(stored_cert(14).state, CERT_GOOD);
	assert_int_equal(stored_edge(4).state, EDGE_REVOKED);

	item.now = NOW + 3001;
	item.revoke = &(const struct store_revoke){ .what = REVOKE_EDGE, .id = edge_id(1), .reason = 9 };
	expect_ok(commit(&item));
	assert_int_equal(item.n_revoked, 0);
	assert_int_equal(item.n_edges, 0);
	assert_int_equal(stored_edge(1).state, EDGE_REVOKED);
}

static void
a_compromised_key_is_refused_for_ever(void **state)
{
	struct store_revoke r = { .what = REVOKE_LEAF, .id = serial_of(12), .reason = 1, .block_key = true };
	struct store_edge e = edge_of(9, 1, 1), child = edge_of(8, 6, 3);
	struct store_task task = task_of(3);
	struct store_item item;
	bool blocked;

	(void)state;
	plant_tree();
	e = edge_of(6, 0, 3);
	memcpy(e.spki_sha256, edge_of(2, 1, 1).spki_sha256, 32);
	expect_ok(commit(&(struct store_item){ .op = STORE_OPEN_TASK, .task = &task, .edge = &e }));
	expect_ok(issue(16, 6, NOW + 600));
	expect_ok(commit(&(struct store_item){ .op = STORE_ADD_EDGE, .edge = &child }));

	expect_ok(commit(&(struct store_item){ .op = STORE_REVOKE, .revoke = &r }));
	expect_ok(store_key_blocked(w.store, e.spki_sha256, &blocked));
	assert_true(blocked);
	expect_ok(store_key_blocked(w.store, edge_of(4, 2, 1).spki_sha256, &blocked));
	assert_false(blocked); /* below, but not compromised */

	expect_refused(issue(26, 6, NOW + 600), WRIT_CONFLICT,
		       "edge ed000000000000000000000000000006: key is blocked after keyCompromise");
	expect_refused(issue(28, 8, NOW + 600), WRIT_CONFLICT,
		       "edge ed000000000000000000000000000008: key is blocked after keyCompromise");
	expect_refused(add_edge(30, 6, 3), WRIT_CONFLICT,
		       "parent: edge ed000000000000000000000000000006: key is blocked after keyCompromise");
	id_of(0xed, 31, e.id, sizeof(e.id));
	e.task = task.id = WRIT_LIT("t31");
	expect_refused(commit(&(struct store_item){ .op = STORE_OPEN_TASK, .task = &task, .edge = &e }), WRIT_CONFLICT,
		       "key is blocked after keyCompromise: make a new one");

	/* Revoked for another reason first, known as compromised later. */
	expect_ok(revoke_one(REVOKE_EDGE, edge_id(3), 5, &item));
	r = (struct store_revoke){ .what = REVOKE_EDGE, .id = edge_id(3), .reason = 1, .block_key = true };
	expect_ok(commit(&(struct store_item){ .op = STORE_REVOKE, .revoke = &r }));
	assert_int_equal(stored_cert(13).reason, 5);
	expect_ok(store_key_blocked(w.store, edge_of(3, 1, 1).spki_sha256, &blocked));
	assert_true(blocked);

	/* Of a principal: the keys it got, not those it gave to. */
	r = (struct store_revoke){
		.what = REVOKE_PRINCIPAL, .id = WRIT_LIT("spiffe://td/human/corp/ada"), .reason = 1, .block_key = true
	};
	expect_ok(commit(&(struct store_item){ .op = STORE_REVOKE, .revoke = &r }));
	expect_ok(store_key_blocked(w.store, edge_of(5, 0, 2).spki_sha256, &blocked));
	assert_false(blocked);
	r.id = WRIT_LIT("spiffe://td/agent/a/5");
	expect_ok(commit(&(struct store_item){ .op = STORE_REVOKE, .revoke = &r }));
	expect_ok(store_key_blocked(w.store, edge_of(5, 0, 2).spki_sha256, &blocked));
	assert_true(blocked);
}

static struct writ_err *
note_edge(const uint8_t id[EDGE_ID_LEN], writ_time revoked_at, void *ctx)
{
	char *text = ctx;

	snprintf(text + strlen(text), 100 - strlen(text), "%u@%lld ", id[EDGE_ID_LEN - 1],
		 (long long)(revoked_at - NOW));
	return NULL;
}

static void
origin_edges_are_listed_by_time(void **state)
{
	struct store_item item;
	struct store_revoke r = { .what = REVOKE_EDGE, .id = edge_id(5), .reason = 9 };
	char text[100] = "";

	(void)state;
	plant_tree();
	expect_ok(revoke_one(REVOKE_EDGE, edge_id(2), 9, &item));
	item = (struct store_item){ .op = STORE_REVOKE, .revoke = &r, .now = NOW + 20 };
	expect_ok(commit(&item));
	expect_ok(store_revoked_edges(w.store, NOW, note_edge, text));
	assert_string_equal(text, "2@0 5@20 ");
	text[0] = '\0';
	expect_ok(store_revoked_edges(w.store, NOW + 1, note_edge, text));
	assert_string_equal(text, "5@20 ");
}

static struct writ_err *
refuse_one(uint64_t number, void *ctx)
{
	(void)number;
	(*(unsigned *)ctx)++;
	return writ_fail(WRIT_UNAVAILABLE, "enough");
}

static void
the_outbox_owes_until_the_signer_has_acknowledged(void **state)
{
	uint64_t done[3] = { 0 };
	struct store_item item;
	unsigned n = 0;

	(void)state;
	plant_tree();
	expect_ok(revoke_one(REVOKE_TASK, WRIT_LIT("t1"), 5, &item));
	assert_int_equal(item.n_revoked, 4);
	assert_int_equal(owed(), 1); /* of a revocation, however many leaves it took */
	done[0] = item.owed;
	expect_ok(revoke_one(REVOKE_TASK, WRIT_LIT("t1"), 5, &item)); /* takes nothing */
	assert_int_equal(item.owed, 0);
	assert_int_equal(owed(), 1);
	expect_ok(revoke_one(REVOKE_TASK, WRIT_LIT("t2"), 5, &item));
	assert_int_equal(owed(), 2);
	expect_refused(store_outbox(w.store, refuse_one, &n), WRIT_UNAVAILABLE, "enough");
	assert_int_equal(n, 1);
	done[1] = done[0]; /* twice is once, */
	done[2] = 99;	   /* and not known no error */
	expect_ok(commit(&(struct store_item){ .op = STORE_OUTBOX_DONE, .done = done, .n_done = 3 }));
	assert_int_equal(owed(), 1);
	expect_ok(commit(&(struct store_item){ .op = STORE_OUTBOX_DONE, .done = &item.owed, .n_done = 1 }));
	assert_int_equal(owed(), 0);
}

static struct writ_err *
count_cert(const struct store_cert *cert, void *ctx)
{
	unsigned *n = ctx;

	n[cert->state]++;
	return NULL;
}

static void
live_certificates_and_counts_leave_out_what_has_expired(void **state)
{
	const struct store_cert aborted = cert_of(19, 5, NOW + 600);
	struct store_counts counts;
	struct store_item item;
	unsigned n[4] = { 0 };

	(void)state;
	plant_tree();
	expect_ok(commit(&(struct store_item){ .op = STORE_ABORT, .cert = &aborted }));
	expect_ok(revoke_one(REVOKE_EDGE, edge_id(2), 9, &item));
	expect_ok(store_live_certs(w.store, NOW + 450, count_cert, n));
	assert_int_equal(n[CERT_GOOD], 3);
	assert_int_equal(n[CERT_REVOKED], 1);
	assert_int_equal(n[CERT_ABORTED], 1);

	expect_ok(store_counts(w.store, NOW, &counts));
	assert_int_equal(counts.tasks_open, 2);
	assert_int_equal(counts.edges_live, 3);
	assert_int_equal(counts.certs_good, 3);
	assert_int_equal(counts.certs_revoked, 2);
	assert_int_equal(counts.certs_aborted, 1);
	expect_ok(store_counts(w.store, NOW + 5000, &counts));
	assert_int_equal(counts.tasks_open + counts.edges_live + counts.certs_good + counts.certs_revoked +
				 counts.certs_aborted,
			 0);
}

/* One task, 20 edges under its first, 100 leaves each; all or nothing, and each serial once. */
static void
a_cascade_takes_thousands_in_one_transaction(void **state)
{
	enum { EDGES = 20, LEAVES = 100 };
	struct store_cert certs[LEAVES];
	struct store_item items[LEAVES], item;
	struct store_counts counts;
	unsigned n = 0;

	(void)state;
	expect_ok(open_task(1, 1));
	expect_ok(issue(1, 1, NOW + 600));
	for (unsigned e = 0; e < EDGES; e++) {
		expect_ok(add_edge(100 + e, 1, 1));
		for (unsigned i = 0; i < LEAVES; i++) {
			certs[i] = cert_of(1000 + e * LEAVES + i, 100 + e, NOW + 500);
			items[i] = (struct store_item){ .op = STORE_ISSUE, .cert = &certs[i], .now = NOW };
		}
		expect_ok(store_commit(w.store, items, LEAVES));
	}
	expect_ok(revoke_one(REVOKE_EDGE, edge_id(1), 1, &item));
	assert_int_equal(item.n_revoked, EDGES * LEAVES + 1);
	for (size_t i = 0; i < item.n_revoked; i++)
		n += item.revoked[i].reason == 9;
	assert_int_equal(n, EDGES * LEAVES);
	assert_int_equal(owed(), 1);
	expect_ok(store_counts(w.store, NOW, &counts));
	assert_int_equal(counts.certs_good, 0);
	assert_int_equal(counts.edges_live, 0);
	assert_int_equal(counts.certs_revoked, EDGES * LEAVES + 1);
}

/* ---- freezes ---- */

#define ADA WRIT_LIT("spiffe://td/human/corp/ada")
#define CLASS_A WRIT_LIT("spiffe://td/agent/a")
#define OLGA WRIT_LIT("spiffe://td/human/corp/olga")

static struct writ_err *
freeze(enum revoke_what what, struct writ_bytes id, struct store_item *ret)
{
	const struct store_revoke r = { .what = what, .id = id, .reason = 9, .freeze = true, .by = OLGA };
	struct writ_err *err;

	*ret = (struct store_item){ .op = STORE_REVOKE, .revoke = &r };
	err = commit(ret);
	ret->revoke = NULL;
	return err;
}

static struct writ_err *
thaw(enum revoke_what what, struct writ_bytes id)
{
	const struct store_revoke r = { .what = what, .id = id };

	return commit(&(struct store_item){ .op = STORE_THAW, .revoke = &r });
}

static enum revoke_what
frozen(struct writ_bytes principal)
{
	enum revoke_what why = REVOKE_EDGE;

	expect_ok(store_frozen(w.store, principal, &why));
	return why;
}

static void
a_frozen_principal_gives_and_gets_nothing_new(void **state)
{
	struct store_item item;

	(void)state;
	plant_tree();
	expect_ok(freeze(REVOKE_PRINCIPAL, WRIT_LIT("spiffe://td/agent/a/2"), &item));
	assert_int_equal(item.n_revoked, 2);
	assert_int_equal(item.n_edges, 1);
	assert_int_equal(frozen(WRIT_LIT("spiffe://td/agent/a/2")), REVOKE_PRINCIPAL);
	assert_int_equal(frozen(WRIT_LIT("spiffe://td/agent/a/3")), 0);
	expect_refused(add_edge(6, 2, 1), WRIT_CONFLICT, "parent: edge ed000000000000000000000000000002 was revoked");
	expect_ok(add_edge(7, 3, 1)); /* beside it all goes on */

	/* As the agent of a new edge, in another task. */
	expect_refused(open_task(3, 2), WRIT_CONFLICT, "edge ed000000000000000000000000000002 is there already");
	{
		const struct store_task t = task_of(3);
		struct store_edge e = edge_of(8, 0, 3);

		e.agent = WRIT_LIT("spiffe://td/agent/a/2");
		expect_refused(commit(&(struct store_item){ .op = STORE_OPEN_TASK, .task = &t, .edge = &e }),
			       WRIT_CONFLICT, "principal spiffe://td/agent/a/2 is frozen");
		e.parent[0] = 0xed;
		writ_put32(e.parent + EDGE_ID_LEN - 4, 1);
		e.task = WRIT_LIT("t1");
		expect_refused(commit(&(struct store_item){ .op = STORE_ADD_EDGE, .edge = &e }), WRIT_CONFLICT,
			       "principal spiffe://td/agent/a/2 is frozen");
		e.agent = WRIT_LIT("spiffe://td/agent/a/8");
		e.delegator = WRIT_LIT("spiffe://td/agent/a/2");
		expect_refused(commit(&(struct store_item){ .op = STORE_ADD_EDGE, .edge = &e }), WRIT_CONFLICT,
			       "principal spiffe://td/agent/a/2 is frozen");
	}

	/* As delegator, and as opener of what another delegates. */
	expect_ok(freeze(REVOKE_PRINCIPAL, ADA, &item));
	assert_int_equal(stored_edge(5).state, EDGE_REVOKED);
	expect_refused(open_task(4, 9), WRIT_CONFLICT, "principal spiffe://td/human/corp/ada is frozen");
	{
		const struct store_task t = task_of(4);
		struct store_edge e = edge_of(9, 0, 4);

		e.delegator = OLGA;
		expect_refused(commit(&(struct store_item){ .op = STORE_OPEN_TASK, .task = &t, .edge = &e }),
			       WRIT_CONFLICT, "principal spiffe://td/human/corp/ada is frozen");
	}
	expect_refused(issue(16, 5, NOW + 300), WRIT_CONFLICT, "edge ed000000000000000000000000000005 was revoked");
}

static void
who_never_was_here_can_be_frozen(void **state)
{
	struct store_item item;

	(void)state;
	expect_ok(freeze(REVOKE_PRINCIPAL, ADA, &item));
	assert_int_equal(item.n_revoked + item.n_edges, 0);
	expect_refused(open_task(1, 1), WRIT_CONFLICT, "principal spiffe://td/human/corp/ada is frozen");
	expect_refused(freeze(REVOKE_CLASS, WRIT_LIT(""), &item), WRIT_INVALID,
		       "a principal of 0 bytes, allowed are 1 to 512");
}

static void
freezing_a_class_takes_its_instances_and_those_to_come(void **state)
{
	struct store_item item;
	struct store_edge e;
	struct store_task t;

	(void)state;
	plant_tree();
	expect_ok(freeze(REVOKE_CLASS, WRIT_LIT("spiffe://td/agent"), &item));
	assert_int_equal(item.n_revoked, 5); /* a class of classes is the caller's matter; below it are all */
	expect_ok(thaw(REVOKE_CLASS, WRIT_LIT("spiffe://td/agent")));

	expect_ok(open_task(3, 6));
	expect_ok(freeze(REVOKE_CLASS, CLASS_A, &item));
	assert_int_equal(item.n_edges, 1);
	assert_int_equal(frozen(WRIT_LIT("spiffe://td/agent/a/99")), REVOKE_CLASS);
	assert_int_equal(frozen(CLASS_A), 0); /* itself it is nobody */
	assert_int_equal(frozen(WRIT_LIT("spiffe://td/agent/ab/1")), 0);
	assert_int_equal(frozen(WRIT_LIT("spiffe://td/agent/a0")), 0);
	expect_refused(open_task(4, 7), WRIT_CONFLICT, "principal spiffe://td/agent/a/7 is frozen");
	t = task_of(4);
	e = edge_of(7, 0, 4);
	e.agent = WRIT_LIT("spiffe://td/agent/ab/7");
	expect_ok(commit(&(struct store_item){ .op = STORE_OPEN_TASK, .task = &t, .edge = &e }));
}

static void
freezing_everything_leaves_nothing_alive_and_lets_nothing_begin(void **state)
{
	struct store_counts counts;
	struct store_item item;
	struct store_task t;

	(void)state;
	plant_tree();
	expect_ok(freeze(REVOKE_ALL, WRIT_LIT(""), &item));
	assert_int_equal(item.n_revoked, 5);
	assert_int_equal(item.n_edges, 2); /* the roots of both tasks */
	expect_ok(store_counts(w.store, NOW, &counts));
	assert_int_equal(counts.tasks_open + counts.edges_live + counts.certs_good, 0);
	assert_int_equal(counts.certs_revoked, 5);
	assert_int_equal(counts.frozen, 1);
	assert_int_equal(owed(), 1);
	expect_ok(store_task(w.store, WRIT_LIT("t1"), &w.arena, &t));
	assert_int_equal(t.state, TASK_REVOKED);
	assert_int_equal(t.ended, NOW);
	expect_refused(open_task(3, 6), WRIT_CONFLICT, "principal spiffe://td/human/corp/ada is frozen");
	expect_refused(issue(16, 1, NOW + 300), WRIT_CONFLICT, "task t1 has ended");
	assert_int_equal(frozen(WRIT_LIT("spiffe://td/service/x")), REVOKE_ALL);

	expect_ok(thaw(REVOKE_ALL, WRIT_LIT("")));
	expect_ok(open_task(3, 6));
	expect_ok(issue(16, 6, NOW + 300));
	expect_refused(issue(17, 1, NOW + 300), WRIT_CONFLICT, "task t1 has ended");
}

static void
everything_can_be_revoked_without_a_freeze(void **state)
{
	struct store_item item;

	(void)state;
	plant_tree();
	expect_ok(revoke_one(REVOKE_ALL, WRIT_LIT(""), 9, &item));
	assert_int_equal(item.n_revoked, 5);
	expect_ok(open_task(3, 6));
}

static void
a_thaw_revives_nothing(void **state)
{
	struct store_item item;

	(void)state;
	plant_tree();
	expect_refused(thaw(REVOKE_PRINCIPAL, ADA), WRIT_NOT_FOUND,
		       "principal spiffe://td/human/corp/ada is not frozen");
	expect_refused(thaw(REVOKE_ALL, WRIT_LIT("")), WRIT_NOT_FOUND, "there is no freeze of everything");
	expect_ok(freeze(REVOKE_PRINCIPAL, ADA, &item));
	expect_refused(thaw(REVOKE_CLASS, ADA), WRIT_NOT_FOUND, "principal spiffe://td/human/corp/ada is not frozen");
	expect_ok(thaw(REVOKE_PRINCIPAL, ADA));
	assert_int_equal(frozen(ADA), 0);
	assert_int_equal(stored_cert(11).state, CERT_REVOKED);
	assert_int_equal(stored_edge(1).state, EDGE_REVOKED);
	expect_refused(issue(16, 1, NOW + 300), WRIT_CONFLICT, "edge ed000000000000000000000000000001 was revoked");
	expect_ok(open_task(3, 6));
	expect_ok(issue(17, 6, NOW + 300));
}

static struct writ_err *
freeze_see(const struct store_freeze *f, void *ctx)
{
	char *text = ctx;
	const size_t len = strlen(text);

	snprintf(text + len, 400 - len, "%d %.*s by %.*s at %lld\n", (int)f->what, WRIT_FMT(f->id), WRIT_FMT(f->by),
		 (long long)(f->at - NOW));
	return NULL;
}

static void
freezes_are_listed_and_twice_is_once(void **state)
{
	struct store_item item;
	char text[400] = "";

	(void)state;
	expect_ok(freeze(REVOKE_PRINCIPAL, ADA, &item));
	expect_ok(freeze(REVOKE_CLASS, CLASS_A, &item));
	expect_ok(freeze(REVOKE_ALL, WRIT_LIT(""), &item));
	{
		const struct store_revoke r = { .what = REVOKE_PRINCIPAL, .id = ADA, .freeze = true, .by = ADA };

		expect_ok(commit(&(struct store_item){ .op = STORE_REVOKE, .revoke = &r, .now = NOW + 9 }));
	}
	assert_int_equal(frozen(ADA), REVOKE_PRINCIPAL); /* the nearest of the reasons */
	expect_ok(store_freezes(w.store, freeze_see, text));
	assert_string_equal(text, "6  by spiffe://td/human/corp/olga at 0\n"
				  "5 spiffe://td/agent/a by spiffe://td/human/corp/olga at 0\n"
				  "4 spiffe://td/human/corp/ada by spiffe://td/human/corp/olga at 0\n");
}

static void
freezes_have_a_limit_that_everything_passes(void **state)
{
	struct store_item item;

	(void)state;
	plant_tree();
	for (unsigned i = 0; i < STORE_FREEZES_MAX; i++)
		expect_ok(freeze(REVOKE_PRINCIPAL, words("spiffe://td/human/corp/n%u", i), &item));
	expect_refused(freeze(REVOKE_PRINCIPAL, ADA, &item), WRIT_EXHAUSTED,
		       "200 names are frozen, as many as may be: freeze a class, or everything");
	assert_int_equal(stored_edge(1).state, EDGE_LIVE);
	expect_ok(freeze(REVOKE_PRINCIPAL, WRIT_LIT("spiffe://td/human/corp/n7"), &item)); /* it is there already */
	expect_ok(freeze(REVOKE_ALL, WRIT_LIT(""), &item));
	assert_int_equal(stored_edge(1).state, EDGE_REVOKED);
}

static void
what_cannot_be_frozen_is_refused(void **state)
{
	const struct store_revoke bad[] = {
		{ .what = REVOKE_EDGE, .id = edge_id(1), .freeze = true, .by = OLGA },
		{ .what = REVOKE_TASK, .id = WRIT_LIT("t1"), .end_task_as = TASK_REVOKED, .freeze = true, .by = OLGA },
		{ .what = REVOKE_PRINCIPAL, .id = ADA, .freeze = true },
		{ .what = REVOKE_ALL, .id = ADA, .freeze = true, .by = OLGA },
		{ .what = REVOKE_ALL, .block_key = true, .freeze = true, .by = OLGA },
	};
	static const char *const why[] = {
		"a principal, a class or everything is frozen, nothing else",
		"a principal, a class or everything is frozen, nothing else",
		"a freeze by a principal of 0 bytes, allowed are 1 to 512",
		"everything has no name",
		"everything has no key to block: revoke the edge whose key is compromised",
	};

	(void)state;
	plant_tree();
	for (size_t i = 0; i < N_OF(bad); i++)
		expect_refused(commit(&(struct store_item){ .op = STORE_REVOKE, .revoke = &bad[i] }), WRIT_INVALID,
			       why[i]);
	expect_refused(thaw(REVOKE_EDGE, edge_id(1)), WRIT_INVALID,
		       "a principal, a class or everything is frozen, nothing else");
	assert_int_equal(stored_edge(1).state, EDGE_LIVE);
}

/* ---- the end of a task's time ---- */

static struct writ_err *
ended_see(struct writ_bytes task, writ_time ends, void *ctx)
{
	char *text = ctx;
	const size_t len = strlen(text);

	snprintf(text + len, 200 - len, "%.*s %lld\n", WRIT_FMT(task), (long long)(ends - NOW));
	return NULL;
}

static struct writ_err *
close_task(unsigned n, writ_time now)
{
	const struct store_task t = task_of(n);

	return commit(&(struct store_item){ .op = STORE_CLOSE, .task = &t, .now = now });
}

static void
the_revision_of_a_task_moves_when_something_of_it_may_have_been_taken_back(void **state)
{
	const struct store_task first = task_of(1);
	struct store_item item;
	uint64_t one, two;

	(void)state;
	plant_tree();
	one = store_revision(w.store, WRIT_LIT("t1"));
	two = store_revision(w.store, WRIT_LIT("t2"));
	expect_ok(issue(16, 5, NOW + 600));
	expect_ok(add_edge(6, 5, 2));
	expect_ok(open_task(3, 7));
	assert_int_equal(store_revision(w.store, WRIT_LIT("t1")), one);
	assert_int_equal(store_revision(w.store, WRIT_LIT("t2")), two);

	expect_ok(commit(&(struct store_item){ .op = STORE_CLOSE, .task = &first, .now = NOW + 3601 }));
	assert_int_not_equal(store_revision(w.store, WRIT_LIT("t1")), one);
	assert_int_equal(store_revision(w.store, WRIT_LIT("t2")), two);

	expect_ok(revoke_one(REVOKE_EDGE, edge_id(5), 5, &item)); /* any task may lie below */
	one = store_revision(w.store, WRIT_LIT("t1"));
	assert_int_not_equal(store_revision(w.store, WRIT_LIT("t2")), two);
	two = store_revision(w.store, WRIT_LIT("t2"));
	expect_ok(revoke_one(REVOKE_ALL, WRIT_LIT(""), 0, &item));
	assert_int_not_equal(store_revision(w.store, WRIT_LIT("t1")), one);
	assert_int_not_equal(store_revision(w.store, WRIT_LIT("t2")), two);
}

static void
a_task_closes_once_its_end_has_passed(void **state)
{
	struct store_item item;
	struct store_task t;
	char text[200] = "";

	(void)state;
	plant_tree();
	expect_ok(store_ended(w.store, NOW + 3600, 10, ended_see, text));
	assert_string_equal(text, ""); /* the end is inclusive */
	expect_refused(close_task(1, NOW + 3600), WRIT_CONFLICT, "task t1 is not one that is open past its end");
	expect_ok(store_ended(w.store, NOW + 3601, 10, ended_see, text));
	assert_string_equal(text, "t1 3600\nt2 3600\n");
	text[0] = '\0';
	expect_ok(store_ended(w.store, NOW + 3601, 1, ended_see, text));
	assert_string_equal(text, "t1 3600\n");
	expect_ok(close_task(1, NOW + 3700));
	expect_ok(store_task(w.store, WRIT_LIT("t1"), &w.arena, &t));
	assert_int_equal(t.state, TASK_EXPIRED);
	assert_int_equal(t.ended, NOW + 3600);
	expect_refused(close_task(1, NOW + 3700), WRIT_CONFLICT, "task t1 is not one that is open past its end");
	expect_refused(close_task(9, NOW + 3700), WRIT_CONFLICT, "task t9 is not one that is open past its end");
	expect_refused(issue(16, 1, NOW + 4000), WRIT_CONFLICT, "task t1 has ended");
	expect_ok(revoke_one(REVOKE_TASK, WRIT_LIT("t2"), 5, &item));
	expect_refused(close_task(2, NOW + 3700), WRIT_CONFLICT, "task t2 is not one that is open past its end");
	text[0] = '\0';
	expect_ok(store_ended(w.store, NOW + 3700, 10, ended_see, text));
	assert_string_equal(text, "");
	expect_ok(revoke_one(REVOKE_TASK, WRIT_LIT("t1"), 5, &item));
	expect_ok(store_task(w.store, WRIT_LIT("t1"), &w.arena, &t));
	assert_int_equal(t.state, TASK_EXPIRED); /* a task ends once */
}

/* ---- notes ---- */

static struct writ_err *
note_see(uint64_t number, unsigned type, struct writ_bytes text, void *ctx)
{
	char *out = ctx;
	const size_t len = strlen(out);

	snprintf(out + len, 200 - len, "%llu %u %.*s\n", (unsigned long long)number, type, WRIT_FMT(text));
	return NULL;
}

static void
a_note_stays_with_its_item_until_the_journal_has_it(void **state)
{
	const struct store_revoke ada = { .what = REVOKE_PRINCIPAL, .id = ADA, .freeze = true, .by = OLGA };
	struct store_item items[] = {
		{ .op = STORE_REVOKE, .revoke = &ada, .note = WRIT_LIT("frozen"), .note_type = 16, .now = NOW },
		{ .op = STORE_THAW, .revoke = &ada, .note = WRIT_LIT("thawed"), .note_type = 16, .now = NOW },
		{ .op = STORE_THAW, .revoke = &ada, .note = WRIT_LIT("never was"), .note_type = 16, .now = NOW },
		{ .op = STORE_REVOKE, .revoke = &ada, .note = WRIT_LIT("again"), .note_type = 16, .now = NOW },
	};
	char text[200] = "";

	(void)state;
	items[0].arena = items[3].arena = &w.arena;
	expect_ok(store_commit(w.store, items, N_OF(items)));
	expect_ok(items[0].result);
	expect_ok(items[1].result);
	expect_refused(items[2].result, WRIT_NOT_FOUND, "principal spiffe://td/human/corp/ada is not frozen");
	expect_ok(items[3].result);
	expect_ok(store_notes(w.store, 2, note_see, text));
	assert_string_equal(text, "1 16 frozen\n2 16 thawed\n");
	expect_ok(commit(&(struct store_item){ .op = STORE_NOTED, .noted = 2 }));
	store_closep(&w.store);
	expect_ok(store_open(w.uri, STORE_WRITE, &w.store));
	text[0] = '\0';
	expect_ok(store_notes(w.store, 9, note_see, text));
	assert_string_equal(text, "3 16 again\n");
	assert_int_equal(frozen(ADA), REVOKE_PRINCIPAL); /* and the freeze as well */
}

/* ---- pruning ---- */

static size_t
prune(writ_time before)
{
	struct store_item item = { .op = STORE_PRUNE, .before = before };

	expect_ok(commit(&item));
	return item.n_pruned;
}

static void
pruning_takes_slices_of_what_has_expired_and_nothing_else(void **state)
{
	enum { LEAVES = 700 };
	const struct store_once once = { WRIT_LIT("grant:1"), NOW + 5000 };
	struct store_item item;
	struct store_cert cert;
	struct store_task task;
	size_t total = 0;

	(void)state;
	plant_tree();
	for (unsigned i = 0; i < LEAVES; i++)
		expect_ok(issue(1000 + i, 5, NOW + 100));
	expect_ok(commit(&(struct store_item){ .op = STORE_OUTBOX_DONE, .once = &once, .n_once = 1 }));
	assert_int_equal(prune(NOW + 100), 0);
	assert_int_equal(prune(NOW + 101), STORE_PRUNE_MAX);
	assert_int_equal(prune(NOW + 101), LEAVES - STORE_PRUNE_MAX);
	assert_int_equal(prune(NOW + 101), 0);
	assert_int_equal(stored_cert(15).state, CERT_GOOD);

	expect_ok(revoke_one(REVOKE_EDGE, edge_id(2), 9, &item));
	assert_int_equal(prune(NOW + 4000), 0); /* what may be owed stays: all that was live when the edge was revoked */
	assert_int_equal(stored_cert(12).state, CERT_REVOKED);
	expect_ok(commit(&(struct store_item){ .op = STORE_OUTBOX_DONE, .done = &item.owed, .n_done = 1 }));
	for (size_t n = 1; n > 0; total += n)
		n = prune(NOW + 4000);
	assert_int_equal(total, 5 + 5 + 2); /* leaves, edges, tasks */
	expect_refused(store_task(w.store, WRIT_LIT("t1"), &w.arena, &task), WRIT_NOT_FOUND, "task t1 is not known");
	expect_refused(store_cert(w.store, serial_of(12).data, &w.arena, &cert), WRIT_NOT_FOUND,
		       "serial 0100000000000000000000000000000c is not known");
	expect_refused(revoke_one(REVOKE_PRINCIPAL, WRIT_LIT("spiffe://td/agent/a/4"), 9, &item), WRIT_NOT_FOUND,
		       "principal spiffe://td/agent/a/4 is not known");
	expect_refused(commit(&(struct store_item){ .op = STORE_OUTBOX_DONE, .once = &once, .n_once = 1 }),
		       WRIT_CONFLICT, "used already: grant:1");
	assert_int_equal(prune(NOW + 5001), 1);
	expect_ok(open_task(1, 1)); /* everything of the first is gone */
}

static void
pruning_takes_answers_evidence_and_once_keys(void **state)
{
	const struct store_once once = { WRIT_LIT("grant:1"), NOW + 10 };
	const struct store_answer answer = {
		.key = WRIT_LIT("k"), .status = 200, .body = WRIT_LIT("x"), .expires = NOW + 20
	};
	const struct store_evidence evidence = {
		.digest = { 3 }, .kind = WRIT_LIT("context"), .bytes = WRIT_LIT("x"), .expires = NOW + 30
	};

	(void)state;
	expect_ok(commit(&(struct store_item){ .op = STORE_OUTBOX_DONE,
					       .once = &once,
					       .n_once = 1,
					       .answer = &answer,
					       .evidence = &evidence,
					       .n_evidence = 1 }));
	assert_int_equal(prune(NOW + 10), 0);
	assert_int_equal(prune(NOW + 11), 1);
	assert_int_equal(prune(NOW + 21), 1);
	assert_int_equal(prune(NOW + 31), 1);
	assert_int_equal(prune(NOW + 1000), 0);
}

/* ---- several at once ---- */

static void
a_store_opened_for_reading_commits_nothing(void **state)
{
	AUTO(store_closep) struct store *reader = NULL;
	struct store_item item = { .op = STORE_PRUNE, .now = NOW };

	(void)state;
	expect_ok(store_open(w.uri, STORE_READ, &reader));
	expect_refused(store_commit(reader, &item, 1), WRIT_BROKEN, "store: it was opened for reading");
	store_idle(reader);
}

static void
a_second_writer_is_refused(void **state)
{
	AUTO(store_closep) struct store *second = NULL;
	struct writ_err *err;

	(void)state;
	err = store_open(w.uri, STORE_WRITE, &second);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_CONFLICT);
	assert_null(second);
	writ_err_free(err);
}

static void
an_unknown_scheme_is_refused(void **state)
{
	struct store *store;

	(void)state;
	expect_refused(store_open("mysql:x", STORE_READ, &store), WRIT_INVALID,
		       "store mysql:x: the scheme is none of: sqlite");
	expect_refused(store_open("sqlite", STORE_READ, &store), WRIT_INVALID,
		       "store sqlite: the scheme is none of: sqlite");
}

/* A reader sees a group whole or not at all: the edges of task 1 are all live, or all revoked. */
struct watcher {
	pthread_t thread;
	atomic_bool stop;
	unsigned rounds, revoked, torn, failed;
};

static void *
watch(void *ctx)
{
	struct watcher *watcher = ctx;
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA((size_t)1024 * 1024);
	AUTO(store_closep) struct store *reader = NULL;
	struct writ_err *err = store_open(w.uri, STORE_READ, &reader);

	while (!err && !atomic_load(&watcher->stop)) {
		struct store_edge *edges;
		size_t n, dead = 0;

		err = store_edges(reader, WRIT_LIT("t1"), &arena, &edges, &n);
		if (err)
			break;
		for (size_t i = 0; i < n; i++)
			dead += edges[i].state == EDGE_REVOKED;
		watcher->rounds++;
		watcher->torn += dead != 0 && dead != n;
		watcher->revoked += dead == n;
		writ_arena_clear(&arena);
	}
	watcher->failed = err != NULL;
	writ_err_free(err);
	return NULL;
}

static void
two_readers_see_whole_groups_while_the_writer_writes(void **state)
{
	struct watcher watchers[2] = { 0 };
	struct store_item item;

	(void)state;
	plant_tree();
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&watchers[i].thread, NULL, watch, &watchers[i]), 0);
	for (unsigned i = 0; i < 100; i++)
		expect_ok(issue(1000 + i, 5, NOW + 600));
	expect_ok(revoke_one(REVOKE_TASK, WRIT_LIT("t1"), 5, &item));
	for (unsigned i = 0; i < 100; i++) {
		expect_ok(issue(2000 + i, 5, NOW + 600));
		store_idle(w.store);
	}
	for (size_t i = 0; i < 2; i++) {
		atomic_store(&watchers[i].stop, true);
		pthread_join(watchers[i].thread, NULL);
		assert_int_equal(watchers[i].failed, 0);
		assert_int_equal(watchers[i].torn, 0);
		assert_true(watchers[i].rounds > watchers[i].revoked);
		assert_true(watchers[i].revoked > 0);
	}
}

struct interloper {
	unsigned seen;
};

static struct writ_err *
commit_meanwhile(const struct store_cert *cert, void *ctx)
{
	struct interloper *interloper = ctx;

	(void)cert;
	interloper->seen++;
	return issue(500 + interloper->seen, 5, NOW + 600);
}

static void
a_reader_in_the_middle_of_a_pass_stops_no_commit(void **state)
{
	AUTO(store_closep) struct store *reader = NULL;
	struct interloper interloper = { 0 };

	(void)state;
	plant_tree();
	expect_ok(store_open(w.uri, STORE_READ, &reader));
	expect_ok(store_live_certs(reader, NOW, commit_meanwhile, &interloper));
	assert_int_equal(interloper.seen, 5); /* as it was when the pass began */
}

static void
what_was_committed_is_there_after_reopening(void **state)
{
	struct store_item item;

	(void)state;
	plant_tree();
	expect_ok(revoke_one(REVOKE_EDGE, edge_id(2), 1, &item));
	store_closep(&w.store);
	expect_ok(store_open(w.uri, STORE_WRITE, &w.store));
	assert_int_equal(stored_cert(12).reason, 1);
	assert_int_equal(stored_cert(13).state, CERT_GOOD);
	assert_int_equal(owed(), 1);
	expect_refused(issue(22, 2, NOW + 100), WRIT_CONFLICT, "edge ed000000000000000000000000000002 was revoked");
}

/* ---- crashes ---- */

/* Group k: task k with edge k, two leaves, evidence; every third also revokes task k - 1. */
static struct writ_err *
group_write(unsigned k)
{
	const struct store_task task = task_of(k);
	const struct store_edge edge = edge_of(k, 0, k);
	const struct store_cert certs[] = { cert_of(2 * k, k, NOW + 600), cert_of(2 * k + 1, k, NOW + 600) };
	struct store_evidence evidence = { .kind = WRIT_LIT("hop-grant"), .bytes = edge.grant, .expires = NOW + 600 };
	const struct store_revoke r = {
		.what = REVOKE_TASK, .id = words("t%u", k - 1), .reason = 5, .end_task_as = TASK_COMPLETE
	};
	struct store_item items[] = {
		{ .op = STORE_OPEN_TASK,
		  .task = &task,
		  .edge = &edge,
		  .now = NOW,
		  .evidence = &evidence,
		  .n_evidence = 1 },
		{ .op = STORE_ISSUE, .cert = &certs[0], .now = NOW },
		{ .op = STORE_REVOKE, .revoke = &r, .now = NOW, .arena = &w.arena },
		{ .op = STORE_ISSUE, .cert = &certs[1], .now = NOW },
	};
	struct writ_err *err;

	id_of(0xe0, k, evidence.digest, sizeof(evidence.digest));
	if (k % 3 != 0)
		items[2] = (struct store_item){ .op = STORE_PRUNE, .now = NOW, .before = 1 };
	err = store_commit(w.store, items, N_OF(items));
	for (size_t i = 0; i < N_OF(items); i++) {
		if (!err)
			err = TAKE(items[i].result);
		writ_err_freep(&items[i].result);
	}
	return err;
}

/* The victim: commits until it dies, and says each number once it is committed. */
static int
victim(const char *uri)
{
	w = (struct world){ .arena = WRIT_ARENA((size_t)64 * 1024 * 1024) };
	if (store_open(uri, STORE_WRITE, &w.store))
		return 3;
	for (unsigned k = 1; k < 100000; k++) {
		const uint32_t told = k;

		writ_arena_clear(&w.arena);
		if (group_write(k) || write(1, &told, sizeof(told)) != sizeof(told))
			return 4;
		store_idle(w.store);
	}
	return 0;
}

/* Starts a victim; returns how many groups it told of.  With `fault` it dies by itself, else after `enough` groups. */
static unsigned
victim_dies(const char *fault, unsigned enough)
{
	uint32_t told = 0;
	int pipes[2], status;
	pid_t pid;

	store_closep(&w.store);
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(pipes[1], 1);
		close(pipes[0]);
		close(pipes[1]);
		if (fault)
			setenv("WRIT_FAULT", fault, 1);
		execl("/proc/self/exe", "store", "--crash", w.uri, (char *)NULL);
		_exit(127);
	}
	close(pipes[1]);
	while (read(pipes[0], &told, sizeof(told)) == sizeof(told) && (fault || told < enough))
		continue;
	if (!fault)
		kill(pid, SIGKILL);
	while (read(pipes[0], &told, sizeof(told)) == sizeof(told))
		continue;
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	expect_ok(store_open(w.uri, STORE_WRITE, &w.store));
	return told;
}

/* How much of group k is there, of what all of it would be? */
static unsigned
group_parts(unsigned k)
{
	struct store_task task;
	struct store_edge edge;
	struct store_cert cert;
	struct store_evidence evidence;
	struct writ_bytes der;
	uint8_t digest[32];
	unsigned n = 0;
	struct writ_err *errs[7];

	id_of(0xe0, k, digest, sizeof(digest));
	errs[0] = store_task(w.store, words("t%u", k), &w.arena, &task);
	errs[1] = store_edge(w.store, edge_id(k).data, &w.arena, &edge);
	errs[2] = store_cert(w.store, serial_of(2 * k).data, &w.arena, &cert);
	errs[3] = store_cert_der(w.store, serial_of(2 * k).data, &w.arena, &der);
	errs[4] = store_cert(w.store, serial_of(2 * k + 1).data, &w.arena, &cert);
	errs[5] = store_cert_der(w.store, serial_of(2 * k + 1).data, &w.arena, &der);
	errs[6] = store_evidence(w.store, digest, &w.arena, &evidence);
	for (size_t i = 0; i < N_OF(errs); i++) {
		n += !errs[i];
		writ_err_free(errs[i]);
	}
	return n;
}

/* ---- tasks that wait for approvals ---- */

#define ANN "spiffe://td/human/corp/ann"
#define BEN "spiffe://td/human/corp/ben"
#define CAY "spiffe://td/human/corp/cay"

/* Task n, as task_of() and edge_of() have it, which waits for 2 approvals until `expires`; its digest ends in n. */
static struct writ_err *
pend_until(unsigned n, writ_time expires, writ_time now)
{
	struct store_pending p = {
		.task = task_of(n),
		.edge = edge_of(n, 0, n),
		.rule = WRIT_LIT("payments"),
		.needed = 2,
		.approvers = WRIT_LIT("spiffe://td/human/corp/**\nspiffe://td/service/gate"),
		.expires = expires,
		.end_is_fixed = n == 2,
	};

	id_of(0xd1, n, p.digest, sizeof(p.digest));
	return commit(&(struct store_item){ .op = STORE_PEND, .pending = &p, .now = now });
}

static struct writ_err *
pend(unsigned n)
{
	return pend_until(n, NOW + 1800, NOW);
}

/* What `who` says to task n at `now`; opened then, its times count from there. */
static struct writ_err *
say_at(unsigned n, const char *who, bool refuses, unsigned digest, writ_time now, struct store_item *ret)
{
	struct store_task task = task_of(n);
	struct store_edge edge = edge_of(n, 0, n);
	struct store_approve approve = {
		.task = task.id,
		.said = { .principal = writ_str(who),
			  .at = now,
			  .refuses = refuses,
			  .because = refuses ? WRIT_LIT("not this quarter") : WRIT_LIT("") },
	};
	struct writ_err *err;

	task.created = edge.granted_at = now;
	task.ends = now + 3600;
	edge.not_after = now + 3000;
	id_of(0xd1, digest, approve.digest, sizeof(approve.digest));
	id_of(0xe5, n, approve.said.evidence, sizeof(approve.said.evidence));
	*ret = (struct store_item){ .op = STORE_APPROVE,
				    .approve = &approve,
				    .task = refuses ? NULL : &task,
				    .edge = refuses ? NULL : &edge,
				    .now = now };
	err = commit(ret);
	ret->approve = NULL;
	ret->task = NULL;
	ret->edge = NULL;
	return err;
}

static struct writ_err *
approve(unsigned n, const char *who)
{
	struct store_item item;

	return say_at(n, who, false, n, NOW + 60, &item);
}

static struct store_pending
stored_pending(unsigned n)
{
	struct store_pending p = { 0 };

	expect_ok(store_pending(w.store, words("t%u", n), &w.arena, &p));
	return p;
}

static void
no_task(unsigned n)
{
	struct store_task task;
	struct store_edge edge;

	expect_refused(store_task(w.store, words("t%u", n), &w.arena, &task), WRIT_NOT_FOUND,
		       "task t1 is not known");
	expect_refused(store_edge(w.store, edge_id(n).data, &w.arena, &edge), WRIT_NOT_FOUND,
		       "edge ed000000000000000000000000000001 is not known");
}

static void
a_task_that_waits_is_read_back_whole_and_is_no_task(void **state)
{
	const struct store_edge want = edge_of(1, 0, 1);
	struct store_pending p;
	struct store_counts counts;
	uint64_t n;

	(void)state;
	expect_ok(pend(1));
	p = stored_pending(1);
	expect_bytes(p.task.id, WRIT_LIT("t1"));
	expect_bytes(p.task.opener, WRIT_LIT("spiffe://td/human/corp/ada"));
	expect_bytes(p.task.purpose, WRIT_LIT("Pay the invoices of June"));
	assert_int_equal(p.task.created, NOW);
	assert_int_equal(p.task.ends, NOW + 3600);
	assert_memory_equal(p.edge.id, want.id, EDGE_ID_LEN);
	assert_memory_equal(p.edge.spki_sha256, want.spki_sha256, 32);
	expect_bytes(p.edge.delegator, want.delegator);
	expect_bytes(p.edge.agent, want.agent);
	expect_bytes(p.edge.grant, WRIT_LIT("grant 1"));
	expect_bytes(p.edge.hops, WRIT_LIT("hops 1"));
	assert_int_equal(p.edge.depth_remaining, 2);
	assert_int_equal(p.edge.granted_at, NOW);
	assert_int_equal(p.edge.not_after, NOW + 3000);
	assert_int_equal(p.edge.max_lifetime_s, 900);
	assert_int_equal(p.digest[0], 0xd1);
	expect_bytes(p.rule, WRIT_LIT("payments"));
	expect_bytes(p.approvers, WRIT_LIT("spiffe://td/human/corp/**\nspiffe://td/service/gate"));
	assert_int_equal(p.needed, 2);
	assert_int_equal(p.expires, NOW + 1800);
	assert_int_equal(p.state, PENDING_WAITING);
	assert_int_equal(p.n_given, 0);
	assert_false(p.end_is_fixed);
	no_task(1);
	expect_refused(issue(11, 1, NOW + 600), WRIT_NOT_FOUND, "edge ed000000000000000000000000000001 is not known");
	expect_ok(store_counts(w.store, NOW, &counts));
	assert_int_equal(counts.tasks_open, 0);
	expect_ok(store_pendings_count(w.store, NOW, &n));
	assert_int_equal(n, 1);
	expect_ok(store_pendings_count(w.store, NOW + 1801, &n));
	assert_int_equal(n, 0);
	expect_refused(store_pending(w.store, WRIT_LIT("t9"), &w.arena, &p), WRIT_NOT_FOUND,
		       "task t9 waits for no approval");
}

static void
a_freeze_refuses_what_waits_and_names_the_frozen_one(void **state)
{
	const struct {
		enum revoke_what what;
		const char *id;
		bool ends;
	} rows[] = {
		{ REVOKE_PRINCIPAL, "spiffe://td/human/corp/ada", true }, /* who asked for it */
		{ REVOKE_PRINCIPAL, "spiffe://td/agent/a/1", true },	  /* whom it is for */
		{ REVOKE_CLASS, "spiffe://td/agent/a", true },		  /* by its class */
		{ REVOKE_PRINCIPAL, ANN, true },			  /* who approved it */
		{ REVOKE_ALL, "", true },
		{ REVOKE_PRINCIPAL, BEN, false }, /* who could, and did not */
		{ REVOKE_CLASS, "spiffe://td/agent/b", false },
	};
	struct store_item item;
	struct store_pending p;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		expect_ok(pend(1));
		expect_ok(approve(1, ANN));
		expect_ok(freeze(rows[i].what, writ_str(rows[i].id), &item));
		p = stored_pending(1);
		assert_int_equal(p.state, rows[i].ends ? PENDING_REFUSED : PENDING_WAITING);
		assert_int_equal(p.n_approvals, rows[i].ends ? 2 : 1);
		if (rows[i].ends) {
			expect_bytes(p.approvals[1].principal, OLGA);
			expect_bytes(p.approvals[1].because, WRIT_LIT("frozen"));
			assert_true(p.approvals[1].refuses);
			expect_refused(approve(1, CAY), WRIT_CONFLICT, "task t1 was refused");
		}
		expect_ok(thaw(rows[i].what, writ_str(rows[i].id)));
		if (rows[i].ends)
			expect_refused(approve(1, CAY), WRIT_CONFLICT, "task t1 was refused"); /* nothing comes back */
		else
			expect_ok(say_at(1, ANN, true, 1, NOW, &item)); /* for the next row */
	}
}

static void
who_is_frozen_approves_nothing_and_has_nothing_wait_but_may_refuse(void **state)
{
	struct store_item item;

	(void)state;
	expect_ok(freeze(REVOKE_PRINCIPAL, writ_str(ANN), &item));
	expect_ok(pend(1));
	expect_refused(approve(1, ANN), WRIT_CONFLICT, "principal " ANN " is frozen");
	expect_ok(say_at(1, ANN, true, 1, NOW, &item));
	expect_ok(freeze(REVOKE_PRINCIPAL, ADA, &item));
	expect_refused(pend(2), WRIT_CONFLICT, "principal spiffe://td/human/corp/ada is frozen");
}

static void
the_last_approval_opens_task_and_edge_with_the_times_of_that_moment(void **state)
{
	struct store_pending p;
	struct store_task task;
	struct store_item item;

	(void)state;
	expect_ok(pend(1));
	expect_ok(say_at(1, ANN, false, 1, NOW + 60, &item));
	assert_int_equal(item.pending_is, PENDING_WAITING);
	assert_int_equal(item.n_given, 1);
	no_task(1);
	expect_ok(say_at(1, BEN, false, 1, NOW + 120, &item));
	assert_int_equal(item.pending_is, PENDING_OPENED);
	assert_int_equal(item.n_given, 2);

	expect_ok(store_task(w.store, WRIT_LIT("t1"), &w.arena, &task));
	assert_int_equal(task.created, NOW + 120);
	assert_int_equal(task.ends, NOW + 3720);
	assert_int_equal(stored_edge(1).granted_at, NOW + 120);
	assert_int_equal(stored_edge(1).not_after, NOW + 3120);
	expect_ok(issue(11, 1, NOW + 600));
	p = stored_pending(1);
	assert_int_equal(p.state, PENDING_OPENED);
	assert_int_equal(p.ended, NOW + 120);
	assert_int_equal(p.n_approvals, 2);
	expect_bytes(p.approvals[0].principal, WRIT_LIT(ANN));
	expect_bytes(p.approvals[1].principal, WRIT_LIT(BEN));
	assert_int_equal(p.approvals[1].at, NOW + 120);
	assert_int_equal(p.approvals[0].evidence[0], 0xe5);
}

static void
a_principal_approves_once_however_often(void **state)
{
	struct store_item item;

	(void)state;
	expect_ok(pend(1));
	for (unsigned i = 0; i < 3; i++) {
		expect_ok(say_at(1, ANN, false, 1, NOW + 60 + i, &item));
		assert_int_equal(item.n_given, 1);
		assert_int_equal(item.pending_is, PENDING_WAITING);
	}
	no_task(1);
	expect_ok(approve(1, BEN));
	expect_ok(say_at(1, BEN, false, 1, NOW + 90, &item)); /* a retry of the one that opened it */
	assert_int_equal(item.pending_is, PENDING_OPENED);
	assert_int_equal(item.n_given, 2);
	expect_refused(approve(1, CAY), WRIT_CONFLICT, "task t1 is open already");
}

static void
who_asked_does_not_approve_and_a_digest_names_what_is_approved(void **state)
{
	struct store_item item;

	(void)state;
	expect_refused(approve(1, ANN), WRIT_NOT_FOUND, "task t1 waits for no approval");
	expect_ok(pend(1));
	expect_refused(approve(1, "spiffe://td/human/corp/ada"), WRIT_INVALID,
		       "who asked for task t1 does not approve it");
	expect_refused(say_at(1, ANN, false, 2, NOW, &item), WRIT_CONFLICT,
		       "the digest is not that of what waits as task t1: look at it again");
	expect_refused(say_at(1, ANN, true, 2, NOW, &item), WRIT_CONFLICT,
		       "the digest is not that of what waits as task t1: look at it again");
	assert_int_equal(stored_pending(1).n_approvals, 0);
}

static void
one_refusal_ends_it_and_says_why(void **state)
{
	struct store_pending p;
	struct store_item item;

	(void)state;
	expect_ok(pend(1));
	expect_ok(approve(1, ANN));
	expect_ok(say_at(1, ANN, true, 1, NOW + 70, &item)); /* who approved may think again */
	assert_int_equal(item.pending_is, PENDING_REFUSED);
	assert_int_equal(item.n_given, 0);
	expect_refused(approve(1, BEN), WRIT_CONFLICT, "task t1 was refused");
	expect_refused(say_at(1, BEN, true, 1, NOW + 80, &item), WRIT_CONFLICT, "task t1 was refused");
	p = stored_pending(1);
	assert_int_equal(p.state, PENDING_REFUSED);
	assert_int_equal(p.ended, NOW + 70);
	assert_int_equal(p.n_approvals, 1);
	assert_int_equal(p.n_given, 0);
	assert_true(p.approvals[0].refuses);
	expect_bytes(p.approvals[0].because, WRIT_LIT("not this quarter"));
	no_task(1);
}

static void
what_has_expired_is_approved_no_more(void **state)
{
	struct store_item item;

	(void)state;
	expect_ok(pend(1));
	expect_ok(say_at(1, ANN, false, 1, NOW + 1800, &item)); /* the end is inclusive */
	expect_refused(say_at(1, BEN, false, 1, NOW + 1801, &item), WRIT_CONFLICT,
		       "task t1 waited for approvals until 2027-01-15T08:30:00Z: ask for it anew");
	no_task(1);
}

static void
an_id_is_reserved_while_its_task_waits_and_no_longer(void **state)
{
	struct store_item item;

	(void)state;
	expect_ok(pend(1));
	expect_refused(pend(1), WRIT_CONFLICT, "task t1 is there already, and waits for approvals");
	expect_refused(open_task(1, 7), WRIT_CONFLICT, "task t1 is there already, and waits for approvals");
	expect_ok(say_at(1, ANN, true, 1, NOW, &item));
	expect_ok(pend(1)); /* refused, it gives way */
	assert_int_equal(stored_pending(1).n_approvals, 0);
	expect_ok(pend_until(1, NOW + 4000, NOW + 1801)); /* expired as well */
	expect_ok(approve(1, ANN));
	expect_ok(approve(1, BEN));
	expect_refused(pend(1), WRIT_CONFLICT, "task t1 is there already");
	expect_ok(open_task(2, 2));
	expect_refused(pend(2), WRIT_CONFLICT, "task t2 is there already");
}

static void
when_opening_is_refused_the_last_approval_is_not_given(void **state)
{
	const struct store_revoke block = {
		.what = REVOKE_EDGE, .id = edge_id(2), .reason = 1, .block_key = true
	};
	struct store_edge other = edge_of(2, 0, 2);
	const struct store_task task = task_of(2);

	(void)state;
	expect_ok(pend(1));
	expect_ok(approve(1, ANN));
	memcpy(other.spki_sha256, edge_of(1, 0, 1).spki_sha256, 32); /* its key, in another task, is compromised */
	expect_ok(commit(&(struct store_item){ .op = STORE_OPEN_TASK, .task = &task, .edge = &other }));
	expect_ok(commit(&(struct store_item){ .op = STORE_REVOKE, .revoke = &block }));
	expect_refused(approve(1, BEN), WRIT_CONFLICT, "key is blocked after keyCompromise: make a new one");
	assert_int_equal(stored_pending(1).state, PENDING_WAITING);
	assert_int_equal(stored_pending(1).n_given, 1);
	no_task(1);
}

static void
approvals_in_one_group_open_exactly_one_task(void **state)
{
	const struct store_task task = task_of(1);
	const struct store_edge edge = edge_of(1, 0, 1);
	struct store_approve said[20];
	struct store_item items[20];
	unsigned n_opened = 0, n_done = 0;

	(void)state;
	expect_ok(pend(1));
	for (unsigned i = 0; i < 20; i++) {
		said[i] = (struct store_approve){ .task = task.id,
						  .said = { .principal = words("spiffe://td/human/corp/p%u", i) } };
		id_of(0xd1, 1, said[i].digest, 32);
		items[i] = (struct store_item){
			.op = STORE_APPROVE, .approve = &said[i], .task = &task, .edge = &edge, .now = NOW
		};
	}
	expect_ok(store_commit(w.store, items, 20));
	for (unsigned i = 0; i < 20; i++) {
		n_done += !items[i].result;
		n_opened += !items[i].result && items[i].pending_is == PENDING_OPENED;
		if (items[i].result)
			expect_refused(TAKE(items[i].result), WRIT_CONFLICT, "task t1 is open already");
	}
	assert_int_equal(n_done, 2);
	assert_int_equal(n_opened, 1);
}

static struct writ_err *
count_pending(const struct store_pending *p, void *ctx)
{
	unsigned *n = ctx;

	if ((*n)++ == 0) {
		expect_bytes(p->task.id, WRIT_LIT("t1"));
		expect_bytes(p->task.opener, WRIT_LIT("spiffe://td/human/corp/ada"));
		expect_bytes(p->approvers, WRIT_LIT("spiffe://td/human/corp/**\nspiffe://td/service/gate"));
		assert_int_equal(p->digest[0], 0xd1);
		assert_int_equal(p->n_given, 1);
		assert_int_equal(p->needed, 2);
	}
	return NULL;
}

static void
what_waits_is_limited_for_an_opener_and_listed(void **state)
{
	struct store_task *tasks;
	struct store_item item;
	unsigned n = 0;
	size_t n_tasks;

	(void)state;
	for (unsigned i = 1; i <= STORE_PENDING_OPENER_MAX; i++)
		expect_ok(pend(i));
	expect_refused(pend(100), WRIT_EXHAUSTED,
		       "spiffe://td/human/corp/ada has 32 tasks that wait for approvals, its limit is 32: have some "
		       "approved or refused");
	expect_ok(approve(1, ANN));
	expect_ok(say_at(2, ANN, true, 2, NOW, &item));
	expect_ok(pend_until(100, NOW + 60, NOW));
	expect_ok(store_pendings(w.store, NOW + 61, count_pending, &n));
	assert_int_equal(n, STORE_PENDING_OPENER_MAX - 1); /* the refused and the expired aside */

	expect_ok(approve(1, BEN));
	expect_ok(open_task(200, 200));
	expect_ok(store_tasks_of(w.store, WRIT_LIT("spiffe://td/human/corp/ada"), NOW, 5, &w.arena, &tasks, &n_tasks));
	assert_int_equal(n_tasks, 2);
	expect_bytes(tasks[0].id, WRIT_LIT("t200"));
	expect_bytes(tasks[1].id, WRIT_LIT("t1"));
	expect_ok(store_tasks_of(w.store, WRIT_LIT("spiffe://td/human/corp/ada"), NOW, 1, &w.arena, &tasks, &n_tasks));
	assert_int_equal(n_tasks, 1);
	expect_ok(store_tasks_of(w.store, WRIT_LIT(ANN), NOW, 5, &w.arena, &tasks, &n_tasks));
	assert_int_equal(n_tasks, 0);
	expect_ok(store_tasks_of(w.store, WRIT_LIT("spiffe://td/human/corp/ada"), NOW + 9000, 5, &w.arena, &tasks, &n_tasks));
	assert_int_equal(n_tasks, 0);
}

static void
what_waited_is_pruned_after_its_end_what_it_opened_with_the_task(void **state)
{
	struct store_item prune = { .op = STORE_PRUNE, .before = NOW + 1801 };
	struct store_pending p;

	(void)state;
	expect_ok(pend(1));
	expect_ok(pend(2));
	assert_true(stored_pending(2).end_is_fixed);
	expect_ok(approve(1, ANN));
	expect_ok(approve(2, ANN));
	expect_ok(approve(2, BEN));
	expect_ok(commit(&prune));
	assert_int_equal(prune.n_pruned, 1);
	expect_refused(store_pending(w.store, WRIT_LIT("t1"), &w.arena, &p), WRIT_NOT_FOUND,
		       "task t1 waits for no approval");
	assert_int_equal(stored_pending(2).n_approvals, 2);
	prune.before = NOW + 3661; /* opened at NOW + 60 for 3600 s */
	expect_ok(commit(&prune));
	expect_refused(store_pending(w.store, WRIT_LIT("t2"), &w.arena, &p), WRIT_NOT_FOUND,
		       "task t2 waits for no approval");
}

static void
only_a_whole_root_waits(void **state)
{
	struct store_pending p = { .task = task_of(2), .edge = edge_of(2, 1, 2) };
	struct store_approve nobody = { .task = WRIT_LIT("t1") };

	(void)state;
	expect_refused(commit(&(struct store_item){ .op = STORE_PEND }), WRIT_BROKEN,
		       "store: an item of operation 8 lacks what that needs");
	expect_refused(commit(&(struct store_item){ .op = STORE_PEND, .pending = &p }), WRIT_INVALID,
		       "task t2: only a root waits for approvals");
	p.edge = edge_of(2, 0, 2);
	expect_refused(commit(&(struct store_item){ .op = STORE_PEND, .pending = &p }), WRIT_INVALID,
		       "task t2: whose approval it waits for, and by which rule, is not said");
	expect_refused(commit(&(struct store_item){ .op = STORE_APPROVE, .approve = &nobody }), WRIT_BROKEN,
		       "store: an item of operation 9 lacks what that needs");
	nobody.said.refuses = true;
	expect_refused(commit(&(struct store_item){ .op = STORE_APPROVE, .approve = &nobody }), WRIT_INVALID,
		       "an approval of a task id of 2 bytes by a principal of 0");
}

static void
what_waits_is_there_after_reopening(void **state)
{
	(void)state;
	expect_ok(pend(1));
	expect_ok(approve(1, ANN));
	store_closep(&w.store);
	expect_ok(store_open(w.uri, STORE_WRITE, &w.store));
	assert_int_equal(stored_pending(1).n_given, 1);
	expect_ok(approve(1, BEN));
	assert_int_equal(stored_edge(1).state, EDGE_LIVE);
}

/* Groups 1 to n are there whole, with their revocations; nothing of any later one is. */
static void
groups_are_whole_up_to(unsigned n)
{
	unsigned n_revoked = 0;

	for (unsigned k = 1; k <= n; k++) {
		const bool taken = k + 1 <= n && (k + 1) % 3 == 0;
		struct store_task task;

		assert_int_equal(group_parts(k), 7);
		expect_ok(store_task(w.store, words("t%u", k), &w.arena, &task));
		assert_int_equal(task.state, taken ? TASK_COMPLETE : TASK_OPEN);
		assert_int_equal(stored_edge(k).state, taken ? EDGE_REVOKED : EDGE_LIVE);
		assert_int_equal(stored_cert(2 * k).state, taken ? CERT_REVOKED : CERT_GOOD);
		assert_int_equal(stored_cert(2 * k + 1).state, taken ? CERT_REVOKED : CERT_GOOD);
		n_revoked += taken; /* one revocation of two leaves */
	}
	for (unsigned k = n + 1; k <= n + 3; k++)
		assert_int_equal(group_parts(k), 0);
	assert_int_equal(owed(), n_revoked);
}

static void
a_writer_killed_at_any_moment_leaves_whole_groups(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		const unsigned told = victim_dies(NULL, 20 + 7 * round);

		groups_are_whole_up_to(group_parts(told + 1) > 0 ? told + 1 : told); /* the last may be done, untold */
		world_gone(NULL);
		assert_int_equal(world_made(NULL), 0);
	}
}

static void
a_writer_killed_at_a_fault_point_leaves_what_it_had_committed(void **state)
{
#ifdef WRIT_FAULTS
	static const struct {
		const char *fault;
		unsigned told, whole;
	} all[] = {
		{ "store:begin:1", 0, 0 },	   { "store:begin:4", 3, 3 },	     { "store:before-commit:1", 0, 0 },
		{ "store:before-commit:6", 5, 5 }, { "store:after-commit:1", 0, 1 }, { "store:after-commit:9", 8, 9 },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++) {
		assert_int_equal(victim_dies(all[i].fault, 0), all[i].told);
		groups_are_whole_up_to(all[i].whole);
		world_gone(NULL);
		assert_int_equal(world_made(NULL), 0);
	}
#else
	(void)state;
	skip(); /* this build has no fault points */
#endif
}

int
main(int argc, char **argv)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, world_made, world_gone)
	const struct CMUnitTest tests[] = {
		CLAIM(a_task_is_opened_with_its_first_edge_and_read_back),
		CLAIM(edges_of_a_task_come_in_order_of_granting),
		CLAIM(what_is_not_there_is_not_found),
		CLAIM(all_edges_of_all_tasks_are_told_oldest_first),
		CLAIM(policies_without_a_revision_follow_each_other_in_any_order),
		CLAIM(a_policys_revision_only_grows),
		CLAIM(a_principal_has_a_few_denied_requests_each_in_its_slot),
		CLAIM(a_task_id_is_given_once),
		CLAIM(an_item_without_a_name_is_refused),
		CLAIM(a_child_edge_needs_an_open_task_and_a_parent_alive_with_a_leaf),
		CLAIM(the_same_key_may_serve_in_another_task),
		CLAIM(a_sub_task_needs_its_enclosing_task_open),
		CLAIM(a_leaf_is_issued_and_read_back),
		CLAIM(a_leaf_is_refused_where_its_edge_is_not_alive),
		CLAIM(a_serial_is_used_once),
		CLAIM(a_leaf_ends_no_later_than_its_parents_newest),
		CLAIM(live_leaves_of_an_edge_are_limited),
		CLAIM(an_edge_gets_another_leaf_as_soon_as_one_has_ended_and_not_before),
		CLAIM(an_aborted_leaf_has_a_row_and_was_never_good),
		CLAIM(a_group_gives_each_item_its_own_result_in_order),
		CLAIM(a_refused_item_leaves_nothing_of_what_came_with_it),
		CLAIM(a_once_key_succeeds_exactly_once_in_a_group_and_ever_after),
		CLAIM(an_idempotency_key_has_one_answer),
		CLAIM(evidence_is_kept_behind_its_digest_for_the_longest_time_asked),
		CLAIM(revoking_an_edge_takes_all_below_it_and_nothing_beside),
		CLAIM(revoking_twice_is_once_and_never_weakens_the_reason),
		CLAIM(revoking_a_leaf_takes_its_edge),
		CLAIM(revoking_a_task_ends_it_with_its_sub_tasks),
		CLAIM(a_task_ends_once),
		CLAIM(revoking_a_principal_takes_what_it_gave_and_what_it_got),
		CLAIM(what_cannot_be_revoked_is_refused),
		CLAIM(without_room_for_the_answer_nothing_is_revoked),
		CLAIM(expired_leaves_are_left_alone_and_expired_edges_not_listed),
		CLAIM(a_compromised_key_is_refused_for_ever),
		CLAIM(origin_edges_are_listed_by_time),
		CLAIM(the_outbox_owes_until_the_signer_has_acknowledged),
		CLAIM(live_certificates_and_counts_leave_out_what_has_expired),
		CLAIM(a_cascade_takes_thousands_in_one_transaction),
		CLAIM(a_frozen_principal_gives_and_gets_nothing_new),
		CLAIM(who_never_was_here_can_be_frozen),
		CLAIM(freezing_a_class_takes_its_instances_and_those_to_come),
		CLAIM(freezing_everything_leaves_nothing_alive_and_lets_nothing_begin),
		CLAIM(everything_can_be_revoked_without_a_freeze),
		CLAIM(a_thaw_revives_nothing),
		CLAIM(freezes_are_listed_and_twice_is_once),
		CLAIM(freezes_have_a_limit_that_everything_passes),
		CLAIM(what_cannot_be_frozen_is_refused),
		CLAIM(the_revision_of_a_task_moves_when_something_of_it_may_have_been_taken_back),
		CLAIM(a_task_closes_once_its_end_has_passed),
		CLAIM(a_note_stays_with_its_item_until_the_journal_has_it),
		CLAIM(pruning_takes_slices_of_what_has_expired_and_nothing_else),
		CLAIM(pruning_takes_answers_evidence_and_once_keys),
		CLAIM(a_task_that_waits_is_read_back_whole_and_is_no_task),
		CLAIM(a_freeze_refuses_what_waits_and_names_the_frozen_one),
		CLAIM(who_is_frozen_approves_nothing_and_has_nothing_wait_but_may_refuse),
		CLAIM(the_last_approval_opens_task_and_edge_with_the_times_of_that_moment),
		CLAIM(a_principal_approves_once_however_often),
		CLAIM(who_asked_does_not_approve_and_a_digest_names_what_is_approved),
		CLAIM(one_refusal_ends_it_and_says_why),
		CLAIM(what_has_expired_is_approved_no_more),
		CLAIM(an_id_is_reserved_while_its_task_waits_and_no_longer),
		CLAIM(when_opening_is_refused_the_last_approval_is_not_given),
		CLAIM(approvals_in_one_group_open_exactly_one_task),
		CLAIM(what_waits_is_limited_for_an_opener_and_listed),
		CLAIM(what_waited_is_pruned_after_its_end_what_it_opened_with_the_task),
		CLAIM(only_a_whole_root_waits),
		CLAIM(what_waits_is_there_after_reopening),
		CLAIM(a_store_opened_for_reading_commits_nothing),
		CLAIM(a_second_writer_is_refused),
		CLAIM(an_unknown_scheme_is_refused),
		CLAIM(two_readers_see_whole_groups_while_the_writer_writes),
		CLAIM(a_reader_in_the_middle_of_a_pass_stops_no_commit),
		CLAIM(what_was_committed_is_there_after_reopening),
		CLAIM(a_writer_killed_at_any_moment_leaves_whole_groups),
		CLAIM(a_writer_killed_at_a_fault_point_leaves_what_it_had_committed),
	};
	int failed = 0;

	if (argc == 3 && strcmp(argv[1], "--crash") == 0)
		return victim(argv[2]);
	for (backend = backends; backend < backends + N_OF(backends); backend++)
		failed += cmocka_run_group_tests_name(backend->name, tests, NULL, NULL);
	return failed;
}
