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
