/*
 * The order is an array of offsets, 4 bytes an entry; the list's own bytes stay where they are.  Edges need none: they
 * are of one size, and crl_read() saw that they ascend.
 */
#include "issuer/x509/crl_index.h"

#include <stdlib.h>

#include "base/der.h"

#define EDGE_ELEMENT (2 + EDGE_ID) /* an OCTET STRING of 16 with its header */

/*
 * While sorting: the serial's first octets as a number, so that few comparisons read an entry.  A list of a million is
 * taken in 0.7 s; reading both entries at each comparison made it 8.
 */
struct sorted {
	uint64_t begins;
	uint32_t at;
};

/* The entry at an offset; crl_read() took all of them, so this one can be taken again. */
static struct writ_bytes
serial_at(const struct crl *crl, uint32_t at)
{
	struct der in = der_read((struct writ_bytes){ crl->entries.data + at, crl->entries.len - at });
	struct crl_entry entry;

	return crl_entry_take(&in, &entry) ? entry.serial : (struct writ_bytes){ 0 };
}

/* writ_order() of the serials: padding with zeros changes the order of none that differ in their first octets. */
static uint64_t
beginning(struct writ_bytes serial)
{
	uint8_t octets[sizeof(uint64_t)] = { 0 };

	memcpy(octets, serial.data, serial.len < sizeof(octets) ? serial.len : sizeof(octets));
	return writ_get64(octets);
}

static int
by_serial(const void *a, const void *b, void *crl)
{
	const struct sorted *x = a, *y = b;

	if (x->begins != y->begins)
		return x->begins < y->begins ? -1 : 1;
	return writ_order(serial_at(crl, x->at), serial_at(crl, y->at));
}

static size_t
count_entries(const struct crl *crl)
{
	struct der in = der_read(crl->entries);
	struct writ_bytes whole;
	uint8_t tag;
	size_t n = 0;

	while (!der_at_end(&in) && der_take_any(&in, &tag, &whole))
		n++;
	return n;
}

static struct writ_err *
put_in_order(struct crl_index *index)
{
	struct crl *crl = &index->crl;
	const size_t n = count_entries(crl);
	struct der in = der_read(crl->entries);
	struct writ_bytes last = { 0 };
	bool ascending = true;
	struct sorted *sorted;

	if (n == 0)
		return NULL;
	index->at = calloc(n, sizeof(*index->at));
	sorted = calloc(n, sizeof(*sorted));
	if (!index->at || !sorted) {
		free(sorted);
		return writ_fail(WRIT_EXHAUSTED, "no memory to put %zu revoked certificates in order", n);
	}
	for (size_t i = 0; i < n; i++) {
		struct crl_entry entry = { 0 };

		sorted[i].at = (uint32_t)(in.at - crl->entries.data);
		if (!crl_entry_take(&in, &entry)) {
			free(sorted);
			return writ_fail(WRIT_BROKEN, "CRL: entry %zu could be read once only", i + 1);
		}
		sorted[i].begins = beginning(entry.serial);
		ascending = ascending && writ_order(last, entry.serial) <= 0;
		last = entry.serial;
	}
	if (!ascending)
		qsort_r(sorted, n, sizeof(*sorted), by_serial, crl);
	for (size_t i = 0; i < n; i++)
		index->at[i] = sorted[i].at;
	index->n = n;
	free(sorted);
	return NULL;
}

struct writ_err *
crl_index_init(struct writ_bytes der, struct crl_index *ret)
{
	struct writ_err *err;

	*ret = (struct crl_index){ .der = WRIT_BUF(CRL_MAX) };
	if (der.len > CRL_MAX)
		return writ_fail(WRIT_INVALID, "CRL: %zu bytes, the limit is %d", der.len, CRL_MAX);
	err = writ_buf_add(&ret->der, der);
	if (!err)
		err = crl_read(writ_view(&ret->der), &ret->crl);
	if (!err)
		err = put_in_order(ret);
	if (err)
		crl_index_done(ret);
	return err;
}

void
crl_index_done(struct crl_index *index)
{
	free(index->at);
	writ_buf_done(&index->der);
	*index = (struct crl_index){ 0 };
}

bool
crl_index_find(const struct crl_index *index, struct writ_bytes serial, writ_time *ret_revoked_at,
	       enum crl_reason *ret_reason)
{
	size_t low = 0, high = index->n;

	while (serial.len && serial.data[0] == 0) {
		serial.data++;
		serial.len--;
	}
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const uint32_t at = index->at[middle];
		struct der in =
			der_read((struct writ_bytes){ index->crl.entries.data + at, index->crl.entries.len - at });
		struct crl_entry entry;
		int order;

		if (!crl_entry_take(&in, &entry))
			return false; /* cannot be: crl_read() took it */
		order = writ_order(entry.serial, serial);
		if (order == 0) {
			*ret_revoked_at = entry.revoked_at;
			*ret_reason = entry.reason;
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

bool
crl_index_has_edge(const struct crl_index *index, struct writ_bytes edge_id)
{
	const struct writ_bytes edges = index->crl.edges;
	size_t low = 0, high = edges.len / EDGE_ELEMENT;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const struct writ_bytes id = { edges.data + middle * EDGE_ELEMENT + 2, EDGE_ID };
		const int order = writ_order(id, edge_id);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}
