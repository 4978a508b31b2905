/*
 * An agent's peer by GnuTLS: chain, purpose and CRLs by gnutls_certificate_verify_peers(), the SPIFFE ID by us, both in
 * the handshake's own callback.  See peers.py for what a peer is.
 *
 * cc peer_gnutls.c -lgnutls
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

struct expected {
	const char *id;
	int is_server;
	char why[500];
};

static char path_[4096];
static const char *
path(const char *dir, const char *name)
{
	snprintf(path_, sizeof(path_), "%s/%s", dir, name);
	return path_;
}

static void
must(int code, const char *what)
{
	if (code >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, gnutls_strerror(code));
	exit(1);
}

/* Exactly one name, and it is the one expected. */
static int
is_named(gnutls_session_t session, const char *id)
{
	unsigned n, type;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &n);
	gnutls_x509_crt_t leaf;
	char name[1024];
	size_t len = sizeof(name);
	int ok;

	gnutls_x509_crt_init(&leaf);
	ok = gnutls_x509_crt_import(leaf, &chain[0], GNUTLS_X509_FMT_DER) == 0 &&
	     gnutls_x509_crt_get_subject_alt_name2(leaf, 0, name, &len, &type, NULL) >= 0 && type == GNUTLS_SAN_URI &&
	     len == strlen(id) && memcmp(name, id, len) == 0;
	len = sizeof(name);
	ok = ok && gnutls_x509_crt_get_subject_alt_name2(leaf, 1, name, &len, &type, NULL) ==
			   GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
	gnutls_x509_crt_deinit(leaf);
	return ok;
}

static int
verify(gnutls_session_t session)
{
	struct expected *expected = gnutls_session_get_ptr(session);
	gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID };
	gnutls_datum_t text;
	unsigned status;
	int code;

	purpose.data = (unsigned char *)(expected->is_server ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER);
	code = gnutls_certificate_verify_peers(session, &purpose, 1, &status);
	if (code < 0) {
		snprintf(expected->why, sizeof(expected->why), "%s", gnutls_strerror(code));
		return GNUTLS_E_CERTIFICATE_ERROR;
	}
	if (status != 0) {
		gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
		snprintf(expected->why, sizeof(expected->why), "%s", (char *)text.data);
		gnutls_free(text.data);
		return GNUTLS_E_CERTIFICATE_ERROR;
	}
	if (!is_named(session, expected->id)) {
		snprintf(expected->why, sizeof(expected->why), "another SPIFFE ID");
		return GNUTLS_E_CERTIFICATE_ERROR;
	}
	return 0;
}

/* Six bytes; a session ticket that comes first is no answer. */
static int
hear(gnutls_session_t session)
{
	char line[16];
	ssize_t n;

	do
		n = gnutls_record_recv(session, line, sizeof(line));
	while (n < 0 && !gnutls_error_is_fatal((int)n));
	return n == 6;
}

/* One conversation over a connected socket; prints what came of it. */
static void
talk(gnutls_certificate_credentials_t credentials, int fd, const char *id, int is_server)
{
	struct expected expected = { .id = id, .is_server = is_server };
	gnutls_session_t session;
	int code;

	gnutls_init(&session, (is_server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NO_TICKETS);
	gnutls_session_set_ptr(session, &expected);
	must(gnutls_priority_set_direct(session, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL), "priorities");
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
	gnutls_transport_set_int(session, fd);
	gnutls_handshake_set_timeout(session, 30000);
	do
		code = gnutls_handshake(session);
	while (code < 0 && !gnutls_error_is_fatal(code));
	if (code < 0) {
		gnutls_alert_send_appropriate(session, code);
		printf("refused %s\n", expected.why[0] ? expected.why : gnutls_strerror(code));
	} else if ((!is_server && gnutls_record_send(session, "hello\n", 6) != 6) ||
		   !hear(session) ||
		   (is_server && gnutls_record_send(session, "hello\n", 6) != 6)) {
		printf("refused by the peer\n");
	} else {
		printf("ok %s\n", id);
	}
	fflush(stdout);
	gnutls_bye(session, GNUTLS_SHUT_WR);
	gnutls_deinit(session);
	close(fd);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	gnutls_certificate_credentials_t credentials;
	const char *dir = argv[2];
	char id[1024], key[4096];
	int port;

	signal(SIGPIPE, SIG_IGN); /* a peer that hangs up is an answer */

	gnutls_certificate_allocate_credentials(&credentials);
	snprintf(key, sizeof(key), "%s/leaf.key", dir);
	must(gnutls_certificate_set_x509_key_file(credentials, path(dir, "chain.pem"), key, GNUTLS_X509_FMT_PEM), path_);
	must(gnutls_certificate_set_x509_trust_file(credentials, path(dir, "anchor.pem"), GNUTLS_X509_FMT_PEM), path_);
	if (access(path(dir, "crls.pem"), R_OK) == 0)
		must(gnutls_certificate_set_x509_crl_file(credentials, path_, GNUTLS_X509_FMT_PEM), path_);
	gnutls_certificate_set_verify_function(credentials, verify);

	if (argc == 4 && strcmp(argv[1], "server") == 0) {
		const int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, 16) != 0 ||
		    getsockname(fd, (struct sockaddr *)&at, &len) != 0)
			return 1;
		printf("port %d\n", ntohs(at.sin_port));
		fflush(stdout);
		for (;;)
			talk(credentials, accept(fd, NULL, NULL), argv[3], 1);
	}
	while (scanf("%d %1023s", &port, id) == 2) {
		const int fd = socket(AF_INET, SOCK_STREAM, 0);

		at.sin_port = htons((unsigned short)port);
		if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
			return 1;
		talk(credentials, fd, id, 0);
	}
	return 0;
}
