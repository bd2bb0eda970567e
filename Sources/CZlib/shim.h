// The part of zlib that Gatehouse uses: raw DEFLATE (RFC 1951), each direction as one call over memory that the caller owns.
#ifndef GATEHOUSE_CZLIB_SHIM_H
#define GATEHOUSE_CZLIB_SHIM_H
#include <stddef.h>
#include <string.h>
#include <zlib.h>

/// Inflates all of `input` into `output`. Returns the number of bytes written, -1 where the input is no raw DEFLATE stream, ends early or has bytes
/// behind its end, and -2 where the output does not fit (nothing behind `capacity` is touched).
static inline long czlib_inflate_raw(const unsigned char *input, size_t count, unsigned char *output, size_t capacity) {
  z_stream stream;
  memset(&stream, 0, sizeof stream);
  if (count > 1u << 24 || capacity > 1u << 30 || inflateInit2(&stream, -MAX_WBITS) != Z_OK) return -1;
  stream.next_in = (Bytef *)input;
  stream.avail_in = (uInt)count;
  stream.next_out = output;
  stream.avail_out = (uInt)capacity;
  int code = inflate(&stream, Z_FINISH);
  long written = (long)stream.total_out;
  unsigned rest = stream.avail_in, room = stream.avail_out;
  inflateEnd(&stream);
  if (code == Z_STREAM_END) return rest == 0 ? written : -1;
  return (code == Z_BUF_ERROR || code == Z_OK) && room == 0 ? -2 : -1;
}

/// Deflates `input` into `output`. Returns the number of bytes written, or -1 where they do not fit into `capacity`.
static inline long czlib_deflate_raw(const unsigned char *input, size_t count, unsigned char *output, size_t capacity) {
  z_stream stream;
  memset(&stream, 0, sizeof stream);
  if (count > 1u << 24 || capacity > 1u << 30) return -1;
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) return -1;
  stream.next_in = (Bytef *)input;
  stream.avail_in = (uInt)count;
  stream.next_out = output;
  stream.avail_out = (uInt)capacity;
  int code = deflate(&stream, Z_FINISH);
  long written = (long)stream.total_out;
  deflateEnd(&stream);
  return code == Z_STREAM_END ? written : -1;
}
#endif
