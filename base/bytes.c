/*
 * Buffers and arenas.  What they held is wiped: a buffer may have carried a token or an evidence text.
 */
#include "base/bytes.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>

#define BUF_FIRST 256		     /* bytes of a buffer's first allocation */
#define ARENA_BLOCK 4096	     /* bytes of an arena's first block; each next one is twice as large, */
#define ARENA_BLOCK_MAX (256 * 1024) /* up to this */

int
writ_order(struct writ_bytes a, struct writ_bytes b)
{
	const size_t shared = a.len < b.len ? a.len : b.len;
	const int order = shared > 0 ? memcmp(a.data, b.data, shared) : 0;

	if (order != 0)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

/* Constant time for a given pair of lengths. */
bool
writ_same(struct writ_bytes a, struct writ_bytes b)
{
	return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.data, b.data, a.len) == 0);
}

static struct writ_err *
buf_enlarge(struct writ_buf *buf, size_t more)
{
	size_t cap = buf->cap > 0 ? buf->cap : BUF_FIRST;
	uint8_t *data;

	if (buf->len > buf->limit || more > buf->limit - buf->len)
		return writ_fail(WRIT_EXHAUSTED, "%zu bytes do not fit: the buffer's limit is %zu and it holds %zu",
				 more, buf->limit, buf->len);
	while (cap < buf->len + more && cap <= buf->limit / 2)
		cap *= 2;
	if (cap < buf->len + more || cap > buf->limit)
		cap = buf->limit;
	data = malloc(cap);
	if (!data)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a buffer of %zu bytes", cap);
	if (buf->len > 0)
		memcpy(data, buf->data, buf->len);
	if (buf->data) {
		OPENSSL_cleanse(buf->data, buf->cap); /* realloc would leave a copy behind */
		free(buf->data);
	}
	buf->data = data;
	buf->cap = cap;
	return NULL;
}

static inline struct writ_err *
buf_reserve(struct writ_buf *buf, size_t more)
{
	const bool fits = more <= buf->cap - buf->len && buf->len + more <= buf->limit;

	return fits ? NULL : buf_enlarge(buf, more);
}

struct writ_err *
writ_buf_grow(struct writ_buf *buf, size_t len, uint8_t **ret)
{
	struct writ_err *err = buf_reserve(buf, len);

	if (err)
		return err;
	*ret = buf->data ? buf->data + buf->len : NULL;
	buf->len += len;
	return NULL;
}

struct writ_err *
writ_buf_add(struct writ_buf *buf, struct writ_bytes bytes)
{
	struct writ_err *err = buf_reserve(buf, bytes.len);

	if (err)
		return err;
	if (bytes.len > 0)
		memcpy(buf->data + buf->len, bytes.data, bytes.len);
	buf->len += bytes.len;
	return NULL;
}

struct writ_err *
writ_buf_printf(struct writ_buf *buf, const char *fmt, ...)
{
	char text[512];
	AUTO(writ_buf_done) struct writ_buf longer = WRIT_BUF(SIZE_MAX);
	uint8_t *room;
	struct writ_err *err;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (n < 0)
		return writ_fail(WRIT_BROKEN, "text could not be formatted");
	if ((size_t)n < sizeof(text))
		return writ_buf_add(buf, (struct writ_bytes){ (const uint8_t *)text, (size_t)n });
	if (buf->len > buf->limit || (size_t)n > buf->limit - buf->len)
		return buf_reserve(buf, (size_t)n); /* says that it does not fit */

	err = writ_buf_grow(&longer, (size_t)n + 1,
			    &room); /* vsnprintf wants room for its NUL, which the limit may lack */
	if (err)
		return err;
	va_start(args, fmt);
	vsnprintf((char *)room, (size_t)n + 1, fmt, args);
	va_end(args);
	return writ_buf_add(buf, (struct writ_bytes){ room, (size_t)n });
}

void
writ_buf_clear(struct writ_buf *buf)
{
	if (buf->len > 0)
		OPENSSL_cleanse(buf->data, buf->len);
	buf->len = 0;
}

void
writ_buf_done(struct writ_buf *buf)
{
	if (buf->data) {
		OPENSSL_cleanse(buf->data, buf->cap);
		free(buf->data);
	}
	buf->data = NULL;
	buf->len = 0;
	buf->cap = 0;
}

void *
writ_room(void *array, size_t n, size_t *cap, size_t each, size_t first)
{
	const size_t more = *cap > 0 ? 2 * *cap : first;
	size_t size;
	void *grown;

	if (n < *cap)
		return array;
	if (__builtin_mul_overflow(more, each, &size))
		return NULL;
	grown = realloc(array, size);
	if (grown)
		*cap = more;
	return grown;
}

struct writ_arena_block {
	struct writ_arena_block *next;
	size_t size, used;
	alignas(max_align_t) uint8_t data[];
};

static struct writ_arena_block *
block_new(size_t size, size_t at_least)
{
	struct writ_arena_block *block;

	if (size < at_least)
		size = at_least;
	block = calloc(1, sizeof(*block) + size);
	if (block)
		block->size = size;
	return block;
}

/* The newest block stands second, so that the first one stays for the next request. */
static struct writ_arena_block *
arena_block_for(struct writ_arena *arena, size_t len)
{
	struct writ_arena_block *first = arena->first, *block;
	size_t size;

	if (!first)
		return arena->first = block_new(ARENA_BLOCK, len);
	if (len <= first->size - first->used)
		return first;
	if (first->next && len <= first->next->size - first->next->used)
		return first->next;
	size = 2 * (first->next ? first->next->size : first->size);
	block = block_new(size < ARENA_BLOCK_MAX ? size : ARENA_BLOCK_MAX, len);
	if (!block)
		return NULL;
	block->next = first->next;
	first->next = block;
	return block;
}

void *
writ_arena_take(struct writ_arena *arena, size_t len)
{
	const size_t align = alignof(max_align_t);
	struct writ_arena_block *block;
	void *ret;

	if (arena->used > arena->limit || len > arena->limit - arena->used || len > SIZE_MAX / 2)
		return NULL;
	len = (len + align - 1) / align * align;
	if (len == 0)
		len = align; /* a pointer of its own */
	if (len > arena->limit - arena->used)
		return NULL;
	block = arena_block_for(arena, len);
	if (!block)
		return NULL;
	ret = block->data + block->used;
	block->used += len;
	arena->used += len;
	return ret;
}

struct writ_bytes
writ_arena_copy(struct writ_arena *arena, struct writ_bytes bytes)
{
	uint8_t *copy = bytes.len < SIZE_MAX ? writ_arena_take(arena, bytes.len + 1) : NULL;

	if (!copy)
		return (struct writ_bytes){ NULL, 0 };
	if (bytes.len > 0)
		memcpy(copy, bytes.data, bytes.len);
	return (struct writ_bytes){ copy, bytes.len };
}

static void
arena_drop(struct writ_arena_block *block)
{
	while (block) {
		struct writ_arena_block *next = block->next;

		OPENSSL_cleanse(block->data, block->used);
		free(block);
		block = next;
	}
}

void
writ_arena_clear(struct writ_arena *arena)
{
	if (arena->first) {
		arena_drop(TAKE(arena->first->next));
		OPENSSL_cleanse(arena->first->data, arena->first->used);
		arena->first->used = 0;
	}
	arena->used = 0;
}

void
writ_arena_done(struct writ_arena *arena)
{
	arena_drop(TAKE(arena->first));
	arena->used = 0;
}
