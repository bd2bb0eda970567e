#include "gatehouse_openssl.h"

#include <limits.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

// A gatehouse_key is an EVP_PKEY by another name. EVP_PKEY counts its references and locks what it keeps inside: many threads may sign at once.
static EVP_PKEY *inside(const gatehouse_key *key) { return (EVP_PKEY *)key; }

// OpenSSL's queue of errors belongs to the thread: what is left in it would be taken for another call's error.
static int done(int holds) {
  ERR_clear_error();
  return holds ? 1 : 0;
}

static const EVP_MD *digest_named(int digest) {
  switch (digest) {
    case GATEHOUSE_SHA1: return EVP_sha1();
    case GATEHOUSE_SHA256: return EVP_sha256();
    case GATEHOUSE_SHA384: return EVP_sha384();
    case GATEHOUSE_SHA512: return EVP_sha512();
    default: return NULL;
  }
}

gatehouse_key *gatehouse_key_generate(int kind, unsigned bits) {
  EVP_PKEY *key = NULL;
  switch (kind) {
    case GATEHOUSE_KEY_RSA: key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits); break;
    case GATEHOUSE_KEY_P256: key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"); break;
    case GATEHOUSE_KEY_P384: key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384"); break;
    default: break;
  }
  done(1);
  return (gatehouse_key *)key;
}

gatehouse_key *gatehouse_key_from_pkcs8(const uint8_t *der, size_t length) {
  if (length > LONG_MAX) return NULL;
  const uint8_t *end = der;
  EVP_PKEY *key = NULL;
  PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &end, (long)length);
  if (info != NULL && end == der + length) key = EVP_PKCS82PKEY(info);
  PKCS8_PRIV_KEY_INFO_free(info);
  done(1);
  return (gatehouse_key *)key;
}

gatehouse_key *gatehouse_key_from_spki(const uint8_t *der, size_t length) {
  if (length > LONG_MAX) return NULL;
  const uint8_t *end = der;
  EVP_PKEY *key = d2i_PUBKEY(NULL, &end, (long)length);
  if (key != NULL && end != der + length) {
    EVP_PKEY_free(key);
    key = NULL;
  }
  done(1);
  return (gatehouse_key *)key;
}

gatehouse_key *gatehouse_key_from_certificate(const uint8_t *der, size_t length) {
  if (length > LONG_MAX) return NULL;
  const uint8_t *end = der;
  EVP_PKEY *key = NULL;
  X509 *certificate = d2i_X509(NULL, &end, (long)length);
  if (certificate != NULL && end == der + length) key = X509_get_pubkey(certificate);
  X509_free(certificate);
  done(1);
  return (gatehouse_key *)key;
}

void gatehouse_key_free(gatehouse_key *key) { EVP_PKEY_free(inside(key)); }

int gatehouse_key_kind(const gatehouse_key *key, unsigned *bits) {
  EVP_PKEY *pkey = inside(key);
  int kind = GATEHOUSE_KEY_OTHER, explicit_curve = 0, size = EVP_PKEY_get_bits(pkey);
  char group[64];
  size_t used = 0;
  *bits = size > 0 ? (unsigned)size : 0;
  if (EVP_PKEY_is_a(pkey, "RSA")) {
    kind = GATEHOUSE_KEY_RSA;
  } else if (EVP_PKEY_is_a(pkey, "EC") && EVP_PKEY_get_group_name(pkey, group, sizeof group, &used) == 1) {
    if (EVP_PKEY_get_int_param(pkey, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit_curve) == 1 && explicit_curve == 0) {
      if (strcmp(group, SN_X9_62_prime256v1) == 0 || strcmp(group, "P-256") == 0) kind = GATEHOUSE_KEY_P256;
      if (strcmp(group, SN_secp384r1) == 0 || strcmp(group, "P-384") == 0) kind = GATEHOUSE_KEY_P384;
    }
  }
  done(1);
  return kind;
}

int gatehouse_key_has_exponent(const gatehouse_key *key, uint64_t exponent) {
  BIGNUM *number = NULL;
  int holds = EVP_PKEY_get_bn_param(inside(key), OSSL_PKEY_PARAM_RSA_E, &number) == 1 && BN_is_word(number, (BN_ULONG)exponent) == 1;
  BN_free(number);
  return done(holds);
}

// Copies what OpenSSL encoded into the caller's room, and forgets it without a trace: it may be a private key.
static int hand_over(unsigned char *encoded, int size, uint8_t *out, size_t *length) {
  int holds = 0;
  if (encoded != NULL && size > 0) {
    if (out == NULL) {
      holds = 1;
    } else if (*length >= (size_t)size) {
      memcpy(out, encoded, (size_t)size);
      holds = 1;
    }
    *length = (size_t)size;
  }
  if (encoded != NULL) OPENSSL_clear_free(encoded, size > 0 ? (size_t)size : 0);
  return done(holds);
}

int gatehouse_key_write_pkcs8(const gatehouse_key *key, uint8_t *out, size_t *length) {
  unsigned char *encoded = NULL;
  int size = -1;
  PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(inside(key));
  if (info != NULL) size = i2d_PKCS8_PRIV_KEY_INFO(info, &encoded);
  PKCS8_PRIV_KEY_INFO_free(info);
  return hand_over(encoded, size, out, length);
}

int gatehouse_key_write_spki(const gatehouse_key *key, uint8_t *out, size_t *length) {
  unsigned char *encoded = NULL;
  int size = i2d_PUBKEY(inside(key), &encoded);
  return hand_over(encoded, size, out, length);
}

// How wide r and s are each; 0 where the key is not of an elliptic curve.
static size_t half_width(const gatehouse_key *key) {
  unsigned bits;
  switch (gatehouse_key_kind(key, &bits)) {
    case GATEHOUSE_KEY_P256: return 32;
    case GATEHOUSE_KEY_P384: return 48;
    default: return 0;
  }
}

// Setting a context up means looking algorithms up: as much as a fiftieth of an RSA signature. It is done once, and each signature copies the result.
struct gatehouse_signer {
  EVP_PKEY *key;
  size_t half;  // of an ECDSA signature; 0 for RSA
  EVP_MD_CTX *ready[GATEHOUSE_SHA512 + 1];
};

gatehouse_signer *gatehouse_signer_new(const gatehouse_key *key) {
  gatehouse_signer *signer = OPENSSL_zalloc(sizeof *signer);
  int holds = signer != NULL && EVP_PKEY_up_ref(inside(key)) == 1;
  if (holds) {
    signer->key = inside(key);
    signer->half = half_width(key);
    holds = signer->half > 0 || EVP_PKEY_is_a(signer->key, "RSA");
  }
  for (int digest = GATEHOUSE_SHA1; holds && digest <= GATEHOUSE_SHA512; digest++) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    // PKCS#1 v1.5 is the default padding of RSA keys.
    holds = context != NULL && EVP_DigestSignInit(context, NULL, digest_named(digest), NULL, signer->key) == 1;
    if (holds) {
      signer->ready[digest] = context;
    } else {
      EVP_MD_CTX_free(context);
      // Some systems sign nothing with SHA-1 any more, and that is well.
      if (digest == GATEHOUSE_SHA1) holds = 1;
    }
  }
  if (!holds) {
    gatehouse_signer_free(signer);
    signer = NULL;
  }
  done(holds);
  return signer;
}

void gatehouse_signer_free(gatehouse_signer *signer) {
  if (signer == NULL) return;
  for (int digest = GATEHOUSE_SHA1; digest <= GATEHOUSE_SHA512; digest++) EVP_MD_CTX_free(signer->ready[digest]);
  EVP_PKEY_free(signer->key);
  OPENSSL_free(signer);
}

int gatehouse_sign(const gatehouse_signer *signer, int digest, const uint8_t *bytes, size_t count, uint8_t *out, size_t *length) {
  if (digest < GATEHOUSE_SHA1 || digest > GATEHOUSE_SHA512 || signer->ready[digest] == NULL) return 0;
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  int holds = 0;
  if (context != NULL && EVP_MD_CTX_copy_ex(context, signer->ready[digest]) == 1) {
    // Nothing is signed with this context after that: without the flag it would be copied once more.
    EVP_MD_CTX_set_flags(context, EVP_MD_CTX_FLAG_FINALISE);
    size_t half = signer->half;
    if (half == 0) {
      holds = EVP_DigestSign(context, out, length, bytes, count) == 1;
    } else {
      unsigned char der[160];
      const unsigned char *end = der;
      size_t used = sizeof der;
      if (*length >= 2 * half && EVP_DigestSign(context, der, &used, bytes, count) == 1) {
        ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &end, (long)used);
        holds = pair != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, (int)half) == (int)half &&
                BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + half, (int)half) == (int)half;
        ECDSA_SIG_free(pair);
        *length = 2 * half;
      }
    }
  }
  EVP_MD_CTX_free(context);
  return done(holds);
}

// r||s as DER. 0 where a half is zero: there is no such signature.
static int der_of_pair(const uint8_t *signature, size_t half, unsigned char **der) {
  int size = 0;
  BIGNUM *r = BN_bin2bn(signature, (int)half, NULL), *s = BN_bin2bn(signature + half, (int)half, NULL);
  ECDSA_SIG *pair = ECDSA_SIG_new();
  if (r != NULL && s != NULL && pair != NULL && !BN_is_zero(r) && !BN_is_zero(s) && ECDSA_SIG_set0(pair, r, s) == 1) {
    r = s = NULL;  // they are the pair's now
    size = i2d_ECDSA_SIG(pair, der);
  }
  BN_free(r);
  BN_free(s);
  ECDSA_SIG_free(pair);
  return size > 0 ? size : 0;
}

int gatehouse_verify(const gatehouse_key *key, int digest, const uint8_t *bytes, size_t count, const uint8_t *signature, size_t length) {
  const EVP_MD *md = digest_named(digest);
  EVP_MD_CTX *context = md == NULL ? NULL : EVP_MD_CTX_new();
  int holds = 0;
  if (context != NULL && EVP_DigestVerifyInit(context, NULL, md, NULL, inside(key)) == 1) {
    if (EVP_PKEY_is_a(inside(key), "RSA")) {
      holds = EVP_DigestVerify(context, signature, length, bytes, count) == 1;
    } else {
      size_t half = half_width(key);
      unsigned char *der = NULL;
      int size = half > 0 && length == 2 * half ? der_of_pair(signature, half, &der) : 0;
      if (size > 0) holds = EVP_DigestVerify(context, der, (size_t)size, bytes, count) == 1;
      OPENSSL_free(der);
    }
  }
  EVP_MD_CTX_free(context);
  return done(holds);
}

static int use_oaep(EVP_PKEY_CTX *context, int digest, int mask_digest) {
  const EVP_MD *md = digest_named(digest), *mask = digest_named(mask_digest);
  return md != NULL && mask != NULL && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_oaep_md(context, md) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(context, mask) == 1;
}

int gatehouse_oaep_encrypt(
    const gatehouse_key *key, int digest, int mask_digest, const uint8_t *bytes, size_t count, uint8_t *out, size_t *length) {
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, inside(key), NULL);
  int holds = context != NULL && EVP_PKEY_encrypt_init(context) == 1 && use_oaep(context, digest, mask_digest) &&
              EVP_PKEY_encrypt(context, out, length, bytes, count) == 1;
  EVP_PKEY_CTX_free(context);
  return done(holds);
}

int gatehouse_oaep_decrypt(
    const gatehouse_key *key, int digest, int mask_digest, const uint8_t *bytes, size_t count, uint8_t *out, size_t *length) {
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, inside(key), NULL);
  int holds = context != NULL && EVP_PKEY_decrypt_init(context) == 1 && use_oaep(context, digest, mask_digest) &&
              EVP_PKEY_decrypt(context, out, length, bytes, count) == 1;
  EVP_PKEY_CTX_free(context);
  return done(holds);
}

static int add_extension(X509 *certificate, int nid, const char *value) {
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
  int holds = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return holds;
}

// A gatehouse_certificate is an X509 by another name.
static X509 *whole(const gatehouse_certificate *certificate) { return (X509 *)certificate; }

// X509_sign would set them; who signs elsewhere has to. OpenSSL hands them out as const, and has no other way to them.
static int set_algorithms(X509 *certificate, const gatehouse_key *key) {
  int is_rsa = EVP_PKEY_is_a(inside(key), "RSA");
  int name = is_rsa ? NID_sha256WithRSAEncryption : NID_ecdsa_with_SHA256;
  // RFC 4055 5: NULL for RSA. RFC 5758 3.2: nothing for ECDSA.
  int parameter = is_rsa ? V_ASN1_NULL : V_ASN1_UNDEF;
  const X509_ALGOR *outer = NULL;
  X509_get0_signature(NULL, &outer, certificate);
  return X509_ALGOR_set0((X509_ALGOR *)X509_get0_tbs_sigalg(certificate), OBJ_nid2obj(name), parameter, NULL) == 1 &&
         X509_ALGOR_set0((X509_ALGOR *)outer, OBJ_nid2obj(name), parameter, NULL) == 1;
}

gatehouse_certificate *gatehouse_certificate_new(
    const gatehouse_key *key, const char *name, size_t name_length, const uint8_t *serial, size_t serial_length, int64_t not_before,
    int64_t not_after) {
  if (name_length > INT_MAX || serial_length > 20) return NULL;
  X509 *certificate = X509_new();
  X509_NAME *subject = X509_NAME_new();
  BIGNUM *number = BN_bin2bn(serial, (int)serial_length, NULL);
  int holds =
      certificate != NULL && subject != NULL && number != NULL &&
      X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, (const unsigned char *)name, (int)name_length, -1, 0) == 1 &&
      X509_set_version(certificate, X509_VERSION_3) == 1 && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL &&
      X509_set_subject_name(certificate, subject) == 1 && X509_set_issuer_name(certificate, subject) == 1 &&
      ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)not_before) != NULL &&
      ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)not_after) != NULL && X509_set_pubkey(certificate, inside(key)) == 1 &&
      add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") && add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
      set_algorithms(certificate, key);
  BN_free(number);
  X509_NAME_free(subject);
  if (!holds) {
    X509_free(certificate);
    certificate = NULL;
  }
  done(holds);
  return (gatehouse_certificate *)certificate;
}

void gatehouse_certificate_free(gatehouse_certificate *certificate) { X509_free(whole(certificate)); }

int gatehouse_certificate_write_unsigned(gatehouse_certificate *certificate, uint8_t *out, size_t *length) {
  unsigned char *encoded = NULL;
  int size = i2d_re_X509_tbs(whole(certificate), &encoded);
  return hand_over(encoded, size, out, length);
}

int gatehouse_certificate_finish(
    gatehouse_certificate *certificate, const gatehouse_key *key, const uint8_t *signature, size_t signature_length, uint8_t *out, size_t *length) {
  const ASN1_BIT_STRING *place = NULL;
  unsigned char *pair = NULL, *encoded = NULL;
  int size = -1, pair_length = 0;
  size_t half = half_width(key);
  X509_get0_signature(&place, NULL, whole(certificate));
  if (half > 0) {
    pair_length = signature_length == 2 * half ? der_of_pair(signature, half, &pair) : 0;
    signature = pair;
    signature_length = (size_t)pair_length;
  }
  if (place != NULL && signature_length > 0 && signature_length <= INT_MAX &&
      ASN1_BIT_STRING_set((ASN1_BIT_STRING *)place, (unsigned char *)signature, (int)signature_length) == 1) {
    // All bits of the last byte count, whichever they are (X.690 8.6.2).
    ((ASN1_BIT_STRING *)place)->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 0x07);
    ((ASN1_BIT_STRING *)place)->flags |= ASN1_STRING_FLAG_BITS_LEFT;
    if (X509_verify(whole(certificate), inside(key)) == 1) size = i2d_X509(whole(certificate), &encoded);
  }
  OPENSSL_free(pair);
  return hand_over(encoded, size, out, length);
}

int gatehouse_pkcs12_open(
    const uint8_t *bytes, size_t count, const char *password, gatehouse_key **key, uint8_t *certificate, size_t *length) {
  const unsigned char *cursor = bytes;
  EVP_PKEY *private_key = NULL;
  X509 *own = NULL;
  *key = NULL;
  if (count > LONG_MAX) return 0;
  PKCS12 *bag = d2i_PKCS12(NULL, &cursor, (long)count);
  int holds = bag != NULL && PKCS12_parse(bag, password, &private_key, &own, NULL) == 1 && private_key != NULL && own != NULL;
  PKCS12_free(bag);
  if (holds) {
    unsigned char *encoded = NULL;
    int size = i2d_X509(own, &encoded);
    holds = hand_over(encoded, size, certificate, length);
  }
  if (holds) {
    *key = (gatehouse_key *)private_key;
  } else {
    EVP_PKEY_free(private_key);
  }
  X509_free(own);
  return done(holds);
}

int gatehouse_scrypt(
    const uint8_t *passphrase, size_t passphrase_length, const uint8_t *salt, size_t salt_length, unsigned log_n, uint8_t *out, size_t length) {
  if (log_n < 1 || log_n > 24) return 0;
  uint64_t n = UINT64_C(1) << log_n;
  // OpenSSL wants leave for the memory: 128 * r * (N + p) and a little.
  return done(
      EVP_PBE_scrypt((const char *)passphrase, passphrase_length, salt, salt_length, n, 8, 1, 1024 * (n + 64), out, length) == 1);
}
