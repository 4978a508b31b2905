/*
 * An agent's peer by OpenSSL: chain and CRLs by libssl itself, the SPIFFE ID by us.  See peers.py for what a peer is.
 *
 * cc peer_openssl.c -lssl -lcrypto
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static char path_[4096];
static const char *
path(const char *dir, const char *name)
{
	snprintf(path_, sizeof(path_), "%s/%s", dir, name);
	return path_;
}

static void
must(int ok, const char *what)
{
	if (ok > 0)
		return;
	fprintf(stderr, "%s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static SSL_CTX *
context(const char *dir)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);

	must(SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION), "TLS 1.3");
	must(SSL_CTX_use_certificate_chain_file(ctx, path(dir, "chain.pem")), path_);
	must(SSL_CTX_use_PrivateKey_file(ctx, path(dir, "leaf.key"), SSL_FILETYPE_PEM), path_);
	must(SSL_CTX_load_verify_file(ctx, path(dir, "anchor.pem")), path_);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_num_tickets(ctx, 0); /* a resumed session would skip all of this */
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
	if (access(path(dir, "crls.pem"), R_OK) == 0) {
		must(SSL_CTX_load_verify_file(ctx, path_), path_); /* takes CRLs as well */
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	}
	return ctx;
}

/* Exactly one name, and it is the one expected. */
static int
is_named(SSL *ssl, const char *id)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(SSL_get0_peer_certificate(ssl), NID_subject_alt_name, NULL, NULL);
	int ok = 0;

	if (sk_GENERAL_NAME_num(names) == 1) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, 0);

		ok = name->type == GEN_URI && (size_t)name->d.uniformResourceIdentifier->length == strlen(id) &&
		     memcmp(name->d.uniformResourceIdentifier->data, id, strlen(id)) == 0;
	}
	GENERAL_NAMES_free(names);
	return ok;
}

static const char *
why(SSL *ssl)
{
	const long verdict = SSL_get_verify_result(ssl);
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	if (verdict != X509_V_OK)
		return X509_verify_cert_error_string(verdict);
	return reason ? reason : "the peer hung up";
}

/* One conversation over a connected socket; prints what came of it. */
static void
talk(SSL_CTX *ctx, int fd, const char *id, int is_server)
{
	SSL *ssl = SSL_new(ctx);
	const struct timeval patience = { .tv_sec = 30 };
	char line[16];

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ERR_clear_error();
	SSL_set_fd(ssl, fd);
	if ((is_server ? SSL_accept(ssl) : SSL_connect(ssl)) != 1)
		printf("refused %s\n", why(ssl));
	else if (!is_named(ssl, id))
		printf("refused another SPIFFE ID\n");
	else if ((!is_server && SSL_write(ssl, "hello\n", 6) != 6) || SSL_read(ssl, line, sizeof(line)) != 6 ||
		 (is_server && SSL_write(ssl, "hello\n", 6) != 6))
		printf("refused by the peer: %s\n", why(ssl));
	else
		printf("ok %s\n", id);
	fflush(stdout);
	SSL_shutdown(ssl);
	SSL_free(ssl);
	close(fd);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	SSL_CTX *ctx = context(argv[2]);
	char id[1024];
	int port;

	signal(SIGPIPE, SIG_IGN); /* a peer that hangs up is an answer */

	if (argc == 4 && strcmp(argv[1], "server") == 0) {
		const int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, 16) != 0 ||
		    getsockname(fd, (struct sockaddr *)&at, &len) != 0)
			return 1;
		printf("port %d\n", ntohs(at.sin_port));
		fflush(stdout);
		for (;;)
			talk(ctx, accept(fd, NULL, NULL), argv[3], 1);
	}
	while (scanf("%d %1023s", &port, id) == 2) {
		const int fd = socket(AF_INET, SOCK_STREAM, 0);

		at.sin_port = htons((unsigned short)port);
		if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
			return 1;
		talk(ctx, fd, id, 0);
	}
	return 0;
}
