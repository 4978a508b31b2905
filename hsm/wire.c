/*
 * The device wire, the signer's side.  Linked where no token library may be: base/ alone.
 *
 * (1) After a deadline, a lost peer or a malformed answer the connection is not used again: a late answer must not be
 * taken for the next one's.  The caller connects anew, with WRIT_UNAVAILABLE in hand.
 */
#include "hsm/wire.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/file.h"
#include "hsm/wire_codec.h"

struct device {
	int sock;
	bool dead;				  /* (1) */
	uint64_t next_id;			  /* of blocking calls, and of the question asked without waiting: */
	enum device_message asked;
	uint64_t waiting[DEVICE_OUTSTANDING_MAX]; /* ids of signatures outstanding, in no order */
	size_t n_waiting;
};

struct writ_err *
device_adopt(int sock, struct device **ret)
{
	struct device *const device = calloc(1, sizeof(*device));

	*ret = NULL;
	if (!device)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a connection to writ-deviced");
	device->sock = sock;
	*ret = device;
	return NULL;
}

static struct writ_err *
peer_check(int sock, const char *path, uid_t want)
{
	struct writ_err *err;
	uid_t peer;

	err = frame_peer(sock, &peer);
	if (err)
		return err;
	/* A listening socket is its maker's: root's, when writd or systemd made it and writ-deviced inherited it. */
	if (peer != 0 && peer != (want == (uid_t)-1 ? geteuid() : want))
		return writ_fail(WRIT_UNAUTHENTICATED, "%.80s is served by uid %u, which is not writ-deviced's", path,
				 (unsigned)peer);
	return NULL;
}

struct writ_err *
device_connect(const char *path, uid_t uid, struct device **ret)
{
	struct writ_err *err;
	int sock;

	*ret = NULL;
	err = frame_connect(path, DEVICE_TIMEOUT_MS, &sock);
	if (err)
		return writ_because(err, "writ-deviced");
	err = peer_check(sock, path, uid);
	if (!err)
		err = device_adopt(sock, ret);
	if (err)
		close(sock);
	return err;
}

static struct writ_err *
usable(const struct device *device)
{
	if (!device->dead)
		return NULL;
	return writ_fail(WRIT_UNAVAILABLE, "the connection to writ-deviced is lost: connect anew");
}

/* (1) */
static struct writ_err *
lost(struct device *device, struct writ_err *err)
{
	device->dead = true;
	return writ_recode(err, WRIT_UNAVAILABLE, "writ-deviced");
}

/* What does not fit the frame goes into a memfd beside it. */
static struct writ_err *
message_aside(struct device_request *request, int *ret_fd)
{
	struct writ_err *err;

	if (request->message.len <= DEVICE_INLINE_MAX)
		return NULL;
	err = file_memfd("writ-message", request->message, ret_fd);
	request->message = (struct writ_bytes){ NULL, 0 };
	return err;
}

static struct writ_err *
message_check(const struct device_request *request)
{
	const size_t len = request->message.len;

	if (request->type != DEVICE_SIGN || (len > 0 && len <= CUSTODY_MESSAGE_MAX))
		return NULL;
	return writ_fail(WRIT_INVALID, "a message to sign has 1 to %d bytes, not %zu", CUSTODY_MESSAGE_MAX, len);
}

/* Sends one request. */
static struct writ_err *
request_send(struct device *device, uint64_t id, const struct device_request *request)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	struct device_request framed = *request;
	AUTO(file_closep) int beside = -1;
	struct writ_err *err;

	err = message_check(request);
	if (!err)
		err = message_aside(&framed, &beside);
	if (!err)
		err = device_request_encode(&framed, &body);
	if (err)
		return err;
	err = frame_send(device->sock, (uint16_t)request->type, id, writ_view(&body), beside, DEVICE_TIMEOUT_MS);
	return err ? lost(device, err) : NULL;
}

/* The answer to request `id`, which borrows from `packet`. */
static struct writ_err *
answer_take(struct device *device, uint64_t id, enum device_message asked, int timeout_ms, uint8_t packet[FRAME_MAX],
	    struct device_answer *ret)
{
	struct writ_err *err, *failed = NULL;
	struct frame frame;

	err = frame_receive(device->sock, packet, &frame, NULL, timeout_ms);
	if (!err && frame.id != id)
		err = writ_fail(WRIT_INVALID, "an answer to another request than the one asked");
	if (!err)
		err = device_answer_decode(&frame, asked, ret, &failed);
	return err ? lost(device, err) : failed;
}

/* One request and its answer, which borrows from `packet`. */
static struct writ_err *
ask(struct device *device, const struct device_request *request, uint8_t packet[FRAME_MAX], struct device_answer *ret)
{
	const int timeout_ms = device_timeout_ms(request->type);
	const uint64_t id = ++device->next_id;
	struct writ_err *err;

	err = usable(device);
	if (err)
		return err;
	if (device->n_waiting > 0)
		return writ_fail(WRIT_BROKEN, "a blocking call to writ-deviced while %zu signatures are outstanding",
				 device->n_waiting);
	err = request_send(device, id, request);
	return err ? err : answer_take(device, id, request->type, timeout_ms, packet, ret);
}

struct writ_err *
device_info(struct device *device, struct custody_info *ret)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	err = ask(device, &(struct device_request){ .type = DEVICE_INFO }, packet, &answer);
	if (err)
		return err;
	*ret = answer.info;
	return NULL;
}

struct writ_err *
device_make_key(struct device *device, enum key_kind kind, const char *label, struct writ_buf *ret_ref,
		struct writ_buf *ret_spki)
{
	struct device_request request = { .type = DEVICE_MAKE, .kind = kind };
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	if (strlen(label) >= sizeof(request.label))
		return writ_fail(WRIT_INVALID, "a key's label has 1 to %d bytes, not %zu", CUSTODY_LABEL_MAX,
				 strlen(label));
	memcpy(request.label, label, strlen(label) + 1);
	err = ask(device, &request, packet, &answer);
	if (err)
		return err;
	err = writ_buf_add(ret_ref, answer.ref);
	if (err)
		return err;
	return writ_buf_add(ret_spki, answer.spki);
}

struct writ_err *
device_load(struct device *device, struct writ_bytes ref, struct writ_bytes spki, uint32_t *ret_handle)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	err = ask(device, &(struct device_request){ .type = DEVICE_LOAD, .ref = ref, .spki = spki }, packet, &answer);
	if (err)
		return err;
	*ret_handle = answer.handle;
	return NULL;
}

struct writ_err *
device_sign(struct device *device, uint32_t handle, struct writ_bytes message, struct writ_buf *ret_sig)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	err = ask(device, &(struct device_request){ .type = DEVICE_SIGN, .handle = handle, .message = message }, packet,
		  &answer);
	if (err)
		return err;
	return writ_buf_add(ret_sig, answer.signature);
}

struct writ_err *
device_seal(struct device *device, uint64_t number, const struct writ_secret *secret, struct writ_buf *ret_blob)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	if (secret->len != CUSTODY_SECRET_LEN)
		return writ_fail(WRIT_INVALID, "a device seals %d bytes, not %zu", CUSTODY_SECRET_LEN, secret->len);
	err = ask(device,
		  &(struct device_request){
			  .type = DEVICE_SEAL, .number = number, .secret = { secret->data, secret->len } },
		  packet, &answer);
	if (err)
		return err;
	return writ_buf_add(ret_blob, answer.blob);
}

struct writ_err *
device_unseal(struct device *device, struct writ_bytes blob, struct writ_secret *ret)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	err = ask(device, &(struct device_request){ .type = DEVICE_UNSEAL, .blob = blob }, packet, &answer);
	if (!err)
		err = writ_secret_set(ret, answer.secret);
	OPENSSL_cleanse(packet, sizeof(packet)); /* I11 */
	return err;
}

int
device_timeout_ms(unsigned type)
{
	switch (type) {
	case DEVICE_MAKE:
	case DEVICE_DESTROY:
		return DEVICE_MAKE_TIMEOUT_MS;
	case DEVICE_ATTESTER:
	case DEVICE_ATTEST:
	case DEVICE_ACTIVATE:
		return DEVICE_ATTEST_TIMEOUT_MS;
	default:
		return DEVICE_TIMEOUT_MS;
	}
}

static void
part_copy(struct writ_bytes from, uint8_t *to, size_t *ret_len)
{
	*ret_len = from.len;
	if (from.len > 0)
		memcpy(to, from.data, from.len);
}

struct writ_err *
device_attester(struct device *device, struct attester *ret)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	*ret = (struct attester){ 0 };
	err = ask(device, &(struct device_request){ .type = DEVICE_ATTESTER }, packet, &answer);
	if (err)
		return err;
	part_copy(answer.ak, ret->ak, &ret->ak_len);
	part_copy(answer.ek, ret->ek, &ret->ek_len);
	return NULL;
}

/* Lengths were bounded when it was decoded. */
static void
item_copy(const struct device_attested *from, struct attest_item *to)
{
	to->what = from->what;
	part_copy(from->about, to->about, &to->about_len);
	part_copy(from->said, to->said, &to->said_len);
	part_copy(from->signature, to->signature, &to->signature_len);
}

struct writ_err *
device_attest(struct device *device, const uint8_t qualifying[ATTEST_QUALIFYING_LEN], const uint32_t *handles, size_t n,
	      struct attestation *ret)
{
	struct device_request request = { .type = DEVICE_ATTEST, .n_handles = n };
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	ret->n = 0;
	if (n > ATTEST_KEYS_MAX)
		return writ_fail(WRIT_INVALID, "%zu keys are over the %d of one attestation", n, ATTEST_KEYS_MAX);
	request.qualifying = (struct writ_bytes){ qualifying, ATTEST_QUALIFYING_LEN };
	for (size_t i = 0; i < n; i++)
		request.handles[i] = handles[i];
	err = ask(device, &request, packet, &answer);
	if (err)
		return err;
	for (size_t i = 0; i < answer.n_items; i++)
		item_copy(&answer.items[i], &ret->item[i]);
	ret->n = answer.n_items;
	return NULL;
}

struct writ_err *
device_activate(struct device *device, struct writ_bytes id_object, struct writ_bytes encrypted, struct writ_secret *ret)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	err = ask(device,
		  &(struct device_request){ .type = DEVICE_ACTIVATE, .id_object = id_object, .encrypted = encrypted },
		  packet, &answer);
	if (!err)
		err = writ_secret_set(ret, answer.secret);
	OPENSSL_cleanse(packet, sizeof(packet)); /* I11 */
	return err;
}

static struct writ_err *
counter_ask(struct device *device, enum device_message type, enum custody_counter which, uint64_t *ret)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	err = ask(device, &(struct device_request){ .type = type, .counter = which }, packet, &answer);
	if (err)
		return err;
	*ret = answer.value;
	return NULL;
}

struct writ_err *
device_counter_make(struct device *device, enum custody_counter which, uint64_t *ret)
{
	return counter_ask(device, DEVICE_COUNTER_MAKE, which, ret);
}

struct writ_err *
device_counter_read(struct device *device, enum custody_counter which, uint64_t *ret)
{
	return counter_ask(device, DEVICE_COUNTER_READ, which, ret);
}

struct writ_err *
device_counter_raise(struct device *device, enum custody_counter which, uint64_t *ret)
{
	return counter_ask(device, DEVICE_COUNTER_RAISE, which, ret);
}

struct writ_err *
device_destroy(struct device *device, uint64_t number)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;

	return ask(device, &(struct device_request){ .type = DEVICE_DESTROY, .number = number }, packet, &answer);
}

struct writ_err *
device_health(struct device *device)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;

	return ask(device, &(struct device_request){ .type = DEVICE_HEALTH }, packet, &answer);
}

struct writ_err *
device_pcrs(struct device *device, struct writ_buf *ret_report)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	err = ask(device, &(struct device_request){ .type = DEVICE_PCRS }, packet, &answer);
	return err ? err : writ_buf_add(ret_report, answer.report);
}

struct writ_err *
device_unload(struct device *device, uint32_t handle)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;

	return ask(device, &(struct device_request){ .type = DEVICE_UNLOAD, .handle = handle }, packet, &answer);
}

int
device_fd(const struct device *device)
{
	return device->sock;
}

bool
device_usable(const struct device *device)
{
	return !device->dead;
}

/* Sends a question whose answer nobody waits for. */
static struct writ_err *
question_send(struct device *device, const struct device_request *request)
{
	struct writ_err *err = usable(device);

	device->asked = request->type;
	return err ? err : request_send(device, ++device->next_id, request);
}

/* Its answer, if there is one. */
static struct writ_err *
question_told(struct device *device, uint8_t packet[FRAME_MAX], bool *ret_any, struct device_answer *ret)
{
	struct pollfd readable = { .fd = device->sock, .events = POLLIN };
	struct writ_err *err;

	*ret_any = false;
	err = usable(device);
	if (err)
		return err;
	if (poll(&readable, 1, 0) <= 0)
		return NULL;
	err = answer_take(device, device->next_id, device->asked, 0, packet, ret);
	*ret_any = !err;
	return err;
}

struct writ_err *
device_knock(struct device *device)
{
	return question_send(device, &(struct device_request){ .type = DEVICE_HEALTH });
}

struct writ_err *
device_resume_ask(struct device *device)
{
	return question_send(device, &(struct device_request){ .type = DEVICE_RESUME });
}

struct writ_err *
device_opened(struct device *device, bool *ret_any)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;

	return question_told(device, packet, ret_any, &answer);
}

struct writ_err *
device_info_ask(struct device *device)
{
	return question_send(device, &(struct device_request){ .type = DEVICE_INFO });
}

struct writ_err *
device_info_told(struct device *device, bool *ret_any, struct custody_info *ret)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	err = question_told(device, packet, ret_any, &answer);
	if (!err && *ret_any)
		*ret = answer.info;
	return err;
}

struct writ_err *
device_load_ask(struct device *device, struct writ_bytes ref, struct writ_bytes spki)
{
	return question_send(device, &(struct device_request){ .type = DEVICE_LOAD, .ref = ref, .spki = spki });
}

struct writ_err *
device_load_told(struct device *device, bool *ret_any, uint32_t *ret_handle)
{
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;

	err = question_told(device, packet, ret_any, &answer);
	if (!err && *ret_any)
		*ret_handle = answer.handle;
	return err;
}

struct writ_err *
device_sign_start(struct device *device, uint64_t id, uint32_t handle, struct writ_bytes message)
{
	struct writ_err *err;

	err = usable(device);
	if (err)
		return err;
	if (device->n_waiting == DEVICE_OUTSTANDING_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%d signatures are outstanding at writ-deviced, which is the limit",
				 DEVICE_OUTSTANDING_MAX);
	for (size_t i = 0; i < device->n_waiting; i++)
		if (device->waiting[i] == id)
			return writ_fail(WRIT_BROKEN, "a signature of id %llu is outstanding already",
					 (unsigned long long)id);
	err = request_send(device, id,
			   &(struct device_request){ .type = DEVICE_SIGN, .handle = handle, .message = message });
	if (err)
		return err;
	device->waiting[device->n_waiting++] = id;
	return NULL;
}

/* Takes the id off the list; false when nobody waits for it. */
static bool
waiting_take(struct device *device, uint64_t id)
{
	for (size_t i = 0; i < device->n_waiting; i++) {
		if (device->waiting[i] != id)
			continue;
		device->waiting[i] = device->waiting[--device->n_waiting];
		return true;
	}
	return false;
}

struct writ_err *
device_sign_next(struct device *device, bool *ret_any, uint64_t *ret_id, struct writ_buf *ret_sig,
		 struct writ_err **ret_failed)
{
	struct pollfd readable = { .fd = device->sock, .events = POLLIN };
	uint8_t packet[FRAME_MAX];
	struct device_answer answer;
	struct writ_err *err;
	struct frame frame;

	*ret_any = false;
	*ret_failed = NULL;
	err = usable(device);
	if (err)
		return err;
	if (poll(&readable, 1, 0) <= 0)
		return NULL;
	err = frame_receive(device->sock, packet, &frame, NULL, 0);
	if (err)
		return lost(device, err);
	if (!waiting_take(device, frame.id))
		return lost(device, writ_fail(WRIT_INVALID, "an answer to a request that was not asked"));
	err = device_answer_decode(&frame, DEVICE_SIGN, &answer, ret_failed);
	if (err)
		return lost(device, err);
	*ret_any = true;
	*ret_id = frame.id;
	if (*ret_failed)
		return NULL;
	return writ_buf_add(ret_sig, answer.signature);
}

void
device_close(struct device *device)
{
	if (!device)
		return;
	close(device->sock);
	free(device);
}

void
device_closep(struct device **device)
{
	device_close(*device);
	*device = NULL;
}
