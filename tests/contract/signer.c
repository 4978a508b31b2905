/*
 * The signer as an issuer meets it, and as a hostile one does: a real writ-signerd over a real writ-deviced and a
 * software TPM. What is refused must be refused with its rule, and noted in the journal.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/conf/conf.h"
#include "issuer/log/journal.h"
#include "issuer/log/json.h"
#include "issuer/signer/admin_wire.h"
#include "issuer/signer/wire.h"
#include "tests/contract/footprint.h"
#include "tests/contract/rig.h"
#include "tests/unit/verify_make.h"
#include "tests/unit/x509_make.h"

#define STATUS_URL "http://status.corp.example"
#define CALL_MS 5000
#define START_MS 60000 /* of a start on a busy machine */
#define FOUR_HOURS_S 14400
#define WEEK_S 604800
#define OUR_ARC "1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567"

struct house {
	struct rig rig;
	struct machine machine;
	char conf[RIG_PATH_MAX], socket[RIG_PATH_MAX], device_socket[RIG_PATH_MAX], state[RIG_PATH_MAX];
	pid_t deviced, signer;
	uint8_t conf_digest[32];
	int sock;
	uint8_t welcome_bytes[FRAME_BODY_MAX];
	struct signer_welcome welcome;
	struct ca_cert issuing;
	char crl_url[SIGNER_URL_MAX], ocsp_url[SIGNER_URL_MAX];
};

/* As expect_refused(), for messages with a number that varies. */
#define expect_refused_like(expression, code_, begin_)                                                                 \
	do {                                                                                                           \
		struct writ_err *like_err_ = (expression);                                                             \
		assert_non_null(like_err_);                                                                            \
		assert_memory_equal(like_err_->message, (begin_), strlen(begin_));                                     \
		assert_int_equal(like_err_->code, (code_));                                                            \
		writ_err_free(like_err_);                                                                              \
	} while (0)

static struct house house;
static struct test_key agent;

/* ---- processes ---- */

static void
sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static pid_t
signer_spawn(const struct house *h, const char *fault, const char *a, const char *b, const char *c)
{
	const pid_t pid = fork();
	char log[RIG_PATH_MAX + 16];
	int fd;

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(log, sizeof(log), "%s/signer.log", h->machine.dir);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
		_exit(127);
	if (fault)
		setenv("WRIT_FAULT", fault, 1);
	setenv("ASAN_OPTIONS", "detect_leaks=0",
	       1); /* looking for leaks needs ptrace, which the signer forbids itself */
	execl(WRIT_SIGNERD, "writ-signerd", "--config", h->conf, a, b, c, (char *)NULL);
	_exit(127);
}

static void
device_start(struct house *h)
{
	char uid[16];

	snprintf(uid, sizeof(uid), "%u", (unsigned)geteuid());
	h->deviced = deviced_start(&h->rig, &h->machine, h->device_socket, uid);
	for (int i = 0; i < 1000 && access(h->device_socket, F_OK) != 0; i++)
		sleep_ms(5);
}

static void
device_kill(struct house *h)
{
	kill(h->deviced, SIGKILL);
	process_wait(h->deviced, 5000);
	unlink(h->device_socket);
}

/* A start brings back what the device sealed, one key after the other: with many of them it takes its time. */
static int
connect_only(const struct house *h)
{
	const int64_t until = clock_read().mono_ms + START_MS;
	struct writ_err *err = NULL;
	int sock = -1;

	while (clock_read().mono_ms < until) {
		err = frame_connect(h->socket, 1000, &sock);
		if (!err)
			return sock;
		writ_err_free(err);
		sleep_ms(5);
	}
	fail_msg("no signer at %s", h->socket);
	return -1;
}

static struct writ_err *
call(int sock, enum signer_message type, struct writ_bytes body, struct writ_buf *answer)
{
	*answer = WRIT_BUF(FRAME_BODY_MAX);
	return signer_call(sock, type, body, answer, NULL, CALL_MS);
}

static void
hello(struct house *h)
{
	struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX), answer;
	struct signer_hello m;

	memcpy(m.conf_digest, h->conf_digest, sizeof(m.conf_digest));
	expect_ok(signer_hello_write(&m, &body));
	expect_ok(call(h->sock, SIGNER_HELLO, writ_view(&body), &answer));
	memcpy(h->welcome_bytes, answer.data, answer.len);
	expect_ok(signer_welcome_read((struct writ_bytes){ h->welcome_bytes, answer.len }, &h->welcome));
	expect_ok(ca_read(h->welcome.issuing, &h->issuing));
	signer_crl_url(STATUS_URL, h->issuing.key_id, 0, h->crl_url);
	signer_ocsp_url(STATUS_URL, h->ocsp_url);
	writ_buf_done(&body);
	writ_buf_done(&answer);
}

static void
signer_up(struct house *h, const char *fault)
{
	h->signer = signer_spawn(h, fault, NULL, NULL, NULL);
	h->sock = connect_only(h);
	hello(h);
}

static void
signer_down(struct house *h)
{
	close(h->sock);
	kill(h->signer, SIGTERM);
	assert_int_equal(process_wait(h->signer, 10000), 0);
}

/* As after a crash: the next one finds the same state. */
static void
signer_again(struct house *h, const char *fault)
{
	close(h->sock);
	kill(h->signer, SIGKILL);
	process_wait(h->signer, 5000);
	signer_up(h, fault);
}

static void
house_write_conf(struct house *h, const char *tier, unsigned rotation_s)
{
	char text[2048], path[RIG_PATH_MAX + 16];
	struct conf conf = { 0 };

	snprintf(path, sizeof(path), "%s/file", h->machine.dir);
	assert_null(file_replace(path, 0600, WRIT_LIT("")));
	snprintf(text, sizeof(text),
		 "version: 1\ntrust_domain: " TRUST_DOMAIN "\nstate: %s\nrun: %s/run\n"
		 "api: {listen: \"127.0.0.1:1\", certificate: %s, key: %s}\n"
		 "status: {listen: \"127.0.0.1:2\", url: \"" STATUS_URL "\"}\n"
		 "custody:\n  tier: %s\n  anchor: device\n  rotation_s: %u\n"
		 "  tpm: {tcti: \"%s\", allow_software_tpm: true, auth_file: %s/secret}\n"
		 "delegators:\n  - {anchors: %s, kind: human, principal: \"spiffe://" TRUST_DOMAIN
		 "/human/corp/{CN}\", revocation: none}\n"
		 "policy: %s\n",
		 h->state, h->machine.dir, path, path, tier, rotation_s, h->machine.tcti, h->machine.dir, path, path);
	snprintf(h->conf, sizeof(h->conf), "%s/writ.yaml", h->machine.dir);
	assert_null(file_replace(h->conf, 0600, writ_str(text)));
	expect_ok(conf_read(h->conf, &conf));
	memcpy(h->conf_digest, conf.digest, sizeof(h->conf_digest));
	conf_done(&conf);
}

static int
ceremony(const struct house *h, const char *what, const char *path)
{
	char which[40];

	snprintf(which, sizeof(which), "--ceremony=%s", what);
	return process_wait(signer_spawn(h, NULL, which, path ? "--root-is-private" : NULL, path), 60000);
}

static void
house_make(struct house *h, const char *tier, unsigned rotation_s)
{
	char run_dir[RIG_PATH_MAX + 8];

	*h = (struct house){ .rig = { .tpm = true } };
	machine_make(&h->machine, true);
	snprintf(h->state, sizeof(h->state), "%s/written", h->machine.dir);
	snprintf(run_dir, sizeof(run_dir), "%s/run", h->machine.dir);
	snprintf(h->socket, sizeof(h->socket), "%s/run/signer.sock", h->machine.dir);
	snprintf(h->device_socket, sizeof(h->device_socket), "%s/run/device.sock", h->machine.dir);
	assert_int_equal(mkdir(run_dir, 0700), 0);
	device_start(h);
	house_write_conf(h, tier, rotation_s);
}

static void
house_done(struct house *h)
{
	kill(h->deviced, SIGTERM);
	process_wait(h->deviced, 10000);
	machine_done(&h->machine, false);
}

/* ---- leaves ---- */

static writ_time
now(void)
{
	return clock_read().wall;
}

static struct leaf_issuer
our_issuer(const struct house *h)
{
	return (struct leaf_issuer){
		.trust_domain = WRIT_LIT(TRUST_DOMAIN),
		.name = h->issuing.subject,
		.key_id = { h->issuing.key_id, 20 },
		.kind = KEY_P256,
		.tier = h->welcome.tier,
		.crl_url = writ_str(h->crl_url),
		.ocsp_url = writ_str(h->ocsp_url),
		.log_id = { h->welcome.log_id, 8 },
	};
}

/* The test PKI's delegation, moved to this hour. */
static struct delegation
our_delegation(unsigned n)
{
	struct delegation d = make_delegation(n);

	for (size_t i = 0; i < d.n_hops; i++) {
		d.hops[i].granted_at += now() - NOW;
		d.hops[i].not_after += now() - NOW;
		if (d.hops[i].auth_time != 0)
			d.hops[i].auth_time += now() - NOW;
	}
	return d;
}

static struct leaf_facts
our_facts(void)
{
	const struct delegation d = our_delegation(2);

	return (struct leaf_facts){
		.spki = agent.spki,
		.task_id = d.task_id,
		.san = WRIT_LIT(TD "/agent/invoice-bot/i-9c1b44"),
		.not_before = now() - 30,
		.not_after = now() + 299,
		.delegation = make_delegation_der(&d),
	};
}

static struct writ_bytes
tbs_of(const struct leaf_issuer *issuer, const struct leaf_facts *facts)
{
	struct writ_buf buf = WRIT_BUF(LEAF_MAX);

	expect_ok(leaf_build(issuer, facts, &buf));
	return make_keep(&buf);
}

static struct writ_bytes
our_tbs(const struct house *h)
{
	const struct leaf_issuer issuer = our_issuer(h);
	const struct leaf_facts facts = our_facts();

	return tbs_of(&issuer, &facts);
}

static struct writ_bytes
leaf_body(struct writ_bytes tbs, const char *said)
{
	struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);

	expect_ok(signer_leaf_write(&(struct signer_leaf){ tbs, writ_str(said) }, &body));
	return make_keep(&body);
}

static struct writ_err *
ask_leaf(const struct house *h, struct writ_bytes tbs, struct signer_signed *ret)
{
	struct writ_buf answer;
	struct writ_err *err = call(h->sock, SIGNER_LEAF, leaf_body(tbs, "{\"request\":\"r-1\"}"), &answer);

	if (!err)
		expect_ok(signer_signed_read(make_keep(&answer), ret));
	writ_buf_done(&answer);
	return err;
}

/* What the issuer does with the answer. */
static struct writ_bytes
certificate_of(struct writ_bytes tbs, const struct signer_signed *answer)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(64 * 1024);
	const struct writ_bytes filled = writ_arena_copy(&make_arena, tbs);
	struct writ_buf der = WRIT_BUF(LEAF_MAX);
	struct leaf leaf;

	expect_ok(leaf_read_tbs(filled, &arena, &leaf));
	leaf_fill((uint8_t *)(uintptr_t)filled.data, &leaf, answer->serial, answer->index, answer->leaf_hash);
	expect_ok(x509_assemble(filled, KEY_P256, answer->signature, &der));
	return make_keep(&der);
}

static struct signer_signed
leaf_signed(const struct house *h)
{
	struct signer_signed answer;

	expect_ok(ask_leaf(h, our_tbs(h), &answer));
	return answer;
}

/* ---- the journal ---- */

struct found {
	const char *text; /* wanted in an entry of that type */
	enum entry_type type;
	unsigned n;
};

static struct writ_err *
look(const struct entry *e, void *ctx)
{
	struct found *found = ctx;

	if (e->type == found->type && memmem(e->json.data, e->json.len, found->text, strlen(found->text)))
		found->n++;
	return canon_check(e->json, JOURNAL_ENTRY_MAX);
}

static unsigned
journal_has(const struct house *h, enum entry_type type, const char *text)
{
	struct found found = { .text = text, .type = type };
	char dir[RIG_PATH_MAX + 16];

	snprintf(dir, sizeof(dir), "%s/journal", h->state);
	expect_ok(journal_read(dir, 0, look, &found));
	return found.n;
}

/* ---- status ---- */

static struct writ_err *
ask_ocsp(const struct house *h, const uint8_t serial[16], bool sha1, struct ocsp_answer *ret)
{
	struct writ_buf request = WRIT_BUF(OCSP_REQUEST_MAX), body = WRIT_BUF(FRAME_BODY_MAX), answer;
	struct ocsp_issuer issuer;
	struct ocsp_request parsed;
	struct signer_status status;
	struct writ_err *err;

	expect_ok(ocsp_issuer_init(h->issuing.subject, h->issuing.spki, &issuer));
	expect_ok(ocsp_request_build(&issuer, sha1, (struct writ_bytes){ serial, 16 }, WRIT_LIT("0123456789abcdef"),
				     &request));
	expect_ok(ocsp_request_parse(writ_view(&request), &parsed));
	expect_ok(signer_ocsp_write(&(struct signer_ocsp){ parsed.cert_id, parsed.nonce }, &body));
	err = call(h->sock, SIGNER_OCSP, writ_view(&body), &answer);
	if (!err) {
		expect_ok(signer_status_read(writ_view(&answer), &status));
		expect_ok(ocsp_response_verify(status.response, &issuer, h->issuing.spki,
					       (struct writ_bytes){ serial, 16 }, now(), ret));
		assert_int_equal(status.status, ret->status);
		assert_true(status.this_update <= now() - 30 && status.next_update <= now() + 120);
	}
	writ_buf_done(&request);
	writ_buf_done(&body);
	writ_buf_done(&answer);
	return err;
}

static enum ocsp_status
status_of(const struct house *h, const uint8_t serial[16])
{
	struct ocsp_answer answer;

	expect_ok(ask_ocsp(h, serial, false, &answer));
	return answer.status;
}

static bool
revoke_leaf(const struct house *h, const uint8_t serial[16], uint8_t reason, const uint8_t *edge)
{
	struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX), answer;
	static struct signer_revoke m;
	bool logged;

	m = (struct signer_revoke){ .at = now(), .n = 1, .n_edges = edge ? 1 : 0 };
	memcpy(m.items[0].serial, serial, 16);
	m.items[0].reason = reason;
	if (edge)
		memcpy(m.edges[0], edge, EDGE_ID);
	expect_ok(signer_revoke_write(&m, &body));
	expect_ok(call(h->sock, SIGNER_REVOKE, writ_view(&body), &answer));
	expect_ok(signer_revoked_read(writ_view(&answer), &logged));
	writ_buf_done(&body);
	writ_buf_done(&answer);
	return logged;
}

static void
abort_serial(const struct house *h, const uint8_t serial[16])
{
	struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX), answer;
	static struct signer_abort m;

	m.n = 1;
	memcpy(m.serials[0], serial, 16);
	expect_ok(signer_abort_write(&m, &body));
	expect_ok(call(h->sock, SIGNER_ABORT, writ_view(&body), &answer));
	assert_int_equal(answer.len, 0);
	writ_buf_done(&body);
	writ_buf_done(&answer);
}

/* The list of that CA; it stays mapped. */
static struct writ_err *
ask_crl(const struct house *h, const uint8_t key_id[20], struct signer_crl_is *is, struct crl *ret, int *ret_fd)
{
	struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX), answer = WRIT_BUF(FRAME_BODY_MAX);
	struct signer_crl m = { .shard = 0 };
	struct writ_err *err;
	void *map;

	memcpy(m.key_id, key_id, 20);
	expect_ok(signer_crl_write(&m, &body));
	err = signer_call(h->sock, SIGNER_CRL, writ_view(&body), &answer, ret_fd, CALL_MS);
	if (!err) {
		expect_ok(signer_crl_is_read(writ_view(&answer), is));
		assert_true(*ret_fd >= 0);
		map = mmap(NULL, is->len, PROT_READ, MAP_SHARED, *ret_fd, 0);
		assert_true(map != MAP_FAILED);
		expect_ok(crl_read((struct writ_bytes){ map, is->len }, ret));
		assert_int_equal(ret->number, is->number);
	}
	writ_buf_done(&body);
	writ_buf_done(&answer);
	return err;
}

static bool
listed(const struct crl *crl, const uint8_t serial[16])
{
	enum crl_reason reason;
	writ_time at;

	return crl_find(crl, (struct writ_bytes){ serial, 16 }, &at, &reason);
}

/* ---- what an issuer gets ---- */

static void
a_leaf_is_journalled_signed_and_verifies(void **state)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(64 * 1024);
	const struct writ_bytes tbs = our_tbs(&house);
	struct signer_signed answer;
	struct writ_bytes certificate;
	char hex[80], serial[40], text[160];
	uint8_t digest[32];
	struct leaf leaf;

	(void)state;
	expect_ok(ask_leaf(&house, tbs, &answer));
	certificate = certificate_of(tbs, &answer);
	expect_ok(verify_chain(certificate, house.welcome.issuing,
			       &(struct verify_with){ .anchor = house.welcome.anchor,
						      .trust_domain = WRIT_LIT(TRUST_DOMAIN),
						      .now = now(),
						      .allow_software = true },
			       &arena, &leaf));
	assert_int_equal(leaf.tier, LEAF_TIER_SOFTWARE);
	leaf_tbs_digest(&leaf, digest);
	writ_hex(BYTES(digest), hex);
	writ_hex(BYTES(answer.serial), serial);
	snprintf(text, sizeof(text), "\"tbs\":\"%s\"", hex);
	assert_int_equal(journal_has(&house, ENTRY_ISSUE, text), 1);
	snprintf(text, sizeof(text), "\"serial\":\"%s\"", serial);
	assert_int_equal(journal_has(&house, ENTRY_ISSUE, text), 1);
	assert_int_equal(journal_has(&house, ENTRY_ISSUE, "\"said\":{\"request\":\"r-1\"}"), 1);
	assert_in_range(writ_get32(answer.serial), now() / 60 - 1, now() / 60); /* a minute may have begun since */
}

static void
as_many_leaves_may_be_under_way_as_a_connection_has_room_for(void **state)
{
	static uint8_t packet[FRAME_MAX];
	const struct writ_bytes body = leaf_body(our_tbs(&house), "{}");
	uint64_t first = UINT64_MAX, last = 0;
	struct signer_signed answer;
	struct frame frame;

	(void)state;
	for (uint64_t i = 0; i < SIGNER_OUTSTANDING_MAX; i++)
		expect_ok(frame_send(house.sock, SIGNER_LEAF, 100 + i, body, -1, CALL_MS));
	for (uint64_t i = 0; i < SIGNER_OUTSTANDING_MAX; i++) {
		expect_ok(frame_receive(house.sock, packet, &frame, NULL, CALL_MS));
		assert_int_equal(frame.type, SIGNER_LEAF | SIGNER_ANSWER);
		expect_ok(signer_signed_read(frame.body, &answer));
		first = answer.index < first ? answer.index : first;
		last = answer.index > last ? answer.index : last;
	}
	assert_int_equal(last - first, SIGNER_OUTSTANDING_MAX - 1);
}

static void
a_live_leaf_is_good_with_either_hash(void **state)
{
	const struct signer_signed leaf = leaf_signed(&house);
	struct ocsp_answer answer;

	(void)state;
	expect_ok(ask_ocsp(&house, leaf.serial, false, &answer));
	assert_int_equal(answer.status, OCSP_GOOD);
	expect_ok(ask_ocsp(&house, leaf.serial, true, &answer));
	assert_int_equal(answer.status, OCSP_GOOD);
}

static void
a_revoked_leaf_is_revoked_in_ocsp_and_crl_at_once(void **state)
{
	const struct signer_signed leaf = leaf_signed(&house);
	const struct writ_bytes serial = BYTES(leaf.serial), edge = make_bytes(0xa1, EDGE_ID);
	struct ocsp_answer answer;
	struct signer_crl_is is;
	enum crl_reason reason;
	writ_time at;
	struct crl crl;
	int fd;

	(void)state;
	assert_true(revoke_leaf(&house, leaf.serial, REASON_PRIVILEGE_WITHDRAWN, edge.data));
	expect_ok(ask_ocsp(&house, leaf.serial, false, &answer));
	assert_int_equal(answer.status, OCSP_REVOKED);
	assert_int_equal(answer.reason, REASON_PRIVILEGE_WITHDRAWN);
	expect_ok(ask_crl(&house, house.issuing.key_id, &is, &crl, &fd));
	assert_true(crl_find(&crl, serial, &at, &reason));
	assert_int_equal(reason, REASON_PRIVILEGE_WITHDRAWN);
	assert_int_equal(at, answer.revoked_at);
	assert_true(crl_has_edge(&crl, edge));
	assert_true(is.this_update <= now() - 30 && is.next_update >= now() + 170);
	close(fd);
}

static void
an_aborted_serial_is_never_good_again(void **state)
{
	const struct signer_signed leaf = leaf_signed(&house);
	struct signer_crl_is is;
	struct crl crl;
	int fd;

	(void)state;
	abort_serial(&house, leaf.serial);
	assert_int_equal(status_of(&house, leaf.serial), OCSP_REVOKED);
	assert_true(revoke_leaf(&house, leaf.serial, REASON_KEY_COMPROMISE, NULL)); /* and stays aborted */
	assert_int_equal(status_of(&house, leaf.serial), OCSP_REVOKED);
	expect_ok(ask_crl(&house, house.issuing.key_id, &is, &crl, &fd));
	assert_true(listed(&crl, leaf.serial));
	close(fd);
}

static void
an_unchanged_list_is_not_signed_again(void **state)
{
	struct signer_crl_is first, second;
	struct crl crl;
	int a, b;

	(void)state;
	expect_ok(ask_crl(&house, house.issuing.key_id, &first, &crl, &a));
	expect_ok(ask_crl(&house, house.issuing.key_id, &second, &crl, &b));
	assert_int_equal(first.number, second.number);
	assert_int_equal(write(b, "x", 1), -1);
	assert_int_equal(ftruncate(b, 0), -1);
	close(a);
	close(b);
}

static void
the_anchor_has_a_list_too_and_strangers_have_none(void **state)
{
	static const uint8_t stranger[20] = { 1 };
	struct signer_crl_is is;
	struct ca_cert anchor;
	struct pubkey key;
	struct crl crl;
	int fd;

	(void)state;
	expect_ok(ca_read(house.welcome.anchor, &anchor));
	expect_ok(ask_crl(&house, anchor.key_id, &is, &crl, &fd));
	expect_ok(pubkey_load(anchor.spki, &key));
	expect_ok(pubkey_verify(&key, crl.tbs, crl.signature));
	pubkey_done(&key);
	assert_true(is.next_update > now() + 12 * 3600);
	close(fd);
	expect_refused(ask_crl(&house, stranger, &is, &crl, &fd), WRIT_NOT_FOUND, "no CA of ours has that key id");
}

/* ---- what a hostile issuer does not get ---- */

struct hostile {
	const char *row;
	struct writ_bytes tbs;
	const char *message;
};

/* Refused with that message, and the journal has it word for word. */
static unsigned
refused_and_noted(const struct hostile *h)
{
	struct signer_signed answer;
	struct writ_err *err = ask_leaf(&house, h->tbs, &answer);
	char text[WRIT_MESSAGE_MAX] = "(signed)";
	unsigned n = 1;

	if (err)
		writ_err_text(err, text, sizeof(text));
	if (err && err->code == WRIT_INVALID && strstr(text, h->message)) {
		char noted[WRIT_MESSAGE_MAX + 32];

		snprintf(noted, sizeof(noted), "\"text\":\"%s\"", text);
		n = journal_has(&house, ENTRY_DENY, noted) > 0 ? 0 : 1;
	}
	writ_err_free(err);
	if (n > 0)
		print_error("%s:\n    wanted: %s\n    got: %s\n", h->row, h->message, text);
	return n;
}

static struct writ_bytes
with_facts(struct leaf_facts facts)
{
	const struct leaf_issuer issuer = our_issuer(&house);

	return tbs_of(&issuer, &facts);
}

static struct writ_bytes
with_times(int64_t before, int64_t after)
{
	struct leaf_facts facts = our_facts();

	facts.not_before = now() + before;
	facts.not_after = now() + after;
	return with_facts(facts);
}

static struct writ_bytes
of_issuer(struct leaf_issuer issuer)
{
	const struct leaf_facts facts = our_facts();

	return tbs_of(&issuer, &facts);
}

static struct writ_bytes
of_foreign_domain(void)
{
	struct leaf_issuer issuer = our_issuer(&house);
	struct leaf_facts facts = our_facts();

	issuer.trust_domain = WRIT_LIT("evil.example");
	facts.san = WRIT_LIT("spiffe://evil.example/agent/invoice-bot/i-1");
	return tbs_of(&issuer, &facts);
}

static struct writ_bytes
of_other_issuer(void)
{
	struct leaf_issuer issuer = our_issuer(&house);
	struct ca_cert anchor;

	expect_ok(ca_read(house.welcome.anchor, &anchor));
	issuer.name = anchor.subject;
	return of_issuer(issuer);
}

static struct writ_bytes
of_our_own_key(void)
{
	struct leaf_facts facts = our_facts();

	facts.spki = house.issuing.spki;
	return with_facts(facts);
}

static struct writ_bytes
of_a_human(void)
{
	struct leaf_facts facts = our_facts();

	facts.san = WRIT_LIT(TD "/human/corp/alice");
	return with_facts(facts);
}

static struct writ_bytes
outliving_its_hop(void)
{
	struct delegation d = our_delegation(2);
	struct leaf_facts facts = our_facts();

	d.hops[1].not_after = now() + 60;
	facts.delegation = make_delegation_der(&d);
	return with_facts(facts);
}

static struct writ_bytes
with_hops_out_of_order(void)
{
	const struct writ_bytes tbs = our_tbs(&house), first = element_at(tbs, "7.0.6.1.0.4.0");
	const struct writ_bytes second = element_at(tbs, "7.0.6.1.0.4.1");

	return edited(edited(tbs, "7.0.6.1.0.4.0", REPLACE, second), "7.0.6.1.0.4.1", REPLACE, first);
}

static void
every_forged_leaf_is_refused_and_noted(void **state)
{
	const struct writ_bytes ours = our_tbs(&house);
	const struct writ_bytes ca_true = make_element(DER_SEQUENCE, WRIT_LIT("\x01\x01\xff"));
	const struct writ_bytes san = element_at(ours, "7.0.0.1.0.0");
	const struct hostile rows[] = {
		{ "CA:TRUE", edited(ours, "7.0.2.2.0", REPLACE, ca_true), "gate: not a leaf: " },
		{ "16 minutes", with_times(-30, 930), "gate: not" },
		/* the exact seconds are test_signer_gate's: here the clock runs */
		{ "half a minute over 15", with_times(4, 930), "s ahead of now: at most 900 are allowed (I5)" },
		{ "backdated by an hour", with_times(-3600, -2800),
		  "s before now: at most 60 are allowed (backdated)" },
		{ "postdated", with_times(300, 600), "s ahead of now: at most 5 are allowed" },
		{ "foreign trust domain", of_foreign_domain(),
		  "gate: trust domain evil.example is not ours, " TRUST_DOMAIN },
		{ "no delegation", edited(ours, "7.0.6", REPLACE, (struct writ_bytes){ 0 }), "gate: not a leaf: " },
		{ "a doubled delegation", edited(ours, "7.0.6", AFTER, element_at(ours, "7.0.6")),
		  "gate: not a leaf: " },
		{ "an extra extension", edited(ours, "7.0.6", AFTER, element_at(ours, "7.0.1")), "gate: not a leaf: " },
		{ "trailing bytes", make_joined(ours, WRIT_LIT("\x05\x00")), "gate: not a leaf: " },
		{ "another issuer's name", of_other_issuer(),
		  "gate: the issuer name is not that of the CA whose key id it has" },
		{ "two SANs", edited(ours, "7.0.0.1.0.0", AFTER, san), "gate: not a leaf: " },
		{ "hops out of order", with_hops_out_of_order(), "gate: not a leaf: " },
		{ "a leaf that outlives its hop", outliving_its_hop(), "E8" },
		{ "a certificate for the issuing CA's own key", of_our_own_key(),
		  "gate: the public key is one of our CA's or responder's" },
		{ "a human's name", of_a_human(), "gate: " },
		{ "a serial of the issuer's choice",
		  edited(ours, "1", REPLACE, make_element(DER_INTEGER, LEAF_SERIAL_BYTES)),
		  "gate: the serial is not zero: the signer fills it in (I4)" },
		{ "a signature algorithm of a sort",
		  edited(ours, "2", REPLACE, make_element(DER_SEQUENCE, WRIT_LIT("\x05\x00"))), "gate: not a leaf: " },
		{ "nothing", { ours.data, 0 }, "gate: not a leaf: " },
		{ "half of one", { ours.data, ours.len / 2 }, "gate: not a leaf: " },
	};
	unsigned breaches = 0;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		breaches += refused_and_noted(&rows[i]);
	assert_int_equal(breaches, 0);
}

static void
what_the_issuer_says_must_be_canonical(void **state)
{
	struct writ_buf answer;

	(void)state;
	expect_refused(call(house.sock, SIGNER_LEAF, leaf_body(our_tbs(&house), "{\"b\":1,\"a\":2}"), &answer),
		       WRIT_INVALID,
		       "LEAF: said: JSON is not canonical at byte 11: keys that are not in strictly ascending order");
	writ_buf_done(&answer);
}

static void
an_unknown_serial_is_nobodys(void **state)
{
	uint8_t serial[16] = { 1, 0xc8, 0x62, 0x0b, 5 };
	struct ocsp_answer answer;

	(void)state;
	expect_refused(ask_ocsp(&house, serial, false, &answer), WRIT_NOT_FOUND, "OCSP: not a live serial of a CA of ours");
	writ_put32(serial, (uint32_t)(now() / 60));
	expect_refused(ask_ocsp(&house, serial, true, &answer), WRIT_NOT_FOUND, "OCSP: not a live serial of a CA of ours");
}

/* What stands in a response is what was asked for, and nothing more: a request may have extensions behind its CertID.
 */
static void
nothing_rides_behind_a_cert_id(void **state)
{
	const struct signer_signed leaf = leaf_signed(&house);
	struct writ_buf request = WRIT_BUF(OCSP_REQUEST_MAX), body = WRIT_BUF(FRAME_BODY_MAX), answer;
	struct writ_bytes longer;
	struct ocsp_issuer issuer;
	struct ocsp_request parsed;

	(void)state;
	expect_ok(ocsp_issuer_init(house.issuing.subject, house.issuing.spki, &issuer));
	expect_ok(ocsp_request_build(&issuer, false, BYTES(leaf.serial), (struct writ_bytes){ 0 }, &request));
	expect_ok(ocsp_request_parse(writ_view(&request), &parsed));
	longer = make_joined(parsed.cert_id, WRIT_LIT("\xa0\x0b\x30\x09\x30\x07\x06\x02\x2a\x03\x04\x01\x00"));
	expect_ok(signer_ocsp_write(&(struct signer_ocsp){ longer, { 0 } }, &body));
	expect_refused(call(house.sock, SIGNER_OCSP, writ_view(&body), &answer), WRIT_INVALID,
		       "OCSP: something follows the CertID");
	writ_buf_done(&request);
	writ_buf_done(&body);
	writ_buf_done(&answer);
}

static struct signer_health
health_of(const struct house *h)
{
	struct signer_health health;
	struct writ_buf answer;

	expect_ok(call(h->sock, SIGNER_HEALTH, (struct writ_bytes){ 0 }, &answer));
	expect_ok(signer_health_read(writ_view(&answer), &health));
	writ_buf_done(&answer);
	return health;
}

/* How many lines of the signer's events have that text. */
static unsigned
events_with(const struct house *h, const char *text)
{
	AUTO(writ_buf_done) struct writ_buf log = WRIT_BUF(16 * 1024 * 1024);
	char path[RIG_PATH_MAX + 16];
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/signer.log", h->machine.dir);
	expect_ok(file_read(path, FILE_ANY, &log));
	expect_ok(writ_buf_add(&log, (struct writ_bytes){ (const uint8_t *)"", 1 }));
	for (const char *at = (const char *)log.data; (at = strstr(at, text)); at++)
		n++;
	return n;
}

static void
questions_for_what_is_not_live_are_counted_and_noted_once_a_minute(void **state)
{
	const uint64_t before = health_of(&house).unknown_asked;
	const unsigned noted = events_with(&house, "\"signer.ocsp-not-live\"");
	uint8_t serial[16] = { 1, 0xc8, 0x62, 0x0b, 6 };
	struct ocsp_answer answer;

	(void)state;
	for (unsigned i = 0; i < 30; i++)
		expect_refused(ask_ocsp(&house, serial, false, &answer), WRIT_NOT_FOUND,
			       "OCSP: not a live serial of a CA of ours");
	assert_int_equal(health_of(&house).unknown_asked, before + 30);
	assert_true(events_with(&house, "\"signer.ocsp-not-live\"") <= noted + 1);
	assert_true(events_with(&house, "\"signer.ocsp-not-live\"") > 0);
}

static void
one_more_outstanding_request_than_allowed_is_refused(void **state)
{
	static uint8_t packet[FRAME_MAX];
	unsigned answered = 0, refused = 0;
	struct frame frame;

	(void)state;
	kill(house.signer, SIGSTOP);
	for (uint64_t i = 0; i < SIGNER_OUTSTANDING_MAX + 1; i++)
		expect_ok(frame_send(house.sock, SIGNER_HEALTH, i, (struct writ_bytes){ 0 }, -1, CALL_MS));
	kill(house.signer, SIGCONT);
	for (uint64_t i = 0; i < SIGNER_OUTSTANDING_MAX + 1; i++) {
		expect_ok(frame_receive(house.sock, packet, &frame, NULL, CALL_MS));
		answered += frame.type == (SIGNER_HEALTH | SIGNER_ANSWER);
		if (frame.type != SIGNER_ERROR)
			continue;
		refused++;
		expect_refused(signer_error_read(frame.body), WRIT_EXHAUSTED,
			       "129 requests are outstanding on this connection: at most 128 are allowed");
	}
	assert_int_equal(answered, SIGNER_OUTSTANDING_MAX);
	assert_int_equal(refused, 1);
	assert_int_equal(journal_has(&house, ENTRY_DENY, "129 requests are outstanding"), 1);
}

static void
nothing_is_served_before_hello(void **state)
{
	static const enum signer_message types[] = { SIGNER_LEAF, SIGNER_REVOKE,  SIGNER_OCSP,	SIGNER_CRL,
						     SIGNER_NOTE, SIGNER_SETTLED, SIGNER_ABORT, SIGNER_HEALTH };
	static const char *const names[] = { "LEAF", "REVOKE", "OCSP", "CRL", "NOTE", "SETTLED", "ABORT", "HEALTH" };
	const int sock = connect_only(&house);
	struct writ_buf answer;
	char message[64];

	(void)state;
	for (size_t i = 0; i < N_OF(types); i++) {
		snprintf(message, sizeof(message), "%s before HELLO", names[i]);
		expect_refused(call(sock, types[i], (struct writ_bytes){ 0 }, &answer), WRIT_UNAUTHENTICATED, message);
		writ_buf_done(&answer);
		assert_true(journal_has(&house, ENTRY_DENY, message) > 0);
	}
	close(sock);
}

static void
unknown_messages_and_a_second_hello_are_refused(void **state)
{
	struct writ_buf body = WRIT_BUF(64), answer;
	struct signer_hello m = { { 0 } };
	char message[64];

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		if (type >= SIGNER_HELLO && type <= SIGNER_CERTS)
			continue;
		snprintf(message, sizeof(message), "message type %u is none of ours", type);
		expect_refused(call(house.sock, (enum signer_message)type, (struct writ_bytes){ 0 }, &answer),
			       WRIT_INVALID, message);
		writ_buf_done(&answer);
	}
	expect_ok(signer_hello_write(&m, &body));
	expect_refused(call(house.sock, SIGNER_HELLO, writ_view(&body), &answer), WRIT_CONFLICT,
		       "HELLO was said already on this connection");
	writ_buf_done(&body);
	writ_buf_done(&answer);
	assert_true(journal_has(&house, ENTRY_DENY, "message type 0 is none of ours") > 0);
}

static void
a_flood_of_refusals_floods_neither_journal_nor_events(void **state)
{
	const unsigned before = events_with(&house, "\"signer.refused\"");
	struct writ_buf answer;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		expect_refused(call(house.sock, (enum signer_message)77, (struct writ_bytes){ 0 }, &answer),
			       WRIT_INVALID, "message type 77 is none of ours");
		writ_buf_done(&answer);
	}
	assert_true(events_with(&house, "\"signer.refused\"") < before + 300);
	assert_true(journal_has(&house, ENTRY_DENY, "message type 77") < 300);
	sleep_ms(1200);
	writ_err_free(call(house.sock, (enum signer_message)78, (struct writ_bytes){ 0 }, &answer));
	writ_buf_done(&answer);
	assert_true(journal_has(&house, ENTRY_DENY, "\"dropped\":") > 0);
}

static void
another_configuration_gets_no_leaf(void **state)
{
	struct house other = house;
	struct signer_signed answer;

	(void)state;
	other.sock = connect_only(&house);
	other.conf_digest[0] ^= 1;
	hello(&other);
	expect_refused(ask_leaf(&other, our_tbs(&house), &answer), WRIT_LOCKED,
		       "LEAF: issuer and signer have read different configurations: restart both");
	close(other.sock);
}

static void
garbage_ends_its_connection_and_is_noted(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *text;
	} rows[] = {
		{ "x", 1, "a packet of 1 bytes is shorter than a frame's header of 16" },
		{ "\x00\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 16,
		  "frame version 2: this program speaks 1" },
		{ "\x00\x01\x00\x01\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00", 16,
		  "a frame says that its body has 9 bytes, and 0 came" },
		{ "\x00\x01\x00\x01\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00", 16,
		  "is over the limit of 16384" },
	};
	uint8_t packet[FRAME_MAX];

	(void)state;
	sleep_ms(1500); /* the rows before have used the rate of denials up */
	for (size_t i = 0; i < N_OF(rows); i++) {
		const int sock = connect_only(&house);

		assert_int_equal(send(sock, rows[i].bytes, rows[i].len, 0), rows[i].len);
		assert_int_equal(recv(sock, packet, sizeof(packet), 0), 0);
		close(sock);
		assert_int_equal(journal_has(&house, ENTRY_DENY, rows[i].text), 1);
	}
	leaf_signed(&house); /* the others are served on */
}

static void
a_second_process_is_refused(void **state)
{
	const pid_t pid = fork();
	static uint8_t packet[FRAME_MAX];
	struct frame frame;
	int sock;

	(void)state;
	if (pid > 0) {
		assert_int_equal(process_wait(pid, 10000), 0);
		return;
	}
	sock = connect_only(&house);
	if (frame_receive(sock, packet, &frame, NULL, CALL_MS) != NULL || frame.type != SIGNER_ERROR)
		_exit(1);
	_exit(memmem(packet, sizeof(packet), "one issuer at a time", 20) ? 0 : 2);
}

static struct writ_err *
settle(uint64_t index)
{
	struct writ_buf body = WRIT_BUF(64), answer;
	struct writ_err *err;

	expect_ok(signer_settled_write(&(struct signer_settled){ index }, &body));
	err = call(house.sock, SIGNER_SETTLED, writ_view(&body), &answer);
	writ_buf_done(&body);
	writ_buf_done(&answer);
	return err;
}

static void
settled_only_grows(void **state)
{
	(void)state;
	expect_ok(settle(5));
	expect_ok(settle(5));
	expect_refused(settle(4), WRIT_CONFLICT, "SETTLED: 4 is below the 5 settled already");
	expect_refused_like(settle(1000000), WRIT_INVALID, "SETTLED: 1000000 is over the ");
	expect_ok(settle(6));
}

static struct writ_err *
note(enum entry_type type, const char *said)
{
	struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX), answer;
	struct writ_err *err;

	expect_ok(signer_note_write(&(struct signer_note){ (uint8_t)type, writ_str(said) }, &body));
	err = call(house.sock, SIGNER_NOTE, writ_view(&body), &answer);
	writ_buf_done(&body);
	writ_buf_done(&answer);
	return err;
}

static void
an_issuer_notes_five_kinds_and_no_others(void **state)
{
	(void)state;
	expect_ok(note(ENTRY_TASK, "{\"task\":\"t-1\"}"));
	assert_int_equal(journal_has(&house, ENTRY_TASK, "\"said\":{\"task\":\"t-1\"}"), 1);
	expect_ok(note(ENTRY_DENY, "{\"rule\":\"S1\"}"));
	expect_ok(note(ENTRY_FREEZE, "{\"by\":\"olga\"}"));
	expect_refused(note(ENTRY_ISSUE, "{}"), WRIT_INVALID, "NOTE: an issuer writes no entry of type issue (1)");
	expect_refused(note(ENTRY_REVOKE, "{}"), WRIT_INVALID, "NOTE: an issuer writes no entry of type revoke (4)");
	expect_refused(note(ENTRY_TASK, "{\"a\":1.5}"), WRIT_INVALID,
		       "NOTE: JSON is not canonical at byte 6: an object without end");
}

/* ---- crashes ---- */

/* The signer is killed at `fault` while it handles `body`; what it had journalled is there when it comes back. */
static void
killed_at(const char *fault, enum signer_message type, struct writ_bytes body)
{
	struct writ_buf answer;
	struct writ_err *err;

	signer_again(&house, fault);
	err = call(house.sock, type, body, &answer);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_UNAVAILABLE);
	writ_err_free(err);
	writ_buf_done(&answer);
	assert_int_equal(process_wait(house.signer, 5000), 128 + SIGKILL);
	close(house.sock);
	signer_up(&house, NULL);
}

static struct writ_err *
last_issue(const struct entry *e, void *ctx)
{
	if (e->type == ENTRY_ISSUE)
		memcpy(ctx, e->serial, 16);
	return NULL;
}

static void
a_leaf_journalled_before_a_crash_can_be_aborted_after_it(void **state)
{
	static const char *const stages[] = { "signer:journalled:1", "signer:signed:1" };
	char dir[RIG_PATH_MAX + 16];
	uint8_t serial[16];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/journal", house.state);
	for (size_t i = 0; i < N_OF(stages); i++) {
		const uint64_t before = house.welcome.next_index;

		killed_at(stages[i], SIGNER_LEAF, leaf_body(our_tbs(&house), "{}"));
		assert_true(house.welcome.next_index > before);
		expect_ok(journal_read(dir, 0, last_issue, serial));
		assert_int_equal(status_of(&house, serial),
				 OCSP_GOOD); /* nobody has it; the issuer, who has no row, aborts it */
		abort_serial(&house, serial);
		assert_int_equal(status_of(&house, serial), OCSP_REVOKED);
		signer_again(&house, NULL);
		assert_int_equal(status_of(&house, serial), OCSP_REVOKED);
	}
}

static void
a_revocation_journalled_before_a_crash_holds_after_it(void **state)
{
	const struct signer_signed leaf = leaf_signed(&house);
	struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	static struct signer_revoke m;
	struct ocsp_answer answer;

	(void)state;
	m = (struct signer_revoke){ .at = now() - 3, .n = 1, .items = { { .reason = REASON_KEY_COMPROMISE } } };
	memcpy(m.items[0].serial, leaf.serial, 16);
	expect_ok(signer_revoke_write(&m, &body));
	killed_at("signer:revoked:1", SIGNER_REVOKE, writ_view(&body));
	writ_buf_done(&body);
	expect_ok(ask_ocsp(&house, leaf.serial, false, &answer));
	assert_int_equal(answer.status, OCSP_REVOKED);
	assert_int_equal(answer.reason, REASON_KEY_COMPROMISE);
	assert_int_equal(answer.revoked_at, m.at);
}

static void
a_restart_keeps_issuing_key_and_settled(void **state)
{
	uint8_t key_id[20];
	uint64_t settled;

	(void)state;
	memcpy(key_id, house.issuing.key_id, 20);
	settled = house.welcome.settled;
	signer_down(&house);
	signer_up(&house, NULL);
	assert_memory_equal(key_id, house.issuing.key_id, 20);
	assert_int_equal(house.welcome.settled, settled);
	assert_true(journal_has(&house, ENTRY_STOP, "stop") > 0);
}

static struct writ_err *
count_issues(const struct entry *e, void *ctx)
{
	*(unsigned *)ctx += e->type == ENTRY_ISSUE;
	return NULL;
}

static void
a_leaf_not_journalled_before_a_crash_never_was(void **state)
{
	unsigned before = 0, after = 0;
	char dir[RIG_PATH_MAX + 16];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/journal", house.state);
	expect_ok(journal_read(dir, 0, count_issues, &before));
	killed_at("signer:gate:1", SIGNER_LEAF, leaf_body(our_tbs(&house), "{}"));
	expect_ok(journal_read(dir, 0, count_issues, &after));
	assert_int_equal(after, before);
}

#ifdef WRIT_FAULTS
#define SLOW_LEAVES 8

/* How long that many leaves take, one after the other, ms. */
static int64_t
leaves_take_ms(struct fault_order *order)
{
	const int64_t began = clock_read().mono_ms;

	for (int i = 0; i < SLOW_LEAVES; i++) {
		if (order)
			atomic_store(&order->left, 1);
		leaf_signed(&house);
	}
	return clock_read().mono_ms - began;
}

/* One that nobody looked for would come with the next second's housekeeping, half a second later on the average. */
static void
an_answer_leaves_when_its_entry_is_durable_also_when_the_disk_was_faster_than_the_loop(void **state)
{
	struct fault_order order = { .stage = "signer:disk-works" };
	char path[RIG_PATH_MAX + 16], fault[sizeof(path) + 1];
	int64_t without, with;
	void *map;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/fault", house.machine.dir);
	snprintf(fault, sizeof(fault), "@%s", path);
	expect_ok(file_replace(path, 0600, (struct writ_bytes){ (const uint8_t *)&order, sizeof(order) }));
	fd = open(path, O_RDWR | O_CLOEXEC);
	map = mmap(NULL, sizeof(order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	close(fd);
	signer_again(&house, fault);
	without = leaves_take_ms(NULL);
	with = leaves_take_ms(map);
	assert_int_equal(atomic_load(&((struct fault_order *)map)->left), 0);
	munmap(map, sizeof(order));
	signer_again(&house, NULL);
	assert_in_range(with, SLOW_LEAVES * FAULT_LATE_MS / 2, without + SLOW_LEAVES * (FAULT_LATE_MS + 100));
}
#endif

static void
without_its_device_the_sealed_tier_issues_on(void **state)
{
	const struct signer_signed before = leaf_signed(&house);
	struct signer_crl_is is;
	struct crl crl;
	int fd;

	(void)state;
	device_kill(&house);
	leaf_signed(&house);
	assert_true(revoke_leaf(&house, before.serial, REASON_SUPERSEDED, NULL));
	assert_int_equal(status_of(&house, before.serial), OCSP_REVOKED);
	expect_ok(ask_crl(&house, house.issuing.key_id, &is, &crl, &fd));
	assert_true(listed(&crl, before.serial));
	close(fd);
	device_start(&house);
}

static void
a_signer_without_its_device_waits_for_it(void **state)
{
	int sock;

	(void)state;
	signer_down(&house);
	device_kill(&house);
	house.signer = signer_spawn(&house, NULL, NULL, NULL, NULL);
	sleep_ms(500);
	expect_refused_like(frame_connect(house.socket, 1000, &sock), WRIT_UNAVAILABLE,
			    "connecting to "); /* not before it has its keys */
	device_start(&house);
	house.sock = connect_only(&house);
	hello(&house);
	leaf_signed(&house);
}

/* Notes of 2 KiB until one is refused: the first segment is full, and no file may grow to a second. */
static void
disk_fill(const struct house *h)
{
	static uint8_t packet[FRAME_MAX];
	static char said[SIGNER_SAID_MAX + 1];
	struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	unsigned sent = 0, answered = 0;
	bool full = false;
	struct frame frame;

	memset(said, 'x', SIGNER_SAID_MAX);
	memcpy(said, "{\"a\":\"", 6);
	memcpy(said + SIGNER_SAID_MAX - 2, "\"}", 2);
	expect_ok(signer_note_write(&(struct signer_note){ ENTRY_TASK, writ_str(said) }, &body));
	while (answered < sent || !full) {
		while (!full && sent - answered < 32)
			expect_ok(frame_send(h->sock, SIGNER_NOTE, sent++, writ_view(&body), -1, CALL_MS));
		expect_ok(frame_receive(h->sock, packet, &frame, NULL, CALL_MS));
		answered++;
		full = full || frame.type == SIGNER_ERROR;
	}
	writ_buf_done(&body);
}

static void
on_a_full_disk_leaves_stop_and_revocations_go_on(void **state)
{
	const struct signer_signed leaf = leaf_signed(&house);
	const struct rlimit tight = { JOURNAL_SEGMENT_LEN - 1, RLIM_INFINITY }, wide = { RLIM_INFINITY, RLIM_INFINITY };
	struct signer_signed answer;
	struct signer_crl_is is;
	struct crl crl;
	int fd;

	(void)state;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	signer_again(&house, NULL); /* which inherits the limit */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &wide), 0);
	disk_fill(&house);
	expect_refused(ask_leaf(&house, our_tbs(&house), &answer), WRIT_UNAVAILABLE,
		       "the disk is full: the journal takes revocations only, until there is space");
	assert_true(revoke_leaf(&house, leaf.serial, REASON_SUPERSEDED, NULL));
	assert_int_equal(status_of(&house, leaf.serial), OCSP_REVOKED);
	expect_ok(ask_crl(&house, house.issuing.key_id, &is, &crl, &fd));
	assert_true(listed(&crl, leaf.serial));
	close(fd);
	signer_again(&house, NULL); /* without it: there is space again */
	assert_int_equal(status_of(&house, leaf.serial), OCSP_REVOKED);
	leaf_signed(&house);
}

static bool
revoke_edge(const struct house *h, unsigned n)
{
	static const uint8_t nobody[16];
	uint8_t edge[EDGE_ID] = { 0xee };

	writ_put32(edge + 4, n);
	return revoke_leaf(h, nobody, REASON_SUPERSEDED, edge);
}

/* Not even the reserve is there: the ledger takes it, and nobody is told that it is logged until it is. */
static void
what_is_owed_is_not_called_logged_when_it_is_asked_again(void **state)
{
	const struct rlimit tight = { JOURNAL_SEGMENT_LEN - 1, RLIM_INFINITY }, wide = { RLIM_INFINITY, RLIM_INFINITY };
	const struct signer_signed leaf = leaf_signed(&house);
	char reserve[RIG_PATH_MAX + 24];
	unsigned n = 0;

	(void)state;
	snprintf(reserve, sizeof(reserve), "%s/journal/reserve", house.state);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	signer_again(&house, NULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &wide), 0);
	assert_int_equal(unlink(reserve), 0);
	disk_fill(&house);
	while (n < 100 && revoke_edge(&house, n))
		n++;
	assert_true(n < 100);
	assert_false(revoke_edge(&house, n));
	assert_false(revoke_leaf(&house, leaf.serial, REASON_SUPERSEDED, NULL));
	assert_false(revoke_leaf(&house, leaf.serial, REASON_SUPERSEDED, NULL));
	assert_int_equal(status_of(&house, leaf.serial), OCSP_REVOKED);
	assert_int_equal(health_of(&house).owed, 2);
	signer_again(&house, NULL); /* with space again; what was owed is for the issuer's recovery to say again */
	assert_true(revoke_leaf(&house, leaf.serial, REASON_SUPERSEDED, NULL));
	assert_int_equal(status_of(&house, leaf.serial), OCSP_REVOKED);
}

/* Frames of 256 edges, 32 at a time, numbered from `from`; `n` frames. */
static void
edges_flood(const struct house *h, uint32_t from, unsigned n)
{
	static uint8_t packet[FRAME_MAX];
	static struct signer_revoke m;
	struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	unsigned sent = 0, answered = 0;
	struct frame frame;

	while (answered < n) {
		while (sent < n && sent - answered < 32) {
			m = (struct signer_revoke){ .at = now(), .n_edges = SIGNER_REVOKE_MAX };
			for (uint32_t i = 0; i < SIGNER_REVOKE_MAX; i++) {
				m.edges[i][0] = 0xfd;
				writ_put32(m.edges[i] + 4, from + sent * SIGNER_REVOKE_MAX + i);
			}
			writ_buf_clear(&body);
			expect_ok(signer_revoke_write(&m, &body));
			expect_ok(frame_send(h->sock, SIGNER_REVOKE, sent++, writ_view(&body), -1, CALL_MS));
		}
		expect_ok(frame_receive(h->sock, packet, &frame, NULL, CALL_MS));
		assert_int_equal(frame.type, SIGNER_REVOKE | SIGNER_ANSWER);
		answered++;
	}
	writ_buf_done(&body);
}

/* The list of delegations is an extra: serials are what every relying party looks for. */
static void
a_revocation_stands_whose_delegations_fit_no_list(void **state)
{
	const struct signer_signed leaf = leaf_signed(&house);
	static const uint8_t last[EDGE_ID] = { 0xff };
	struct signer_crl_is is;
	struct crl crl;
	int fd;

	(void)state;
	edges_flood(&house, 0, 100000 / SIGNER_REVOKE_MAX + 1);
	assert_true(events_with(&house, "\"signer.delegations-unlisted\"") > 0);
	assert_true(revoke_leaf(&house, leaf.serial, REASON_SUPERSEDED, last));
	assert_int_equal(status_of(&house, leaf.serial), OCSP_REVOKED);
	expect_ok(ask_crl(&house, house.issuing.key_id, &is, &crl, &fd));
	assert_true(listed(&crl, leaf.serial));
	close(fd);
	signer_again(&house, NULL); /* the journal has it all, and no more fits */
	assert_int_equal(status_of(&house, leaf.serial), OCSP_REVOKED);
	assert_int_equal(events_with(&house, "\"signer.delegations-unlisted\""), 1);
	leaf_signed(&house);
}

/* What is done: entries of the journal that are no refusal. */
static unsigned
deeds(const struct house *h)
{
	static const enum entry_type types[] = { ENTRY_ISSUE,  ENTRY_ABORT, ENTRY_REVOKE,  ENTRY_TASK,	ENTRY_GRANT,
						 ENTRY_POLICY, ENTRY_KEY,   ENTRY_SETTLED, ENTRY_FREEZE };
	unsigned n = 0;

	for (size_t i = 0; i < N_OF(types); i++)
		n += journal_has(h, types[i], "");
	return n;
}

static void
no_message_of_any_type_does_anything_before_hello(void **state)
{
	static const uint8_t nothing[1], zeros[600];
	static const struct writ_bytes bodies[] = { { nothing, 0 }, { nothing, 1 }, { zeros, sizeof(zeros) } };
	const unsigned before = deeds(&house);

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		for (size_t i = 0; i < N_OF(bodies); i++) {
			const int sock = connect_only(&house);
			struct writ_buf answer;
			struct writ_err *err;

			if (type == SIGNER_HELLO && i == 0)
				assert_true(sock >= 0);
			err = call(sock, (enum signer_message)type, bodies[i], &answer);
			assert_non_null(err);
			assert_true(err->code == WRIT_UNAUTHENTICATED || err->code == WRIT_INVALID);
			writ_err_free(err);
			writ_buf_done(&answer);
			close(sock);
		}
	}
	assert_int_equal(deeds(&house), before);
}

/* HEALTH has an empty body, so its empty one is well-formed. */
static void
no_message_with_a_malformed_body_does_anything(void **state)
{
	static const uint8_t zeros[600];
	const unsigned before = deeds(&house);

	(void)state;
	for (unsigned type = SIGNER_LEAF; type <= SIGNER_CERTS; type++) {
		for (size_t len = 0; len <= sizeof(zeros); len += len < 40 ? 1 : 80) {
			struct writ_buf answer;
			struct writ_err *err;

			if (type == SIGNER_HEALTH && len == 0)
				continue;
			/* Well-formed, and of nothing: no serials, no edges, an index that is settled long since. */
			err = call(house.sock, (enum signer_message)type, (struct writ_bytes){ zeros, len }, &answer);
			if (!err)
				assert_true(type == SIGNER_REVOKE || type == SIGNER_ABORT || (type == SIGNER_CERTS && len == 8));
			writ_err_free(err);
			writ_buf_done(&answer);
		}
	}
	assert_int_equal(deeds(&house), before);
}

static void
the_signer_leaves_no_core(void **state)
{
	AUTO(writ_buf_done) struct writ_buf limits = WRIT_BUF(64 * 1024);
	char path[64];
	char *line;

	(void)state;
	snprintf(path, sizeof(path), "/proc/%d/limits", (int)house.signer);
	expect_ok(file_read(path, FILE_ANY, &limits));
	expect_ok(writ_buf_add(&limits, (struct writ_bytes){ (const uint8_t *)"", 1 }));
	line = strstr((const char *)limits.data, "Max core file size");
	assert_non_null(line);
	assert_int_equal(strncmp(line + strlen("Max core file size"), "        0 ", 10), 0);
}

/* ---- generations ---- */

static struct writ_err *
rotate(const struct house *h, struct writ_buf *json)
{
	char dir[RIG_PATH_MAX + 8];

	*json = WRIT_BUF(ADMIN_ANSWER_MAX);
	snprintf(dir, sizeof(dir), "%s/run", h->machine.dir);
	return admin_ask(dir, ADMIN_KEY_ROTATE, (struct writ_bytes){ 0 }, CALL_MS, json);
}

static void
rotated(const struct house *h)
{
	struct writ_buf json;

	expect_ok(rotate(h, &json));
	writ_buf_done(&json);
}

/* What HELLO says now. */
static void
learn_anew(struct house *h)
{
	close(h->sock);
	h->sock = connect_only(h);
	hello(h);
}

/* As its bytes were, whatever HELLO says now. */
static void
keep_as_it_is(struct house *to, const struct house *from)
{
	*to = *from;
	to->welcome.issuing.data = to->welcome_bytes + (from->welcome.issuing.data - from->welcome_bytes);
	to->welcome.anchor.data = to->welcome_bytes + (from->welcome.anchor.data - from->welcome_bytes);
	expect_ok(ca_read(to->welcome.issuing, &to->issuing));
}

static struct signer_certs_are
ask_certs(const struct house *h, uint64_t above)
{
	struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX), answer;
	struct signer_certs_are are;

	expect_ok(signer_certs_write(&(struct signer_certs){ .above = above }, &body));
	expect_ok(call(h->sock, SIGNER_CERTS, writ_view(&body), &answer));
	expect_ok(signer_certs_are_read(make_keep(&answer), &are));
	writ_buf_done(&body);
	return are;
}

/* No request fails: those that were under way name the generation before. */
static void
leaves_built_before_a_rotation_are_signed_after_it_by_the_ca_they_name(void **state)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(64 * 1024);
	const struct signer_signed before = leaf_signed(&house);
	const struct writ_bytes tbs = our_tbs(&house);
	static struct house old;
	struct signer_signed answer, revoked;
	struct signer_crl_is is;
	struct pubkey old_key;
	struct leaf leaf;
	struct crl crl;
	int fd;

	(void)state;
	expect_ok(pubkey_load(house.issuing.spki, &old_key));
	rotated(&house);
	expect_ok(ask_leaf(&house, tbs, &answer));
	expect_ok(verify_chain(certificate_of(tbs, &answer), house.welcome.issuing,
			       &(struct verify_with){ .anchor = house.welcome.anchor,
						      .trust_domain = WRIT_LIT(TRUST_DOMAIN),
						      .now = now(),
						      .allow_software = true },
			       &arena, &leaf));
	revoked = leaf_signed(&house); /* still of the old one */
	keep_as_it_is(&old, &house);
	learn_anew(&house);
	assert_memory_not_equal(old.issuing.key_id, house.issuing.key_id, 20);
	assert_false(writ_equal(old.issuing.subject, house.issuing.subject)); /* a name of its own */
	old.sock = house.sock;

	assert_int_equal(status_of(&old, before.serial), OCSP_GOOD);
	assert_true(revoke_leaf(&house, revoked.serial, REASON_SUPERSEDED, NULL));
	assert_int_equal(status_of(&old, revoked.serial), OCSP_REVOKED);
	expect_ok(ask_crl(&house, old.issuing.key_id, &is, &crl, &fd));
	assert_true(listed(&crl, revoked.serial));
	expect_ok(pubkey_verify(&old_key, crl.tbs, crl.signature));
	close(fd);
	answer = leaf_signed(&house);
	assert_int_equal(status_of(&house, answer.serial), OCSP_GOOD);
	expect_ok(ask_crl(&house, house.issuing.key_id, &is, &crl, &fd));
	assert_false(listed(&crl, revoked.serial));
	close(fd);
	pubkey_done(&old_key);
	assert_int_equal(journal_has(&house, ENTRY_ADMIN, "\"did\":\"key-rotate\""), 1);
	assert_int_equal(journal_has(&house, ENTRY_KEY, "\"event\":\"switched\""), 2); /* the ceremony's, and this one */
}

static void
a_serial_under_another_generations_name_is_nobodys(void **state)
{
	const struct signer_signed leaf = leaf_signed(&house);
	struct ocsp_answer answer;
	static struct house old;

	(void)state;
	keep_as_it_is(&old, &house);
	rotated(&house);
	learn_anew(&house);
	old.sock = house.sock;
	expect_ok(ask_ocsp(&old, leaf.serial, false, &answer));
	expect_refused(ask_ocsp(&house, leaf.serial, false, &answer), WRIT_NOT_FOUND,
		       "OCSP: not a live serial of a CA of ours");
}

static void
all_certificates_are_found_page_by_page(void **state)
{
	const uint64_t changes = health_of(&house).changes;
	struct signer_certs_are page = { .more = true };
	uint64_t last = 0, n = 0, first = 0;
	unsigned pages = 0;

	(void)state;
	for (unsigned i = 0; i < 40; i++)
		rotated(&house);
	learn_anew(&house);
	assert_true(health_of(&house).changes > changes + 40);
	while (page.more) {
		page = ask_certs(&house, last);
		assert_true(++pages < 20);
		for (size_t i = 0; i < page.n; i++) {
			struct ca_cert ca;

			expect_ok(ca_read(page.certs[i].der, &ca));
			assert_true(page.certs[i].number == last + 1 || last == 0);
			first = first ? first : page.certs[i].number;
			last = page.certs[i].number;
			n++;
			if (last == page.issuing)
				assert_memory_equal(ca.key_id, house.issuing.key_id, 20);
		}
	}
	assert_true(pages > 1 && n > 40);
	assert_int_equal(page.issuing, last);
	assert_int_equal(page.lowest, first);
	assert_int_equal(page.changes, health_of(&house).changes);
	page = ask_certs(&house, last);
	assert_true(page.n == 0 && !page.more);
	page = ask_certs(&house, UINT64_MAX);
	assert_true(page.n == 0 && !page.more);
}

/* Names in STATE/`folder` that are of an issuing CA. */
static unsigned
files_of(const struct house *h, const char *folder)
{
	char path[RIG_PATH_MAX + 16];
	const struct dirent *e;
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%s", h->state, folder);
	dir = opendir(path);
	assert_non_null(dir);
	while ((e = readdir(dir)))
		n += strlen(e->d_name) > 40 && strspn(e->d_name, "0123456789abcdef") == 40;
	closedir(dir);
	return n;
}

static void
a_kill_in_the_middle_of_a_rotation_leaves_nothing_half(void **state)
{
	static const struct {
		const char *fault;
		unsigned made; /* generations there are afterwards, beside those before */
		bool switched;
	} all[] = {
		{ "rotate:key-made:1", 0, false },
		{ "rotate:certified:1", 1, false },
		{ "rotate:switched:1", 1, true },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++) {
		const unsigned n = files_of(&house, "certs");
		static struct house old;
		struct signer_signed before;
		struct writ_buf json;
		struct writ_err *err;

		signer_again(&house, all[i].fault);
		before = leaf_signed(&house);
		keep_as_it_is(&old, &house);
		err = rotate(&house, &json);
		assert_non_null(err);
		writ_err_free(err);
		writ_buf_done(&json);
		close(house.sock);
		process_wait(house.signer, 5000);
		signer_up(&house, NULL);
		assert_int_equal(files_of(&house, "certs"), n + all[i].made);
		assert_int_equal(files_of(&house, "keys"), n + all[i].made);
		assert_int_equal(memcmp(old.issuing.key_id, house.issuing.key_id, 20) != 0, all[i].switched);
		old.sock = house.sock;
		assert_int_equal(status_of(&old, before.serial), OCSP_GOOD);
		leaf_signed(&house);
		rotated(&house); /* and the next one works, with the next number */
		learn_anew(&house);
		leaf_signed(&house);
	}
}

/* What stands in it beside the ciphertext is authenticated with it. */
static void
a_wrapped_key_whose_header_was_changed_refuses_the_start(void **state)
{
	char hex[41], path[RIG_PATH_MAX + 64];
	struct writ_buf file = WRIT_BUF(64 * 1024);

	(void)state;
	snprintf(path, sizeof(path), "%s/keys/%s.wrapped", house.state,
		 writ_hex((struct writ_bytes){ house.issuing.key_id, 20 }, hex));
	signer_down(&house);
	expect_ok(file_read(path, FILE_PRIVATE, &file));
	file.data[44] ^= 0x40; /* the number: one that no generation has */
	expect_ok(file_replace(path, 0600, writ_view(&file)));
	assert_int_equal(process_wait(signer_spawn(&house, NULL, NULL, NULL, NULL), START_MS), 1);
	file.data[44] ^= 0x40;
	file.data[33] ^= 0x01; /* notAfter */
	expect_ok(file_replace(path, 0600, writ_view(&file)));
	assert_int_equal(process_wait(signer_spawn(&house, NULL, NULL, NULL, NULL), START_MS), 1);
	file.data[33] ^= 0x01;
	expect_ok(file_replace(path, 0600, writ_view(&file)));
	writ_buf_done(&file);
	signer_up(&house, NULL);
	leaf_signed(&house);
}

/* ---- the ceremony, and the resident tier ---- */

static void
a_ceremony_is_held_once(void **state)
{
	(void)state;
	assert_int_equal(ceremony(&house, "self-signed", NULL), 1);
	leaf_signed(&house);
}

static struct house resident; /* from here on */

static void
the_resident_tier_signs_in_the_device(void **state)
{
	struct signer_signed answer;
	struct signer_crl_is is;
	struct crl crl;
	int fd;

	(void)state;
	house_make(&resident, "resident", FOUR_HOURS_S);
	assert_int_equal(ceremony(&resident, "self-signed", NULL), 0);
	signer_up(&resident, NULL);
	assert_false(resident.welcome.sealed);
	answer = leaf_signed(&resident);
	assert_int_equal(status_of(&resident, answer.serial), OCSP_GOOD);
	assert_true(revoke_leaf(&resident, answer.serial, REASON_SUPERSEDED, NULL));
	expect_ok(ask_crl(&resident, resident.issuing.key_id, &is, &crl, &fd));
	assert_true(listed(&crl, answer.serial));
	close(fd);

	device_kill(&resident);
	sleep_ms(100);
	expect_refused_like(ask_leaf(&resident, our_tbs(&resident), &answer), WRIT_UNAVAILABLE, "the device is away: ");
	device_start(&resident);
	for (int i = 0; i < 100; i++) { /* it comes back by itself */
		struct writ_err *err = ask_leaf(&resident, our_tbs(&resident), &answer);

		if (!err)
			break;
		writ_err_free(err);
		sleep_ms(100);
	}
	leaf_signed(&resident);
}

/* A leaf that `who` is the root delegator of. */
static struct writ_bytes
leaf_body_by(const struct house *h, const char *who)
{
	const struct leaf_issuer issuer = our_issuer(h);
	struct delegation d = our_delegation(2);
	struct leaf_facts facts = our_facts();

	d.hops[0].principal = writ_str(who);
	facts.delegation = make_delegation_der(&d);
	return leaf_body(tbs_of(&issuer, &facts), "{}");
}

#define ANNA TD "/human/corp/anna"
#define BORIS TD "/human/corp/boris"
#define AHEAD_MAX 16 /* leaves in the device's hands at most: resident.c */

static void
ask_many(int sock, struct writ_bytes body, uint64_t first_id, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		expect_ok(frame_send(sock, SIGNER_LEAF, first_id + i, body, -1, CALL_MS));
}

/* Lists and certificates that a start or a rotation leaves for the seconds after it: all made, two ticks long. */
static void
nothing_due(const struct house *h)
{
	uint64_t was = 0;
	unsigned same = 0;

	for (unsigned i = 0; i < 600 && same < 40; i++) {
		const uint64_t is = health_of(h).entries;

		same = is == was ? same + 1 : 0;
		was = is;
		sleep_ms(50);
	}
	assert_int_equal(same, 40);
}

/* The resident tier with its device standing still, and a second connection to ask after it.  Nothing else asks the device:
 * for a list or a certificate the signer itself would wait. */
static struct house
device_stands(void)
{
	struct house aside = resident;

	aside.sock = connect_only(&aside);
	hello(&aside);
	nothing_due(&aside);
	assert_int_equal(kill(resident.deviced, SIGSTOP), 0);
	return aside;
}

static void
device_goes_on(void)
{
	assert_int_equal(kill(resident.deviced, SIGCONT), 0);
}

static void
await_queue(const struct house *aside, uint32_t n)
{
	uint32_t there = UINT32_MAX;

	for (int i = 0; i < 1000 && there != n; i++) {
		there = health_of(aside).device_queue;
		if (there != n)
			sleep_ms(5);
	}
	assert_int_equal(there, n);
}

static unsigned
issues_of(const struct house *h)
{
	char dir[RIG_PATH_MAX + 16];
	unsigned n = 0;

	snprintf(dir, sizeof(dir), "%s/journal", h->state);
	expect_ok(journal_read(dir, 0, count_issues, &n));
	return n;
}

static uint64_t
refused_of(const struct signer_health *health)
{
	uint64_t n = 0;

	for (size_t i = 0; i < DEVICE_REFUSALS; i++)
		n += health->device_refused[i];
	return n;
}

/* Of so many that were asked since, how many came in: the slower the device has been of late, the fewer may wait. */
static unsigned
came_in(const struct house *aside, const struct signer_health *before, unsigned asked)
{
	struct signer_health is;

	for (int i = 0; i < 1000; i++) {
		is = health_of(aside);
		if (is.device_queue - before->device_queue + refused_of(&is) - refused_of(before) == asked)
			return is.device_queue - before->device_queue;
		sleep_ms(5);
	}
	fail_msg("of %u leaves %u wait", asked, is.device_queue);
	return 0;
}

/* Leaves that the device has in its hands while it stands still, once it takes no more. */
static unsigned
in_hand(unsigned before)
{
	unsigned was, is = 0;

	do {
		was = is;
		sleep_ms(20);
		is = issues_of(&resident) - before;
	} while (is != was || is < 2);
	assert_in_range(is, 2, AHEAD_MAX);
	return is;
}

static void
what_waits_for_the_device_is_not_journalled_and_goes_with_whoever_asked(void **state)
{
	const struct signer_health at_first = health_of(&resident);
	const unsigned before = issues_of(&resident);
	struct house aside = device_stands();
	unsigned journalled, n;

	(void)state;
	ask_many(resident.sock, leaf_body_by(&resident, ANNA), 1, 40);
	n = came_in(&aside, &at_first, 40);
	journalled = in_hand(before);
	assert_true(journalled < n);

	close(resident.sock);
	await_queue(&aside, journalled);
	assert_int_equal(health_of(&aside).device_refused[REFUSED_GONE] - at_first.device_refused[REFUSED_GONE],
			 n - journalled);
	device_goes_on();
	await_queue(&aside, 0);
	assert_int_equal(issues_of(&resident) - before, journalled);
	resident.sock = aside.sock;
	leaf_signed(&resident);
}

static void
what_waited_when_the_signer_was_killed_never_was(void **state)
{
	const struct signer_health at_first = health_of(&resident);
	const unsigned before = issues_of(&resident), aborts = journal_has(&resident, ENTRY_ABORT, "");
	struct house aside = device_stands();
	unsigned journalled;

	(void)state;
	ask_many(resident.sock, leaf_body_by(&resident, ANNA), 1, 40);
	assert_true(came_in(&aside, &at_first, 40) > in_hand(before));
	journalled = in_hand(before);
	kill(resident.signer, SIGKILL);
	process_wait(resident.signer, 5000);
	device_goes_on();
	close(aside.sock);
	close(resident.sock);
	signer_up(&resident, NULL);
	assert_int_equal(issues_of(&resident) - before, journalled);
	assert_int_equal(journal_has(&resident, ENTRY_ABORT, ""), aborts); /* nor is there anything to abort of it */
	leaf_signed(&resident);
}

static void
a_flood_by_one_delegator_does_not_keep_another_from_the_device(void **state)
{
	static uint8_t packet[FRAME_MAX];
	const struct signer_health at_first = health_of(&resident);
	const unsigned before = issues_of(&resident);
	struct house aside = device_stands();
	unsigned place = 0, had, n;
	struct frame frame;

	(void)state;
	ask_many(resident.sock, leaf_body_by(&resident, ANNA), 1, 40);
	ask_many(resident.sock, leaf_body_by(&resident, BORIS), 1000, 1);
	n = came_in(&aside, &at_first, 41);
	had = in_hand(before);
	assert_true(n > had + 1);
	device_goes_on();
	do { /* those of anna's for whom there was no room are told so */
		expect_ok(frame_receive(resident.sock, packet, &frame, NULL, CALL_MS));
		if (frame.type != SIGNER_ERROR)
			assert_int_equal(frame.type, SIGNER_LEAF | SIGNER_ANSWER);
		if (frame.type != SIGNER_ERROR && frame.id != 1000)
			place++;
	} while (frame.id != 1000);
	assert_int_equal(frame.type, SIGNER_LEAF | SIGNER_ANSWER);
	assert_in_range(place, 1, had + 1); /* behind what the device had, and one more of anna's */
	await_queue(&aside, 0);
	close(resident.sock);
	resident.sock = aside.sock;
}

/* Fills the device's hands, and has one more wait. */
static void
hands_full(const struct house *aside)
{
	const unsigned before = issues_of(&resident);
	unsigned n = 0;

	do {
		const struct signer_health at = health_of(aside);

		ask_many(resident.sock, leaf_body_by(&resident, ANNA), 1 + n++, 1);
		assert_int_equal(came_in(aside, &at, 1), 1);
	} while (n < 3 || in_hand(before) == n);
}

static void
what_is_too_much_is_refused_at_once_and_told_when_to_come_back(void **state)
{
	static uint8_t packet[FRAME_MAX];
	struct house watch = device_stands(), aside = resident;
	struct signer_health at_first;
	struct writ_err *err;
	struct frame frame;
	unsigned n;

	(void)state;
	/* The device has its hands full; of another connection 48 may wait, or fewer if it takes long for them. */
	hands_full(&watch);
	at_first = health_of(&watch);
	aside.sock = connect_only(&aside);
	hello(&aside);
	ask_many(aside.sock, leaf_body_by(&resident, ANNA), 1, 60);
	n = came_in(&watch, &at_first, 60);
	assert_in_range(n, 1, 48);
	for (unsigned i = n; i < 60; i++) {
		expect_ok(frame_receive(aside.sock, packet, &frame, NULL, CALL_MS));
		assert_int_equal(frame.type, SIGNER_ERROR);
		assert_in_range(frame.id, n + 1, 60);
		err = signer_error_read(frame.body);
		assert_in_range(err->retry_after_s, 1, 60);
		assert_non_null(strstr(err->message, n == 48 ? "leaves wait for the device already: try again" :
							       "leaves wait for the device already, which takes "));
		assert_int_equal(err->code, WRIT_UNAVAILABLE);
		writ_err_free(err);
	}
	/* Who asked less comes in, and the flood's newest leaf gives way. */
	ask_many(aside.sock, leaf_body_by(&resident, BORIS), 1000, 1);
	expect_ok(frame_receive(aside.sock, packet, &frame, NULL, CALL_MS));
	assert_int_equal(frame.id, n);
	expect_refused(signer_error_read(frame.body), WRIT_UNAVAILABLE,
		       "others wait for the device already, who asked less: try again");
	device_goes_on();
	for (unsigned i = 0; i < n; i++) { /* or too late: this device stood still meanwhile */
		expect_ok(frame_receive(aside.sock, packet, &frame, NULL, CALL_MS));
		if (frame.type == SIGNER_ERROR && frame.id != 1000)
			expect_refused_like(signer_error_read(frame.body), WRIT_UNAVAILABLE,
					    "the device did not get round to this leaf within 5000 ms");
		else
			assert_int_equal(frame.type, SIGNER_LEAF | SIGNER_ANSWER);
	}
	close(aside.sock);
	close(resident.sock);
	resident.sock = watch.sock;
	assert_int_equal(health_of(&resident).device_refused[REFUSED_SHARE] - at_first.device_refused[REFUSED_SHARE],
			 1);
}

/* Old keys are loaded again only when there is something to sign for them. */
static void
generations_rotate_in_the_device_too(void **state)
{
	const struct signer_signed before = leaf_signed(&resident);
	const unsigned n = files_of(&resident, "keys");
	static struct house old;
	struct signer_signed answer;
	struct signer_crl_is is;
	struct crl crl;
	int fd;

	(void)state;
	keep_as_it_is(&old, &resident);
	for (unsigned i = 0; i < 3; i++)
		rotated(&resident);
	answer = leaf_signed(&resident); /* in the overlap */
	assert_int_equal(status_of(&resident, answer.serial), OCSP_GOOD);
	learn_anew(&resident);
	leaf_signed(&resident);
	assert_int_equal(files_of(&resident, "keys"), n + 3);
	signer_again(&resident, NULL);
	leaf_signed(&resident);
	old.sock = resident.sock;
	assert_true(revoke_leaf(&resident, before.serial, REASON_SUPERSEDED, NULL));
	expect_ok(ask_crl(&resident, old.issuing.key_id, &is, &crl, &fd));
	assert_true(listed(&crl, before.serial));
	close(fd);
	for (unsigned i = 0; i < 200 && events_with(&resident, "\"signer.housekeeping\"") == 0; i++) { /* OCSP certificates */
		struct ocsp_answer status;
		struct writ_err *err = ask_ocsp(&old, before.serial, false, &status);

		if (!err)
			break;
		writ_err_free(err);
		sleep_ms(100);
	}
	assert_int_equal(status_of(&old, before.serial), OCSP_REVOKED);
}

static int
resident_down(void **state)
{
	(void)state;
	signer_down(&resident);
	house_done(&resident);
	return 0;
}

/* ---- for long ---- */

/* Leaves that live a minute, 64 under way; each answer is a signature and a serial of its own. */
static void
leaves_many(const struct house *h, unsigned long n)
{
	static uint8_t packet[FRAME_MAX];
	struct signer_signed answer;
	struct leaf_facts facts;
	struct writ_bytes body = { NULL, 0 };
	struct leaf_issuer issuer = our_issuer(h);
	int64_t made = 0;
	struct frame frame;

	for (unsigned long sent = 0, answered = 0; answered < n; answered++) {
		if (made != now()) {
			facts = our_facts();
			facts.not_after = facts.not_before + 60;
			body = leaf_body(tbs_of(&issuer, &facts), "{}");
			made = now();
		}
		for (; sent < n && sent - answered < SIGNER_OUTSTANDING_MAX; sent++)
			expect_ok(frame_send(h->sock, SIGNER_LEAF, sent, body, -1, CALL_MS));
		expect_ok(frame_receive(h->sock, packet, &frame, NULL, CALL_MS));
		assert_int_equal(frame.type, SIGNER_LEAF | SIGNER_ANSWER);
		expect_ok(signer_signed_read(frame.body, &answer));
	}
}

#define LIVE_BYTES_MAX 100	   /* of the ledger, a live serial (DESIGN.md, Speed to reach) */
#define NOISE_KB 4096L		   /* tables that doubled, an allocator's slack */
#define FORGOTTEN_AFTER_S (60 + 240) /* a leaf's life and what the ledger keeps behind it */

static struct footprint
footprint_tell(const struct house *h, unsigned long n)
{
	const struct footprint f = footprint_of(h->signer);

	printf("signer\t%lu signatures\t%ld KiB of its own\t%ld KiB locked\t%ld descriptors\t%llu live\n", n, f.anon_kb,
	       f.locked_kb, f.fds, (unsigned long long)health_of(h).issued);
	fflush(stdout);
	return f;
}

/* A key operation that lost a byte of the locked heap would have none left long before the end. */
static void
a_long_life_leaves_memory_and_descriptors_as_they_were(void **state)
{
	const unsigned long total = endurance("WRIT_ENDURANCE_SEALED", 4000), step = total / 20;
	struct footprint first = { 0 }, f;
	uint64_t live, live_first;

	(void)state;
	leaves_many(&house, 1000);
	first = footprint_tell(&house, 0);
	live_first = health_of(&house).issued;
	for (unsigned long n = step; n <= total; n += step) {
		leaves_many(&house, step);
		f = footprint_tell(&house, n);
		live = health_of(&house).issued;
		assert_int_equal(f.fds, first.fds);
		assert_int_equal(f.locked_kb, first.locked_kb);
		assert_true(!FOOTPRINT_TELLS_MEMORY || f.anon_kb - first.anon_kb <=
			    (long)(live > live_first ? (live - live_first) * LIVE_BYTES_MAX / 1024 : 0) + NOISE_KB);
	}
	if (total < 100000)
		return;
	for (int i = 0; i < FORGOTTEN_AFTER_S / 5 + 12 && health_of(&house).issued > 0; i++)
		sleep_ms(5000);
	f = footprint_tell(&house, total);
	assert_int_equal(health_of(&house).issued, 0);
	assert_true(!FOOTPRINT_TELLS_MEMORY || f.anon_kb - first.anon_kb <= NOISE_KB);
}

static void
an_owners_root_certifies_the_anchor(void **state)
{
	static struct house owned;
	char dir[RIG_PATH_MAX], request[RIG_PATH_MAX + 16], cert[RIG_PATH_MAX + 16];

	(void)state;
	house_make(&owned, "sealed", FOUR_HOURS_S);
	snprintf(dir, sizeof(dir), "%s", owned.machine.dir);
	snprintf(request, sizeof(request), "%s/anchor.csr", dir);
	snprintf(cert, sizeof(cert), "%s/anchor.pem", dir);
	assert_int_equal(ceremony(&owned, "import", request), 1); /* nothing waits for a certificate */
	assert_int_equal(ceremony(&owned, "csr", request), 0);
	assert_int_equal(ceremony(&owned, "self-signed", NULL), 1); /* unfinished */
	run("cd %s && openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -subj /CN=Root -days 30 "
	    "2>/dev/null",
	    dir);
	run("cd %s && printf 'basicConstraints=critical,CA:TRUE,pathlen:1\nkeyUsage=critical,keyCertSign,cRLSign\n' > "
	    "plain.ext",
	    dir);
	run("cd %s && cp plain.ext full.ext && printf 'subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
	    "certificatePolicies=%s.3.1,%s.3.4\n' >> full.ext",
	    dir, OUR_ARC, OUR_ARC);
	run("cd %s && openssl req -in anchor.csr -verify -noout 2>/dev/null", dir);
	run("cd %s && openssl x509 -req -in anchor.csr -CA root.pem -CAkey root.key -CAcreateserial -days 20 -extfile "
	    "plain.ext -out "
	    "anchor.pem 2>/dev/null",
	    dir);
	assert_int_equal(ceremony(&owned, "import", cert), 1); /* without our policies */
	run("cd %s && openssl x509 -req -in anchor.csr -CA root.pem -CAkey root.key -CAcreateserial -days 20 -extfile "
	    "full.ext -out "
	    "anchor.pem 2>/dev/null",
	    dir);
	assert_int_equal(ceremony(&owned, "import", cert), 0);
	signer_up(&owned, NULL);
	leaf_signed(&owned);
	signer_down(&owned);
	house_done(&owned);
}

/* The last day of an anchor: no certificate below it can live longer than the one there is. */
static void
an_anchor_near_its_end_makes_no_generation_after_another(void **state)
{
	static struct house owned;
	const time_t end = (time_t)now() + 86400 + 12;
	char request[RIG_PATH_MAX + 16], cert[RIG_PATH_MAX + 16], until[24];
	const char *dir = owned.machine.dir;
	struct tm utc;

	(void)state;
	house_make(&owned, "sealed", WEEK_S); /* a new one is due a quarter of it before the end */
	snprintf(request, sizeof(request), "%s/anchor.csr", dir);
	snprintf(cert, sizeof(cert), "%s/anchor.pem", dir);
	assert_int_equal(ceremony(&owned, "csr", request), 0);
	strftime(until, sizeof(until), "%Y%m%d%H%M%SZ", gmtime_r(&end, &utc));
	run("cd %s && openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -subj /CN=Root -days 30 "
	    "2>/dev/null && printf "
	    "'basicConstraints=critical,CA:TRUE,pathlen:1\nkeyUsage=critical,keyCertSign,cRLSign\n"
	    "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\ncertificatePolicies=%s.3.1,%s.3.4\n' > full.ext",
	    dir, OUR_ARC, OUR_ARC);
	run("cd %s && : > index && printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nrand_serial=yes\nnew_certs_dir=.\n"
	    "default_md=sha256\npolicy=p\n[p]\norganizationName=optional\ncommonName=optional\n' > ca.cnf",
	    dir);
	run("cd %s && openssl ca -batch -notext -config ca.cnf -cert root.pem -keyfile root.key -in anchor.csr -out "
	    "anchor.pem -extfile full.ext -enddate %s 2>/dev/null",
	    dir, until);
	assert_int_equal(ceremony(&owned, "import", cert), 0);
	while (now() <= (writ_time)end - 86400)
		sleep_ms(200);
	signer_up(&owned, NULL);
	sleep_ms(2500); /* two seconds' housekeeping */
	close(owned.sock);
	owned.sock = connect_only(&owned);
	hello(&owned);
	assert_int_equal(journal_has(&owned, ENTRY_KEY, "\"role\":\"issuing\",\"serial\""), 1);
	leaf_signed(&owned);
	signer_down(&owned);
	house_done(&owned);
}

static int
set_up(void **state)
{
	(void)state;
	agent = make_key(KEY_P256);
	house_make(&house, "sealed", FOUR_HOURS_S);
	assert_int_equal(ceremony(&house, "self-signed", NULL), 0);
	signer_up(&house, NULL);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	signer_down(&house);
	house_done(&house);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leaf_is_journalled_signed_and_verifies),
		cmocka_unit_test(as_many_leaves_may_be_under_way_as_a_connection_has_room_for),
		cmocka_unit_test(a_live_leaf_is_good_with_either_hash),
		cmocka_unit_test(a_revoked_leaf_is_revoked_in_ocsp_and_crl_at_once),
		cmocka_unit_test(an_aborted_serial_is_never_good_again),
		cmocka_unit_test(an_unchanged_list_is_not_signed_again),
		cmocka_unit_test(the_anchor_has_a_list_too_and_strangers_have_none),
		cmocka_unit_test(every_forged_leaf_is_refused_and_noted),
		cmocka_unit_test(what_the_issuer_says_must_be_canonical),
		cmocka_unit_test(an_unknown_serial_is_nobodys),
		cmocka_unit_test(nothing_rides_behind_a_cert_id),
		cmocka_unit_test(questions_for_what_is_not_live_are_counted_and_noted_once_a_minute),
		cmocka_unit_test(one_more_outstanding_request_than_allowed_is_refused),
		cmocka_unit_test(nothing_is_served_before_hello),
		cmocka_unit_test(another_configuration_gets_no_leaf),
		cmocka_unit_test(a_second_process_is_refused),
		cmocka_unit_test(settled_only_grows),
		cmocka_unit_test(an_issuer_notes_five_kinds_and_no_others),
		cmocka_unit_test(no_message_of_any_type_does_anything_before_hello),
		cmocka_unit_test(no_message_with_a_malformed_body_does_anything),
		cmocka_unit_test(unknown_messages_and_a_second_hello_are_refused),
		cmocka_unit_test(a_flood_of_refusals_floods_neither_journal_nor_events),
		cmocka_unit_test(garbage_ends_its_connection_and_is_noted),
		cmocka_unit_test(the_signer_leaves_no_core),
		cmocka_unit_test(a_ceremony_is_held_once),
		cmocka_unit_test(a_leaf_journalled_before_a_crash_can_be_aborted_after_it),
		cmocka_unit_test(a_revocation_journalled_before_a_crash_holds_after_it),
		cmocka_unit_test(a_leaf_not_journalled_before_a_crash_never_was),
		cmocka_unit_test(a_restart_keeps_issuing_key_and_settled),
#ifdef WRIT_FAULTS
		cmocka_unit_test(an_answer_leaves_when_its_entry_is_durable_also_when_the_disk_was_faster_than_the_loop),
#endif
		cmocka_unit_test(without_its_device_the_sealed_tier_issues_on),
		cmocka_unit_test(a_signer_without_its_device_waits_for_it),
		cmocka_unit_test(on_a_full_disk_leaves_stop_and_revocations_go_on),
		cmocka_unit_test(what_is_owed_is_not_called_logged_when_it_is_asked_again),
		cmocka_unit_test(a_revocation_stands_whose_delegations_fit_no_list),
		cmocka_unit_test(a_long_life_leaves_memory_and_descriptors_as_they_were),
		cmocka_unit_test(the_resident_tier_signs_in_the_device),
		cmocka_unit_test(what_waits_for_the_device_is_not_journalled_and_goes_with_whoever_asked),
		cmocka_unit_test(what_waited_when_the_signer_was_killed_never_was),
		cmocka_unit_test(a_flood_by_one_delegator_does_not_keep_another_from_the_device),
		cmocka_unit_test(generations_rotate_in_the_device_too),
		cmocka_unit_test_teardown(what_is_too_much_is_refused_at_once_and_told_when_to_come_back,
					  resident_down),
		cmocka_unit_test(leaves_built_before_a_rotation_are_signed_after_it_by_the_ca_they_name),
		cmocka_unit_test(a_serial_under_another_generations_name_is_nobodys),
		cmocka_unit_test(all_certificates_are_found_page_by_page),
		cmocka_unit_test(a_kill_in_the_middle_of_a_rotation_leaves_nothing_half),
		cmocka_unit_test(a_wrapped_key_whose_header_was_changed_refuses_the_start),
		cmocka_unit_test(an_owners_root_certifies_the_anchor),
		cmocka_unit_test(an_anchor_near_its_end_makes_no_generation_after_another),
	};

	if (getenv("WRIT_ENDURANCE_SEALED"))
		cmocka_set_test_filter("a_long_life_*");
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
