/*
 * The device wire's messages as structures: requests and answers, both directions.  Bodies are listed in hsm/wire.h.
 *
 * Every field is bounded here, before anything else looks at it.  What is decoded borrows from the frame.
 * Thread-safe: no state.
 */
#ifndef WRIT_HSM_WIRE_CODEC_H
#define WRIT_HSM_WIRE_CODEC_H

#include "base/frame.h"
#include "hsm/custody.h"
#include "hsm/wire.h"

#define DEVICE_TEXT_MAX 1024 /* bytes of an error's text */

/* An attest_item that borrows. */
struct device_attested {
	enum attested what;
	struct writ_bytes about, said, signature;
};

struct device_request {
	enum device_message type;
	enum key_kind kind;		   /* MAKE */
	char label[CUSTODY_LABEL_MAX + 1]; /* MAKE; characters are custody's to judge */
	struct writ_bytes ref, spki;	   /* LOAD */
	uint32_t handle;		   /* SIGN, UNLOAD */
	struct writ_bytes message;	   /* SIGN; empty: it comes in a memfd beside the frame */
	enum custody_counter counter;	   /* COUNTER_MAKE, COUNTER_READ, COUNTER_RAISE */
	uint64_t number;		   /* SEAL, DESTROY */
	struct writ_bytes secret;	   /* SEAL: CUSTODY_SECRET_LEN bytes */
	struct writ_bytes blob;		   /* UNSEAL */
	struct writ_bytes qualifying;	   /* ATTEST: ATTEST_QUALIFYING_LEN bytes */
	size_t n_handles;		   /* ATTEST */
	uint32_t handles[ATTEST_KEYS_MAX]; /* ATTEST */
	struct writ_bytes id_object, encrypted; /* ACTIVATE */
};

struct device_answer {
	struct custody_info info;    /* INFO */
	struct writ_bytes ref, spki; /* MAKE */
	uint32_t handle;	     /* LOAD */
	struct writ_bytes signature; /* SIGN */
	struct writ_bytes blob;	     /* SEAL */
	struct writ_bytes secret;    /* UNSEAL, ACTIVATE */
	struct writ_bytes report;    /* PCRS */
	uint64_t value;		     /* COUNTER_MAKE, COUNTER_READ, COUNTER_RAISE */
	struct writ_bytes ak, ek;    /* ATTESTER; either may be empty */
	size_t n_items;		     /* ATTEST */
	struct device_attested items[ATTEST_ITEMS_MAX];
};

/* "INFO", "SIGN", ...; NULL for a type that is no request. */
const char *device_message_name(unsigned type);

/* WRIT_INVALID for a type that is no request, a field out of bounds, or bytes left over. */
WRIT_CHECKED struct writ_err *device_request_decode(const struct frame *, struct device_request *ret);

/* Appends the body. */
WRIT_CHECKED struct writ_err *device_request_encode(const struct device_request *, struct writ_buf *ret_body);

/*
 * What the frame answers to a request of type `asked`: the answer, or `*ret_failed`, the request's own error.
 * WRIT_INVALID when it is neither.
 */
WRIT_CHECKED struct writ_err *device_answer_decode(const struct frame *, enum device_message asked,
						   struct device_answer *ret, struct writ_err **ret_failed);

/* Appends the body of an answer to a request of type `asked`. */
WRIT_CHECKED struct writ_err *device_answer_encode(enum device_message asked, const struct device_answer *,
						   struct writ_buf *ret_body);

/* Appends the body of an error answer. */
WRIT_CHECKED struct writ_err *device_error_encode(const struct writ_err *, struct writ_buf *ret_body);

#endif
