/*
 * Inside of the loop: what loop.c, accept.c, conn.c, consume.c, answer.c and tls.c share.  Nobody else includes it.
 *
 * A connection is in exactly one state, and each state has a list ordered by deadline: expiry looks at the heads only,
 * and the head of the idle list is the oldest idle connection.
 *
 * - (1) Nothing of a connection is read while a request of it is unanswered, while an answer has not left, or while it rests.
 * - (2) A connection that has no request under way holds no buffer.
 * - (3) A closed connection is freed at the end of the wake-up, when no event of this batch can name it, and not before
 *   its token came back.
 */
#ifndef WRIT_ISSUER_HTTP_CONN_H
#define WRIT_ISSUER_HTTP_CONN_H

#include <stdatomic.h>
#include <sys/queue.h>

#include <openssl/ssl.h>

#include "issuer/http/http.h"

#define HTTP_READ_LEN (32 * 1024)     /* bytes read at once */
#define HTTP_OUT_LEN (64 * 1024)      /* bytes of answers gathered before a write */
#define HTTP_LINGER_MS 2000	      /* after a refusal: so long the client may take to read it */
#define HTTP_LINGER_LEN (1 << 20)     /* and so much it may still send */
#define HTTP_PROGRESS_LEN (64 * 1024) /* bytes that a slow reader must take within the write deadline */
#define HTTP_KEY_UPDATES_MAX 16	      /* of a TLS connection; an honest client needs one in 2^24 records */

/* What an epoll entry points to begins with this. */
enum source { SOURCE_WAKE, SOURCE_LISTENER, SOURCE_WATCH, SOURCE_CONNECTION };

enum conn_state {
	CONN_HANDSHAKE,
	CONN_IDLE,
	CONN_HEAD,	/* part of a head is there */
	CONN_BODY,	/* the head is, the body not wholly */
	CONN_HANDLING,	/* http_defer(): waits for the application */
	CONN_RESTING,	/* http_rest(): nothing is read */
	CONN_QUEUED,	/* its handshake has not begun: others' turn */
	CONN_WRITING,	/* waits for the client to take its answer */
	CONN_LINGERING, /* all is said; what still comes is thrown away */
	CONN_CLOSED,
};
#define CONN_LISTS CONN_CLOSED

struct http_later {
	struct http_request request; /* its bytes follow this structure */
	LIST_ENTRY(http_later) link;
	uint8_t data[];
};

struct address {
	LIST_ENTRY(address) link;
	uint8_t key[16]; /* IPv4 mapped; IPv6 cut to its /64 */
	unsigned n;	 /* connections */
	unsigned n_queued;				  /* of them */
	TAILQ_ENTRY(address) turn;			  /* while it has some queued */
	TAILQ_HEAD(conn_queue_list, http_connection) queued; /* first come, first begun */
};

/* An address from which somebody came whom the application wants to hear in any case: http_prefer(). */
struct preferred {
	uint8_t key[16];
	int64_t until_ms; /* 0: free */
};
#define PREFERRED_MAX 64

struct http_connection {
	enum source source; /* first */
	enum conn_state state;
	int fd;
	bool readable;	    /* the kernel may have bytes for us: an edge came, and no read found it empty since */
	bool untried;	    /* `in` may hold a whole request */
	bool eof;	    /* the client sends no more; it may still read */
	bool close;	    /* after what is to be sent */
	bool linger;	    /* and then with patience, so that the refusal is not lost in a reset */
	bool registered;    /* with epoll */
	bool is_head;	    /* the request under way is HEAD: no body */
	bool answered;	    /* the request under way is */
	bool said_continue; /* 100 was sent for it */
	bool long_body;	    /* on its way, and counted in loop->n_long_bodies */
	bool queued;	    /* in loop->ready */
	unsigned key_updates;
	struct loop *loop;
	const struct listener *listener;
	SSL *ssl; /* NULL: plain */
	TAILQ_ENTRY(http_connection) by_deadline, queue, shake; /* the last: CONN_QUEUED */
	LIST_ENTRY(http_connection) dead;
	int64_t deadline_ms;
	int64_t started_ms;	 /* of the first byte of the request; 0: none yet */
	int64_t body_started_ms; /* and of the end of its head */
	int64_t rest_until_ms;	 /* http_rest() */
	struct writ_buf in;	 /* bytes of a request that is not whole, or that waits */
	size_t need;		 /* length of the request whose head is known; 0: it is not */
	struct writ_buf out;	 /* answers that the socket did not take */
	size_t out_sent;
	struct writ_bytes lent; /* a body that follows `out`; what is left of it */
	void (*lent_done)(void *);
	void *lent_arg;
	size_t progress;	  /* bytes handed to the kernel since the write deadline began, */
	int in_kernel;		  /* and how many it held then */
	struct http_later *later; /* the request under way, when deferred */
	unsigned n_tokens;	  /* tokens that name this connection */
	struct address *address;
	struct http_peer peer;
	struct writ_buf peer_cert, peer_anchor;
};

TAILQ_HEAD(conn_list, http_connection);

struct listener {
	enum source source; /* first */
	int fd;
	bool tls;
	bool off; /* not listened to until loop->accept_again_ms */
	const struct http_handler *handler;
	struct loop *loop;
	struct listener *next;
};

struct watch {
	enum source source; /* first */
	int fd;
	bool dead;
	void (*readable)(int fd, struct clock now, void *ctx);
	void *ctx;
	struct watch *next;
};

struct hook {
	unsigned period_ms; /* 0: at the end of each wake-up */
	int64_t due_ms;
	void (*fn)(struct clock now, void *ctx);
	void *ctx;
	struct hook *next;
};

struct post {
	void (*fn)(void *arg);
	void *arg;
	struct post *next;
};

enum count {
	COUNT_CONNECTIONS,
	COUNT_REQUESTS,
	COUNT_2XX,
	COUNT_4XX,
	COUNT_5XX,
	COUNT_REFUSED_PARSE,
	COUNT_REFUSED_LIMIT,
	COUNT_TIMEOUTS,
	COUNT_HANDSHAKES,
	COUNT_HANDSHAKES_FAILED,
	COUNT_OPEN,
	N_COUNTS
};

#define ADDRESS_BUCKETS 1024

/*
 * A head with a body that came lately, of whatever client.  Clients that POST repeat theirs byte for byte, and what is
 * the same is read the same: 40 % of our own instructions for a cached status went into reading it again.  Parsed when
 * it comes a second time, and then from here, so that its views stay.
 */
#define SAME_HEADS 8	  /* one for each length of what was read, modulo: clients of different kinds side by side */
#define SAME_HEAD_MAX 512 /* bytes; longer ones are parsed each time */
struct same_head {
	uint8_t bytes[SAME_HEAD_MAX];
	size_t len; /* 0: none */
	bool parsed;
	struct http_head head; /* views into `bytes` */
};

struct loop {
	struct loop_conf conf; /* with defaults filled in */
	int epoll, wake, spare;
	enum source wake_source;
	struct clock now;
	char date[WRIT_HTTP_DATE_LEN + 1]; /* of now.wall */
	bool running, stopping;
	int64_t stop_by_ms;
	atomic_bool stop;
	_Atomic(struct post *) posts; /* newest first */
	struct listener *listeners;
	struct watch *watches;
	struct hook *at_end, *every;
	struct conn_list by_state[CONN_LISTS];
	struct conn_list ready; /* have work left for the end of this wake-up */
	LIST_HEAD(, http_connection) dead;
	LIST_HEAD(, http_later) tokens;
	unsigned n_open;
	uint64_t last_connection;
	int64_t accept_again_ms;     /* when listeners that are off are tried again; 0: none is */
	int64_t descriptors_told_ms; /* when the lack of descriptors was last an event */
	int64_t handshakes_at_ms;    /* token bucket: when handshakes_left was right, */
	int64_t handshakes_left;     /* in thousandths */
	TAILQ_HEAD(, address) turns; /* addresses with queued handshakes, the next one first */
	struct preferred preferred[PREFERRED_MAX];
	unsigned n_long_bodies;	     /* on their way: HTTP_LONG_BODIES_MAX */
	bool behind;		     /* more was ready than one wake-up looks at */
	uint64_t address_seed;
	LIST_HEAD(, address) addresses[ADDRESS_BUCKETS];
	_Atomic uint64_t counts[N_COUNTS];
	OSSL_LIB_CTX *crypto;		/* of this loop alone: a shared one does not scale */
	SSL_CTX *tls;			/* NULL until loop_tls() */
	struct http_connection *active; /* whose requests are being handled: its answers gather in out[] */
	size_t out_len;
	struct same_head same[SAME_HEADS];
	struct writ_bytes raw; /* or the only one of them, where the application has it; then out_len is 0 */
	uint8_t in[HTTP_READ_LEN];
	uint8_t out[HTTP_OUT_LEN];
};

static inline void
count(struct loop *loop, enum count which)
{
	/* One writer: no locked instruction is needed, only that readers see whole numbers. */
	const uint64_t n = atomic_load_explicit(&loop->counts[which], memory_order_relaxed);

	atomic_store_explicit(&loop->counts[which], n + 1, memory_order_relaxed);
}

/* ---- accept.c ---- */

void listener_accept(struct listener *);
void listeners_again(struct loop *); /* those that were off */
void listeners_close(struct loop *);
void handshake_dequeue(struct http_connection *);
void address_release(struct loop *, struct address *);

/* ---- conn.c ---- */

/* Takes the socket; `key` is the client's address as counted.  NULL: no memory.  What needs no handshake is at work already, or gone, and
 * NULL too; the rest is CONN_QUEUED. */
struct http_connection *conn_start(const struct listener *, int fd, struct address *, const char *text);
/* Its turn has come: the handshake begins. */
void conn_begin(struct http_connection *);
/* Does all that can be done now: writes, handles requests, reads. */
void conn_run(struct http_connection *);
void conn_event(struct http_connection *, uint32_t events);
void conn_close(struct http_connection *);
void conn_free(struct http_connection *);
void conn_queue(struct http_connection *); /* conn_run() at the end of this wake-up */
void conn_expire(struct loop *);
void conn_stop_idle(struct loop *); /* at the end of the loop: closes what has nothing under way */

/* Nothing of it is read now: http_rest(). */
static inline bool
rests(const struct http_connection *conn)
{
	return conn->rest_until_ms > conn->loop->now.mono_ms;
}

/* ---- consume.c ---- */

/* Handles the whole requests in `in`, until one must wait (1); returns how many bytes they were. */
size_t consume(struct http_connection *, struct writ_bytes in);
/* A body over what any path may have is on its way no more. */
void long_body_release(struct http_connection *);

/* ---- answer.c ---- */

/* Appends to what leaves next; a failure closes the connection. */
void out_add(struct http_connection *, struct writ_bytes);
/* Copies loop->raw to where answers gather: what follows may end its life. */
void out_gather(struct http_connection *);
/* A refusal in plain text; closes. */
void conn_refuse(struct http_connection *, unsigned status, const char *text);

/* ---- tls.c ---- */

enum io { IO_DONE, IO_AGAIN, IO_EOF, IO_FAILED };

WRIT_CHECKED bool tls_start(struct http_connection *);
enum io tls_handshake(struct http_connection *); /* IO_DONE: the peer is known */
enum io tls_read(struct http_connection *, uint8_t *out, size_t cap, size_t *ret);
enum io tls_write(struct http_connection *, struct writ_bytes, size_t *ret);
void tls_goodbye(struct http_connection *);

#endif
