/*
 * Agents for the loads of tests/bench: see agents.h.
 */
#include "agents.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct target target = { .host = "127.0.0.1",
			 .agent_class = "spiffe://agents.corp.example/agent/invoice-bot",
			 .action = "invoices:read",
			 .resource = "https://erp.corp.example/v2/invoices/**",
			 .audience = "https://erp.corp.example" };

void
die(const char *what)
{
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
	exit(1);
}

double
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

SSL_CTX *
client_ctx(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_load_verify_locations(ctx, target.ca, NULL))
		die("cannot set TLS up: is --ca a PEM file?");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return ctx;
}

SSL *
dial(SSL_CTX *ctx)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)target.port) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SSL *ssl;

	inet_pton(AF_INET, target.host, &to.sin_addr);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		die("cannot connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) != 1)
		die("TLS handshake failed");
	return ssl;
}

void
hang_up(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);

	SSL_shutdown(ssl);
	SSL_free(ssl);
	close(fd);
}

int
ask_into(SSL *ssl, const char *request, size_t len, char *answer, size_t answer_max, size_t *answer_len)
{
	size_t have = 0, want = 0;
	char *body;

	answer[0] = '\0';
	if (SSL_write(ssl, request, (int)len) <= 0)
		return 0;
	for (;;) {
		int n = SSL_read(ssl, answer + have, (int)(answer_max - 1 - have));

		if (n <= 0)
			return 0;
		have += (size_t)n;
		answer[have] = '\0';
		if (want == 0 && (body = strstr(answer, "\r\n\r\n"))) {
			const char *length = strcasestr(answer, "\r\ncontent-length:");

			want = (size_t)(body + 4 - answer) + (length ? strtoul(length + 17, NULL, 10) : 0);
		}
		if (want && have >= want)
			break;
	}
	*answer_len = have;
	return atoi(answer + 9);
}

int
ask(SSL *ssl, const char *request, size_t len, char *answer, size_t *answer_len)
{
	return ask_into(ssl, request, len, answer, ANSWER_MAX, answer_len);
}

char *
member(const char *json, const char *name)
{
	char want[64], *out, *to;
	const char *at;

	snprintf(want, sizeof(want), "\"%s\":", name);
	at = strstr(json, want);
	if (!at)
		die("an answer lacks a member");
	at += strlen(want);
	while (*at == ' ' || *at == '"')
		at++;
	out = to = malloc(strlen(at) + 1);
	for (; *at && *at != '"'; at++) {
		if (at[0] == '\\' && at[1] == 'n') {
			*to++ = '\n';
			at++;
		} else {
			*to++ = *at;
		}
	}
	*to = '\0';
	return out;
}

void
make_agent(struct agent *a, SSL *delegator, char *answer)
{
	unsigned char *spki = NULL, *der = NULL, digest[32];
	char hex[65], body[2048], request[4096], *task;
	X509_REQ *csr = X509_REQ_new();
	size_t answer_len;
	int len, n, status;

	a->key = EVP_EC_gen("P-256");
	len = i2d_PUBKEY(a->key, &spki);
	EVP_Digest(spki, (size_t)len, digest, NULL, EVP_sha256(), NULL);
	OPENSSL_free(spki);
	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	snprintf(body, sizeof(body),
		 "{\"agent\":{\"class\":\"%s\",\"spki_sha256\":\"%s\"},\"scope\":[{\"actions\":[\"%s\"],\"resources\":["
		 "\"%s\"]}],"
		 "\"audience\":[\"%s\"],\"ends_in_s\":3600}",
		 target.agent_class, hex, target.action, target.resource, target.audience);
	n = snprintf(request, sizeof(request),
		     "POST /v1/tasks HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: "
		     "%zu\r\n\r\n%s",
		     strlen(body), body);
	status = ask(delegator, request, (size_t)n, answer, &answer_len);
	if (status != 201) {
		fprintf(stderr, "%s\n", answer);
		die("a task was not opened");
	}
	task = member(answer, "task");
	snprintf(a->task, sizeof(a->task), "%s", task);
	free(task);

	X509_REQ_set_pubkey(csr, a->key);
	X509_REQ_sign(csr, a->key, EVP_sha256());
	len = i2d_X509_REQ(csr, &der);
	a->request = malloc((size_t)len + 512);
	n = sprintf(a->request,
		    "POST /v1/tasks/%s/leaves HTTP/1.1\r\nHost: bench\r\nContent-Type: "
		    "application/pkcs10\r\nContent-Length: %d\r\n\r\n",
		    a->task, len);
	memcpy(a->request + n, der, (size_t)len);
	a->request_len = (size_t)(n + len);
	a->item = malloc(2 * (size_t)len + 256);
	n = sprintf(a->item, "{\"task\":\"%s\",\"csr\":\"", a->task);
	n += EVP_EncodeBlock((unsigned char *)a->item + n, der, len);
	strcpy(a->item + n, "\"}");
	OPENSSL_free(der);
	X509_REQ_free(csr);
}
