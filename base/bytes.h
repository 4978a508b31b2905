/*
 * Bytes that are borrowed, bytes that are owned, and the cleanup idiom.
 *
 * `struct writ_bytes` borrows and is passed by value; text travels in it too (no NUL is promised).
 * `struct writ_buf` owns, is born with its limit, and is wiped when done.  Not locked, not thread-safe.
 */
#ifndef WRIT_BASE_BYTES_H
#define WRIT_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

#define AUTO(done) __attribute__((cleanup(done)))

/* Hands a pointer on and leaves NULL behind. */
#define TAKE(p)                                                                                                        \
	(__extension__({                                                                                               \
		__typeof__(p) *const take_at_ = &(p);                                                                  \
		__typeof__(p) const taken_ = *take_at_;                                                                \
		*take_at_ = NULL;                                                                                      \
		taken_;                                                                                                \
	}))

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

struct writ_bytes {
	const uint8_t *data;
	size_t len;
};

/* The bytes of a string literal, without its NUL. */
#define WRIT_LIT(s) ((struct writ_bytes){ (const uint8_t *)("" s ""), sizeof(s) - 1 })

static inline struct writ_bytes
writ_str(const char *s)
{
	return (struct writ_bytes){ (const uint8_t *)s, s ? strlen(s) : 0 };
}

/* Public bytes only; secrets go through writ_same(). */
static inline bool
writ_equal(struct writ_bytes a, struct writ_bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Nothing but zeroes? */
static inline bool
writ_is_zero(struct writ_bytes b)
{
	uint8_t any = 0;

	for (size_t i = 0; i < b.len; i++)
		any |= b.data[i];
	return any == 0;
}

/*
 * Room for one more item behind the `n` of an array that grows, twice as large each time: the array, which may have
 * moved; NULL: no memory, and it is as it was.  `array` is of malloc(), or NULL while `*cap` is 0; `each` are bytes.
 */
void *writ_room(void *array, size_t n, size_t *cap, size_t each, size_t first);

/* Bytewise order, a prefix before what it begins: the order DER wants of a set (delegation.md E6). */
int writ_order(struct writ_bytes a, struct writ_bytes b);

/* Equal?  Time depends on the lengths only. */
bool writ_same(struct writ_bytes a, struct writ_bytes b);

/* printf: "%.*s", WRIT_FMT(bytes); cut at 80 bytes, as messages want it. */
#define WRIT_FMT(b) (int)((b).len > 80 ? 80 : (b).len), (const char *)(b).data

struct writ_buf {
	uint8_t *data;
	size_t len;
	size_t cap;   /* allocated; internal */
	size_t limit; /* the most it may ever hold */
};

#define WRIT_BUF(limit_) ((struct writ_buf){ .limit = (limit_) })

static inline struct writ_bytes
writ_view(const struct writ_buf *buf)
{
	return (struct writ_bytes){ buf->data, buf->len };
}

/* Appends; WRIT_EXHAUSTED, and nothing appended, when the limit would be passed. */
WRIT_CHECKED struct writ_err *writ_buf_add(struct writ_buf *, struct writ_bytes);

/* Appends `len` bytes for the caller to fill in through `*ret`, valid until the next call. */
WRIT_CHECKED struct writ_err *writ_buf_grow(struct writ_buf *, size_t len, uint8_t **ret);

/* Appends text. */
WRIT_CHECKED struct writ_err *writ_buf_printf(struct writ_buf *, const char *fmt, ...) WRIT_PRINTF(2, 3);

/* Empties, keeping the memory (wiped). */
void writ_buf_clear(struct writ_buf *);

/* Wipes and releases; the limit stays. */
void writ_buf_done(struct writ_buf *);

/*
 * An arena owns everything a request is parsed into; all of it goes at once.
 * Grows in blocks up to its limit; memory is zeroed and aligned for any type.
 */
struct writ_arena {
	struct writ_arena_block *first;
	size_t used; /* bytes handed out */
	size_t limit;
};

#define WRIT_ARENA(limit_) ((struct writ_arena){ .limit = (limit_) })

/* NULL when the limit or memory ran out: the caller says what it was for. */
void *writ_arena_take(struct writ_arena *, size_t len);

/* A copy of `bytes` in the arena, followed by a NUL that is not counted; .data is NULL on failure. */
struct writ_bytes writ_arena_copy(struct writ_arena *, struct writ_bytes);

/* Forgets everything and keeps the first block, for the next request. */
void writ_arena_clear(struct writ_arena *);
void writ_arena_done(struct writ_arena *);

/* Big-endian integers. */
static inline uint32_t
writ_get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t
writ_get64(const uint8_t *p)
{
	return (uint64_t)writ_get32(p) << 32 | writ_get32(p + 4);
}

static inline void
writ_put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static inline void
writ_put64(uint8_t *p, uint64_t v)
{
	writ_put32(p, (uint32_t)(v >> 32));
	writ_put32(p + 4, (uint32_t)v);
}

#endif
