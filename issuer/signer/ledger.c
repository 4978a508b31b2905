/*
 * The ledger's tables.  Rows are 24 bytes, tables at most three quarters full: 32 to 64 bytes a live serial.
 */
#include "issuer/signer/ledger.h"

#include <stdlib.h>

#define MINUTES_MAX 256			   /* tables at once; leaves live 15 minutes, so 20 are usual */
#define TABLE_LEAST 64			   /* slots; a power of two */
#define CRL_BYTES_MAX (256u * 1024 * 1024) /* of one CA's entries: 5 million */

/* Times in 32 bits: good until 2106, and half the memory. */
struct row {
	uint8_t random[12]; /* the serial's last bytes; drawn by us, so they are their own hash */
	uint32_t not_after, ended_at;
	uint16_t ca;
	uint8_t state, reason; /* state 0: an empty slot */
};

struct table {
	uint32_t minute;
	size_t n_slots, n, n_ended;
	uint32_t last_not_after;
	struct row *slots;
};

/* One entry of a CA's list: its expiry, and its bytes in `der`. */
struct listed {
	uint32_t not_after;
	uint8_t len;
};

struct ca {
	uint8_t key[8];
	struct writ_buf der;
	struct listed *listed;
	size_t n, cap;
	uint64_t changes;
	uint32_t last_not_after;
	writ_time perhaps; /* thisUpdate of the last list in a replay */
};

struct ledger {
	size_t n_tables;
	struct table tables[MINUTES_MAX]; /* ascending by minute */
	size_t n_cas;
	struct ca *cas; /* never removed: rows name them by their place */
	size_t n_edges, cap_edges;
	uint8_t (*edges)[EDGE_ID]; /* ascending */
	uint32_t *edges_at;
	uint64_t edge_changes;
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
	return *ret ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for the ledger");
}

void
ledger_free(struct ledger *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_tables; i++)
		free(l->tables[i].slots);
	for (size_t i = 0; i < l->n_cas; i++) {
		writ_buf_done(&l->cas[i].der);
		free(l->cas[i].listed);
	}
	free(l->cas);
	free(l->edges);
	free(l->edges_at);
	free(l);
}

void
ledger_freep(struct ledger **l)
{
	ledger_free(*l);
}

/* Twice as large as it must be, or NULL: memory is gone. */
static void *
grown(void *old, size_t n, size_t *cap, size_t item)
{
	const size_t want = *cap == 0 ? 16 : 2 * *cap;
	void *p;

	if (n < *cap)
		return old;
	p = realloc(old, want * item);
	if (p)
		*cap = want;
	return p;
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
	wide.n_slots = t->n_slots == 0 ? TABLE_LEAST : 2 * t->n_slots;
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
	size_t at = l->n_tables;

	if (l->n_tables == MINUTES_MAX)
		return writ_fail(WRIT_EXHAUSTED,
				 "the ledger holds serials of %d minutes: has the clock been turned back?",
				 MINUTES_MAX);
	while (at > 0 && l->tables[at - 1].minute > minute) {
		l->tables[at] = l->tables[at - 1];
		at--;
	}
	l->tables[at] = (struct table){ .minute = minute };
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

static struct writ_err *
ca_make(struct ledger *l, const uint8_t key[8], struct ca **ret)
{
	struct ca *cas;

	*ret = ca_find(l, key);
	if (*ret)
		return NULL;
	cas = l->n_cas < UINT16_MAX ? realloc(l->cas, (l->n_cas + 1) * sizeof(*cas)) : NULL;
	if (!cas)
		return writ_fail(WRIT_EXHAUSTED, "no room for issuing key %zu in the ledger", l->n_cas);
	l->cas = cas;
	*ret = &cas[l->n_cas++];
	**ret = (struct ca){ .der = WRIT_BUF(CRL_BYTES_MAX) };
	memcpy((*ret)->key, key, 8);
	return NULL;
}

struct writ_err *
ledger_issue(struct ledger *l, const uint8_t serial[16], const uint8_t key[8], writ_time not_after)
{
	struct table *t = table_find(l, writ_get32(serial));
	struct writ_err *err;
	struct row *row;
	struct ca *ca;

	err = ca_make(l, key, &ca);
	if (!err && !t)
		err = table_make(l, writ_get32(serial), &t);
	if (!err)
		err = table_grow(t);
	if (err)
		return err;
	row = slot_of(t, serial + 4);
	if (row->state != 0)
		return writ_fail(WRIT_CONFLICT, "the ledger has this serial already");
	*row = (struct row){ .not_after = time32(not_after), .ca = (uint16_t)(ca - l->cas), .state = LEDGER_ISSUED };
	memcpy(row->random, serial + 4, sizeof(row->random));
	if (row->not_after > t->last_not_after)
		t->last_not_after = row->not_after;
	if (row->not_after > ca->last_not_after)
		ca->last_not_after = row->not_after;
	t->n++;
	return NULL;
}

bool
ledger_find(const struct ledger *l, const uint8_t serial[16], struct ledger_row *ret)
{
	const struct row *row = row_find(l, serial);

	if (!row)
		return false;
	*ret = (struct ledger_row){ .state = (enum ledger_state)row->state,
				    .reason = row->reason,
				    .not_after = row->not_after,
				    .ended_at = row->ended_at,
				    .key = l->cas[row->ca].key };
	return true;
}

static struct writ_err *
list_add(struct ca *ca, const uint8_t serial[16], const struct row *row)
{
	const size_t before = ca->der.len;
	struct listed *listed = grown(ca->listed, ca->n, &ca->cap, sizeof(*listed));
	struct writ_err *err;

	if (!listed)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu entries of a CRL", ca->n);
	ca->listed = listed;
	err = crl_entry_write((struct writ_bytes){ serial, 16 }, row->ended_at, (enum crl_reason)row->reason, &ca->der);
	if (err)
		return err;
	listed[ca->n++] = (struct listed){ row->not_after, (uint8_t)(ca->der.len - before) };
	ca->changes++;
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
	err = list_add(&l->cas[row->ca], serial, &ended);
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
	size_t low = 0, high = l->n_edges;

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
	if (l->n_edges == l->cap_edges) {
		const size_t cap = l->cap_edges == 0 ? 64 : 2 * l->cap_edges;
		uint8_t(*edges)[EDGE_ID] = realloc(l->edges, cap * sizeof(*edges));
		uint32_t *edges_at;

		l->edges = edges ? edges : l->edges;
		edges_at = edges ? realloc(l->edges_at, cap * sizeof(*edges_at)) : NULL;
		if (!edges_at)
			return writ_fail(WRIT_EXHAUSTED, "no memory for %zu revoked delegations", l->n_edges);
		l->edges_at = edges_at;
		l->cap_edges = cap;
	}
	memmove(l->edges + low + 1, l->edges + low, (l->n_edges - low) * sizeof(*l->edges));
	memmove(l->edges_at + low + 1, l->edges_at + low, (l->n_edges - low) * sizeof(*l->edges_at));
	memcpy(l->edges[low], id, EDGE_ID);
	l->edges_at[low] = time32(at);
	l->n_edges++;
	l->edge_changes++;
	*ret_changed = true;
	return NULL;
}

void
ledger_prune(struct ledger *l, writ_time now)
{
	const uint32_t before = time32(now - LEDGER_KEEP_S), edges_before = time32(now - LEDGER_EDGE_KEEP_S);
	size_t kept = 0;

	for (size_t i = 0; i < l->n_tables; i++) {
		if (l->tables[i].last_not_after >= before || l->tables[i].minute >= before / 60)
			l->tables[kept++] = l->tables[i];
		else
			free(l->tables[i].slots);
	}
	l->n_tables = kept;

	kept = 0;
	for (size_t i = 0; i < l->n_edges; i++) {
		if (l->edges_at[i] < edges_before)
			continue;
		memmove(l->edges[kept], l->edges[i], EDGE_ID);
		l->edges_at[kept++] = l->edges_at[i];
	}
	if (kept != l->n_edges)
		l->edge_changes++;
	l->n_edges = kept;
}

void
ledger_list(const struct ledger *l, const uint8_t key[8], struct ledger_list *ret)
{
	const struct ca *ca = ca_find(l, key);

	*ret = (struct ledger_list){ .n_edges = l->n_edges,
				     .edges = (const uint8_t(*)[EDGE_ID])l->edges,
				     .changes = l->edge_changes };
	if (!ca)
		return;
	ret->entries = writ_view(&ca->der);
	ret->n_entries = ca->n;
	ret->changes += ca->changes;
}

writ_time
ledger_last(const struct ledger *l, const uint8_t key[8])
{
	const struct ca *ca = ca_find(l, key);

	return ca ? ca->last_not_after : 0;
}

void
ledger_listed(struct ledger *l, const uint8_t key[8], writ_time this_update)
{
	struct ca *ca = ca_find(l, key);
	size_t kept = 0, from = 0, to = 0;

	if (!ca)
		return;
	for (size_t i = 0; i < ca->n; i++) {
		const struct listed one = ca->listed[i];

		if (one.not_after >= this_update) {
			if (to != from)
				memmove(ca->der.data + to, ca->der.data + from, one.len);
			ca->listed[kept++] = one;
			to += one.len;
		}
		from += one.len;
	}
	ca->n = kept;
	ca->der.len = to;
}

void
ledger_listed_perhaps(struct ledger *l, const uint8_t key[8], writ_time this_update)
{
	struct ca *ca = ca_find(l, key);

	if (!ca)
		return;
	ledger_listed(l, key, ca->perhaps);
	ca->perhaps = this_update;
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
