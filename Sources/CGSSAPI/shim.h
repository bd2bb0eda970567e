// Kerberos through MIT's GSSAPI: tickets for the service account from a keytab.
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <stdio.h>
#include <string.h>

/// Gets a ticket for `service` (such as "ldap@dc1.contoso.com") as `principal`, by its key in `keytab`, into the credential cache `cache`
/// (such as "MEMORY:name"). Talks to the KDC and blocks while it does. Returns 0, or writes why not to `error` and Kerberos' code to `code`.
static inline int cgss_fetch_ticket(
    const char *principal, const char *keytab, const char *cache, const char *service, int *code, char *error, size_t size) {
  OM_uint32 major, minor = 0, ignored;
  gss_name_t self = GSS_C_NO_NAME, target = GSS_C_NO_NAME;
  gss_cred_id_t credential = GSS_C_NO_CREDENTIAL;
  gss_ctx_id_t context = GSS_C_NO_CONTEXT;
  gss_buffer_desc token = GSS_C_EMPTY_BUFFER, text;
  gss_key_value_element_desc elements[] = {{"client_keytab", keytab}, {"ccache", cache}};
  gss_key_value_set_desc store = {2, elements};
  gss_OID_set_desc mechanisms = {1, (gss_OID)gss_mech_krb5};

  text.value = (void *)principal;
  text.length = strlen(principal);
  major = gss_import_name(&minor, &text, (gss_OID)GSS_KRB5_NT_PRINCIPAL_NAME, &self);
  if (!GSS_ERROR(major)) {
    text.value = (void *)service;
    text.length = strlen(service);
    major = gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &target);
  }
  if (!GSS_ERROR(major))
    major = gss_acquire_cred_from(&minor, self, GSS_C_INDEFINITE, &mechanisms, GSS_C_INITIATE, &store, &credential, NULL, NULL);
  if (!GSS_ERROR(major))
    // The token is thrown away: making it is what puts the service's ticket into the cache.
    major = gss_init_sec_context(&minor, credential, &context, target, (gss_OID)gss_mech_krb5, GSS_C_MUTUAL_FLAG, 0, NULL, NULL, NULL, &token,
                                 NULL, NULL);
  int failed = GSS_ERROR(major) != 0;
  if (failed) {
    gss_buffer_desc message = GSS_C_EMPTY_BUFFER;
    OM_uint32 more = 0;
    *code = (int)minor;
    gss_display_status(&ignored, minor ? minor : major, minor ? GSS_C_MECH_CODE : GSS_C_GSS_CODE, (gss_OID)gss_mech_krb5, &more, &message);
    snprintf(error, size, "%.*s", (int)message.length, message.value ? (const char *)message.value : "");
    gss_release_buffer(&ignored, &message);
  }
  gss_release_buffer(&ignored, &token);
  gss_delete_sec_context(&ignored, &context, NULL);
  gss_release_cred(&ignored, &credential);
  gss_release_name(&ignored, &self);
  gss_release_name(&ignored, &target);
  return failed ? -1 : 0;
}

/// Makes `cache` the calling thread's credential cache, for libraries that ask for "the default".
static inline int cgss_use_cache(const char *cache) {
  OM_uint32 minor = 0;
  return GSS_ERROR(gss_krb5_ccache_name(&minor, cache, NULL)) ? -1 : 0;
}
