/*
 * One connection of the issuer: packets in, answers out.  Knows frames, no message.  Threading: the signer's one thread.
 */
#ifndef WRIT_ISSUER_SIGNER_CONN_H
#define WRIT_ISSUER_SIGNER_CONN_H

#include "issuer/signer/signer.h"

#define CONNS_MAX 66			/* 64 loop threads, store and control */
#define PACKETS_MAX 256			/* answers queued a connection: outstanding and refused, twice over */

struct packet {
	size_t at, len;
	int fd;		/* owned; -1: none */
	uint64_t after; /* leaves when the journal's entries below are durable */
};

struct answers {
	struct writ_buf out;
	struct packet packets[PACKETS_MAX];
	size_t n, sent;
};

struct conn {
	int fd;
	pid_t pid;
	bool welcome;	      /* HELLO was said */
	bool same_conf;	      /* and its configuration is ours */
	bool dead, writing;   /* writing: the socket is full */
	unsigned outstanding; /* requests received whose answer has not been sent */
	struct answers now;   /* what they speak of is durable */
	struct answers later; /* in the order in which it will be */
};

/* Sends what may leave, many in one call.  While the socket is full nothing more is read of it: that bounds the queue. */
void conn_flush(struct signer *, struct conn *);

/* Takes what has come, at most SIGNER_OUTSTANDING_MAX and one more packets, and has each handled. */
void conn_read(struct signer *, struct conn *);
void conn_free(struct signer *, struct conn *);

/* Accepts all who wait: the issuer's uid, one process at a time. */
void conns_accept(struct signer *);
void conns_reap(struct signer *);		/* frees the dead */

/* messages.c: judges and answers one frame. */
void frame_handle(struct signer *, struct conn *, const struct frame *);

/* serve.c: makes the group durable, waits for that, signs it, sends the answers. */
void group_end(struct signer *);

#endif
