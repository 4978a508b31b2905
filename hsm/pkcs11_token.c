/*
 * The connection to a PKCS#11 token.  Invariants: pkcs11_token.h.
 */
#include "hsm/pkcs11_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/event.h"
#include "hsm/codes.h"

#define SLOTS_MAX 64

struct writ_err *
pkcs11_result(struct pkcs11 *p, CK_RV rv, const char *call)
{
	if (rv == CKR_OK)
		return NULL;
	switch (pkcs11_code_meaning(rv)) {
	case CODE_LATCH:
		return custody_latch(&p->base, writ_fail(WRIT_LOCKED, "%s: %s (0x%lx)", call, pkcs11_code_name(rv), rv));
	case CODE_NO_SUCH:
		return writ_fail(WRIT_INVALID, "this token does not do it: %s: %s (0x%lx)", call, pkcs11_code_name(rv),
				 rv);
	case CODE_FULL:
		return writ_fail(WRIT_EXHAUSTED, "%s: %s (0x%lx)", call, pkcs11_code_name(rv), rv);
	case CODE_DAMAGED:
		return writ_fail(WRIT_INVALID, "not an object of this token, or damaged: %s: %s (0x%lx)", call,
				 pkcs11_code_name(rv), rv);
	case CODE_BUSY:
		return writ_fail(WRIT_UNAVAILABLE, "the token broke off: %s: %s (0x%lx)", call, pkcs11_code_name(rv),
				 rv);
	case CODE_LOST:
		break;
	}
	p->stale = true;
	return writ_fail(WRIT_UNAVAILABLE, "%s: %s (0x%lx); a new session follows", call, pkcs11_code_name(rv), rv);
}

/* The module runs in our process with the PIN beside it: only root or we may have written it. */
static struct writ_err *
module_check(const char *path)
{
	struct stat st;

	if (!path || path[0] != '/')
		return writ_fail(WRIT_INVALID, "PKCS#11 module '%.80s': an absolute path is needed", path ? path : "");
	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return writ_fail(WRIT_INVALID, "PKCS#11 module '%.80s' is no file", path);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return writ_fail(WRIT_INVALID,
				 "PKCS#11 module '%.80s' is not owned by root or us alone: uid %u, mode %03o", path,
				 (unsigned)st.st_uid, (unsigned)(st.st_mode & 0777));
	return NULL;
}

/* Exactly one token matches, or none of them is used. */
static struct writ_err *
token_find(struct pkcs11 *p, CK_SLOT_ID *ret_slot, CK_TOKEN_INFO *ret_info)
{
	CK_SLOT_ID slots[SLOTS_MAX];
	CK_ULONG n = SLOTS_MAX;
	unsigned n_found = 0;
	struct writ_err *err;

	err = pkcs11_result(p, p->p11->C_GetSlotList(CK_TRUE, slots, &n), "C_GetSlotList");
	if (err)
		return err;
	for (CK_ULONG i = 0; i < n && i < SLOTS_MAX; i++) {
		CK_TOKEN_INFO info = { 0 };

		if (p->p11->C_GetTokenInfo(slots[i], &info) != CKR_OK || !p11_kit_uri_match_token_info(p->uri, &info))
			continue;
		if (p->seen && memcmp(info.serialNumber, p->token.serialNumber, sizeof(info.serialNumber)) != 0)
			continue; /* (3) */
		*ret_slot = slots[i];
		*ret_info = info;
		n_found++;
	}
	if (n_found == 0)
		return writ_fail(WRIT_UNAVAILABLE, "no token of the %lu present is the one that the URI names%s", n,
				 p->seen ? " and that we had before" : "");
	if (n_found > 1)
		return writ_fail(WRIT_INVALID, "%u tokens match the URI: add the serial of one", n_found);
	return NULL;
}

/* (2) */
static struct writ_err *
login(struct pkcs11 *p, const CK_TOKEN_INFO *info)
{
	CK_RV rv;

	if (info->flags & CKF_USER_PIN_LOCKED)
		return custody_latch(&p->base,
				     writ_fail(WRIT_LOCKED, "the token's user PIN is locked: no login is tried"));
	if (info->flags & CKF_USER_PIN_FINAL_TRY)
		return custody_latch(&p->base,
				     writ_fail(WRIT_LOCKED,
					       "one more wrong PIN would lock the token: no login is tried until "
					       "somebody logged in by hand"));
	if (info->flags & CKF_USER_PIN_COUNT_LOW)
		event(EVENT_WARN, "device.pin_count_low", EV_STR("token", p->info.serial));
	rv = p->p11->C_Login(p->session, CKU_USER, p->pin.data, p->pin.len);
	if (rv == CKR_USER_ALREADY_LOGGED_IN)
		rv = CKR_OK;
	return pkcs11_result(p, rv, "C_Login");
}

static void
describe(struct pkcs11 *p, CK_SLOT_ID slot, const CK_TOKEN_INFO *info)
{
	CK_MECHANISM_INFO gcm = { 0 };
	char version[16];
	CK_INFO module = { 0 };
	int n;

	custody_text(p->info.maker, (struct writ_bytes){ info->manufacturerID, sizeof(info->manufacturerID) });
	custody_text(p->info.model, (struct writ_bytes){ info->model, sizeof(info->model) });
	custody_text(p->info.serial, (struct writ_bytes){ info->serialNumber, sizeof(info->serialNumber) });
	n = snprintf(version, sizeof(version), "%u.%u", info->firmwareVersion.major, info->firmwareVersion.minor);
	custody_text(p->info.firmware, (struct writ_bytes){ (const uint8_t *)version, (size_t)n });
	/* Seen, never configured: by the token's maker or the module's. */
	p->p11->C_GetInfo(&module);
	p->info.software =
		memcmp(info->manufacturerID, "SoftHSM", 7) == 0 || memcmp(module.manufacturerID, "SoftHSM", 7) == 0;
	p->info.can_seal = p->p11->C_GetMechanismInfo(slot, CKM_AES_GCM, &gcm) == CKR_OK && (gcm.flags & CKF_ENCRYPT) &&
			   (gcm.flags & CKF_DECRYPT);
}

static struct writ_err *
start(struct pkcs11 *p)
{
	CK_TOKEN_INFO info = { 0 };
	CK_SLOT_ID slot = 0;
	struct writ_err *err;

	if (!p->p11) {
		err = module_check(p->conf.module);
		if (err)
			return err;
		p->p11 = p11_kit_module_load(p->conf.module, 0);
		if (!p->p11)
			return writ_fail(WRIT_INVALID, "PKCS#11 module '%.80s' does not load: %s", p->conf.module,
					 p11_kit_message() ? p11_kit_message() : "no reason given");
	}
	err = pkcs11_result(p, p11_kit_module_initialize(p->p11), "C_Initialize");
	if (err)
		return err;
	p->initialised = true;
	p->pid = getpid();
	err = token_find(p, &slot, &info);
	if (err)
		return err;
	describe(p, slot, &info);
	err = pkcs11_result(p,
			    p->p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &p->session),
			    "C_OpenSession");
	if (err)
		return err;
	p->open = true;
	p->generation++;
	err = login(p, &info);
	if (err)
		return err;
	p->token = info;
	p->seen = true;
	return NULL;
}

void
pkcs11_down(struct pkcs11 *p)
{
	if (p->open)
		p->p11->C_CloseSession(p->session); /* it may be gone already; C_Finalize ends the rest */
	if (p->initialised)
		p11_kit_module_finalize(p->p11);
	p->open = p->initialised = p->stale = false;
}

struct writ_err *
pkcs11_ready(struct pkcs11 *p)
{
	struct writ_err *err;

	if (p->initialised && p->pid != getpid()) /* (4) */
		return writ_fail(WRIT_BROKEN, "the process was forked after the PKCS#11 module was initialised");
	if (p->open && !p->stale)
		return NULL;
	pkcs11_down(p);
	err = start(p);
	if (err)
		pkcs11_down(p);
	return err;
}
