/*
 * What a device's return codes mean: each is judged here, once, and nowhere else.
 *
 * A backend turns a meaning into an error and acts on it (tpm2_result(), pkcs11_result()); what is not in a table means
 * CODE_LOST, the careful answer: everything is made anew before the device is asked again, and nothing is refused for
 * good.  Sources: TPM 2.0 Part 2, 6.6; PKCS#11 3.0, 5.1; and what the devices were seen to answer.
 * Thread-safe: no state.
 */
#ifndef WRIT_HSM_CODES_H
#define WRIT_HSM_CODES_H

#include <stdint.h>

enum code_meaning {
	CODE_LOST,  /* context, session or handles are gone, or the device is: WRIT_UNAVAILABLE, and all is made anew */
	CODE_BUSY,  /* nothing is lost: WRIT_UNAVAILABLE, asked again a few times */
	CODE_LATCH, /* authentication, policy, a broken device, an altered answer: WRIT_LOCKED, never asked again (I12)
		     */
	CODE_DAMAGED, /* not an object of this device, or damaged: WRIT_INVALID */
	CODE_NO_SUCH, /* an algorithm or attribute that this device lacks: WRIT_INVALID */
	CODE_FULL,    /* memory or sessions of the device ran out: WRIT_EXHAUSTED */
};

/* Of a TSS2_RC that is no success: any layer, any parameter, handle or session. */
enum code_meaning tpm2_code_meaning(uint32_t rc);

/* Of a CK_RV that is not CKR_OK. */
enum code_meaning pkcs11_code_meaning(unsigned long rv);

/* "CKR_PIN_INCORRECT" and so on; "CKR" for codes that no table has. */
const char *pkcs11_code_name(unsigned long rv);

#endif
