/*
 * The ledger's rows: one a live serial, in tables by the minute of issue.  A row has 24 bytes, tables are at most three
 * quarters full: 32 to 64 bytes a live serial.
 *
 * A row names the list of its CA that it will stand in when it ends; what lists are made of, ledger_lists.c knows.
 */
#include "issuer/signer/ledger_inside.h"

#include <stdlib.h>

#define TABLE_LEAST 64 /* slots; a power of two */

struct writ_err *
ledger_new(struct ledger **ret)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the ledger");
	(*ret)->entry = WRIT_BUF(CRL_ENTRY_MAX);
	return NULL;
}

void
ledger_free(struct ledger *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_tables; i++)
		free(l->tables[i].slots);
	ledger_lists_free(l);
	writ_buf_done(&l->entry);
	free(l);
}

void
ledger_freep(struct ledger **l)
{
	ledger_free(*l);
}

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

struct writ_err *
ledger_issue(struct ledger *l, const uint8_t serial[16], const uint8_t key[8], unsigned shard, writ_time not_after)
{
	struct table *t = table_find(l, writ_get32(serial));
	struct list *list = NULL;
	struct writ_err *err;
	struct row *row;

	err = ledger_list_for(l, key, shard, &list);
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
	ledger_list_issued(l, list, t->minute, row->not_after);
	t->n++;
	return NULL;
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
	err = ledger_list_add(l, l->lists[row->list], serial, &ended);
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
	ledger_lists_prune(l, now);
}

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
