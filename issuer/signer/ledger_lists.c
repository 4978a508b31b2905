/*
 * What the CRLs of the ledger's CAs must say: each CA's lists, whole or in shards, their entries as they stand in a CRL,
 * and the revoked edges, which every list has.
 *
 * An entry outlives its row: it goes when a CRL was made past its expiry (ledger.h, 3).  Finds no row, makes no CRL.
 */
#include "issuer/signer/ledger_inside.h"

#include <assert.h>
#include <stdlib.h>

#define CRL_BYTES_MAX (256u * 1024 * 1024) /* of one list's entries: 5 million */
#define SHARD_GONE_S 1200 /* after its last expiry a shard goes with what it has: its lists were made, or nobody can make one */

/* ---- CAs and their shards ---- */

static struct ca *
ca_find(const struct ledger *l, const uint8_t key[8])
{
	for (size_t i = l->n_cas; i-- > 0;)
		if (memcmp(l->cas[i].key, key, 8) == 0)
			return &l->cas[i];
	return NULL;
}

/* Its shard; NULL: there is none. */
static struct list *
list_find(const struct ledger *l, const uint8_t key[8], unsigned shard)
{
	const struct ca *ca = ca_find(l, key);

	return ca && shard >= ca->first && shard - ca->first < ca->n ? ca->shards[shard - ca->first] : NULL;
}

static struct writ_err *
ca_make(struct ledger *l, const uint8_t key[8], unsigned first, struct ca **ret)
{
	struct ca *cas;

	*ret = ca_find(l, key);
	if (*ret)
		return NULL;
	cas = writ_room(l->cas, l->n_cas, &l->cap_cas, sizeof(*cas), 16);
	if (!cas)
		return writ_fail(WRIT_EXHAUSTED, "no memory for issuing key %zu in the ledger", l->n_cas);
	l->cas = cas;
	*ret = &cas[l->n_cas++];
	**ret = (struct ca){ .first = first };
	memcpy((*ret)->key, key, 8);
	return NULL;
}

/* A free place among the lists. */
static struct writ_err *
place_take(struct ledger *l, size_t *ret)
{
	struct list **lists = NULL;

	for (*ret = 0; *ret < l->n_lists; ++*ret)
		if (!l->lists[*ret])
			return NULL;
	if (l->n_lists <= UINT16_MAX)
		lists = writ_room(l->lists, l->n_lists, &l->cap_lists, sizeof(struct list *), 16);
	if (!lists)
		return writ_fail(WRIT_EXHAUSTED, "no room for list %zu in the ledger", l->n_lists);
	l->lists = lists;
	l->lists[l->n_lists++] = NULL;
	return NULL;
}

static struct writ_err *
list_make(struct ledger *l, struct ca *ca)
{
	struct list *list, **shards;
	struct writ_err *err;
	size_t place;

	if (ca->first + ca->n > LEDGER_SHARD_MAX)
		return writ_fail(WRIT_EXHAUSTED, "shard %zu of an issuing key: %u is the last that can be", ca->first + ca->n,
				 LEDGER_SHARD_MAX);
	err = place_take(l, &place);
	if (err)
		return err;
	shards = writ_room(ca->shards, ca->n, &ca->cap, sizeof(struct list *), 16);
	if (shards)
		ca->shards = shards;
	list = shards ? calloc(1, sizeof(*list)) : NULL;
	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "no memory for list %zu of an issuing key", ca->first + ca->n);
	memcpy(list->key, ca->key, sizeof(list->key));
	list->place = (uint16_t)place;
	list->shard = (uint16_t)(ca->first + ca->n);
	list->soonest = UINT32_MAX;
	l->lists[place] = list;
	ca->shards[ca->n++] = list;
	return NULL;
}

struct writ_err *
ledger_shard_begin(struct ledger *l, const uint8_t key[8])
{
	struct writ_err *err;
	struct ca *ca;

	err = ca_make(l, key, 0, &ca);
	if (!err && ca->n == 0)
		err = list_make(l, ca);
	return err ? err : list_make(l, ca);
}

struct writ_err *
ledger_ca(struct ledger *l, const uint8_t key[8], unsigned first, unsigned n)
{
	struct writ_err *err;
	struct ca *ca;

	err = ca_make(l, key, first, &ca);
	while (!err && ca->n < n)
		err = list_make(l, ca);
	return err;
}

struct writ_err *
ledger_list_for(struct ledger *l, const uint8_t key[8], unsigned shard, struct list **ret)
{
	struct writ_err *err;
	struct ca *ca;

	err = ca_make(l, key, shard, &ca);
	if (!err && shard == ca->first + ca->n)
		err = list_make(l, ca);
	if (err)
		return err;
	*ret = list_find(l, key, shard);
	return *ret ? NULL
		    : writ_fail(WRIT_CONFLICT, "shard %u of an issuing key: there are %u to %zu", shard, ca->first,
				ca->first + ca->n - 1);
}

static void
expiring_add(struct list *list, uint32_t not_after)
{
	struct expiring *e = &list->expiring[not_after / 60 % EXPIRING];

	if (e->minute != not_after / 60)
		*e = (struct expiring){ .minute = not_after / 60 };
	e->n++;
}

void
ledger_list_issued(struct ledger *l, struct list *list, uint32_t minute, uint32_t not_after)
{
	struct ca *ca = ca_find(l, list->key);

	if (not_after > list->last_not_after)
		list->last_not_after = not_after;
	if (minute > list->last_minute)
		list->last_minute = minute;
	if (not_after > ca->last_not_after)
		ca->last_not_after = not_after;
	expiring_add(list, not_after);
}

void
ledger_shards(const struct ledger *l, const uint8_t key[8], writ_time now, struct ledger_shards *ret)
{
	const uint32_t since = time32(now - LEDGER_KEEP_S) / 60;
	const struct ca *ca = ca_find(l, key);
	const struct list *list;

	*ret = (struct ledger_shards){ 0 };
	if (!ca || ca->n == 0)
		return;
	ret->first = ca->first;
	ret->last = ca->first + (unsigned)ca->n - 1;
	list = ca->shards[ca->n - 1];
	for (size_t i = 0; i < EXPIRING; i++)
		if (list->expiring[i].minute >= since)
			ret->n_live += list->expiring[i].n;
}

writ_time
ledger_last(const struct ledger *l, const uint8_t key[8])
{
	const struct ca *ca = ca_find(l, key);

	return ca ? ca->last_not_after : 0;
}

/* ---- entries ---- */

struct writ_err *
ledger_list_add(struct ledger *l, struct list *list, const uint8_t serial[16], const struct row *row)
{
	struct listed *listed = writ_room(list->listed, list->n, &list->cap, sizeof(*listed), 16);
	struct writ_err *err;
	uint8_t *der;

	if (!listed)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu entries of a CRL", list->n);
	list->listed = listed;
	writ_buf_clear(&l->entry);
	err = crl_entry_write((struct writ_bytes){ serial, 16 }, row->ended_at, (enum crl_reason)row->reason, &l->entry);
	if (err)
		return err;
	if (list->len + l->entry.len > CRL_BYTES_MAX)
		return writ_fail(WRIT_EXHAUSTED, "a CRL of %zu entries has %zu bytes: the limit is %u", list->n, list->len,
				 CRL_BYTES_MAX);
	/* By its last byte: the room begins, and grows, by more than an entry. */
	der = writ_room(list->der, list->len + l->entry.len - 1, &list->room, 1, 4096);
	if (!der)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu entries of a CRL", list->n);
	list->der = der;
	memcpy(list->der + list->len, l->entry.data, l->entry.len);
	list->len += l->entry.len;
	listed[list->n++] = (struct listed){ row->not_after, (uint8_t)l->entry.len };
	if (row->not_after < list->soonest)
		list->soonest = row->not_after;
	list->changes++;
	return NULL;
}

void
ledger_list(const struct ledger *l, const uint8_t key[8], unsigned shard, struct ledger_list *ret)
{
	const struct list *list = list_find(l, key, shard);

	*ret = (struct ledger_list){ .n_edges = l->n_edges,
				     .edges = (const uint8_t(*)[EDGE_ID])l->edges,
				     .changes = l->edge_changes };
	if (!list)
		return;
	assert(!list->trim.on);
	ret->entries = (struct writ_bytes){ list->der, list->len };
	ret->n_entries = list->n;
	ret->changes += list->changes;
}

/* Moves what stays to the front, in its order; what was added meanwhile stands behind it and is looked at too. */
bool
ledger_listed(struct ledger *l, const uint8_t key[8], unsigned shard, writ_time this_update, size_t most)
{
	struct list *list = list_find(l, key, shard);
	struct trim *t = list ? &list->trim : NULL;

	if (!list || (!t->on && list->soonest >= this_update))
		return true;
	if (!t->on)
		*t = (struct trim){ .on = true, .soonest = UINT32_MAX };
	for (; t->at < list->n && most > 0; t->at++, most--) {
		const struct listed one = list->listed[t->at];

		if (one.not_after >= this_update) {
			if (t->to != t->from)
				memmove(list->der + t->to, list->der + t->from, one.len);
			list->listed[t->kept++] = one;
			t->to += one.len;
			if (one.not_after < t->soonest)
				t->soonest = one.not_after;
		}
		t->from += one.len;
	}
	if (t->at < list->n)
		return false;
	list->n = t->kept;
	list->len = t->to;
	list->soonest = t->soonest;
	t->on = false;
	return true;
}

void
ledger_listed_perhaps(struct ledger *l, const uint8_t key[8], unsigned shard, writ_time this_update)
{
	struct list *list = list_find(l, key, shard);

	if (!list)
		return;
	while (!ledger_listed(l, key, shard, list->perhaps, SIZE_MAX))
		;
	list->perhaps = this_update;
}

/* ---- edges ---- */

struct writ_err *
ledger_edge(struct ledger *l, const uint8_t id[EDGE_ID], writ_time at, bool *ret_changed, bool *ret_listed)
{
	size_t low = 0, high = l->n_edges, cap = l->cap_edges;
	uint8_t(*edges)[EDGE_ID];
	uint32_t *edges_at;

	*ret_changed = false;
	*ret_listed = true;
	while (low < high) {
		const size_t mid = (low + high) / 2;
		const int order = memcmp(l->edges[mid], id, EDGE_ID);

		if (order == 0)
			return NULL;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (l->n_edges == LEDGER_EDGES_MAX) {
		*ret_changed = true;
		*ret_listed = false;
		return NULL;
	}
	edges = writ_room(l->edges, l->n_edges, &cap, sizeof(*edges), 64);
	l->edges = edges ? edges : l->edges;
	edges_at = edges ? writ_room(l->edges_at, l->n_edges, &l->cap_edges, sizeof(*edges_at), 64) : NULL;
	if (!edges_at)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu revoked delegations", l->n_edges);
	l->edges_at = edges_at;
	memmove(l->edges + low + 1, l->edges + low, (l->n_edges - low) * sizeof(*l->edges));
	memmove(l->edges_at + low + 1, l->edges_at + low, (l->n_edges - low) * sizeof(*l->edges_at));
	memcpy(l->edges[low], id, EDGE_ID);
	l->edges_at[low] = time32(at);
	l->n_edges++;
	l->edge_changes++;
	*ret_changed = true;
	return NULL;
}

static void
edges_prune(struct ledger *l, uint32_t before)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n_edges; i++) {
		if (l->edges_at[i] < before)
			continue;
		memmove(l->edges[kept], l->edges[i], EDGE_ID);
		l->edges_at[kept++] = l->edges_at[i];
	}
	if (kept != l->n_edges)
		l->edge_changes++;
	l->n_edges = kept;
}

/* ---- what goes ---- */

static void
list_free(struct list *list)
{
	if (!list)
		return;
	free(list->der);
	free(list->listed);
	free(list);
}

/* In their order, and never the last: it is issued into.  What rows may name still is kept, empty. */
static void
shards_prune(struct ca *ca, uint32_t empty_before, uint32_t before)
{
	size_t gone = 0;

	while (ca->n > gone + 1) {
		struct list *list = ca->shards[gone];

		if (list->trim.on || list->last_not_after >= (list->n > 0 ? before : empty_before))
			break;
		free(list->der);
		list->der = NULL;
		list->n = list->len = list->room = 0;
		list->gone = true;
		gone++;
	}
	ca->n -= gone;
	ca->first += (unsigned)gone;
	memmove(ca->shards, ca->shards + gone, ca->n * sizeof(struct list *));
}

static bool
is_shard(const struct ledger *l, const struct list *list)
{
	const struct ca *ca = ca_find(l, list->key);

	for (size_t i = 0; ca && i < ca->n; i++)
		if (ca->shards[i] == list)
			return true;
	return false;
}

void
ledger_lists_prune(struct ledger *l, writ_time now)
{
	for (size_t i = 0; i < l->n_cas; i++)
		shards_prune(&l->cas[i], time32(now - LEDGER_KEEP_S), time32(now - SHARD_GONE_S));
	for (size_t i = 0; i < l->n_lists; i++) {
		const bool named = l->lists[i] && l->n_tables > 0 && l->tables[0].minute <= l->lists[i]->last_minute;

		if (!l->lists[i] || named || is_shard(l, l->lists[i]))
			continue;
		list_free(l->lists[i]);
		l->lists[i] = NULL;
	}
	edges_prune(l, time32(now - LEDGER_EDGE_KEEP_S));
}

void
ledger_lists_free(struct ledger *l)
{
	for (size_t i = 0; i < l->n_cas; i++)
		free(l->cas[i].shards);
	for (size_t i = 0; i < l->n_lists; i++)
		list_free(l->lists[i]);
	free(l->cas);
	free(l->lists);
	free(l->edges);
	free(l->edges_at);
}
