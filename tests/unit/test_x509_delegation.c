/* TaskDelegation and HopGrant: one encoding, and the rules E1 to E10 of delegation.md 3.3, each with its refusals. */
#include "tests/unit/x509_make.h"

#define IA5(text) make_element(DER_IA5, WRIT_LIT(text))
#define UTF8(text) make_element(DER_UTF8, WRIT_LIT(text))
#define TIME(text) make_element(DER_GENERALIZED_TIME, WRIT_LIT(text))
#define OCTETS(value, len) make_element(DER_OCTET_STRING, make_bytes((value), (len)))
#define NOTHING                                                                                                        \
	{                                                                                                              \
		0                                                                                                      \
	}

static struct writ_arena arena = { .limit = 64 * 1024 };

/* Something of everything. */
static struct delegation
everything(void)
{
	static const uint8_t net4[] = { 10, 1, 0, 0, 255, 255, 0, 0 };
	static const uint8_t net6[32] = { 0x20, 1, 0xd, 0xb8, [16] = 255, 255, 255, 255 };
	struct delegation d = make_delegation(3);
	struct entitlement *list = make_room(3 * sizeof(*list));
	struct writ_bytes *nets = make_room(2 * sizeof(*nets));

	nets[0] = BYTES(net4);
	nets[1] = BYTES(net6);
	list[0] = make_entitlement("invoices:*", ERP "/v2/invoices/**", DELEGABLE);
	list[0].constraints = CONSTRAINTS(param_max("limit", 100), param_max("offset", -9007199254740991),
					  param_in("currency", "CHF EUR"));
	list[1] = make_entitlement("files:read", "https://[2001:db8::1]:8443/a/%2A", LOCAL);
	list[2] = make_entitlement("a b c", ERP "/a " ERP "/b", LOCAL);
	list[2].constraints = CONSTRAINTS(window(NOW, NOW + 60));
	d.grant.n_entitlements = 3;
	d.grant.entitlements = list;
	d.grant.audience = make_texts(ERP " https://files.corp.example/**");
	d.grant.constraints = CONSTRAINTS({ .kind = CONSTRAINT_SOURCE_NET, .n_values = 2, .values = nets },
					  window(NOW - 60, NOW + 3600));
	d.parent_task = WRIT_LIT("quarter-3");
	d.context_type = WRIT_LIT("prompt-v1");
	d.context_digest = make_bytes(0x71, 32);
	d.attestation_type = WRIT_LIT("tpm2-quote");
	d.attestation_digest = make_bytes(0x72, 32);
	d.attestation_at = NOW - 5;
	return d;
}

static void
expect_same_again(struct writ_bytes der)
{
	struct writ_buf again = WRIT_BUF(DELEGATION_MAX);
	struct delegation d;

	writ_arena_clear(&arena);
	expect_ok(delegation_read(der, &arena, &d));
	expect_ok(delegation_write(&d, &again));
	expect_bytes(writ_view(&again), der);
	writ_buf_clear(&again);
	d.hops_der.len = 0; /* from the structures this time */
	expect_ok(delegation_write(&d, &again));
	expect_bytes(writ_view(&again), der);
	writ_buf_done(&again);
}

static void
what_is_written_is_read_and_written_again_byte_for_byte(void **state)
{
	struct delegation d = everything();

	(void)state;
	expect_same_again(make_delegation_der(&d));
	for (unsigned n = 1; n <= HOPS_MAX; n++) {
		d = make_delegation(n);
		expect_same_again(make_delegation_der(&d));
	}
	d = make_delegation(2);
	d.hops[0].kind = PRINCIPAL_SERVICE;
	d.hops[0].principal = WRIT_LIT(TD "/service/ci/build");
	d.hops[0].method = AUTH_MTLS_CERT;
	d.hops[0].authority = d.hops[0].acr = d.hops[0].grant = d.purpose = (struct writ_bytes){ 0 };
	d.hops[0].auth_time = 0;
	expect_same_again(make_delegation_der(&d));
}

static void
every_field_comes_back(void **state)
{
	const struct delegation want = everything();
	struct delegation d;

	(void)state;
	writ_arena_clear(&arena);
	expect_ok(delegation_read(make_delegation_der(&want), &arena, &d));
	expect_bytes(d.task_id, want.task_id);
	expect_bytes(d.purpose, want.purpose);
	expect_bytes(d.parent_task, want.parent_task);
	assert_int_equal(d.grant.n_entitlements, 3);
	assert_true(d.grant.entitlements[0].delegable);
	assert_false(d.grant.entitlements[1].delegable);
	assert_int_equal(d.grant.entitlements[0].constraints.n, 3);
	assert_int_equal(d.grant.entitlements[0].constraints.list[1].max, -9007199254740991);
	expect_bytes(d.grant.entitlements[0].constraints.list[2].values[1], WRIT_LIT("EUR"));
	expect_bytes(d.grant.entitlements[2].resources.list[1], WRIT_LIT(ERP "/b"));
	expect_bytes(d.grant.audience.list[1], WRIT_LIT("https://files.corp.example/**"));
	assert_int_equal(d.grant.constraints.list[0].kind, CONSTRAINT_SOURCE_NET);
	assert_int_equal(d.grant.constraints.list[0].values[1].len, 32);
	assert_int_equal(d.grant.constraints.list[1].not_after, NOW + 3600);
	assert_int_equal(d.n_hops, 3);
	for (size_t i = 0; i < 3; i++) {
		expect_bytes(d.hops[i].id, want.hops[i].id);
		expect_bytes(d.hops[i].principal, want.hops[i].principal);
		assert_int_equal(d.hops[i].kind, want.hops[i].kind);
		assert_int_equal(d.hops[i].method, want.hops[i].method);
		expect_bytes(d.hops[i].auth_digest, want.hops[i].auth_digest);
		expect_bytes(d.hops[i].authority, want.hops[i].authority);
		expect_bytes(d.hops[i].acr, want.hops[i].acr);
		assert_int_equal(d.hops[i].auth_time, want.hops[i].auth_time);
		assert_int_equal(d.hops[i].granted_at, want.hops[i].granted_at);
		assert_int_equal(d.hops[i].not_after, want.hops[i].not_after);
		assert_int_equal(d.hops[i].depth_remaining, want.hops[i].depth_remaining);
		expect_bytes(d.hops[i].scope_digest, want.hops[i].scope_digest);
		expect_bytes(d.hops[i].cert_sha256, want.hops[i].cert_sha256);
		expect_bytes(d.hops[i].cert_serial, want.hops[i].cert_serial);
		expect_bytes(d.hops[i].cert_issuer_key_id, want.hops[i].cert_issuer_key_id);
		expect_bytes(d.hops[i].grant, want.hops[i].grant);
	}
	expect_bytes(d.policy_id, want.policy_id);
	expect_bytes(d.policy_digest, want.policy_digest);
	expect_bytes(d.context_type, want.context_type);
	expect_bytes(d.context_digest, want.context_digest);
	expect_bytes(d.attestation_type, want.attestation_type);
	expect_bytes(d.attestation_digest, want.attestation_digest);
	assert_int_equal(d.attestation_at, want.attestation_at);
}

static void
each_changed_element_is_refused_by_its_rule(void **state)
{
	/* everything(): 0 version, 1 task, 2 scope, 3 audience, 4 hops, 5 policy, 6 constraints, 7 context, 8
	 * attestation */
	const struct delegation d = everything();
	const struct writ_bytes der = make_delegation_der(&d);
	const struct change changes[] = {
		/* E1: the encoding */
		{ "not a SEQUENCE", "", REPLACE, WRIT_LIT("\x31\x00"),
		  "E1: TaskDelegation: missing, misplaced or not DER" },
		{ "empty", "", REPLACE, WRIT_LIT("\x30\x00"), "E1: version: missing or not DER" },
		{ "N2: a BER length", "", REPLACE, WRIT_LIT("\x30\x81\x03\x02\x01\x01"),
		  "E1: TaskDelegation: missing, misplaced or not DER" },
		{ "N2: an indefinite length", "", REPLACE, WRIT_LIT("\x30\x80\x02\x01\x01\x00\x00"),
		  "E1: TaskDelegation: missing, misplaced or not DER" },
		{ "N3: a trailing byte", "", AFTER, WRIT_LIT("\0"),
		  "E1: TaskDelegation: 1 bytes more than the format has" },
		{ "N3: a trailing element inside", "8", AFTER, WRIT_LIT("\x05\x00"),
		  "E1: TaskDelegation: 2 bytes more than the format has" },
		{ "N4: delegable FALSE written out", "2.1.1", AFTER, WRIT_LIT("\x80\x01\x00"),
		  "E1: entitlement 2: delegable FALSE is written out: DER leaves a default out" },
		{ "delegable of 01", "2.0.2", REPLACE, WRIT_LIT("\x80\x01\x01"),
		  "E1: entitlement 1: delegable is not a BOOLEAN of 00 or FF" },
		{ "a version that is not minimal", "0", REPLACE, WRIT_LIT("\x02\x02\x00\x01"),
		  "E1: version: missing or not DER" },
		{ "no version", "0", REPLACE, NOTHING, "E1: version: missing or not DER" },
		{ "fields out of order", "5", REPLACE, WRIT_LIT("\xa0\x00"),
		  "E1: policy: missing, misplaced or not DER" },
		{ "no audience", "3", REPLACE, NOTHING, "E1: audience: missing, misplaced or not DER" },
		{ "task with something more", "1.2", AFTER, WRIT_LIT("\x82\x01x"),
		  "E1: task: 3 bytes more than the format has" },
		{ "purpose empty", "1.1", REPLACE, WRIT_LIT("\x80\x00"), "E1: task.purpose: empty" },
		{ "parent empty", "1.2", REPLACE, WRIT_LIT("\x81\x00"), "E1: task.parent: empty" },
		{ "a constructed string", "1.0", REPLACE, WRIT_LIT("\x36\x03\x16\x01x"),
		  "E1: task.id: missing, misplaced or not DER" },
		{ "scope empty", "2", REPLACE, WRIT_LIT("\x30\x00"),
		  "E1: scope: empty: a list has at least one element" },
		{ "actions empty", "2.0.0", REPLACE, WRIT_LIT("\x30\x00"),
		  "E1: entitlement 1: actions: empty: a list has at least one element" },
		{ "resources empty", "2.0.1", REPLACE, WRIT_LIT("\x30\x00"),
		  "E1: entitlement 1: resources: empty: a list has at least one element" },
		{ "audience empty", "3", REPLACE, WRIT_LIT("\x30\x00"),
		  "E1: audience: empty: a list has at least one element" },
		{ "hops empty", "4", REPLACE, WRIT_LIT("\x30\x00"), "E1: hops: 0 elements, 1 to 8 are allowed" },
		{ "an action as UTF8String", "2.0.0.0", REPLACE, UTF8("invoices:*"),
		  "E1: entitlement 1: actions: missing, misplaced or not DER" },
		{ "entitlement with something more", "2.1.1", AFTER, WRIT_LIT("\x05\x00"),
		  "E1: entitlement 2: the entitlement: 2 bytes more than the format has" },
		{ "constraints empty", "6", REPLACE, WRIT_LIT("\xa0\x00"),
		  "E1: constraints: empty: a list has at least one element" },
		{ "N17: a reserved constraint", "6.0", REPLACE, WRIT_LIT("\xa2\x03\x02\x01\x01"),
		  "E1: constraint 1: tag 0xa2 is no constraint of version 1: what we do not know, we deny" },
		{ "N17: an unknown constraint in an entitlement", "2.0.3.1", REPLACE, WRIT_LIT("\xa7\x00"),
		  "E1: entitlement 1, constraint 2: tag 0xa7 is no constraint of version 1: what we do not know, we "
		  "deny" },
		{ "a net of 4 octets", "6.0.0", REPLACE, WRIT_LIT("\x04\x04\x0a\x01\x00\x00"),
		  "E1: constraint 1: a sourceNet has 4 octets, 8 or 32 are wanted" },
		{ "nets empty", "6.0", REPLACE, WRIT_LIT("\xa0\x00"),
		  "E1: constraint 1: sourceNet: empty: a list has at least one element" },
		{ "values empty", "2.0.3.2.1", REPLACE, WRIT_LIT("\x30\x00"),
		  "E1: entitlement 1, constraint 3: paramIn.values: empty: a list has at least one element" },
		{ "a name empty", "2.0.3.2.0", REPLACE, WRIT_LIT("\x16\x00"),
		  "E1: entitlement 1, constraint 3: the name of paramIn has 0 octets, 1 to 64 are allowed" },
		{ "max over 2^53-1", "2.0.3.0.1", REPLACE, WRIT_LIT("\x02\x07\x20\x00\x00\x00\x00\x00\x00"),
		  "E1: entitlement 1, constraint 1: paramMax 9007199254740992 is beyond +-2^53-1" },
		{ "max below -2^53+1", "2.0.3.0.1", REPLACE, WRIT_LIT("\x02\x07\xe0\x00\x00\x00\x00\x00\x00"),
		  "E1: entitlement 1, constraint 1: paramMax -9007199254740992 is beyond +-2^53-1" },
		{ "max of 9 octets", "2.0.3.0.1", REPLACE, WRIT_LIT("\x02\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00"),
		  "E1: entitlement 1, constraint 1: paramMax.max is not an INTEGER of 8 octets at most" },
		{ "max not minimal", "2.0.3.0.1", REPLACE, WRIT_LIT("\x02\x02\x00\x64"),
		  "E1: entitlement 1, constraint 1: paramMax.max is not an INTEGER of 8 octets at most" },
		{ "an edge id of 15", "4.0.0", REPLACE, OCTETS(0xa0, 15),
		  "E1: hop 1: id has 15 octets, 16 are wanted" },
		{ "kind 3", "4.1.2", REPLACE, WRIT_LIT("\x0a\x01\x03"),
		  "E1: hop 2: kind: missing, not DER, or not in 0..2" },
		{ "kind as INTEGER", "4.1.2", REPLACE, WRIT_LIT("\x02\x01\x02"),
		  "E1: hop 2: kind: missing, not DER, or not in 0..2" },
		{ "method 4", "4.0.3.0", REPLACE, WRIT_LIT("\x0a\x01\x04"),
		  "E1: hop 1: auth.method: missing, not DER, or not in 0..3" },
		{ "a digest of 31", "4.0.3.1", REPLACE, OCTETS(0x10, 31),
		  "E1: hop 1: auth.digest has 31 octets, 32 are wanted" },
		{ "authority empty", "4.0.3.2", REPLACE, WRIT_LIT("\x80\x00"), "E1: hop 1: auth.authority: empty" },
		{ "acr empty", "4.0.3.4", REPLACE, WRIT_LIT("\x82\x00"), "E1: hop 1: auth.acr: empty" },
		{ "auth with something more", "4.0.3.4", AFTER, WRIT_LIT("\x83\x01x"),
		  "E1: hop 1: auth: 3 bytes more than the format has" },
		{ "depth 8", "4.0.6", REPLACE, WRIT_LIT("\x02\x01\x08"),
		  "E1: hop 1: depthRemaining: missing, not DER, or not in 0..7" },
		{ "depth -1", "4.0.6", REPLACE, WRIT_LIT("\x02\x01\xff"),
		  "E1: hop 1: depthRemaining: missing, not DER, or not in 0..7" },
		{ "depth 2^31", "4.0.6", REPLACE, WRIT_LIT("\x02\x05\x00\x80\x00\x00\x00"),
		  "E1: hop 1: depthRemaining: missing, not DER, or not in 0..7" },
		{ "a scope digest of 33", "4.0.7", REPLACE, OCTETS(0x20, 33),
		  "E1: hop 1: scopeDigest has 33 octets, 32 are wanted" },
		{ "a grant digest of 31", "4.0.8", REPLACE, make_element(0x81, make_bytes(1, 31)),
		  "E1: hop 1: grant has 31 octets, 32 are wanted" },
		{ "a grant digest of 0", "4.0.8", REPLACE, WRIT_LIT("\x81\x00"), "E1: hop 1: grant: empty" },
		{ "hop with something more", "4.0.8", AFTER, WRIT_LIT("\x05\x00"),
		  "E1: hop 1: the hop: 2 bytes more than the format has" },
		{ "cert.sha256 of 20", "4.1.8.0", REPLACE, OCTETS(0x41, 20),
		  "E1: hop 2: cert.sha256 has 20 octets, 32 are wanted" },
		{ "cert.sha256 of 0", "4.1.8.0", REPLACE, WRIT_LIT("\x04\x00"), "E1: hop 2: cert.sha256 is empty" },
		{ "a negative cert.serial", "4.1.8.1", REPLACE, WRIT_LIT("\x02\x01\x80"),
		  "E1: hop 2: cert.serial is not a positive INTEGER in DER" },
		{ "cert.serial of 0", "4.1.8.1", REPLACE, WRIT_LIT("\x02\x01\x00"),
		  "E1: hop 2: cert.serial is not positive" },
		{ "cert.serial of 21 octets", "4.1.8.1", REPLACE, make_element(DER_INTEGER, make_bytes(1, 21)),
		  "E1: hop 2: cert.serial has over 20 octets" },
		{ "cert.issuerKeyId of 19", "4.1.8.2", REPLACE, OCTETS(0x60, 19),
		  "E1: hop 2: cert.issuerKeyId has 19 octets, 20 are wanted" },
		{ "policy.digest of 31", "5.1", REPLACE, OCTETS(0x70, 31),
		  "E1: policy.digest has 31 octets, 32 are wanted" },
		{ "policy.id empty", "5.0", REPLACE, WRIT_LIT("\x16\x00"),
		  "E1: policy.id has 0 octets, 1 to 128 are allowed" },
		{ "context without digest", "7.1", REPLACE, NOTHING,
		  "E1: context.digest: missing, misplaced or not DER" },
		{ "context.type empty", "7.0", REPLACE, WRIT_LIT("\x16\x00"),
		  "E1: context.type has 0 octets, 1 to 128 are allowed" },
		{ "attestation without time", "8.2", REPLACE, NOTHING,
		  "E1: attestation.verifiedAt: missing or misplaced" },
		{ "attestation.type empty", "8.0", REPLACE, WRIT_LIT("\x16\x00"),
		  "E1: attestation.type has 0 octets, 1 to 64 are allowed" },
		/* E2: the version */
		{ "N5: version 2", "0", REPLACE, WRIT_LIT("\x02\x01\x02"),
		  "E2: version 2: this reader knows version 1 only" },
		{ "version 0", "0", REPLACE, WRIT_LIT("\x02\x01\x00"),
		  "E2: version 0: this reader knows version 1 only" },
		/* E4: characters, and names in canonical form */
		{ "a task id with a slash", "1.0", REPLACE, IA5("a/b"),
		  "E4: task id: task id 'a/b': only A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "a parent with a space", "1.2", REPLACE, WRIT_LIT("\x81\x03 ab"),
		  "E4: parent task: task id ' ab': only A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "N26: NUL in purpose", "1.1", REPLACE,
		  WRIT_LIT("\x80\x03"
			   "a\0b"),
		  "E4: purpose is not UTF-8, or has control or bidi characters" },
		{ "N26: a bidi control in purpose", "1.1", REPLACE,
		  WRIT_LIT("\x80\x05"
			   "a\xe2\x80\xae"
			   "b"),
		  "E4: purpose is not UTF-8, or has control or bidi characters" },
		{ "an escape in purpose", "1.1", REPLACE, WRIT_LIT("\x80\x03\x1b[1"),
		  "E4: purpose is not UTF-8, or has control or bidi characters" },
		{ "a C1 control in purpose", "1.1", REPLACE, WRIT_LIT("\x80\x02\xc2\x9b"),
		  "E4: purpose is not UTF-8, or has control or bidi characters" },
		{ "purpose not UTF-8", "1.1", REPLACE, WRIT_LIT("\x80\x02\xc0\x80"),
		  "E4: purpose is not UTF-8, or has control or bidi characters" },
		{ "a value with a newline", "2.0.3.2.1.0", REPLACE, UTF8("A\nB"),
		  "E4: entitlement 1, constraint 3: a value of paramIn is not UTF-8, or has control or bidi "
		  "characters" },
		{ "an action with a space", "2.1.0.0", REPLACE, IA5("files read"),
		  "E4: entitlement 2: an action has octet 0x20 at 5: only 0x21 to 0x7e may stand there" },
		{ "an action in upper case", "2.1.0.0", REPLACE, IA5("FILES"),
		  "E4: a name is not in the canonical form of delegation.md 4.1: entitlement 2, action 'FILES': only "
		  "lower-case a-z, 0-9, '_', '-', and ':' between" },
		{ "a bare star", "2.1.0.0", REPLACE, IA5("*"),
		  "E4: a name is not in the canonical form of delegation.md 4.1: entitlement 2, action '*': '*' stands "
		  "only at the end, after ':'" },
		{ "a resource with dots", "2.1.1.0", REPLACE, IA5("https://h/pay/../admin"),
		  "E4: a name is not in the canonical form of delegation.md 4.1: entitlement 2, resource "
		  "'https://h/pay/../admin': has a '.' or '..' segment" },
		{ "a resource with a default port", "3.0", REPLACE, IA5("https://erp.corp.example:443"),
		  "E4: a name is not in the canonical form of delegation.md 4.1: audience, resource "
		  "'https://erp.corp.example:443': port 443 is the default of https: leave it out" },
		{ "an empty name in a policy", "5.0", REPLACE, IA5("a b"),
		  "E4: policy.id has octet 0x20 at 1: only 0x21 to 0x7e may stand there" },
		{ "a principal in upper case", "4.0.1", REPLACE, IA5("SPIFFE://agents.corp.example/human/okta/1"),
		  "E4: hop 1: principal: SPIFFE ID 'SPIFFE://agents.corp.example/human/okta/1': does not begin with "
		  "spiffe://" },
		{ "a principal with userinfo", "4.0.1", REPLACE, IA5("spiffe://u@agents.corp.example/human/okta/1"),
		  "E4: hop 1: principal: SPIFFE ID 'spiffe://u@agents.corp.example/human/okta/1': trust domain "
		  "'u@agents.corp.example': only lower-case a-z, 0-9, '.', '_' and '-'" },
		{ "authority with DEL", "4.0.3.2", REPLACE,
		  WRIT_LIT("\x80\x02"
			   "a\x7f"),
		  "E4: hop 1: auth.authority has octet 0x7f at 1: only 0x21 to 0x7e may stand there" },
		/* E5: times */
		{ "N14: a fraction", "4.0.4", REPLACE, TIME("20261123205137.5Z"),
		  "E5: hop 1: grantedAt: not YYYYMMDDHHMMSSZ of a real date" },
		{ "N14: an offset", "4.0.4", REPLACE, TIME("20261123205137+0100"),
		  "E5: hop 1: grantedAt: not YYYYMMDDHHMMSSZ of a real date" },
		{ "N14: no seconds", "4.0.4", REPLACE, TIME("202611232051Z"),
		  "E5: hop 1: grantedAt: not YYYYMMDDHHMMSSZ of a real date" },
		{ "N15: 29 February 2027", "4.0.5", REPLACE, TIME("20270229000000Z"),
		  "E5: hop 1: notAfter: not YYYYMMDDHHMMSSZ of a real date" },
		{ "a leap second", "4.0.5", REPLACE, TIME("20261231235960Z"),
		  "E5: hop 1: notAfter: not YYYYMMDDHHMMSSZ of a real date" },
		{ "UTCTime", "4.0.5", REPLACE,
		  WRIT_LIT("\x17\x0d"
			   "261123205137Z"),
		  "E1: hop 1: notAfter: missing or misplaced" },
		{ "authTime 0", "4.0.3.3", REPLACE, make_element(0x81, WRIT_LIT("19700101000000Z")),
		  "E5: hop 1: auth.authTime is the first second of 1970, which stands for none" },
		{ "a window of other times", "6.1.0", REPLACE, TIME("20261323205137Z"),
		  "E5: constraint 2: window.notBefore: not YYYYMMDDHHMMSSZ of a real date" },
		{ "verifiedAt with a fraction", "8.2", REPLACE, TIME("20261123205137.0Z"),
		  "E5: attestation.verifiedAt: not YYYYMMDDHHMMSSZ of a real date" },
		/* E6: order */
		{ "N16: actions unsorted", "2.2.0", REPLACE,
		  make_element(DER_SEQUENCE, make_joined(IA5("b"), IA5("a"))),
		  "E6: entitlement 3: actions: element 2 sorts before element 1" },
		{ "N16: an action twice", "2.2.0", REPLACE, make_element(DER_SEQUENCE, make_joined(IA5("a"), IA5("a"))),
		  "E6: entitlement 3: actions: element 2 stands there twice" },
		{ "N16: resources unsorted", "2.2.1", REPLACE,
		  make_element(DER_SEQUENCE, make_joined(IA5(ERP "/b"), IA5(ERP "/a"))),
		  "E6: entitlement 3: resources: element 2 sorts before element 1" },
		{ "N16: audience unsorted", "3", REPLACE,
		  make_element(DER_SEQUENCE, make_joined(IA5("https://b"), IA5("https://a"))),
		  "E6: audience: element 2 sorts before element 1" },
		{ "N16: values unsorted", "2.0.3.2.1", REPLACE,
		  make_element(DER_SEQUENCE, make_joined(UTF8("EUR"), UTF8("CHF"))),
		  "E6: entitlement 1, constraint 3: paramIn: element 2 sorts before element 1" },
		{ "a longer value before its beginning", "2.0.3.2.1", REPLACE,
		  make_element(DER_SEQUENCE, make_joined(UTF8("EUR"), UTF8("EU"))),
		  "E6: entitlement 1, constraint 3: paramIn: element 2 sorts before element 1" },
		/* E7: who */
		{ "N7: hop 0 an agent", "4.0", REPLACE, NOTHING,
		  "E7: hop 1: the root is an agent: it must be a human or a service" },
		{ "N8: a later hop human", "4.1", REPLACE, element_at(der, "4.0"),
		  "E7: hop 2: a human can only be the root" },
		{ "N9: an agent without cert", "4.1.8", REPLACE, NOTHING,
		  "E7: hop 2: an agent's hop needs a certificate reference" },
		{ "a human with cert", "4.0.7", AFTER, element_at(der, "4.1.8"),
		  "E7: hop 1: a human has no certificate reference" },
		{ "N10: a hop id twice", "4.2.0", REPLACE, element_at(der, "4.0.0"),
		  "E7: hop 3: its id is that of hop 1" },
		{ "N10: a cert twice", "4.2.8.0", REPLACE, element_at(der, "4.1.8.0"),
		  "E7: hop 3: its certificate is that of hop 2" },
		{ "a kind that the URI denies", "4.0.1", REPLACE, IA5("spiffe://agents.corp.example/service/ci"),
		  "E7: hop 1: kind is human, but the principal is 'spiffe://agents.corp.example/service/ci'" },
		{ "a class of agents", "4.1.1", REPLACE, IA5("spiffe://agents.corp.example/agent/orchestrator"),
		  "E7: hop 2: the principal is a class of agents, not an agent: "
		  "'spiffe://agents.corp.example/agent/orchestrator'" },
		/* E8: along the chain */
		{ "N11: a hop ends later", "4.1.5", REPLACE, TIME("20261123215138Z"),
		  "E8: hop 2: ends 1 s after the hop before it" },
		{ "N12: depth does not fall", "4.1.6", REPLACE, WRIT_LIT("\x02\x01\x02"),
		  "E8: hop 2: depthRemaining is 2, it must be below the 2 of the hop before it" },
		{ "granted before the hop before", "4.1.4", REPLACE, TIME("20261123204136Z"),
		  "E8: hop 2: was granted 1 s before the hop before it" },
		/* E9: constraints */
		{ "two nets", "6.1", REPLACE, element_at(der, "6.0"),
		  "E9: constraint 2: a second one of the kind: the first is number 1" },
		{ "two windows", "6.0", REPLACE, element_at(der, "6.1"),
		  "E9: constraint 2: a second one of the kind: the first is number 1" },
		{ "two of one paramMax", "2.0.3.1", REPLACE, element_at(der, "2.0.3.0"),
		  "E9: entitlement 1, constraint 2: a second one of the kind and name: the first is number 1" },
		{ "two of one paramIn", "2.0.3.1", REPLACE, element_at(der, "2.0.3.2"),
		  "E9: entitlement 1, constraint 3: a second one of the kind and name: the first is number 2" },
		{ "a window that ends before it begins", "6.1.1", REPLACE, TIME("20251123205137Z"),
		  "E9: constraint 2: the window ends before it begins" },
		/* E10: nets */
		{ "N18: a mask with a hole", "6.0.0", REPLACE, WRIT_LIT("\x04\x08\x0a\x00\x00\x00\xff\x00\xff\x00"),
		  "E10: constraint 1: the mask of a sourceNet is not contiguous" },
		{ "N18: a mask with a hole in an octet", "6.0.0", REPLACE,
		  WRIT_LIT("\x04\x08\x0a\x01\x00\x00\xff\xfd\x00\x00"),
		  "E10: constraint 1: the mask of a sourceNet is not contiguous" },
		{ "host bits", "6.0.0", REPLACE, WRIT_LIT("\x04\x08\x0a\x01\x00\x01\xff\xff\x00\x00"),
		  "E10: constraint 1: a sourceNet has address bits outside its mask" },
	};
	unsigned breaches = 0;
	struct delegation ret;

	(void)state;
	for (size_t i = 0; i < N_OF(changes); i++) {
		writ_arena_clear(&arena);
		breaches += breach(
			changes[i].row,
			delegation_read(edited(der, changes[i].path, changes[i].edit, changes[i].with), &arena, &ret),
			changes[i].message);
	}
	assert_int_equal(breaches, 0);
}

/* `n` copies of what `element` gives for 0, 1, ... */
static struct writ_bytes
list_of(uint8_t tag, size_t n, struct writ_bytes (*element)(size_t))
{
	struct writ_bytes contents = { 0 };

	for (size_t i = 0; i < n; i++)
		contents = make_joined(contents, element(i));
	return make_element(tag, contents);
}

static struct writ_bytes
action_element(size_t i)
{
	char text[8];

	snprintf(text, sizeof(text), "a%02zu", i);
	return make_element(DER_IA5, writ_str(text));
}

static struct writ_bytes
resource_element(size_t i)
{
	char text[32];

	snprintf(text, sizeof(text), "https://h/%02zu", i);
	return make_element(DER_IA5, writ_str(text));
}

static struct writ_bytes
value_element(size_t i)
{
	char text[8];

	snprintf(text, sizeof(text), "v%02zu", i);
	return make_element(DER_UTF8, writ_str(text));
}

static struct writ_bytes
net_element(size_t i)
{
	uint8_t net[8] = { 10, (uint8_t)i, 0, 0, 255, 255, 0, 0 };

	return make_element(DER_OCTET_STRING, BYTES(net));
}

static struct writ_bytes
constraint_element(size_t i)
{
	return make_element(DER_CONTEXT_CONS(4), make_joined(action_element(i), WRIT_LIT("\x02\x01\x07")));
}

static struct writ_bytes
entitlement_element(size_t i)
{
	(void)i;
	return make_element(DER_SEQUENCE, make_joined(list_of(DER_SEQUENCE, 1, action_element),
						      list_of(DER_SEQUENCE, 1, resource_element)));
}

static struct writ_bytes
hop_element(size_t i)
{
	struct writ_buf buf = WRIT_BUF(1024);
	struct hop hop = make_hop((unsigned)i, 8);

	if (i >= 8) {
		hop = make_hop(7, 8);
		hop.id = make_bytes(0xee, EDGE_ID);
		hop.cert_sha256 = make_bytes(0xee, 32);
	}
	expect_ok(hop_write(&hop, &buf));
	return make_keep(&buf);
}

static void
each_list_and_text_is_taken_at_its_limit_and_refused_one_over(void **state)
{
	const struct delegation d = everything();
	const struct writ_bytes der = make_delegation_der(&d);
	const struct {
		const char *row, *path;
		struct writ_bytes at_limit, over;
		const char *message;
	} rows[] = {
		{ "actions", "2.0.0", list_of(DER_SEQUENCE, 16, action_element),
		  list_of(DER_SEQUENCE, 17, action_element), "E1: entitlement 1: actions: more than 16 elements" },
		{ "resources", "2.0.1", list_of(DER_SEQUENCE, 16, resource_element),
		  list_of(DER_SEQUENCE, 17, resource_element), "E1: entitlement 1: resources: more than 16 elements" },
		{ "audience", "3", list_of(DER_SEQUENCE, 16, resource_element),
		  list_of(DER_SEQUENCE, 17, resource_element), "E1: audience: more than 16 elements" },
		{ "entitlements", "2", list_of(DER_SEQUENCE, 32, entitlement_element),
		  list_of(DER_SEQUENCE, 33, entitlement_element), "E1: scope: more than 32 elements" },
		{ "constraints at the top", "6", list_of(0xa0, 16, constraint_element),
		  list_of(0xa0, 17, constraint_element), "E1: constraints: more than 16 elements" },
		{ "constraints of an entitlement", "2.0.3", list_of(0xa1, 16, constraint_element),
		  list_of(0xa1, 17, constraint_element), "E1: entitlement 1: constraints: more than 16 elements" },
		{ "values", "2.0.3.2.1", list_of(DER_SEQUENCE, 16, value_element),
		  list_of(DER_SEQUENCE, 17, value_element),
		  "E1: entitlement 1, constraint 3: paramIn.values: more than 16 elements" },
		{ "nets", "6.0", list_of(0xa0, 16, net_element), list_of(0xa0, 17, net_element),
		  "E1: constraint 1: sourceNet: more than 16 elements" },
		{ "N6: hops", "4", list_of(DER_SEQUENCE, 8, hop_element), list_of(DER_SEQUENCE, 9, hop_element),
		  "E1: hop 9: a delegation has at most 8 hops" },
		{ "purpose", "1.1", make_element(0x80, make_bytes('p', 256)), make_element(0x80, make_bytes('p', 257)),
		  "E1: purpose has 257 octets, 1 to 256 are allowed" },
		{ "task id", "1.0", make_element(DER_IA5, make_bytes('t', 59)),
		  make_element(DER_IA5, make_bytes('t', 60)),
		  "E4: task id: task id 'tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt' has 60 octets, "
		  "at most 59" },
		{ "parent task", "1.2", make_element(0x81, make_bytes('t', 59)),
		  make_element(0x81, make_bytes('t', 60)),
		  "E4: parent task: task id 'tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt' has 60 "
		  "octets, at most 59" },
		{ "an action", "2.1.0.0", make_element(DER_IA5, make_bytes('a', 128)),
		  make_element(DER_IA5, make_bytes('a', 129)),
		  "E1: entitlement 2: an action has 129 octets, 1 to 128 are allowed" },
		{ "a resource", "2.1.1.0",
		  make_element(DER_IA5, make_joined(WRIT_LIT("https://h/"), make_bytes('r', 502))),
		  make_element(DER_IA5, make_joined(WRIT_LIT("https://h/"), make_bytes('r', 503))),
		  "E1: entitlement 2: a resource has 513 octets, 1 to 512 are allowed" },
		{ "a principal", "4.0.1",
		  make_element(DER_IA5, make_joined(WRIT_LIT("spiffe://td.example/human/okta/"), make_bytes('h', 481))),
		  make_element(DER_IA5, make_joined(WRIT_LIT("spiffe://td.example/human/okta/"), make_bytes('h', 482))),
		  "E1: hop 1: principal has 513 octets, 1 to 512 are allowed" },
		{ "an authority", "4.0.3.2", make_element(0x80, make_bytes('a', 256)),
		  make_element(0x80, make_bytes('a', 257)),
		  "E1: hop 1: auth.authority has 257 octets, 1 to 256 are allowed" },
		{ "an acr", "4.0.3.4", make_element(0x82, make_bytes('a', 128)),
		  make_element(0x82, make_bytes('a', 129)),
		  "E1: hop 1: auth.acr has 129 octets, 1 to 128 are allowed" },
		{ "a parameter's name", "2.0.3.0.0", make_element(DER_IA5, make_bytes('n', 64)),
		  make_element(DER_IA5, make_bytes('n', 65)),
		  "E1: entitlement 1, constraint 1: the name of paramMax has 65 octets, 1 to 64 are allowed" },
		{ "a parameter's value", "2.0.3.2.1.1", make_element(DER_UTF8, make_bytes('v', 256)),
		  make_element(DER_UTF8, make_bytes('v', 257)),
		  "E1: entitlement 1, constraint 3: a value of paramIn has 257 octets, 0 to 256 are allowed" },
		{ "a policy id", "5.0", make_element(DER_IA5, make_bytes('p', 128)),
		  make_element(DER_IA5, make_bytes('p', 129)), "E1: policy.id has 129 octets, 1 to 128 are allowed" },
		{ "a context type", "7.0", make_element(DER_IA5, make_bytes('c', 128)),
		  make_element(DER_IA5, make_bytes('c', 129)),
		  "E1: context.type has 129 octets, 1 to 128 are allowed" },
		{ "an attestation type", "8.0", make_element(DER_IA5, make_bytes('a', 64)),
		  make_element(DER_IA5, make_bytes('a', 65)),
		  "E1: attestation.type has 65 octets, 1 to 64 are allowed" },
		{ "a certificate's serial", "4.1.8.1", make_element(DER_INTEGER, make_bytes(1, 20)),
		  make_element(DER_INTEGER, make_joined(WRIT_LIT("\0"), make_bytes(0x80, 20))),
		  "E1: hop 2: cert.serial has over 20 octets" },
	};
	unsigned breaches = 0;
	struct delegation ret;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		expect_same_again(edited(der, rows[i].path, REPLACE, rows[i].at_limit));
		writ_arena_clear(&arena);
		breaches += breach(rows[i].row,
				   delegation_read(edited(der, rows[i].path, REPLACE, rows[i].over), &arena, &ret),
				   rows[i].message);
	}
	assert_int_equal(breaches, 0);
}

/* A delegation of exactly `len` bytes: an audience of long names, the last as long as is needed. */
static struct writ_bytes
of_length(size_t len)
{
	const struct delegation d = make_delegation(8);
	const struct writ_bytes der = make_delegation_der(&d);
	struct writ_bytes list = { 0 };

	for (unsigned n = 0; n < AUDIENCE_MAX; n++) {
		struct writ_bytes name = { 0 }, whole = { 0 };
		char host[32];

		snprintf(host, sizeof(host), "https://h%02u/", n);
		for (size_t pad = 1; pad <= 500; pad += whole.len && whole.len + 500 < len ? 499 : 1) {
			name = make_element(DER_IA5, make_joined(writ_str(host), make_bytes('x', pad)));
			whole = edited(der, "3", REPLACE, make_element(DER_SEQUENCE, make_joined(list, name)));
			if (whole.len == len)
				return whole;
		}
		list = make_joined(list, name);
	}
	fail_msg("no delegation of %zu bytes", len);
	return der;
}

static void
eight_hops_in_8192_bytes_are_read_and_8193_bytes_are_not(void **state)
{
	const struct writ_bytes largest = of_length(DELEGATION_MAX), over = of_length(DELEGATION_MAX + 1);
	struct writ_buf buf = WRIT_BUF(2 * DELEGATION_MAX);
	struct texts longer;
	struct delegation d;

	(void)state;
	assert_int_equal(largest.len, DELEGATION_MAX);
	assert_int_equal(over.len, DELEGATION_MAX + 1);
	expect_same_again(largest);
	writ_arena_clear(&arena);
	expect_refused(delegation_read(over, &arena, &d), WRIT_INVALID,
		       "E1: TaskDelegation has 8193 bytes, the limit is 8192");

	/* The writer stops at the same byte. */
	writ_arena_clear(&arena);
	expect_ok(delegation_read(largest, &arena, &d));
	longer = d.grant.audience;
	((struct writ_bytes *)(uintptr_t)longer.list)[longer.n - 1] =
		make_joined(longer.list[longer.n - 1], WRIT_LIT("x"));
	expect_refused(delegation_write(&d, &buf), WRIT_INVALID,
		       "E1: TaskDelegation has 8193 bytes, the limit is 8192");
	writ_buf_done(&buf);
}

static void
no_prefix_of_a_delegation_is_a_delegation(void **state)
{
	const struct delegation d = everything();
	const struct writ_bytes der = make_delegation_der(&d);
	struct delegation ret;

	(void)state;
	for (size_t len = 0; len < der.len; len++) {
		writ_arena_clear(&arena);
		expect_refused(delegation_read((struct writ_bytes){ der.data, len }, &arena, &ret), WRIT_INVALID,
			       "E1: TaskDelegation: missing, misplaced or not DER");
	}
}

static void
length_bombs_take_no_memory(void **state)
{
	static const struct {
		const char *row;
		struct writ_bytes der;
	} rows[] = {
#define OCTETS_OF(s) { (const uint8_t *)(s), sizeof(s) - 1 }
		{ "4 GiB", OCTETS_OF("\x30\x84\xff\xff\xff\xff\x02\x01\x01") },
		{ "2^64", OCTETS_OF("\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff\x02\x01\x01") },
		{ "a length of 126 octets", OCTETS_OF("\x30\xfe\x01\x01\x01\x01") },
	};
	struct writ_arena none = WRIT_ARENA(0);
	struct delegation d;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		assert_int_equal(breach(rows[i].row, delegation_read(rows[i].der, &none, &d),
					"E1: TaskDelegation: missing, misplaced or not DER"),
				 0);
	writ_arena_done(&none);
}

static void
an_arena_too_small_is_exhausted_not_invalid(void **state)
{
	const struct delegation d = everything();
	struct writ_arena small = WRIT_ARENA(64);
	struct delegation ret;

	(void)state;
	expect_refused(delegation_read(make_delegation_der(&d), &small, &ret), WRIT_EXHAUSTED,
		       "delegation: no memory for its lists, the limit is 64 bytes");
	writ_arena_done(&small);
}

static void
the_fullest_delegation_fits_an_arena_of_64_kib(void **state)
{
	/* Constraints cost most memory a byte: 32 entitlements with as many as fit 8192 bytes, hop by hop. */
	struct delegation d = make_delegation(1);
	struct entitlement *list = make_room(32 * sizeof(*list));
	struct constraint *constraints = make_room(16 * sizeof(*constraints));
	struct writ_buf buf = WRIT_BUF(DELEGATION_MAX);
	size_t n;

	(void)state;
	for (size_t i = 0; i < 16; i++) {
		char *name = make_room(2);

		name[0] = (char)('a' + i);
		constraints[i] = param_max(name, 1);
	}
	for (n = 0; n < 32; n++) {
		list[n] = make_entitlement("a b c d e f g", "x://a x://b x://c x://d", LOCAL);
		list[n].constraints = (struct constraints){ 16, constraints };
	}
	d.grant.entitlements = list;
	d.grant.constraints = (struct constraints){ 16, constraints };
	for (d.grant.n_entitlements = 32;; d.grant.n_entitlements--) {
		struct writ_err *err = delegation_write(&d, &buf);

		if (!err)
			break;
		writ_err_free(err);
		writ_buf_clear(&buf);
	}
	assert_true(d.grant.n_entitlements > 20);
	expect_same_again(writ_view(&buf));
	writ_buf_done(&buf);
}

static void
the_writer_writes_nothing_that_the_reader_would_refuse(void **state)
{
	struct writ_buf buf = WRIT_BUF(DELEGATION_MAX);
	struct delegation d;
	unsigned breaches = 0;

	(void)state;
	d = make_delegation(2);
	d.task_id = WRIT_LIT("");
	breaches += breach("no task id", delegation_write(&d, &buf), "E4: task id: task id is empty");
	d = make_delegation(2);
	d.n_hops = 0;
	breaches += breach("no hops", delegation_write(&d, &buf), "E1: hops: 0 elements, 1 to 8 are allowed");
	d = make_delegation(2);
	d.hops[1].depth_remaining = 1;
	breaches += breach("depth does not fall", delegation_write(&d, &buf),
			   "E8: hop 2: depthRemaining is 1, it must be below the 1 of the hop before it");
	d = make_delegation(2);
	d.hops[0].granted_at = -1;
	breaches += breach("a time before 1970", delegation_write(&d, &buf),
			   "E5: hop 1: a time lies before 1970 or after 9999");
	d = make_delegation(2);
	d.hops[1].method = (enum auth_method)7;
	breaches += breach("an unknown method", delegation_write(&d, &buf),
			   "E1: hop 2: auth method 7 is not one of version 1");
	d = make_delegation(2);
	d.hops[1].kind = (enum principal_kind)9;
	breaches += breach("an unknown kind", delegation_write(&d, &buf),
			   "E1: hop 2: principal kind 9 is not one of version 1");
	d = make_delegation(2);
	d.grant.audience.n = 0;
	breaches += breach("no audience", delegation_write(&d, &buf), "E1: audience: 0 elements, 1 to 16 are allowed");
	d = make_delegation(2);
	d.grant.constraints = CONSTRAINTS({ .kind = (enum constraint_kind)2 });
	breaches += breach("an unknown constraint", delegation_write(&d, &buf),
			   "E1: constraint 1: constraint [2] is not one of version 1");
	d = make_delegation(2);
	d.context_digest = make_bytes(1, 32);
	breaches += breach("a context without a type", delegation_write(&d, &buf),
			   "E1: context.type has 0 octets, 1 to 128 are allowed");
	d = make_delegation(2);
	d.hops_der = make_joined(hop_element(0), hop_element(0));
	breaches += breach("encoded hops that break a rule", delegation_write(&d, &buf),
			   "E7: hop 2: a human can only be the root");
	d = make_delegation(2);
	d.hops_der = WRIT_LIT("\x30\x00");
	breaches += breach("encoded hops that are none", delegation_write(&d, &buf),
			   "E1: hop 1: id: missing, misplaced or not DER");
	assert_int_equal(breaches, 0);
	assert_int_equal(buf.len, 0);
	writ_buf_done(&buf);
}

static void
a_child_carries_its_parents_hops_byte_for_byte_and_one_more(void **state)
{
	const struct delegation parent = make_delegation(2);
	const struct writ_bytes parent_der = make_delegation_der(&parent);
	struct writ_buf hops = WRIT_BUF(DELEGATION_MAX);
	struct delegation read, child = make_delegation(1);
	struct hop next = make_hop(2, 3);

	(void)state;
	writ_arena_clear(&arena);
	expect_ok(delegation_read(parent_der, &arena, &read));
	child.hops_der = read.hops_der;
	expect_bytes(element_at(make_delegation_der(&child), "4"), element_at(parent_der, "4")); /* P12: a renewal */

	expect_ok(writ_buf_add(&hops, read.hops_der));
	next.depth_remaining = 0;
	expect_ok(hop_write(&next, &hops));
	child.hops_der = writ_view(&hops);
	expect_refused(delegation_write(&child, &(struct writ_buf){ .limit = DELEGATION_MAX }), WRIT_INVALID,
		       "E8: hop 3: depthRemaining is 0, it must be below the 0 of the hop before it");
	writ_buf_done(&hops);
}

static void
a_certificate_may_end_with_its_last_hop_and_not_a_second_later(void **state)
{
	const struct delegation d = make_delegation(3);

	(void)state;
	expect_ok(delegation_check_validity(&d, NOW + 3598));
	expect_refused(delegation_check_validity(&d, NOW + 3599), WRIT_INVALID,
		       "E8: hop 3: the certificate ends 1 s after its last hop"); /* N13 */
}

static void
a_hop_grant_is_read_as_written_and_its_limits_hold(void **state)
{
	const struct delegation d = everything();
	struct writ_buf buf = WRIT_BUF(HOP_GRANT_MAX), again = WRIT_BUF(HOP_GRANT_MAX);
	unsigned breaches = 0;
	struct grant grant;

	(void)state;
	expect_ok(hop_grant_write(&d.grant, &buf));
	writ_arena_clear(&arena);
	expect_ok(hop_grant_read(writ_view(&buf), &arena, &grant));
	expect_ok(hop_grant_write(&grant, &again));
	expect_bytes(writ_view(&again), writ_view(&buf));

	breaches +=
		breach("a trailing byte", hop_grant_read(make_joined(writ_view(&buf), WRIT_LIT("\0")), &arena, &grant),
		       "E1: HopGrant: 1 bytes more than the format has");
	breaches += breach("a fourth element",
			   hop_grant_read(edited(writ_view(&buf), "2", AFTER, WRIT_LIT("\x05\x00")), &arena, &grant),
			   "E1: HopGrant: 2 bytes more than the format has");
	breaches +=
		breach("no audience at all",
		       hop_grant_read(edited(writ_view(&buf), "1", REPLACE, (struct writ_bytes){ 0 }), &arena, &grant),
		       "E1: audience: missing, misplaced or not DER");
	breaches += breach(
		"an unsorted audience",
		hop_grant_read(edited(writ_view(&buf), "1", REPLACE,
				      make_element(DER_SEQUENCE, make_joined(IA5("https://b"), IA5("https://a")))),
			       &arena, &grant),
		"E6: audience: element 2 sorts before element 1");
	breaches += breach("too long", hop_grant_read(make_bytes('0', HOP_GRANT_MAX + 1), &arena, &grant),
			   "E1: HopGrant has 16385 bytes, the limit is 16384");
	assert_int_equal(breaches, 0);
	writ_buf_done(&buf);
	writ_buf_done(&again);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_and_written_again_byte_for_byte),
		cmocka_unit_test(every_field_comes_back),
		cmocka_unit_test(each_changed_element_is_refused_by_its_rule),
		cmocka_unit_test(each_list_and_text_is_taken_at_its_limit_and_refused_one_over),
		cmocka_unit_test(eight_hops_in_8192_bytes_are_read_and_8193_bytes_are_not),
		cmocka_unit_test(no_prefix_of_a_delegation_is_a_delegation),
		cmocka_unit_test(length_bombs_take_no_memory),
		cmocka_unit_test(an_arena_too_small_is_exhausted_not_invalid),
		cmocka_unit_test(the_fullest_delegation_fits_an_arena_of_64_kib),
		cmocka_unit_test(the_writer_writes_nothing_that_the_reader_would_refuse),
		cmocka_unit_test(a_child_carries_its_parents_hops_byte_for_byte_and_one_more),
		cmocka_unit_test(a_certificate_may_end_with_its_last_hop_and_not_a_second_later),
		cmocka_unit_test(a_hop_grant_is_read_as_written_and_its_limits_hold),
	};
	const int failed = cmocka_run_group_tests(tests, NULL, NULL);

	writ_arena_done(&arena);
	return failed;
}
