/*
 * Live entries, a page a minute: see live.h.
 */
#include "issuer/serve/live.h"

#include <stdlib.h>

#define PAGE_FIRST 64

void
live_done(struct live *l)
{
	for (size_t i = 0; i < l->n_pages; i++)
		free(l->pages[i].entries);
	free(l->pages);
	*l = (struct live){ 0 };
}

/* The one asked for last is nearly always asked for again. */
static struct live_page *
page_find(struct live *l, uint32_t minute)
{
	if (l->n_pages > 0 && l->pages[l->last].minute == minute)
		return &l->pages[l->last];
	for (size_t i = l->n_pages; i-- > 0;)
		if (l->pages[i].minute == minute) {
			l->last = i;
			return &l->pages[i];
		}
	return NULL;
}

static struct live_entry *
place_of(struct live_entry *entries, size_t cap, const uint8_t serial[SERIAL_LEN])
{
	size_t i = writ_get64(serial + 4) & (cap - 1);

	while (entries[i].used && memcmp(entries[i].serial, serial, SERIAL_LEN) != 0)
		i = (i + 1) & (cap - 1);
	return &entries[i];
}

WRIT_CHECKED static struct writ_err *
page_size(struct live_page *page, size_t cap)
{
	struct live_entry *entries = calloc(cap, sizeof(*entries));

	if (!entries)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu live entries of one minute", page->n + 1);
	for (size_t i = 0; i < page->cap; i++)
		if (page->entries[i].used)
			*place_of(entries, cap, page->entries[i].serial) = page->entries[i];
	free(page->entries);
	page->entries = entries;
	page->cap = cap;
	return NULL;
}

/* As large as the one made before it came to be: at an even load none is copied. */
WRIT_CHECKED static struct writ_err *
page_make(struct live *l, uint32_t minute, struct live_page **ret)
{
	const size_t cap = l->n_pages > 0 ? l->pages[l->n_pages - 1].cap : PAGE_FIRST;
	struct live_page page = { .minute = minute };
	struct live_page *grown = writ_room(l->pages, l->n_pages, &l->cap_pages, sizeof(*grown), 32);
	struct writ_err *err;

	if (!grown)
		return writ_fail(WRIT_EXHAUSTED, "no memory for live entries of %zu minutes", l->n_pages + 1);
	l->pages = grown;
	err = page_size(&page, cap);
	if (err)
		return err;
	l->last = l->n_pages++;
	l->pages[l->last] = page;
	*ret = &l->pages[l->last];
	return NULL;
}

struct writ_err *
live_room(struct live *l, uint32_t minute, size_t n)
{
	struct live_page *page = page_find(l, minute);
	struct writ_err *err = page ? NULL : page_make(l, minute, &page);
	size_t cap = err ? 0 : page->cap;

	while (!err && n > cap / 4 * 3)
		cap *= 2;
	return err || cap == page->cap ? err : page_size(page, cap);
}

struct writ_err *
live_add(struct live *l, const uint8_t serial[SERIAL_LEN], struct live_entry **ret)
{
	const uint32_t minute = writ_get32(serial);
	struct live_page *page = page_find(l, minute);
	struct writ_err *err = NULL;
	struct live_entry *entry;

	if (!page)
		err = page_make(l, minute, &page);
	else if (page->n + 1 > page->cap / 4 * 3)
		err = page_size(page, 2 * page->cap);
	if (err)
		return err;
	entry = place_of(page->entries, page->cap, serial);
	if (entry->used)
		return writ_fail(WRIT_BROKEN, "a serial is there twice");
	memcpy(entry->serial, serial, SERIAL_LEN);
	entry->used = true;
	page->n++;
	l->n++;
	*ret = entry;
	return NULL;
}

void
live_soon(const struct live *l, const uint8_t serial[SERIAL_LEN])
{
	const struct live_page *page = l->n_pages > 0 ? &l->pages[l->last] : NULL;

	if (page && page->minute == writ_get32(serial))
		__builtin_prefetch(&page->entries[writ_get64(serial + 4) & (page->cap - 1)]);
}

struct live_entry *
live_find(struct live *l, const uint8_t serial[SERIAL_LEN])
{
	const struct live_page *page = page_find(l, writ_get32(serial));
	struct live_entry *entry = page ? place_of(page->entries, page->cap, serial) : NULL;

	return entry && entry->used ? entry : NULL;
}

struct live_entry *
live_next(const struct live *l, struct live_at *at)
{
	for (; at->page < l->n_pages; at->page++, at->place = 0) {
		const struct live_page *page = &l->pages[at->page];

		while (at->place < page->cap) {
			struct live_entry *entry = &page->entries[at->place++];

			if (entry->used)
				return entry;
		}
	}
	return NULL;
}
