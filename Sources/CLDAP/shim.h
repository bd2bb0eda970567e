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

/// A simple bind; with `policy`, asking what the directory's password policy says of it (draft-behera-ldap-password-policy-10 §6.1).
static inline int cldap_simple_bind(LDAP *handle, const char *name, const struct berval *password, int policy, int *id) {
  LDAPControl control = {LDAP_CONTROL_PASSWORDPOLICYREQUEST, {0, NULL}, 0}, *controls[] = {&control, NULL};
  // libldap copies the bytes into the request and changes nothing; its parameters are just not declared const.
  return ldap_sasl_bind(handle, name, LDAP_SASL_SIMPLE, (struct berval *)password, policy ? controls : NULL, NULL, id);
}

/// Deletes one value of an attribute and adds another in its place, in one step (RFC 4511 §4.6).
static inline int cldap_exchange_value(
    LDAP *handle, const char *name, const char *attribute, const struct berval *old, const struct berval *replacement, int *id) {
  struct berval *deleted[] = {(struct berval *)old, NULL}, *added[] = {(struct berval *)replacement, NULL};
  LDAPMod first = {LDAP_MOD_DELETE | LDAP_MOD_BVALUES, (char *)attribute, {NULL}}, second = {LDAP_MOD_ADD | LDAP_MOD_BVALUES, (char *)attribute, {NULL}};
  first.mod_bvalues = deleted;
  second.mod_bvalues = added;
  LDAPMod *modifications[] = {&first, &second, NULL};
  return ldap_modify_ext(handle, name, modifications, NULL, NULL, id);
}

/// Password Modify (RFC 3062) with the old and the new password, asking what the password policy says of it.
static inline int cldap_modify_password(
    LDAP *handle, const struct berval *user, const struct berval *old, const struct berval *replacement, int *id) {
  LDAPControl control = {LDAP_CONTROL_PASSWORDPOLICYREQUEST, {0, NULL}, 0}, *controls[] = {&control, NULL};
  return ldap_passwd(handle, (struct berval *)user, (struct berval *)old, (struct berval *)replacement, controls, NULL, id);
}

/// The error of a password policy response control (draft-behera §6.2); -1 where there is none.
static inline int cldap_policy_error(LDAP *handle, LDAPMessage *message) {
  LDAPControl **controls = NULL;
  int answer = -1;
  if (ldap_parse_result(handle, message, NULL, NULL, NULL, NULL, &controls, 0) != LDAP_SUCCESS || controls == NULL) return answer;
  LDAPControl *control = ldap_control_find(LDAP_CONTROL_PASSWORDPOLICYRESPONSE, controls, NULL);
  ber_int_t expire = -1, grace = -1;
  LDAPPasswordPolicyError error = PP_noError;
  if (control != NULL && ldap_parse_passwordpolicy_control(handle, control, &expire, &grace, &error) == LDAP_SUCCESS && error != PP_noError) {
    answer = (int)error;
  }
  ldap_controls_free(controls);
  return answer;
}
