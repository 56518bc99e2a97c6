/* SPDX-License-Identifier: BSD-2-Clause */
/* The client's side of TLS on sockets that do not block: what is trusted, who we are, and whom we
   talk to. Version 1.2 at least. The only module that knows OpenSSL. */
#ifndef LEEWAY_BASE_TLS_H
#define LEEWAY_BASE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <talloc.h>

/* Paths of PEM files; "": none. */
struct tls_files {
    const char *ca;   /* none: what the system trusts */
    const char *cert; /* with those between it and the CA behind it */
    const char *key;
};

struct tls_context;

/* NULL: they cannot be used, and `problem` says why and which. */
struct tls_context *tls_context_new(TALLOC_CTX *ctx, const struct tls_files *files, char *problem,
                                    size_t size) __attribute__((warn_unused_result));

struct tls_session;

enum tls_result {
    TLS_DONE,
    TLS_WANTS_READ, /* again, with the same bytes, once the descriptor is readable */
    TLS_WANTS_WRITE,
    TLS_CLOSED, /* in order, by the other side */
    TLS_FAILED,
};

/* On a connected descriptor, which stays the caller's. The other side's certificate must be for
   `name`, a host's name or an IP address. */
struct tls_session *tls_session_new(TALLOC_CTX *ctx, struct tls_context *context, int fd,
                                    const char *name);

enum tls_result tls_session_handshake(struct tls_session *session);
enum tls_result tls_session_read(struct tls_session *session, char *room, size_t size,
                                 size_t *done);
enum tls_result tls_session_write(struct tls_session *session, const char *bytes, size_t len,
                                  size_t *done);

/* Whether something can be read without the descriptor's being readable. */
bool tls_session_holds_input(const struct tls_session *session);

/* What failed, in one line. Borrowed until the next call. */
const char *tls_session_problem(const struct tls_session *session);

#endif
