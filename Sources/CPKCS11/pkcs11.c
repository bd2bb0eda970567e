#include "gatehouse_pkcs11.h"

#include <dlfcn.h>
#include <p11-kit-1/p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gatehouse_pkcs11 {
  void *library;
  CK_FUNCTION_LIST *functions;
};

int gatehouse_pkcs11_meaning(unsigned long answer) {
  switch (answer) {
    case CKR_OK: return GATEHOUSE_PKCS11_DONE;
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
    case CKR_PIN_EXPIRED:
    case CKR_PIN_LOCKED:
    case CKR_USER_PIN_NOT_INITIALIZED: return GATEHOUSE_PKCS11_PIN;
    case CKR_KEY_HANDLE_INVALID:
    case CKR_OBJECT_HANDLE_INVALID: return GATEHOUSE_PKCS11_HANDLE;
    case CKR_MECHANISM_INVALID:
    case CKR_MECHANISM_PARAM_INVALID:
    case CKR_KEY_SIZE_RANGE:
    case CKR_KEY_TYPE_INCONSISTENT:
    case CKR_KEY_FUNCTION_NOT_PERMITTED:
    case CKR_TEMPLATE_INCOMPLETE:
    case CKR_TEMPLATE_INCONSISTENT:
    case CKR_ATTRIBUTE_READ_ONLY:
    case CKR_ATTRIBUTE_SENSITIVE:
    case CKR_ATTRIBUTE_TYPE_INVALID:
    case CKR_ATTRIBUTE_VALUE_INVALID:
    case CKR_DATA_INVALID:
    case CKR_DATA_LEN_RANGE:
    case CKR_DOMAIN_PARAMS_INVALID:
    case CKR_CURVE_NOT_SUPPORTED:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_SESSION_READ_ONLY:
    case CKR_TOKEN_WRITE_PROTECTED:
    case CKR_ACTION_PROHIBITED: return GATEHOUSE_PKCS11_REFUSED;
    default: return GATEHOUSE_PKCS11_LOST;
  }
}

const char *gatehouse_pkcs11_name(unsigned long answer) {
#define NAME(value) case value: return #value;
  switch (answer) {
    NAME(CKR_HOST_MEMORY) NAME(CKR_SLOT_ID_INVALID) NAME(CKR_GENERAL_ERROR) NAME(CKR_FUNCTION_FAILED) NAME(CKR_ARGUMENTS_BAD) NAME(CKR_CANT_LOCK)
    NAME(CKR_ATTRIBUTE_READ_ONLY) NAME(CKR_ATTRIBUTE_SENSITIVE) NAME(CKR_ATTRIBUTE_TYPE_INVALID) NAME(CKR_ATTRIBUTE_VALUE_INVALID)
    NAME(CKR_ACTION_PROHIBITED) NAME(CKR_DATA_INVALID) NAME(CKR_DATA_LEN_RANGE) NAME(CKR_DEVICE_ERROR) NAME(CKR_DEVICE_MEMORY) NAME(CKR_DEVICE_REMOVED)
    NAME(CKR_FUNCTION_CANCELED) NAME(CKR_FUNCTION_NOT_SUPPORTED) NAME(CKR_KEY_HANDLE_INVALID) NAME(CKR_KEY_SIZE_RANGE) NAME(CKR_KEY_TYPE_INCONSISTENT)
    NAME(CKR_KEY_FUNCTION_NOT_PERMITTED) NAME(CKR_MECHANISM_INVALID) NAME(CKR_MECHANISM_PARAM_INVALID) NAME(CKR_OBJECT_HANDLE_INVALID)
    NAME(CKR_OPERATION_ACTIVE) NAME(CKR_OPERATION_NOT_INITIALIZED) NAME(CKR_PIN_INCORRECT) NAME(CKR_PIN_INVALID) NAME(CKR_PIN_LEN_RANGE)
    NAME(CKR_PIN_EXPIRED) NAME(CKR_PIN_LOCKED) NAME(CKR_SESSION_CLOSED) NAME(CKR_SESSION_COUNT) NAME(CKR_SESSION_HANDLE_INVALID)
    NAME(CKR_SESSION_READ_ONLY) NAME(CKR_TEMPLATE_INCOMPLETE) NAME(CKR_TEMPLATE_INCONSISTENT) NAME(CKR_TOKEN_NOT_PRESENT)
    NAME(CKR_TOKEN_NOT_RECOGNIZED) NAME(CKR_TOKEN_WRITE_PROTECTED) NAME(CKR_USER_NOT_LOGGED_IN) NAME(CKR_USER_PIN_NOT_INITIALIZED)
    NAME(CKR_USER_ANOTHER_ALREADY_LOGGED_IN) NAME(CKR_BUFFER_TOO_SMALL) NAME(CKR_CRYPTOKI_NOT_INITIALIZED) NAME(CKR_CRYPTOKI_ALREADY_INITIALIZED)
    NAME(CKR_DOMAIN_PARAMS_INVALID) NAME(CKR_CURVE_NOT_SUPPORTED)
    case GATEHOUSE_PKCS11_NO_TOKEN: return "no token of this name";
    case GATEHOUSE_PKCS11_TWO_TOKENS: return "two tokens of this name";
    case GATEHOUSE_PKCS11_ODD: return "an answer against the standard";
    default: return NULL;
  }
#undef NAME
}

gatehouse_pkcs11 *gatehouse_pkcs11_load(const char *path, char *problem, size_t room) {
  // What the module links stays its own: it may bring another OpenSSL.
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    const char *text = dlerror();
    snprintf(problem, room, "%s", text != NULL ? text : "it cannot be loaded");
    return NULL;
  }
  // Base 5.4, C_GetFunctionList: the one function that is found by its name.
  CK_C_GetFunctionList list;
  *(void **)&list = dlsym(library, "C_GetFunctionList");
  CK_FUNCTION_LIST *functions = NULL;
  if (list == NULL || list(&functions) != CKR_OK || functions == NULL || functions->version.major != 2) {
    snprintf(problem, room, "it is no PKCS #11 module of version 2");
    dlclose(library);
    return NULL;
  }
  gatehouse_pkcs11 *module = calloc(1, sizeof *module);
  if (module == NULL) {
    snprintf(problem, room, "no memory");
    return NULL;
  }
  module->library = library;
  module->functions = functions;
  return module;
}

unsigned long gatehouse_pkcs11_start(gatehouse_pkcs11 *module) {
  // Base 5.4, C_Initialize: many threads, and the module takes the system's own locks.
  CK_C_INITIALIZE_ARGS arguments = {0};
  arguments.flags = CKF_OS_LOCKING_OK;
  CK_RV answer = module->functions->C_Initialize(&arguments);
  return answer == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : answer;
}

void gatehouse_pkcs11_stop(gatehouse_pkcs11 *module) { module->functions->C_Finalize(NULL); }

// The standard's texts are padded with blanks and have no NUL.
static int is_padded(const unsigned char *text, size_t width, const char *name) {
  size_t length = strlen(name);
  if (length == 0 || length > width || memcmp(text, name, length) != 0) return 0;
  for (size_t index = length; index < width; index++) {
    if (text[index] != ' ') return 0;
  }
  return 1;
}

unsigned long gatehouse_pkcs11_find_token(gatehouse_pkcs11 *module, const char *name, unsigned long *slot, unsigned long *flags) {
  CK_SLOT_ID slots[256];
  CK_ULONG count = sizeof slots / sizeof *slots;
  CK_RV answer = module->functions->C_GetSlotList(CK_TRUE, slots, &count);
  if (answer != CKR_OK) return answer;
  int labels = 0, serials = 0;
  for (CK_ULONG index = 0; index < count; index++) {
    CK_TOKEN_INFO info = {0};
    // One broken reader is no reason not to find the token in another.
    if (module->functions->C_GetTokenInfo(slots[index], &info) != CKR_OK || !(info.flags & CKF_TOKEN_INITIALIZED)) continue;
    int by_label = is_padded(info.label, sizeof info.label, name);
    int by_serial = is_padded(info.serialNumber, sizeof info.serialNumber, name);
    if (by_label ? labels == 0 : by_serial && labels == 0 && serials == 0) {
      *slot = slots[index];
      *flags = info.flags;
    }
    labels += by_label;
    serials += by_serial;
  }
  if (labels > 1 || (labels == 0 && serials > 1)) return GATEHOUSE_PKCS11_TWO_TOKENS;
  return labels + serials > 0 ? CKR_OK : GATEHOUSE_PKCS11_NO_TOKEN;
}

int gatehouse_pkcs11_pin_is_locked(unsigned long flags) { return (flags & CKF_USER_PIN_LOCKED) != 0; }
int gatehouse_pkcs11_pin_has_one_try(unsigned long flags) { return (flags & CKF_USER_PIN_FINAL_TRY) != 0; }

unsigned long gatehouse_pkcs11_open(gatehouse_pkcs11 *module, unsigned long slot, unsigned long *session) {
  return module->functions->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, session);
}

void gatehouse_pkcs11_close(gatehouse_pkcs11 *module, unsigned long session) { module->functions->C_CloseSession(session); }

unsigned long gatehouse_pkcs11_log_in(gatehouse_pkcs11 *module, unsigned long session, const uint8_t *pin, size_t length) {
  CK_RV answer = module->functions->C_Login(session, CKU_USER, (unsigned char *)pin, length);
  return answer == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : answer;
}

unsigned long gatehouse_pkcs11_probe(gatehouse_pkcs11 *module, unsigned long slot, unsigned long session) {
  CK_SESSION_INFO info = {0};
  CK_TOKEN_INFO token = {0};
  CK_RV answer = module->functions->C_GetSessionInfo(session, &info);
  if (answer != CKR_OK) return answer;
  if (info.state != CKS_RW_USER_FUNCTIONS) return CKR_USER_NOT_LOGGED_IN;
  answer = module->functions->C_GetTokenInfo(slot, &token);
  if (answer != CKR_OK) return answer;
  return token.flags & CKF_TOKEN_INITIALIZED ? CKR_OK : CKR_TOKEN_NOT_PRESENT;
}

unsigned long gatehouse_pkcs11_generate(
    gatehouse_pkcs11 *module, unsigned long session, unsigned bits, const uint8_t *curve, size_t curve_length, const uint8_t *id, size_t id_length,
    const char *label, unsigned long *public_key, unsigned long *private_key) {
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  CK_ULONG modulus_bits = bits;
  CK_BYTE exponent[] = {0x01, 0x00, 0x01};
  int is_rsa = bits > 0;
  CK_MECHANISM mechanism = {is_rsa ? CKM_RSA_PKCS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN, NULL, 0};
  size_t label_length = strlen(label);
  // Base 4.8 (public key objects) and 4.9 (private key objects); Mechanisms 2.1.4 (RSA) and 2.3.5 (EC).
  CK_ATTRIBUTE public_template[] = {
      {CKA_TOKEN, &yes, sizeof yes},   {CKA_VERIFY, &yes, sizeof yes},          {CKA_ENCRYPT, &no, sizeof no},
      {CKA_WRAP, &no, sizeof no},      {CKA_ID, (void *)id, id_length},         {CKA_LABEL, (void *)label, label_length},
      {CKA_EC_PARAMS, (void *)curve, curve_length},                             {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent},
  };
  CK_ULONG public_count = sizeof public_template / sizeof *public_template;
  if (is_rsa) {
    public_template[public_count - 2] = (CK_ATTRIBUTE){CKA_MODULUS_BITS, &modulus_bits, sizeof modulus_bits};
  } else {
    public_count--;
  }
  CK_ATTRIBUTE private_template[] = {
      {CKA_TOKEN, &yes, sizeof yes},     {CKA_PRIVATE, &yes, sizeof yes}, {CKA_SENSITIVE, &yes, sizeof yes},
      {CKA_EXTRACTABLE, &no, sizeof no}, {CKA_SIGN, &yes, sizeof yes},    {CKA_DECRYPT, &no, sizeof no},
      {CKA_UNWRAP, &no, sizeof no},      {CKA_DERIVE, &no, sizeof no},    {CKA_ID, (void *)id, id_length},
      {CKA_LABEL, (void *)label, label_length},
  };
  return module->functions->C_GenerateKeyPair(
      session, &mechanism, public_template, public_count, private_template, sizeof private_template / sizeof *private_template, public_key,
      private_key);
}

unsigned long gatehouse_pkcs11_find_key(
    gatehouse_pkcs11 *module, unsigned long session, int private_key, const uint8_t *id, size_t id_length, unsigned long *found) {
  CK_OBJECT_CLASS class = private_key ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY;
  CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_ID, (void *)id, id_length}};
  CK_ULONG count = 0;
  *found = 0;
  CK_RV answer = module->functions->C_FindObjectsInit(session, template, 2);
  if (answer != CKR_OK) return answer;
  CK_OBJECT_HANDLE handle = 0;
  answer = module->functions->C_FindObjects(session, &handle, 1, &count);
  CK_RV end = module->functions->C_FindObjectsFinal(session);
  if (answer == CKR_OK) answer = end;
  if (answer == CKR_OK && count > 0) *found = handle;
  return answer;
}

int gatehouse_pkcs11_stays(gatehouse_pkcs11 *module, unsigned long session, unsigned long key) {
  CK_BBOOL sensitive = CK_FALSE, extractable = CK_TRUE;
  CK_ATTRIBUTE template[] = {{CKA_SENSITIVE, &sensitive, sizeof sensitive}, {CKA_EXTRACTABLE, &extractable, sizeof extractable}};
  if (module->functions->C_GetAttributeValue(session, key, template, 2) != CKR_OK || sensitive != CK_TRUE || extractable != CK_FALSE) return 0;
  // What it says of itself is tried: the exponent of an RSA key, the number of an EC key.
  CK_ATTRIBUTE secrets[] = {{CKA_PRIVATE_EXPONENT, NULL, 0}, {CKA_VALUE, NULL, 0}};
  for (int index = 0; index < 2; index++) {
    // Base 5.7, C_GetAttributeValue: without room for it the length is told, where it may be had at all.
    if (module->functions->C_GetAttributeValue(session, key, &secrets[index], 1) == CKR_OK) return 0;
  }
  return 1;
}

unsigned long gatehouse_pkcs11_read(
    gatehouse_pkcs11 *module, unsigned long session, unsigned long key, int attribute, uint8_t *out, size_t *length) {
  CK_ATTRIBUTE template = {0, out, *length};
  switch (attribute) {
    case GATEHOUSE_PKCS11_MODULUS: template.type = CKA_MODULUS; break;
    case GATEHOUSE_PKCS11_EXPONENT: template.type = CKA_PUBLIC_EXPONENT; break;
    case GATEHOUSE_PKCS11_POINT: template.type = CKA_EC_POINT; break;
    default: return CKR_ARGUMENTS_BAD;
  }
  CK_RV answer = module->functions->C_GetAttributeValue(session, key, &template, 1);
  if (answer != CKR_OK) return answer;
  // Base 5.7, C_GetAttributeValue: -1 for what cannot be had.
  if (template.ulValueLen == CK_UNAVAILABLE_INFORMATION || template.ulValueLen > *length) return GATEHOUSE_PKCS11_ODD;
  *length = template.ulValueLen;
  return CKR_OK;
}

unsigned long gatehouse_pkcs11_sign(
    gatehouse_pkcs11 *module, unsigned long session, unsigned long key, int is_rsa, const uint8_t *bytes, size_t count, uint8_t *out, size_t *length) {
  CK_MECHANISM mechanism = {is_rsa ? CKM_RSA_PKCS : CKM_ECDSA, NULL, 0};
  CK_RV answer = module->functions->C_SignInit(session, &mechanism, key);
  if (answer != CKR_OK) return answer;
  CK_ULONG used = *length;
  answer = module->functions->C_Sign(session, (unsigned char *)bytes, count, out, &used);
  if (answer != CKR_OK) return answer;
  if (used > *length) return GATEHOUSE_PKCS11_ODD;
  *length = used;
  return CKR_OK;
}

unsigned long gatehouse_pkcs11_destroy(gatehouse_pkcs11 *module, unsigned long session, unsigned long object) {
  return module->functions->C_DestroyObject(session, object);
}
