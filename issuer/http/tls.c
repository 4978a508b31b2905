/*
 * TLS 1.3 on a connection's socket.  Nothing of a session outlives its connection: no tickets, no cache, no early data,
 * so nothing can be replayed after a restart.  The client's certificate is optional here and demanded by route, but one
 * that is shown must verify. Knows which anchors are trusted; what a certificate means is not known here.
 */
#include "issuer/http/conn.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/event.h"

#define CHAIN_LEN_MAX (32 * 1024) /* bytes of certificates a client may send */
#define CHAIN_DEPTH_MAX 8

static struct writ_err *
tls_fail(enum writ_code code, const char *what)
{
	const char *why = ERR_reason_error_string(ERR_peek_last_error());

	return writ_fail(code, "%s: %s", what, why ? why : "no reason given");
}

static int
no_password(char *buf, int size, int rwflag, void *arg)
{
	(void)buf, (void)size, (void)rwflag, (void)arg;
	return -1; /* a key file with a password is refused: nobody is there to be asked */
}

static int
alpn_select(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len,
	    void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";

	(void)ssl, (void)arg;
	if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, ours, sizeof(ours) - 1, in, in_len) ==
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_OK;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* A flood of KeyUpdates is work for nothing: an honest client sends one in millions of records.  tls_read() looks at
 * the count. */
static void
tls_message(int write, int version, int type, const void *buf, size_t len, SSL *ssl, void *arg)
{
	struct http_connection *conn;

	(void)version, (void)arg;
	if (write || type != SSL3_RT_HANDSHAKE || len == 0 || *(const uint8_t *)buf != SSL3_MT_KEY_UPDATE)
		return;
	conn = SSL_get_app_data(ssl);
	conn->key_updates++;
}

static struct writ_err *
add_anchor(struct loop *loop, SSL_CTX *ctx, struct writ_bytes der)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	const unsigned char *at = der.data;
	X509 *cert = X509_new_ex(loop->crypto, NULL);
	struct writ_err *err = NULL;

	if (!cert || der.len > CHAIN_LEN_MAX || !d2i_X509(&cert, &at, (long)der.len) || at != der.data + der.len)
		err = tls_fail(WRIT_INVALID, "it is not one certificate in DER");
	else if (X509_STORE_add_cert(store, cert) != 1 || SSL_CTX_add_client_CA(ctx, cert) != 1)
		err = tls_fail(WRIT_INVALID, "it cannot be trusted");
	/* An anchor that somebody else certified is where the path ends all the same. */
	else if (!(X509_get_extension_flags(cert) & EXFLAG_SS) &&
		 X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) != 1)
		err = tls_fail(WRIT_BROKEN, "partial chains");
	X509_free(cert);
	return err;
}

static struct writ_err *
tls_files(SSL_CTX *ctx, const struct tls_conf *conf)
{
	if (SSL_CTX_use_certificate_chain_file(ctx, conf->certificate) != 1)
		return writ_because(tls_fail(WRIT_INVALID, "cannot be read as PEM certificates"), "certificate %.80s",
				    conf->certificate);
	if (SSL_CTX_use_PrivateKey_file(ctx, conf->key, SSL_FILETYPE_PEM) != 1)
		return writ_because(
			tls_fail(WRIT_INVALID,
				 "cannot be read as a PEM key without password, or is not the certificate's"),
			"key %.80s", conf->key);
	if (SSL_CTX_check_private_key(ctx) != 1)
		return writ_fail(WRIT_INVALID, "key %.80s is not that of certificate %.80s", conf->key,
				 conf->certificate);
	return NULL;
}

static struct writ_err *
tls_setup(struct loop *loop, SSL_CTX *ctx, const struct tls_conf *conf)
{
	struct writ_err *err;

	SSL_CTX_set_default_passwd_cb(ctx, no_password);
	SSL_CTX_set_security_level(ctx, 2);
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1)
		return tls_fail(WRIT_BROKEN, "TLS 1.3");
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_early_data(ctx, 0);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1); /* a record's head and body in one read */
	SSL_CTX_set_max_cert_list(ctx, CHAIN_LEN_MAX);
	SSL_CTX_set_alpn_select_cb(ctx, alpn_select, NULL);
	SSL_CTX_set_msg_callback(ctx, tls_message);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_verify_depth(ctx, CHAIN_DEPTH_MAX);

	err = tls_files(ctx, conf);
	if (err)
		return err;
	for (size_t i = 0; i < conf->n_anchors; i++) {
		err = add_anchor(loop, ctx, conf->anchors[i]);
		if (err)
			return writ_because(err, "client anchor %zu of %zu", i + 1, conf->n_anchors);
	}
	return NULL;
}

struct writ_err *
loop_tls(struct loop *loop, const struct tls_conf *conf)
{
	SSL_CTX *ctx;
	struct writ_err *err;

	ERR_clear_error();
	ctx = SSL_CTX_new_ex(loop->crypto, NULL, TLS_server_method());
	if (!ctx)
		return tls_fail(WRIT_EXHAUSTED, "a TLS context");
	err = tls_setup(loop, ctx, conf);
	if (err) {
		SSL_CTX_free(ctx);
		ERR_clear_error();
		return err;
	}
	SSL_CTX_free(loop->tls); /* connections keep the one they began with */
	loop->tls = ctx;
	return NULL;
}

/* ---- the socket, as OpenSSL sees it ---- */

/*
 * Our own instead of BIO_s_socket(), for what that one does not tell: whether a read emptied the socket.  So a request
 * costs one read, not a second one that only says EAGAIN.
 */
static int
socket_read(BIO *bio, char *out, int len)
{
	struct http_connection *conn = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	do {
		n = recv(conn->fd, out, (size_t)len, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		BIO_set_retry_read(bio);
	if (n == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	if (n < len)
		conn->readable = false; /* the kernel has no more, and will tell */
	return (int)n;
}

static int
socket_write(BIO *bio, const char *data, int len)
{
	struct http_connection *conn = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	do {
		n = send(conn->fd, data, (size_t)len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		BIO_set_retry_write(bio);
	return (int)n;
}

static long
socket_ctrl(BIO *bio, int what, long number, void *more)
{
	(void)number, (void)more;
	switch (what) {
	case BIO_CTRL_FLUSH: /* nothing is kept here */
		return 1;
	case BIO_CTRL_EOF:
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	default:
		return 0;
	}
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static BIO_METHOD *socket_method; /* for the life of the process; NULL: no memory for it */

static void
socket_method_make(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "writ socket");

	if (method && BIO_meth_set_read(method, socket_read) == 1 && BIO_meth_set_write(method, socket_write) == 1 &&
	    BIO_meth_set_ctrl(method, socket_ctrl) == 1)
		socket_method = method;
	else
		BIO_meth_free(method);
}

bool
tls_start(struct http_connection *conn)
{
	BIO *bio = NULL;

	if (pthread_once(&once, socket_method_make) == 0 && socket_method)
		bio = BIO_new(socket_method);
	conn->ssl = bio ? SSL_new(conn->loop->tls) : NULL;
	if (!conn->ssl || SSL_set_app_data(conn->ssl, conn) != 1) {
		BIO_free(bio);
		ERR_clear_error();
		return false;
	}
	BIO_set_data(bio, conn);
	BIO_set_init(bio, 1);
	SSL_set_bio(conn->ssl, bio, bio); /* takes it */
	SSL_set_accept_state(conn->ssl);
	return true;
}

static bool
keep_der(X509 *cert, struct writ_buf *ret)
{
	const int len = i2d_X509(cert, NULL);
	struct writ_err *err;
	uint8_t *at;

	if (len <= 0)
		return false;
	err = writ_buf_grow(ret, (size_t)len, &at);
	if (err) {
		writ_err_free(err);
		return false;
	}
	return i2d_X509(cert, &at) == len;
}

/* Certificate and anchor, once a connection.  No certificate is fine; one whose path is not known is not. */
static bool
peer_learn(struct http_connection *conn)
{
	X509 *cert = SSL_get0_peer_certificate(conn->ssl);
	STACK_OF(X509) * chain;

	if (!cert)
		return true;
	chain = SSL_get0_verified_chain(conn->ssl);
	if (SSL_get_verify_result(conn->ssl) != X509_V_OK || !chain || sk_X509_num(chain) < 1)
		return false;
	if (!keep_der(cert, &conn->peer_cert) ||
	    !keep_der(sk_X509_value(chain, sk_X509_num(chain) - 1), &conn->peer_anchor))
		return false;
	conn->peer.cert = writ_view(&conn->peer_cert);
	conn->peer.anchor = writ_view(&conn->peer_anchor);
	return true;
}

static enum io
tls_result(struct http_connection *conn, int ret)
{
	switch (SSL_get_error(conn->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return IO_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return IO_EOF;
	default:
		return IO_FAILED;
	}
}

enum io
tls_handshake(struct http_connection *conn)
{
	enum io io;
	int ret;

	ERR_clear_error();
	ret = SSL_do_handshake(conn->ssl);
	if (ret == 1) {
		conn->readable = true; /* a request may have come with the last of it, and be OpenSSL's already */
		if (peer_learn(conn))
			return IO_DONE;
		event(EVENT_WARN, "http.peer_unknown", EV_STR("client", conn->peer.address));
		return IO_FAILED;
	}
	io = tls_result(conn, ret);
	if (io != IO_AGAIN) {
		const char *why = ERR_reason_error_string(ERR_peek_last_error());

		event(EVENT_DEBUG, "http.handshake_failed", EV_STR("client", conn->peer.address),
		      EV_STR("why", why ? why : "the client went away"));
		ERR_clear_error();
	}
	return io;
}

/* Reads records until the socket has no more or `out` is full: small records are gathered, so that each is not handled
 * by itself. */
enum io
tls_read(struct http_connection *conn, uint8_t *out, size_t cap, size_t *ret)
{
	enum io io = IO_DONE;

	*ret = 0;
	ERR_clear_error();
	while (*ret < cap && io == IO_DONE && (*ret == 0 || conn->readable || SSL_has_pending(conn->ssl))) {
		size_t n = 0;
		const int ok = SSL_read_ex(conn->ssl, out + *ret, cap - *ret, &n);

		*ret += n;
		if (ok != 1)
			io = tls_result(conn, ok);
		if (conn->key_updates > HTTP_KEY_UPDATES_MAX)
			return IO_FAILED;
	}
	if (io == IO_AGAIN)
		conn->readable = false;
	if (io == IO_FAILED)
		return IO_FAILED;
	if (io == IO_EOF || (io == IO_DONE && SSL_has_pending(conn->ssl)))
		conn->readable = true; /* no edge tells of what OpenSSL has read already */
	return *ret > 0 ? IO_DONE : io;
}

enum io
tls_write(struct http_connection *conn, struct writ_bytes bytes, size_t *ret)
{
	int ok;

	*ret = 0;
	ERR_clear_error();
	ok = SSL_write_ex(conn->ssl, bytes.data, bytes.len, ret);
	if (ok == 1)
		return IO_DONE;
	*ret = 0;
	return tls_result(conn, ok);
}

void
tls_goodbye(struct http_connection *conn)
{
	ERR_clear_error();
	(void)SSL_shutdown(conn->ssl); /* sends close_notify; that of the client is not waited for */
	ERR_clear_error();
}
