// The part of OpenSSL's libcrypto that Gatehouse uses, behind own declarations only: no header of OpenSSL reaches Swift, whose module would
// otherwise also export the C library's names.
//
// Every function that returns int answers 1 for "done" or "holds" and 0 for everything else. OpenSSL's -1 never leaves this file, and neither does
// its queue of errors: it is empty when a function returns.
#ifndef GATEHOUSE_OPENSSL_H
#define GATEHOUSE_OPENSSL_H

#include <stddef.h>
#include <stdint.h>

/// A private or public key.
typedef struct gatehouse_key gatehouse_key;

/// What kind of key it is; everything else is not used here.
enum { GATEHOUSE_KEY_OTHER = 0, GATEHOUSE_KEY_RSA = 1, GATEHOUSE_KEY_P256 = 2, GATEHOUSE_KEY_P384 = 3 };

/// Which digest.
enum { GATEHOUSE_SHA1 = 1, GATEHOUSE_SHA256 = 2, GATEHOUSE_SHA384 = 3, GATEHOUSE_SHA512 = 4 };

/// A new key; `bits` is the length of an RSA modulus. NULL where it cannot be made.
gatehouse_key *gatehouse_key_generate(int kind, unsigned bits);

/// A private key from PKCS#8 without encryption, in DER to the last byte. NULL where it is none.
gatehouse_key *gatehouse_key_from_pkcs8(const uint8_t *der, size_t length);

/// A public key from a SubjectPublicKeyInfo, in DER to the last byte. NULL where it is none.
gatehouse_key *gatehouse_key_from_spki(const uint8_t *der, size_t length);

/// The public key of an X.509 certificate, in DER to the last byte; nothing else in it is looked at. NULL where it is none.
gatehouse_key *gatehouse_key_from_certificate(const uint8_t *der, size_t length);

void gatehouse_key_free(gatehouse_key *key);

/// The kind; `bits` becomes the length of an RSA modulus or of a curve's order. A curve that is spelt out instead of named is "other".
int gatehouse_key_kind(const gatehouse_key *key, unsigned *bits);

/// Whether an RSA key's public exponent is `exponent`.
int gatehouse_key_has_exponent(const gatehouse_key *key, uint64_t exponent);

/// Writes PKCS#8 (a private key) or SubjectPublicKeyInfo. `length` holds the room and then what was used; with `out` NULL it becomes what is needed.
int gatehouse_key_write_pkcs8(const gatehouse_key *key, uint8_t *out, size_t *length);
int gatehouse_key_write_spki(const gatehouse_key *key, uint8_t *out, size_t *length);

/// A private key that is ready to sign, with every digest that is used. It is never changed, and many threads may sign with it at once.
typedef struct gatehouse_signer gatehouse_signer;

/// NULL where the key cannot sign. The signer keeps the key.
gatehouse_signer *gatehouse_signer_new(const gatehouse_key *key);

void gatehouse_signer_free(gatehouse_signer *signer);

/// Signs: RSASSA-PKCS1-v1_5, or ECDSA as r||s in fixed width. `length` holds the room and then what was used.
int gatehouse_sign(const gatehouse_signer *signer, int digest, const uint8_t *bytes, size_t count, uint8_t *out, size_t *length);

/// Whether the signature, in the form in which gatehouse_sign writes it, is this key's over these bytes.
int gatehouse_verify(const gatehouse_key *key, int digest, const uint8_t *bytes, size_t count, const uint8_t *signature, size_t length);

/// RSAES-OAEP without label. `length` holds the room and then what was used.
int gatehouse_oaep_encrypt(
    const gatehouse_key *key, int digest, int mask_digest, const uint8_t *bytes, size_t count, uint8_t *out, size_t *length);
int gatehouse_oaep_decrypt(
    const gatehouse_key *key, int digest, int mask_digest, const uint8_t *bytes, size_t count, uint8_t *out, size_t *length);

/// A certificate that is being made.
typedef struct gatehouse_certificate gatehouse_certificate;

/// A self-signed certificate (X.509 v3) before it is signed: subject and issuer CN=`name`, `serial` as a positive number, CA:FALSE, digitalSignature,
/// signed with SHA-256. Times are seconds since 1970. `key` may be a public key: whoever has the private one signs. NULL where it cannot be made.
gatehouse_certificate *gatehouse_certificate_new(
    const gatehouse_key *key, const char *name, size_t name_length, const uint8_t *serial, size_t serial_length, int64_t not_before,
    int64_t not_after);

void gatehouse_certificate_free(gatehouse_certificate *certificate);

/// Writes what is to be signed (tbsCertificate). `length` as elsewhere.
int gatehouse_certificate_write_unsigned(gatehouse_certificate *certificate, uint8_t *out, size_t *length);

/// Puts the signature in, in the form in which gatehouse_sign writes it, and writes the certificate. 0 where `key` does not hold it.
int gatehouse_certificate_finish(
    gatehouse_certificate *certificate, const gatehouse_key *key, const uint8_t *signature, size_t signature_length, uint8_t *out, size_t *length);

/// Opens a PKCS #12 file (RFC 7292) with one private key and its certificate. The caller frees the key. `length` holds the certificate's room and then what was
/// used.
int gatehouse_pkcs12_open(
    const uint8_t *bytes, size_t count, const char *password, gatehouse_key **key, uint8_t *certificate, size_t *length);

/// scrypt (RFC 7914) with N = 2^`log_n`, r = 8, p = 1; takes 128 * 8 * N bytes of memory.
int gatehouse_scrypt(
    const uint8_t *passphrase, size_t passphrase_length, const uint8_t *salt, size_t salt_length, unsigned log_n, uint8_t *out, size_t length);

#endif
