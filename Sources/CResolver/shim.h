// SRV records by the C library's resolver, which getaddrinfo does not do.
#include <arpa/nameser.h>
#include <resolv.h>
#include <string.h>

typedef struct {
  unsigned short priority, weight, port;
  char target[NS_MAXDNAME];  // without the final dot, ended by NUL
} cresolver_srv;

/// Reads the SRV records of a DNS answer. Returns their number (at most `limit`), or -1 where the bytes are no DNS message.
static inline int cresolver_parse_srv(const unsigned char *answer, int length, cresolver_srv *records, int limit) {
  ns_msg message;
  if (length <= 0 || ns_initparse(answer, length, &message) != 0) return -1;
  int found = 0;
  for (int index = 0; index < ns_msg_count(message, ns_s_an) && found < limit; index++) {
    ns_rr record;
    if (ns_parserr(&message, ns_s_an, index, &record) != 0) return -1;
    if (ns_rr_type(record) != ns_t_srv || ns_rr_class(record) != ns_c_in || ns_rr_rdlen(record) < 7) continue;
    const unsigned char *data = ns_rr_rdata(record);
    cresolver_srv *out = &records[found];
    out->priority = (unsigned short)ns_get16(data);
    out->weight = (unsigned short)ns_get16(data + 2);
    out->port = (unsigned short)ns_get16(data + 4);
    if (dn_expand(ns_msg_base(message), ns_msg_end(message), data + 6, out->target, sizeof out->target) < 0) return -1;
    if (out->target[0] == 0) continue;  // "." says that there is no such service (RFC 2782)
    found++;
  }
  return found;
}

/// Asks DNS; blocks for up to about ten seconds. Returns as `cresolver_parse_srv` does.
static inline int cresolver_query_srv(const char *name, cresolver_srv *records, int limit) {
  struct __res_state state;
  memset(&state, 0, sizeof state);
  if (res_ninit(&state) != 0) return -1;
  state.retrans = 2;
  state.retry = 2;
  unsigned char answer[16384];
  int length = res_nquery(&state, name, ns_c_in, ns_t_srv, answer, sizeof answer);
  int found = length < 0 || length > (int)sizeof answer ? -1 : cresolver_parse_srv(answer, length, records, limit);
  res_nclose(&state);
  return found;
}
