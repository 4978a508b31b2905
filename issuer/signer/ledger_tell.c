/*
 * The whole ledger, told to a snapshot: so that the same calls make the same ledger again (ledger.h, 4).
 *
 * Changes nothing, and knows no file.
 */
#include "issuer/signer/ledger_inside.h"

#include "base/der.h"

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
		struct ledger_row row;
		struct crl_entry entry;

		if (list->listed[i].not_after >= l->pruned_before || !crl_entry_take(&in, &entry))
			continue;
		memcpy(serial + sizeof(serial) - entry.serial.len, entry.serial.data, entry.serial.len);
		told.reason = entry.reason;
		told.ended_at = entry.revoked_at;
		if (!ledger_find(l, serial, &row))
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
