/*
 * Devices for the contract test - a software TPM and a SoftHSM token, made in a folder of their own - and the two ways
 * to reach them: in this process, or through writ-deviced.
 */
#ifndef WRIT_TESTS_RIG_H
#define WRIT_TESTS_RIG_H

#include <sys/types.h>

#include "hsm/custody.h"
#include "hsm/wire.h"

#define RIG_PATH_MAX 96 /* a socket's path has 108 */
#define RIG_KEYS_MAX 16
#define RIG_PIN "1234567"

/* A device that can be taken away and brought back. */
struct machine {
	bool tpm;
	char dir[RIG_PATH_MAX - 32];
	char tcti[RIG_PATH_MAX];
	char uri[RIG_PATH_MAX];
	pid_t swtpm; /* 0: not running */
};

void machine_make(struct machine *, bool tpm);
void machine_away(struct machine *);
void machine_back(struct machine *);
void machine_done(struct machine *, bool keep); /* `keep` the folder, and the logs in it */

/* A device as one of the two sees it.  Handles stand for keys in both. */
struct rig {
	const char *name;
	bool tpm, wire;
	struct machine here, other; /* the device, and another of its kind */
	const char *secret;	    /* the next rig_open()'s auth value (hex) or PIN */
	bool refuse_software;

	struct custody *custody; /* not wire */
	struct key *keys[RIG_KEYS_MAX];
	struct device *device; /* wire */
	pid_t deviced;
	char socket[RIG_PATH_MAX];
};

extern const char rig_auth[]; /* the right auth value of a TPM, hex */

const char *rig_secret(const struct rig *);
struct custody_conf rig_conf(const struct rig *, const struct machine *);

struct writ_err *rig_open(struct rig *, struct machine *);
void rig_close(struct rig *); /* writ-deviced must end with 0 */

struct writ_err *rig_info(struct rig *, struct custody_info *ret);
struct writ_err *rig_make(struct rig *, enum key_kind, const char *label, struct writ_buf *ret_ref,
			  struct writ_buf *ret_spki);
struct writ_err *rig_load(struct rig *, struct writ_bytes ref, struct writ_bytes spki, uint32_t *ret_handle);
struct writ_err *rig_sign(struct rig *, uint32_t handle, struct writ_bytes message, struct writ_buf *ret_sig);
struct writ_err *rig_counter_make(struct rig *, enum custody_counter, uint64_t *ret);
struct writ_err *rig_counter_read(struct rig *, enum custody_counter, uint64_t *ret);
struct writ_err *rig_counter_raise(struct rig *, enum custody_counter, uint64_t *ret);
struct writ_err *rig_seal(struct rig *, uint64_t number, const struct writ_secret *, struct writ_buf *ret_blob);
struct writ_err *rig_unseal(struct rig *, struct writ_bytes blob, struct writ_secret *ret);
struct writ_err *rig_destroy(struct rig *, uint64_t number);
struct writ_err *rig_health(struct rig *);
void rig_unload(struct rig *, uint32_t handle);

/* Starts writ-deviced for that device; and waits for its end: its exit status, or 128 + signal. */
pid_t deviced_start(const struct rig *, const struct machine *, const char *socket, const char *peer_uid);
int process_wait(pid_t, int timeout_ms);

/* Runs a command with /bin/sh and fails the test when it fails. */
void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A random name under the folder for temporary files. */
void dir_make(char *out, size_t out_len);

#endif
