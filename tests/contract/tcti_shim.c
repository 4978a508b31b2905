/*
 * A TCTI before another one: drops, cuts, delays and alters what passes between the library and the TPM, as it is told
 * through a file (shim_order.h); and swaps the digest of TPM2_Sign, as somebody on the bus might.
 *
 * Its configuration is "ORDERFILE,TCTI": the file, and the TCTI that leads to the TPM.  Calls are command codes in hex,
 * "15d" is TPM2_Sign.  Faults: "rv" the TPM answers with that code; "drop" the answer is lost; "truncate" the answer
 * lacks that many bytes; "flip_command", "flip_answer" the lowest bit of the byte that far from the end is turned over;
 * "swap" another digest is signed; "delay" and "hang".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_tcti.h>
#include <tss2/tss2_tctildr.h>
#include <tss2/tss2_tpm2_types.h>

#include "tests/contract/shim_order.h"

#define MAGIC 0x5752495453484d31ULL
#define COMMAND_MAX 8192
#define HEADER 10

struct shim {
	TSS2_TCTI_CONTEXT_COMMON_V2 common;
	TSS2_TCTI_CONTEXT *inner;
	const char *fault; /* of the command under way */
	uint64_t value;
};

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool
is(const struct shim *shim, const char *fault)
{
	return shim->fault && strcmp(shim->fault, fault) == 0;
}

/* The digest is the first parameter: behind the header, the key's handle and the authorisations. */
static void
digest_swap(uint8_t *command, size_t size)
{
	const size_t at = HEADER + 4 + 4 + get32(command + HEADER + 4) + 2;

	for (size_t i = at; i < at + 32 && i < size; i++)
		command[i] ^= 0x5a;
}

static TSS2_RC
shim_transmit(TSS2_TCTI_CONTEXT *ctx, size_t size, const uint8_t *command)
{
	struct shim *const shim = (struct shim *)ctx;
	uint8_t copy[COMMAND_MAX];
	char code[16];

	if (size < HEADER || size > sizeof(copy))
		return TSS2_TCTI_RC_BAD_VALUE;
	snprintf(code, sizeof(code), "%x", get32(command + 6));
	shim->fault = shim_ordered(code, &shim->value);
	if (strcmp(code, "15d") == 0)
		shim_signed();
	if (is(shim, "rv"))
		return TSS2_RC_SUCCESS;
	memcpy(copy, command, size);
	if (is(shim, "flip_command") && shim->value <= size)
		copy[size - shim->value] ^= 1;
	if (is(shim, "swap"))
		digest_swap(copy, size);
	return Tss2_Tcti_Transmit(shim->inner, size, copy);
}

static TSS2_RC
code_answer(const struct shim *shim, size_t *size, uint8_t *answer)
{
	const uint8_t bytes[HEADER] = { 0x80,
					0x01,
					0,
					0,
					0,
					HEADER,
					(uint8_t)(shim->value >> 24),
					(uint8_t)(shim->value >> 16),
					(uint8_t)(shim->value >> 8),
					(uint8_t)shim->value };

	if (answer)
		memcpy(answer, bytes, sizeof(bytes));
	*size = sizeof(bytes);
	return TSS2_RC_SUCCESS;
}

/* A shorter answer, whose header says so. */
static void
cut(const struct shim *shim, size_t *size, uint8_t *answer)
{
	if (*size < HEADER + shim->value)
		return;
	*size -= shim->value;
	for (size_t i = 0; i < 4; i++)
		answer[2 + i] = (uint8_t)(*size >> (24 - 8 * i));
}

static TSS2_RC
shim_receive(TSS2_TCTI_CONTEXT *ctx, size_t *size, uint8_t *answer, int32_t timeout)
{
	struct shim *const shim = (struct shim *)ctx;
	TSS2_RC rc;

	if (is(shim, "rv"))
		return code_answer(shim, size, answer);
	rc = Tss2_Tcti_Receive(shim->inner, size, answer, timeout);
	if (rc != TSS2_RC_SUCCESS || !answer)
		return rc;
	if (is(shim, "drop"))
		return TSS2_TCTI_RC_IO_ERROR;
	if (is(shim, "truncate"))
		cut(shim, size, answer);
	if (is(shim, "flip_answer") && shim->value <= *size)
		answer[*size - shim->value] ^= 1;
	return rc;
}

static void
shim_finalize(TSS2_TCTI_CONTEXT *ctx)
{
	struct shim *const shim = (struct shim *)ctx;

	Tss2_TctiLdr_Finalize(&shim->inner);
}

static TSS2_RC
shim_cancel(TSS2_TCTI_CONTEXT *ctx)
{
	return Tss2_Tcti_Cancel(((struct shim *)ctx)->inner);
}

static TSS2_RC
shim_poll_handles(TSS2_TCTI_CONTEXT *ctx, TSS2_TCTI_POLL_HANDLE *handles, size_t *n)
{
	return Tss2_Tcti_GetPollHandles(((struct shim *)ctx)->inner, handles, n);
}

static TSS2_RC
shim_locality(TSS2_TCTI_CONTEXT *ctx, uint8_t locality)
{
	return Tss2_Tcti_SetLocality(((struct shim *)ctx)->inner, locality);
}

static TSS2_RC
shim_sticky(TSS2_TCTI_CONTEXT *ctx, TPM2_HANDLE *handle, uint8_t sticky)
{
	return Tss2_Tcti_MakeSticky(((struct shim *)ctx)->inner, handle, sticky);
}

static TSS2_RC
shim_init(TSS2_TCTI_CONTEXT *ctx, size_t *size, const char *config)
{
	const char *const comma = config ? strchr(config, ',') : NULL;
	struct shim *const shim = (struct shim *)ctx;
	char path[256];

	if (!comma || (size_t)(comma - config) >= sizeof(path))
		return TSS2_TCTI_RC_BAD_VALUE;
	if (!ctx) {
		*size = sizeof(*shim);
		return TSS2_RC_SUCCESS;
	}
	memcpy(path, config, (size_t)(comma - config));
	path[comma - config] = '\0';
	if (!shim_order_open(path))
		return TSS2_TCTI_RC_BAD_VALUE;
	memset(shim, 0, sizeof(*shim));
	shim->common.v1 = (TSS2_TCTI_CONTEXT_COMMON_V1){
		.magic = MAGIC,
		.version = 2,
		.transmit = shim_transmit,
		.receive = shim_receive,
		.finalize = shim_finalize,
		.cancel = shim_cancel,
		.getPollHandles = shim_poll_handles,
		.setLocality = shim_locality,
	};
	shim->common.makeSticky = shim_sticky;
	return Tss2_TctiLdr_Initialize(comma + 1, &shim->inner);
}

const TSS2_TCTI_INFO *Tss2_Tcti_Info(void);

const TSS2_TCTI_INFO *
Tss2_Tcti_Info(void)
{
	static const TSS2_TCTI_INFO info = { .version = 2,
					     .name = "tcti-writshim",
					     .description = "faults before another TCTI",
					     .config_help = "ORDERFILE,TCTI",
					     .init = shim_init };

	return &info;
}
