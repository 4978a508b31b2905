/*
 * The ledger's tables.  Rows are 24 bytes, tables at most three quarters full: 32 to 64 bytes a live serial.
 */
#include "issuer/signer/ledger.h"

#include <assert.h>
#include <stdlib.h>

#include "base/der.h"

#define MINUTES_MAX 256			   /* tables at once; leaves live 15 minutes, so 20 are usual */
#define TABLE_LEAST 64			   /* slots; a power of two */
#define CRL_BYTES_MAX (256u * 1024 * 1024) /* of one list's entries: 5 million */
#define EXPIRING 32			   /* minutes: a leaf's 15, LEDGER_KEEP_S, and clocks that differ */
#define SHARD_GONE_S 1200 /* after its last expiry a shard goes with what it has: its lists were made, or nobody can make one */

/* Times in 32 bits: good until 2106, and half the memory. */
struct row {
	uint8_t random[12]; /* the serial's last bytes; drawn by us, so they are their own hash */
	uint32_t not_after, ended_at;
	uint16_t list;
	uint8_t state, reason; /* state 0: an empty slot */
};

struct table {
	uint32_t minute;
	size_t n_slots, n, n_ended;
	size_t least; /* slots it begins with */
	uint32_t last_not_after;
	struct row *slots;
};

/* One entry of a list: its expiry, and its bytes in `der`. */
struct listed {
	uint32_t not_after;
	uint8_t len;
};

/* A CA's list, or one of its shards.  Never moves: rows and ledger_row name it. */
struct list {
	uint8_t key[8];
	uint16_t place, shard; /* in ledger.lists; its number */
	bool gone;	      /* no shard any more, and kept for the rows that name it */
	uint32_t last_minute; /* of its serials: while a table of then is there, rows may name it */
	uint32_t last_not_after;
	uint8_t *der; /* entries, not wiped when they grow: everybody may read them */
	size_t len, room;
	struct listed *listed;
	size_t n, cap;
	uint32_t soonest; /* no entry expires before */
	uint64_t changes;
	writ_time perhaps; /* thisUpdate of the last list in a replay */
	struct trim {	   /* ledger_listed(), from call to call */
		bool on;
		size_t at, kept, from, to;
		uint32_t soonest;
	} trim;
	struct expiring {
		uint32_t minute, n;
	} expiring[EXPIRING]; /* leaves, by the minute they expire in */
};

struct ca {
	uint8_t key[8];
	uint32_t last_not_after;
	unsigned first; /* shard */
	size_t n, cap;
	struct list **shards; /* from `first` on */
};

struct ledger {
	size_t n_tables;
	struct table tables[MINUTES_MAX]; /* ascending by minute */
	size_t n_cas, cap_cas;
	struct ca *cas;
	size_t n_lists, cap_lists;
	struct list **lists; /* by place, which rows have; NULL: free */
	struct writ_buf entry; /* scratch */
	size_t n_edges, cap_edges;
	uint8_t (*edges)[EDGE_ID]; /* ascending */
	uint32_t *edges_at;
	uint64_t edge_changes;
	uint32_t pruned_before; /* rows of what expires then or later are all there */
};

static uint32_t
time32(writ_time t)
{
	return t < 0 ? 0 : t > UINT32_MAX ? UINT32_MAX : (uint32_t)t;
}

struct writ_err *
ledger_new(struct ledger **ret)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the ledger");
	(*ret)->entry = WRIT_BUF(CRL_ENTRY_MAX);
	return NULL;
}

static void
list_free(struct list *list)
{
	if (!list)
		return;
	free(list->der);
	free(list->listed);
	free(list);
}

void
ledger_free(struct ledger *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_tables; i++)
		free(l->tables[i].slots);
	for (size_t i = 0; i < l->n_cas; i++)
		free(l->cas[i].shards);
	for (size_t i = 0; i < l->n_lists; i++)
		list_free(l->lists[i]);
	free(l->cas);
	free(l->lists);
	writ_buf_done(&l->entry);
	free(l->edges);
	free(l->edges_at);
	free(l);
}

void
ledger_freep(struct ledger **l)
{
	ledger_free(*l);
}

/* ---- rows ---- */

/* Newest first: that is where nearly every question leads. */
static struct table *
table_find(const struct ledger *l, uint32_t minute)
{
	for (size_t i = l->n_tables; i-- > 0;)
		if (l->tables[i].minute == minute)
			return (struct table *)&l->tables[i];
	return NULL;
}

/* The row's slot, or the empty one where it would be. */
static struct row *
slot_of(const struct table *t, const uint8_t random[12])
{
	size_t i = writ_get64(random) & (t->n_slots - 1);

	while (t->slots[i].state != 0 && memcmp(t->slots[i].random, random, 12) != 0)
		i = (i + 1) & (t->n_slots - 1);
	return &t->slots[i];
}

static struct row *
row_find(const struct ledger *l, const uint8_t serial[16])
{
	const struct table *t = table_find(l, writ_get32(serial));
	struct row *row = t && t->n_slots > 0 ? slot_of(t, serial + 4) : NULL;

	return row && row->state != 0 ? row : NULL;
}

static struct writ_err *
table_grow(struct table *t)
{
	struct table wide = *t;

	if (t->n + 1 <= t->n_slots / 4 * 3)
		return NULL;
	wide.n_slots = t->n_slots == 0 ? t->least : 2 * t->n_slots;
	wide.slots = calloc(wide.n_slots, sizeof(*wide.slots));
	if (!wide.slots)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu serials of one minute", t->n);
	for (size_t i = 0; i < t->n_slots; i++)
		if (t->slots[i].state != 0)
			*slot_of(&wide, t->slots[i].random) = t->slots[i];
	free(t->slots);
	*t = wide;
	return NULL;
}

static struct writ_err *
table_make(struct ledger *l, uint32_t minute, struct table **ret)
{
	size_t at = l->n_tables, least = TABLE_LEAST;

	if (l->n_tables == MINUTES_MAX)
		return writ_fail(WRIT_EXHAUSTED,
				 "the ledger holds serials of %d minutes: has the clock been turned back?",
				 MINUTES_MAX);
	while (at > 0 && l->tables[at - 1].minute > minute) {
		l->tables[at] = l->tables[at - 1];
		at--;
	}
	/* As large as the minute before: at an even load no table is copied, which would hold up all who wait. */
	while (at > 0 && l->tables[at - 1].minute == minute - 1 && least / 4 * 3 <= l->tables[at - 1].n)
		least *= 2;
	l->tables[at] = (struct table){ .minute = minute, .least = least };
	l->n_tables++;
	*ret = &l->tables[at];
	return NULL;
}

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

/* The list that a leaf is issued into; what the journal begins with may be a later shard than the first. */
static struct writ_err *
list_for(struct ledger *l, const uint8_t key[8], unsigned shard, struct list **ret)
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

struct writ_err *
ledger_issue(struct ledger *l, const uint8_t serial[16], const uint8_t key[8], unsigned shard, writ_time not_after)
{
	struct table *t = table_find(l, writ_get32(serial));
	struct list *list = NULL;
	struct writ_err *err;
	struct row *row;
	struct ca *ca;

	err = list_for(l, key, shard, &list);
	if (!err && !t)
		err = table_make(l, writ_get32(serial), &t);
	if (!err)
		err = table_grow(t);
	if (err)
		return err;
	row = slot_of(t, serial + 4);
	if (row->state != 0)
		return writ_fail(WRIT_CONFLICT, "the ledger has this serial already");
	*row = (struct row){ .not_after = time32(not_after), .list = list->place, .state = LEDGER_ISSUED };
	memcpy(row->random, serial + 4, sizeof(row->random));
	if (row->not_after > t->last_not_after)
		t->last_not_after = row->not_after;
	if (row->not_after > list->last_not_after)
		list->last_not_after = row->not_after;
	if (t->minute > list->last_minute)
		list->last_minute = t->minute;
	ca = ca_find(l, key);
	if (row->not_after > ca->last_not_after)
		ca->last_not_after = row->not_after;
	expiring_add(list, row->not_after);
	t->n++;
	return NULL;
}

static struct ledger_row
row_told(const struct ledger *l, const struct row *row)
{
	return (struct ledger_row){ .state = (enum ledger_state)row->state,
				    .reason = row->reason,
				    .not_after = row->not_after,
				    .ended_at = row->ended_at,
				    .key = l->lists[row->list]->key };
}

bool
ledger_find(const struct ledger *l, const uint8_t serial[16], struct ledger_row *ret)
{
	const struct row *row = row_find(l, serial);

	if (!row)
		return false;
	*ret = row_told(l, row);
	return true;
}

static struct writ_err *
list_add(struct ledger *l, struct list *list, const uint8_t serial[16], const struct row *row)
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

struct writ_err *
ledger_end(struct ledger *l, const uint8_t serial[16], enum ledger_state state, enum crl_reason reason, writ_time at,
	   bool *ret_changed)
{
	struct row *row = row_find(l, serial);
	struct row ended;
	struct writ_err *err;

	*ret_changed = false;
	if (!row || row->state != LEDGER_ISSUED)
		return NULL;
	ended = *row;
	ended.state = (uint8_t)state;
	ended.reason = (uint8_t)reason;
	ended.ended_at = time32(at);
	err = list_add(l, l->lists[row->list], serial, &ended);
	if (err)
		return err;
	*row = ended;
	table_find(l, writ_get32(serial))->n_ended++;
	*ret_changed = true;
	return NULL;
}

void
ledger_count(const struct ledger *l, struct ledger_counts *ret)
{
	*ret = (struct ledger_counts){ 0 };
	for (size_t i = 0; i < l->n_tables; i++) {
		ret->issued += l->tables[i].n - l->tables[i].n_ended;
		ret->ended += l->tables[i].n_ended;
	}
}

/* ---- what CRLs say ---- */

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
ledger_prune(struct ledger *l, writ_time now)
{
	const uint32_t before = time32(now - LEDGER_KEEP_S);
	size_t kept = 0;

	for (size_t i = 0; i < l->n_tables; i++) {
		if (l->tables[i].last_not_after >= before || l->tables[i].minute >= before / 60)
			l->tables[kept++] = l->tables[i];
		else
			free(l->tables[i].slots);
	}
	l->n_tables = kept;
	if (before > l->pruned_before)
		l->pruned_before = before;
	for (size_t i = 0; i < l->n_cas; i++)
		shards_prune(&l->cas[i], before, time32(now - SHARD_GONE_S));
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

/* ---- told to a snapshot ---- */

size_t
ledger_rows_max(const struct ledger *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n_tables; i++)
		n += l->tables[i].n;
	for (size_t i = 0; i < l->n_lists; i++)
		n += l->lists[i] ? l->lists[i]->n : 0;
	return n;
}

size_t
ledger_edges(const struct ledger *l)
{
	return l->n_edges;
}

/* Rows of a shard that went have expired long ago, and nobody would know where to put them. */
static void
tell_table(const struct ledger *l, const struct table *t, ledger_each_row *each, void *ctx)
{
	uint8_t serial[16];

	writ_put32(serial, t->minute);
	for (size_t i = 0; i < t->n_slots; i++) {
		const struct row *row = &t->slots[i];
		struct ledger_row told;

		if (row->state == 0 || l->lists[row->list]->gone)
			continue;
		told = row_told(l, row);
		memcpy(serial + 4, row->random, sizeof(row->random));
		each(serial, l->lists[row->list]->shard, &told, ctx);
	}
}

/* Of those whose table went: they wait for a list of after their notAfter (3). */
static void
tell_listed(const struct ledger *l, const struct list *list, size_t from, size_t to, size_t at, ledger_each_row *each,
	    void *ctx)
{
	for (size_t i = from; i < to; at += list->listed[i++].len) {
		struct der in = der_read((struct writ_bytes){ list->der + at, list->listed[i].len });
		struct ledger_row told = { .state = LEDGER_REVOKED, .not_after = list->listed[i].not_after, .key = list->key };
		uint8_t serial[16] = { 0 };
		struct crl_entry entry;

		if (list->listed[i].not_after >= l->pruned_before || !crl_entry_take(&in, &entry))
			continue;
		memcpy(serial + sizeof(serial) - entry.serial.len, entry.serial.data, entry.serial.len);
		told.reason = entry.reason;
		told.ended_at = entry.revoked_at;
		if (!row_find(l, serial))
			each(serial, list->shard, &told, ctx);
	}
}

/* One that is being trimmed has a part that stays, and one that was not looked at. */
static void
tell_list(const struct ledger *l, const struct list *list, ledger_each_row *each, void *ctx)
{
	const struct trim *t = &list->trim;

	if (t->on)
		tell_listed(l, list, 0, t->kept, 0, each, ctx);
	tell_listed(l, list, t->on ? t->at : 0, list->n, t->on ? t->from : 0, each, ctx);
}

/* A CA that is gone in all but name is as one that never was. */
static bool
is_spent(const struct ledger *l, const struct ca *ca)
{
	return ca->first == 0 && ca->n == 1 && ca->shards[0]->n == 0 && ca->last_not_after < l->pruned_before;
}

void
ledger_tell(const struct ledger *l, const struct ledger_hear *hear, void *ctx)
{
	for (size_t i = 0; i < l->n_cas; i++)
		if (!is_spent(l, &l->cas[i]))
			hear->ca(l->cas[i].key, l->cas[i].first, (unsigned)l->cas[i].n, ctx);
	for (size_t i = 0; i < l->n_tables; i++)
		tell_table(l, &l->tables[i], hear->row, ctx);
	for (size_t i = 0; i < l->n_lists; i++)
		if (l->lists[i])
			tell_list(l, l->lists[i], hear->row, ctx);
	for (size_t i = 0; i < l->n_edges; i++)
		hear->edge(l->edges[i], l->edges_at[i], ctx);
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

/* ---- serials ---- */

struct writ_err *
serial_draw(const struct ledger *l, writ_time now, void (*random)(uint8_t *, size_t), uint8_t out[16])
{
	writ_put32(out, time32(now / 60));
	for (unsigned i = 0; i < 3; i++) {
		random(out + 4, 12);
		if (!row_find(l, out))
			return NULL;
	}
	return writ_fail(WRIT_BROKEN,
			 "a serial of 96 random bits repeated 3 times: the random number generator has failed");
}
