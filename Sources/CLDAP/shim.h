// The part of OpenLDAP's client library that Gatehouse uses. The inline functions wrap what Swift cannot import: macros with casts.
#include <ldap.h>
#include <lber.h>
#include <openldap.h>  // ldap_init_fd

/// No chasing: a referral would carry credentials to a host that the answer names.
static inline int cldap_set_referrals_off(LDAP *handle) {
  return ldap_set_option(handle, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
}

/// An interrupted system call is repeated, not reported as a lost server.
static inline int cldap_set_restart_on(LDAP *handle) {
  return ldap_set_option(handle, LDAP_OPT_RESTART, LDAP_OPT_ON);
}

/// The largest message that is read; a larger one ends the connection.
static inline int cldap_limit_incoming(LDAP *handle, ber_len_t bytes) {
  Sockbuf *buffer = NULL;
  if (ldap_get_option(handle, LDAP_OPT_SOCKBUF, &buffer) != LDAP_OPT_SUCCESS || buffer == NULL) return -1;
  return ber_sockbuf_ctrl(buffer, LBER_SB_OPT_SET_MAX_INCOMING, &bytes) == 1 ? 0 : -1;
}

// What Cyrus SASL asks (sasl/sasl.h `sasl_interact_t`), declared here so that its headers need not be installed.
typedef struct {
  unsigned long id;  // 0 ends the list
  const char *challenge, *prompt, *defresult;
  const void *result;
  unsigned length;
} cldap_sasl_question;

/// Answers every question with its default: Kerberos takes everything that it needs from the ticket.
static inline int cldap_answer_with_defaults(LDAP *handle, unsigned flags, void *defaults, void *questions) {
  for (cldap_sasl_question *question = questions; question != NULL && question->id != 0; question++) {
    question->result = question->defresult ? question->defresult : "";
    question->length = 0;
    while (((const char *)question->result)[question->length]) question->length++;
  }
  return LDAP_SUCCESS;
}

/// One step of a SASL GSSAPI bind; call until it does not answer LDAP_SASL_BIND_IN_PROGRESS, with the server's last message.
static inline int cldap_gssapi_step(LDAP *handle, LDAPMessage *message, const char **mechanism, int *id) {
  return ldap_sasl_interactive_bind(handle, NULL, "GSSAPI", NULL, NULL, LDAP_SASL_QUIET, cldap_answer_with_defaults, NULL, message, mechanism, id);
}

/// Kerberos names the server as it was configured, without asking DNS for its "real" name.
static inline int cldap_set_no_canonical_name(LDAP *handle) { return ldap_set_option(handle, LDAP_OPT_X_SASL_NOCANON, LDAP_OPT_ON); }
