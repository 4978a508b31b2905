/*
 * Lineages in memory: see known.h.  A table of sets; a name's set is its first bytes, and both names are digests or
 * random.
 */
#include "issuer/serve/known.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/digest.h"

#define LOCKS 64
#define NAME_LEN 16

/* Counted by its names in the table and by the requests that use it. */
struct held {
	atomic_uint refs;
	atomic_size_t *bytes; /* the table's sum, while it is in it */
	size_t size;
	uint64_t revision;
	struct writ_arena arena;
	struct lineage lineage;
};

struct name {
	uint8_t bytes[NAME_LEN];
	struct held *held; /* NULL: free */
};

struct known {
	pthread_mutex_t locks[LOCKS];
	atomic_size_t bytes;
	struct name sets[KNOWN_SETS][KNOWN_WAYS]; /* newest first; under the set's lock */
};

void
held_done(struct held *held)
{
	if (!held || atomic_fetch_sub(&held->refs, 1) > 1)
		return;
	atomic_fetch_sub(held->bytes, held->size);
	writ_arena_done(&held->arena);
	free(held);
}

struct writ_err *
known_new(struct known **ret)
{
	struct known *k = calloc(1, sizeof(*k));

	if (!k)
		return writ_fail(WRIT_EXHAUSTED, "no memory for lineages");
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&k->locks[i], NULL);
	*ret = k;
	return NULL;
}

void
known_free(struct known *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < KNOWN_SETS; i++)
		for (size_t j = 0; j < KNOWN_WAYS; j++)
			held_done(k->sets[i][j].held);
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&k->locks[i]);
	free(k);
}

/* ---- names ---- */

static size_t
set_of(const uint8_t name[NAME_LEN])
{
	return writ_get32(name) % KNOWN_SETS;
}

static void
key_name(struct writ_bytes task, const uint8_t spki_sha256[32], uint8_t out[NAME_LEN])
{
	const struct writ_bytes pieces[] = { { spki_sha256, 32 }, task };
	uint8_t digest[SHA256_LEN];

	writ_sha256v(pieces, N_OF(pieces), digest);
	memcpy(out, digest, NAME_LEN);
}

/* Counted for the caller; NULL: not there, or not of this revision. */
static struct held *
find(struct known *k, const uint8_t name[NAME_LEN], uint64_t revision)
{
	struct name *set = k->sets[set_of(name)];
	pthread_mutex_t *lock = &k->locks[set_of(name) % LOCKS];
	struct held *found = NULL;

	pthread_mutex_lock(lock);
	for (size_t i = 0; i < KNOWN_WAYS && set[i].held; i++) {
		if (memcmp(set[i].bytes, name, NAME_LEN) != 0)
			continue;
		if (set[i].held->revision == revision) {
			found = set[i].held;
			atomic_fetch_add(&found->refs, 1);
		}
		break;
	}
	pthread_mutex_unlock(lock);
	return found;
}

/* In front; what had the name, or the oldest, goes.  Counts it. */
static void
put(struct known *k, const uint8_t name[NAME_LEN], struct held *held)
{
	struct name *set = k->sets[set_of(name)];
	pthread_mutex_t *lock = &k->locks[set_of(name) % LOCKS];
	struct held *gone[KNOWN_WAYS] = { 0 };
	size_t at = 0, n = 0;

	atomic_fetch_add(&held->refs, 1);
	pthread_mutex_lock(lock);
	while (at < KNOWN_WAYS - 1 && set[at].held && memcmp(set[at].bytes, name, NAME_LEN) != 0)
		at++;
	gone[n++] = set[at].held;
	memmove(&set[1], &set[0], at * sizeof(set[0]));
	memcpy(set[0].bytes, name, NAME_LEN);
	set[0].held = held;
	for (size_t i = KNOWN_WAYS - 1; i > 0 && n < KNOWN_WAYS && atomic_load(&k->bytes) > KNOWN_BYTES_MAX; i--)
		if (set[i].held)
			gone[n++] = TAKE(set[i].held);
	pthread_mutex_unlock(lock);
	for (size_t i = 0; i < n; i++)
		held_done(gone[i]);
}

/* ---- keeping ---- */

static struct writ_bytes
copy(struct held *held, struct writ_bytes bytes)
{
	return bytes.len > 0 ? writ_arena_copy(&held->arena, bytes) : WRIT_LIT("");
}

static void
edge_copy(struct held *held, const struct store_edge *from, struct store_edge *to)
{
	*to = *from;
	to->task = copy(held, from->task);
	to->delegator = copy(held, from->delegator);
	to->agent = copy(held, from->agent);
	to->grant = copy(held, from->grant);
	to->hops = copy(held, from->hops);
	to->context = copy(held, from->context);
}

static bool
edge_is_whole(const struct store_edge *e)
{
	return e->task.data && e->delegator.data && e->agent.data && e->grant.data && e->hops.data && e->context.data;
}

/* Everything of it copied, its grants read anew where it stands. */
WRIT_CHECKED static struct writ_err *
held_fill(struct held *held, const struct lineage *from)
{
	struct lineage *l = &held->lineage;
	struct writ_err *err;

	*l = *from;
	l->parent_newest = 0;
	l->task.id = copy(held, from->task.id);
	l->task.opener = copy(held, from->task.opener);
	l->task.purpose = copy(held, from->task.purpose);
	l->task.parent = copy(held, from->task.parent);
	edge_copy(held, &from->edge, &l->edge);
	if (l->has_parent)
		edge_copy(held, &from->parent, &l->parent);
	if (!l->task.id.data || !l->task.opener.data || !l->task.purpose.data || !l->task.parent.data ||
	    !edge_is_whole(&l->edge) || (l->has_parent && !edge_is_whole(&l->parent)))
		return writ_fail(WRIT_EXHAUSTED, "no memory for a lineage");
	err = hop_grant_read(l->edge.grant, &held->arena, &l->grant);
	if (!err && l->has_parent)
		err = hop_grant_read(l->parent.grant, &held->arena, &l->parent_grant);
	return err;
}

void
known_keep(struct known *k, uint64_t revision, const struct lineage *l)
{
	struct held *held = calloc(1, sizeof(*held));
	uint8_t name[NAME_LEN];
	struct writ_err *err;

	if (!held)
		return;
	atomic_init(&held->refs, 1);
	held->bytes = &k->bytes;
	held->revision = revision;
	held->arena = WRIT_ARENA(64 * 1024);
	err = held_fill(held, l);
	held->size = sizeof(*held) + held->arena.used;
	atomic_fetch_add(&k->bytes, held->size);
	if (!err) {
		put(k, held->lineage.edge.id, held);
		key_name(held->lineage.task.id, held->lineage.edge.spki_sha256, name);
		put(k, name, held);
	}
	writ_err_free(err);
	held_done(held);
}

void
known_opened(struct known *k, uint64_t revision, const struct store_task *task, const struct store_edge *edge)
{
	struct lineage l = { .task = *task, .edge = *edge, .live = true };
	struct spiffe_id delegator;
	struct writ_err *err = spiffe_parse(edge->delegator, &delegator);

	l.edge.state = EDGE_LIVE;
	if (!err && writ_is_zero((struct writ_bytes){ edge->parent, EDGE_ID_LEN })) {
		l.delegator_kind = delegator.kind;
		known_keep(k, revision, &l);
	}
	writ_err_free(err);
}

/* ---- asking ---- */

static bool
take(struct held *held, struct lineage *ret, struct held **ret_held)
{
	*ret_held = held;
	if (held)
		*ret = held->lineage;
	return held != NULL;
}

bool
known_by_key(struct known *k, uint64_t revision, struct writ_bytes task, const uint8_t spki_sha256[32],
	     struct lineage *ret, struct held **ret_held)
{
	uint8_t name[NAME_LEN];

	key_name(task, spki_sha256, name);
	return take(find(k, name, revision), ret, ret_held);
}

bool
known_by_edge(struct known *k, uint64_t revision, const uint8_t edge[EDGE_ID_LEN], struct lineage *ret,
	      struct held **ret_held)
{
	return take(find(k, edge, revision), ret, ret_held);
}
