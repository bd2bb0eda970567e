// The part of PKCS #11 that Gatehouse uses, behind own declarations only: no header of the standard reaches Swift, whose macros with casts Swift could not
// import anyway.
//
// The section names are those of PKCS #11 Cryptographic Token Interface Base Specification 2.40. Every function may block for as long as the module likes.
// Every function that returns unsigned long answers 0 (CKR_OK) or the module's own return value (CKR_…), or one of the three of ours below.
#ifndef GATEHOUSE_PKCS11_H
#define GATEHOUSE_PKCS11_H

#include <stddef.h>
#include <stdint.h>

/// A loaded module. It is never unloaded: modules leave threads and handlers behind.
typedef struct gatehouse_pkcs11 gatehouse_pkcs11;

/// Answers of this shim, in the standard's range for vendors (CKR_VENDOR_DEFINED), where no module of ours knows any.
enum {
  GATEHOUSE_PKCS11_NO_TOKEN = 0xc6a70001,   ///< no slot holds a token of this name
  GATEHOUSE_PKCS11_TWO_TOKENS = 0xc6a70002, ///< more than one does
  GATEHOUSE_PKCS11_ODD = 0xc6a70003,        ///< the module's answer contradicts the standard
};

/// What kind of answer a return value is.
enum {
  GATEHOUSE_PKCS11_DONE = 0,
  GATEHOUSE_PKCS11_LOST = 1,    ///< module, token or session cannot be used any more, or the value is unknown: open everything anew
  GATEHOUSE_PKCS11_REFUSED = 2, ///< the token does not do what was asked, and will not do it the next time
  GATEHOUSE_PKCS11_PIN = 3,     ///< the PIN is wrong, locked or expired: to be tried again only with another one
  GATEHOUSE_PKCS11_HANDLE = 4,  ///< the object is not there any more: find it anew
};
int gatehouse_pkcs11_meaning(unsigned long answer);

/// The standard's name of a return value, such as `CKR_DEVICE_REMOVED`; NULL for those that are not met here.
const char *gatehouse_pkcs11_name(unsigned long answer);

/// Loads the shared library. NULL where it cannot be loaded, or is no PKCS #11 module; then `problem` holds a text that ends with NUL.
gatehouse_pkcs11 *gatehouse_pkcs11_load(const char *path, char *problem, size_t room);

/// C_Initialize, for many threads with the system's locks. A module that runs already is taken as it is.
unsigned long gatehouse_pkcs11_start(gatehouse_pkcs11 *module);

/// C_Finalize. No other call of this module may be under way.
void gatehouse_pkcs11_stop(gatehouse_pkcs11 *module);

/// The slot of the one token with this label, or with this serial number where no label is so. `flags` becomes the token's (CKF_…).
unsigned long gatehouse_pkcs11_find_token(gatehouse_pkcs11 *module, const char *name, unsigned long *slot, unsigned long *flags);

/// Whether the user's PIN is locked, or has one try left before it is.
int gatehouse_pkcs11_pin_is_locked(unsigned long flags);
int gatehouse_pkcs11_pin_has_one_try(unsigned long flags);

/// C_OpenSession for reading and writing.
unsigned long gatehouse_pkcs11_open(gatehouse_pkcs11 *module, unsigned long slot, unsigned long *session);
void gatehouse_pkcs11_close(gatehouse_pkcs11 *module, unsigned long session);

/// C_Login as the user, for all sessions of this process. Who is logged in already is done.
unsigned long gatehouse_pkcs11_log_in(gatehouse_pkcs11 *module, unsigned long session, const uint8_t *pin, size_t length);

/// Whether token and session are still there and logged in: 0 or the reason.
unsigned long gatehouse_pkcs11_probe(gatehouse_pkcs11 *module, unsigned long slot, unsigned long session);

/// Makes a key pair in the token under one CKA_ID and label: an RSA pair of `bits` with exponent 65537, or where `bits` is 0 one of the curve whose OBJECT
/// IDENTIFIER stands in `curve` in DER. The private key signs and does nothing else, is sensitive and not extractable.
unsigned long gatehouse_pkcs11_generate(
    gatehouse_pkcs11 *module, unsigned long session, unsigned bits, const uint8_t *curve, size_t curve_length, const uint8_t *id, size_t id_length,
    const char *label, unsigned long *public_key, unsigned long *private_key);

/// The private (or public) key with this CKA_ID; `found` becomes 0 where there is none.
unsigned long gatehouse_pkcs11_find_key(
    gatehouse_pkcs11 *module, unsigned long session, int private_key, const uint8_t *id, size_t id_length, unsigned long *found);

/// Whether a private key can never leave the token: it says so (CKA_SENSITIVE, not CKA_EXTRACTABLE), and does not give the private number away.
int gatehouse_pkcs11_stays(gatehouse_pkcs11 *module, unsigned long session, unsigned long key);

/// What is read of a public key.
enum { GATEHOUSE_PKCS11_MODULUS = 1, GATEHOUSE_PKCS11_EXPONENT = 2, GATEHOUSE_PKCS11_POINT = 3 };

/// One attribute of a key. `length` holds the room and then what was used.
unsigned long gatehouse_pkcs11_read(
    gatehouse_pkcs11 *module, unsigned long session, unsigned long key, int attribute, uint8_t *out, size_t *length);

/// Signs with CKM_RSA_PKCS (bytes is a DigestInfo) or CKM_ECDSA (bytes is a digest; the answer is r||s). `length` holds the room and then what was used.
unsigned long gatehouse_pkcs11_sign(
    gatehouse_pkcs11 *module, unsigned long session, unsigned long key, int is_rsa, const uint8_t *bytes, size_t count, uint8_t *out, size_t *length);

/// C_DestroyObject.
unsigned long gatehouse_pkcs11_destroy(gatehouse_pkcs11 *module, unsigned long session, unsigned long object);

#endif
