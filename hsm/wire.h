/*
 * The device wire: what the signer asks of writ-deviced, over one SOCK_SEQPACKET connection (base/frame.h).
 *
 * The whole of it: INFO, MAKE, LOAD, SIGN, SEAL, UNSEAL, HEALTH, UNLOAD, RESUME, ATTESTER, ATTEST, ACTIVATE, three for counters, DESTROY, PCRS; answers come in order of completion and carry
 * the request's id; an error answer carries code and text.  A key is named by a u32 handle that lives as long as the
 * connection.  Secrets cross it (seal, unseal) inside the machine only.  Linked by the signer, which has no token
 * library: this file and wire.c use base/ alone.
 * (1) A message over DEVICE_INLINE_MAX is left empty in the frame and comes beside it, in a sealed memfd
 *     (file_memfd(), file_memfd_map()): a CRL's TBSCertList in the resident tier has 49 bytes for each revoked
 *     certificate.  What is verified is what was hashed.  Whole messages cross the wire, never digests: writ-deviced hashes what it signs.
 * Threading: a `struct device` belongs to one thread.
 */
#ifndef WRIT_HSM_WIRE_H
#define WRIT_HSM_WIRE_H

#include "base/frame.h"
#include "hsm/custody.h"

enum device_message {
	DEVICE_INFO = 1,      /* ->                                  <- struct custody_info */
	DEVICE_MAKE,	      /* -> u8 kind, bytes label             <- bytes ref, bytes spki */
	DEVICE_LOAD,	      /* -> bytes ref, bytes spki            <- u32 handle */
	DEVICE_SIGN,	      /* -> u32 handle, bytes message (1)    <- bytes signature */
	DEVICE_SEAL,	      /* -> u64 number, 32 bytes             <- bytes blob */
	DEVICE_UNSEAL,	      /* -> bytes blob                       <- 32 bytes */
	DEVICE_HEALTH,	      /* ->                                  <- */
	DEVICE_UNLOAD,	      /* -> u32 handle                       <- */
	DEVICE_ATTESTER,      /* ->                                <- bytes AK, bytes EK certificate */
	DEVICE_ATTEST,	      /* -> 32 bytes, u8 n, n u32 handles    <- u8 n, n (u8 what, bytes about, said, signature) */
	DEVICE_ACTIVATE,      /* -> bytes id object, bytes encrypted <- 32 bytes */
	DEVICE_COUNTER_MAKE,  /* -> u8 which                         <- u64 value */
	DEVICE_COUNTER_READ,  /* -> u8 which                         <- u64 value */
	DEVICE_COUNTER_RAISE, /* -> u8 which                         <- u64 value */
	DEVICE_DESTROY,	      /* -> u64 number                       <- */
	DEVICE_PCRS,	      /* ->                                  <- bytes report (hsm/approval.h) */
	DEVICE_RESUME = 0x41, /* ->                                  <- forgets what locked the device and tries it once */
	DEVICE_ANSWER = 0x80, /* set in the type of an answer */
	DEVICE_ERROR = 0xff,  /* <- u8 code, bytes text */
};

#define DEVICE_TIMEOUT_MS 3000	     /* a request's deadline; writ-deviced is killed at it and started anew */
#define DEVICE_OPEN_TIMEOUT_MS 10000 /* opening the device: a real TPM tests itself, and makes its storage root key */
#define DEVICE_MAKE_TIMEOUT_MS 60000 /* making a key in a real TPM takes seconds; so may many raises of a counter */
#define DEVICE_ATTEST_TIMEOUT_MS 20000 /* one or two keys of its hierarchy made anew, then up to eight signatures */
#define DEVICE_INLINE_MAX (12 * 1024)  /* bytes of a message in a frame; longer ones, and no others, come by memfd */
#define DEVICE_OUTSTANDING_MAX 64
#define DEVICE_EXIT_DEADLINE 4 /* writ-deviced's exit status at a deadline: start it anew, it is no crash */

struct device;

/* Connects to writ-deviced at `path`; who made the socket must be `uid` ((uid_t)-1: we ourselves) or root. */
WRIT_CHECKED struct writ_err *device_connect(const char *path, uid_t uid, struct device **ret);

/* Takes a connected socket (a test's socketpair); on failure it stays the caller's. */
WRIT_CHECKED struct writ_err *device_adopt(int sock, struct device **ret);

/* Blocking calls, for start-up, ceremony and rotation.  WRIT_UNAVAILABLE at the deadline or when writ-deviced has gone.
 */
WRIT_CHECKED struct writ_err *device_info(struct device *, struct custody_info *ret);
WRIT_CHECKED struct writ_err *device_make_key(struct device *, enum key_kind, const char *label,
					      struct writ_buf *ret_ref, struct writ_buf *ret_spki);
WRIT_CHECKED struct writ_err *device_load(struct device *, struct writ_bytes ref, struct writ_bytes spki,
					  uint32_t *ret_handle);
WRIT_CHECKED struct writ_err *device_sign(struct device *, uint32_t handle, struct writ_bytes message,
					  struct writ_buf *ret_sig);
WRIT_CHECKED struct writ_err *device_counter_make(struct device *, enum custody_counter, uint64_t *ret);
WRIT_CHECKED struct writ_err *device_counter_read(struct device *, enum custody_counter, uint64_t *ret);
WRIT_CHECKED struct writ_err *device_counter_raise(struct device *, enum custody_counter, uint64_t *ret);
WRIT_CHECKED struct writ_err *device_seal(struct device *, uint64_t number, const struct writ_secret *,
					  struct writ_buf *ret_blob);
WRIT_CHECKED struct writ_err *device_unseal(struct device *, struct writ_bytes blob, struct writ_secret *ret);
/* As custody_attester(), custody_attest() and custody_activate(). */
WRIT_CHECKED struct writ_err *device_attester(struct device *, struct attester *ret);
WRIT_CHECKED struct writ_err *device_attest(struct device *, const uint8_t qualifying[ATTEST_QUALIFYING_LEN],
					    const uint32_t *handles, size_t n, struct attestation *ret);
WRIT_CHECKED struct writ_err *device_activate(struct device *, struct writ_bytes id_object, struct writ_bytes encrypted,
					      struct writ_secret *ret);

/* The deadline of a request of that type. */
int device_timeout_ms(unsigned type);

WRIT_CHECKED struct writ_err *device_destroy(struct device *, uint64_t number);
WRIT_CHECKED struct writ_err *device_health(struct device *);

/* Appends what an approver of PCR values must know, answered while no approval fits too; WRIT_NOT_FOUND: none binds it. */
WRIT_CHECKED struct writ_err *device_pcrs(struct device *, struct writ_buf *ret_report);
WRIT_CHECKED struct writ_err *device_unload(struct device *,
					    uint32_t handle); /* WRIT_NOT_FOUND when there is none such */

/*
 * Asking without waiting, one question at a time: the first function of a pair sends it; when device_fd() is readable,
 * the second tells the answer: `*ret_any`, still false when none came yet, or the error.  So a process that must not
 * block finds out first, and makes blocking calls of a device that answers.
 */
WRIT_CHECKED struct writ_err *device_knock(struct device *); /* HEALTH */
WRIT_CHECKED struct writ_err *device_opened(struct device *, bool *ret_any);
WRIT_CHECKED struct writ_err *device_info_ask(struct device *);
WRIT_CHECKED struct writ_err *device_info_told(struct device *, bool *ret_any, struct custody_info *ret);
WRIT_CHECKED struct writ_err *device_load_ask(struct device *, struct writ_bytes ref, struct writ_bytes spki);
WRIT_CHECKED struct writ_err *device_load_told(struct device *, bool *ret_any, uint32_t *ret_handle);

/* In the place of device_knock(): an operator mended what locked the device.  Keys loaded before are gone. */
WRIT_CHECKED struct writ_err *device_resume_ask(struct device *);

/* False after a deadline, a lost peer or a malformed answer: connect anew. */
bool device_usable(const struct device *);

/*
 * Signing without waiting, for the resident tier: device_sign_start() sends; when device_fd() is readable,
 * device_sign_next() gives one answer: its id and the signature, or `*ret_failed` with the request's own error. Returns
 * with *ret_any false when none is there. Blocking calls must not be mixed in while signatures are outstanding.
 */
int device_fd(const struct device *);
WRIT_CHECKED struct writ_err *device_sign_start(struct device *, uint64_t id, uint32_t handle,
						struct writ_bytes message);
WRIT_CHECKED struct writ_err *device_sign_next(struct device *, bool *ret_any, uint64_t *ret_id,
					       struct writ_buf *ret_sig, struct writ_err **ret_failed);

void device_close(struct device *);
void device_closep(struct device **);

#endif
