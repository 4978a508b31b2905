/*
 * What each request of hsm/wire.h does to the device, and which keys a connection holds meanwhile.
 *
 * Knows no socket, but for who holds a key.  Threading: writ-deviced's one.
 */
#ifndef WRIT_HSM_DEVICED_ANSWERS_H
#define WRIT_HSM_DEVICED_ANSWERS_H

#include "hsm/deviced_settings.h"
#include "hsm/wire_codec.h"

#define CONNECTIONS_MAX 4
#define KEYS_MAX                                                                                                       \
	272 /* a connection: 256 generations of issuing keys, the anchor, and room; a TPM itself holds one at a time   \
	     */

struct connection {
	int sock; /* -1: free */
	uint32_t last_handle;
	struct {
		uint32_t handle; /* 0: free */
		struct key *key;
	} keys[KEYS_MAX];
};

struct server {
	const struct settings *settings;
	struct writ_secret auth;
	struct custody *custody;  /* NULL while the device could not be opened */
	struct writ_err *refused; /* (1): what is answered instead */
	int listener;		  /* -1: a connected socket was inherited, and its end is ours */
	struct connection connections[CONNECTIONS_MAX];
};

/* The secret anew from its file. */
WRIT_CHECKED struct writ_err *deviced_auth_read(const struct settings *, struct writ_secret *ret);

/* Opens the device, unless it is open or must not be tried again.  An absent one is tried at each request. */
WRIT_CHECKED struct writ_err *deviced_open(struct server *);

/* Of that connection: all of them. */
void deviced_keys_unload(struct connection *);

/* Does what is asked for and writes the answer's body; the caller sees to the deadline. */
WRIT_CHECKED struct writ_err *deviced_answer(struct server *, struct connection *, const struct device_request *,
				struct writ_buf *ret_body);

#endif
