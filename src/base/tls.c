/* SPDX-License-Identifier: BSD-2-Clause */
/* OpenSSL, and its errors in words. */
#include "config.h"

#include "base/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

struct tls_context {
    SSL_CTX *ssl;
};

struct tls_session {
    SSL *ssl;
    char name[256];
    char problem[320];
};

static int destroy_context(struct tls_context *context)
{
    SSL_CTX_free(context->ssl);
    return 0;
}

static int destroy_session(struct tls_session *session)
{
    SSL_free(session->ssl);
    return 0;
}

/* The first error of those that OpenSSL has piled up, which is the cause of the others. */
static const char *first_error(void)
{
    unsigned long error = ERR_peek_error();
    const char *reason = NULL;

    if (ERR_SYSTEM_ERROR(error))
        return strerror(ERR_GET_REASON(error));
    reason = error != 0 ? ERR_reason_error_string(error) : NULL;
    return reason != NULL ? reason : "it is not understood";
}

static int refuse(char *problem, size_t size, const char *key, const char *path, const char *why)
{
    snprintf(problem, size, "%s \"%s\": %s", key, path, why);
    return -1;
}

/* OpenSSL says of a file that cannot be read only that "system lib" failed. */
static int check_file(char *problem, size_t size, const char *key, const char *path)
{
    if (access(path, R_OK) == 0)
        return 0;
    return refuse(problem, size, key, path, strerror(errno));
}

static int load_ca(SSL_CTX *ssl, const char *path, char *problem, size_t size)
{
    if (path[0] == '\0') {
        if (SSL_CTX_set_default_verify_paths(ssl) == 1)
            return 0;
        snprintf(problem, size, "the system's certificates: %s", first_error());
        return -1;
    }
    if (check_file(problem, size, "tls_ca", path) == -1)
        return -1;
    if (SSL_CTX_load_verify_locations(ssl, path, NULL) != 1)
        return refuse(problem, size, "tls_ca", path, "it holds no certificate in PEM form");
    return 0;
}

static int load_identity(SSL_CTX *ssl, const struct tls_files *files, char *problem, size_t size)
{
    if (files->cert[0] == '\0')
        return 0;
    if (check_file(problem, size, "tls_cert", files->cert) == -1 ||
        check_file(problem, size, "tls_key", files->key) == -1)
        return -1;
    if (SSL_CTX_use_certificate_chain_file(ssl, files->cert) != 1)
        return refuse(problem, size, "tls_cert", files->cert,
                      "it holds no certificate in PEM form");
    if (SSL_CTX_use_PrivateKey_file(ssl, files->key, SSL_FILETYPE_PEM) != 1) {
        bool other = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH;
        return refuse(problem, size, "tls_key", files->key,
                      other ? "it is not the key of tls_cert"
                            : "it holds no private key in PEM form without a passphrase");
    }
    if (SSL_CTX_check_private_key(ssl) != 1)
        return refuse(problem, size, "tls_key", files->key, "it is not the key of tls_cert");
    return 0;
}

/* A daemon has nobody to ask. */
static int no_passphrase(char *room, int size, int writing, void *data)
{
    (void)room;
    (void)size;
    (void)writing;
    (void)data;
    return -1;
}

/* NULL: `problem` says why. */
static SSL_CTX *load(const struct tls_files *files, char *problem, size_t size)
{
    SSL_CTX *ssl = mem_check(SSL_CTX_new(TLS_client_method()));

    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    /* what is written again after it had to wait may have moved; and less memory while idle */
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
    ERR_clear_error();
    if (load_ca(ssl, files->ca, problem, size) == 0 &&
        load_identity(ssl, files, problem, size) == 0)
        return ssl;
    ERR_clear_error();
    SSL_CTX_free(ssl);
    return NULL;
}

/* --- what was loaded last, for it takes a tenth of a second with all of a system's certificates */

static struct {
    SSL_CTX *ssl; /* NULL: nothing */
    char *stamp;
} kept;

static const char *or_environment(const char *name, const char *path)
{
    const char *set = getenv(name);

    return set != NULL ? set : path;
}

/* Another text once one of the files is another. */
static char *stamp_of(TALLOC_CTX *ctx, const struct tls_files *files)
{
    bool by_system = files->ca[0] == '\0';
    const char *const paths[] = {
        by_system ? or_environment(X509_get_default_cert_file_env(), X509_get_default_cert_file())
                  : files->ca,
        by_system ? or_environment(X509_get_default_cert_dir_env(), X509_get_default_cert_dir())
                  : "",
        files->cert,
        files->key,
    };
    char *stamp = mem_check(talloc_strdup(ctx, by_system ? "system" : "own"));

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct stat file = {0};
        if (paths[i][0] != '\0' && stat(paths[i], &file) == -1)
            file.st_size = -1;
        stamp = mem_check(talloc_asprintf_append(
            stamp, "\n%s %ju %ju %jd %jd.%09ld", paths[i], (uintmax_t)file.st_dev,
            (uintmax_t)file.st_ino, (intmax_t)file.st_size, (intmax_t)file.st_ctim.tv_sec,
            file.st_ctim.tv_nsec));
    }
    return stamp;
}

static void keep(SSL_CTX *ssl, char *stamp)
{
    SSL_CTX_free(kept.ssl);
    talloc_free(kept.stamp);
    SSL_CTX_up_ref(ssl);
    kept.ssl = ssl;
    kept.stamp = talloc_steal(NULL, stamp);
}

struct tls_context *tls_context_new(TALLOC_CTX *ctx, const struct tls_files *files, char *problem,
                                    size_t size)
{
    struct tls_context *context = mem_check(talloc_zero(ctx, struct tls_context));
    char *stamp = stamp_of(context, files); /* from before: what changes meanwhile is seen next */

    if (kept.ssl != NULL && strcmp(stamp, kept.stamp) == 0) {
        SSL_CTX_up_ref(kept.ssl);
        context->ssl = kept.ssl;
        talloc_free(stamp);
    } else {
        context->ssl = load(files, problem, size);
        if (context->ssl == NULL) {
            talloc_free(context);
            return NULL;
        }
        keep(context->ssl, stamp);
    }
    talloc_set_destructor(context, destroy_context);
    return context;
}

/* --- a socket as OpenSSL's own, but that a peer that has gone is an error and not a signal */

static int descriptor_of(BIO *bio)
{
    return (int)(intptr_t)BIO_get_data(bio);
}

static bool is_for_later(ssize_t done)
{
    return done == -1 && (errno == EAGAIN || errno == EINTR);
}

static int send_bytes(BIO *bio, const char *bytes, int len)
{
    ssize_t sent = send(descriptor_of(bio), bytes, (size_t)len, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (is_for_later(sent))
        BIO_set_retry_write(bio);
    return (int)sent;
}

static int receive_bytes(BIO *bio, char *room, int size)
{
    ssize_t got = recv(descriptor_of(bio), room, (size_t)size, 0);

    BIO_clear_retry_flags(bio);
    if (is_for_later(got))
        BIO_set_retry_read(bio);
    else if (got == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)got;
}

static long control(BIO *bio, int command, long number, void *data)
{
    (void)number;
    (void)data;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH;
}

static BIO *bio_of(int fd)
{
    static BIO_METHOD *method;

    if (method == NULL) {
        method = mem_check(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket"));
        BIO_meth_set_write(method, send_bytes);
        BIO_meth_set_read(method, receive_bytes);
        BIO_meth_set_ctrl(method, control);
    }
    BIO *bio = mem_check(BIO_new(method));
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    return bio;
}

struct tls_session *tls_session_new(TALLOC_CTX *ctx, struct tls_context *context, int fd,
                                    const char *name)
{
    struct tls_session *session = mem_check(talloc_zero(ctx, struct tls_session));

    session->ssl = mem_check(SSL_new(context->ssl));
    talloc_set_destructor(session, destroy_session);
    snprintf(session->name, sizeof session->name, "%s", name);
    BIO *bio = bio_of(fd);
    SSL_set_bio(session->ssl, bio, bio);
    /* an IP address is no name to be indicated, and is verified as what it is */
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session->ssl), name) != 1) {
        SSL_set_hostflags(session->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        mem_check(SSL_set1_host(session->ssl, name) == 1 ? session : NULL);
        SSL_set_tlsext_host_name(session->ssl, session->name);
    }
    ERR_clear_error();
    return session;
}

/* What the other side's certificate lacks. */
static void tell_certificate(struct tls_session *session, long verdict)
{
    char *problem = session->problem;
    size_t size = sizeof session->problem;

    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        snprintf(problem, size, "TLS: the server's certificate is not for %s", session->name);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        snprintf(problem, size, "TLS: the server's certificate has expired");
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        snprintf(problem, size, "TLS: the server's certificate is not valid yet");
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        snprintf(problem, size, "TLS: the server's certificate is of a CA that is not trusted (%s)",
                 X509_verify_cert_error_string(verdict));
        break;
    default:
        snprintf(problem, size, "TLS: the server's certificate: %s",
                 X509_verify_cert_error_string(verdict));
    }
}

static const char *alert_text(int reason)
{
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNSUPPORTED_PROTOCOL:
        return "the server does not speak TLS here";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "the server wants a client certificate (tls_cert)";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return "the server refused the handshake: it may want a client certificate (tls_cert)";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "the server does not trust the CA of tls_cert";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "the server says that tls_cert has expired";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
        return "the server refused tls_cert";
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return "the server speaks no version of TLS from 1.2 on";
    default:
        return NULL;
    }
}

static void tell_problem(struct tls_session *session, int error, int system_error)
{
    long verdict = SSL_get_verify_result(session->ssl);
    unsigned long code = ERR_peek_error();
    const char *alert =
        code != 0 && !ERR_SYSTEM_ERROR(code) ? alert_text(ERR_GET_REASON(code)) : NULL;

    if (verdict != X509_V_OK) {
        tell_certificate(session, verdict);
        return;
    }
    if (alert == NULL && code == 0 && error == SSL_ERROR_SYSCALL)
        alert = system_error != 0 ? strerror(system_error) : "connection closed";
    snprintf(session->problem, sizeof session->problem, "TLS: %s",
             alert != NULL ? alert : first_error());
}

/* OpenSSL 3 takes an end without TLS's own farewell for an error; Redis ends so. */
static bool is_end(int error)
{
    if (error == SSL_ERROR_ZERO_RETURN)
        return true;
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
    return error == SSL_ERROR_SSL &&
           ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
#else
    return false;
#endif
}

/* Of a call that has not succeeded. */
static enum tls_result result_of(struct tls_session *session, int returned, int system_error)
{
    int error = SSL_get_error(session->ssl, returned);

    if (error == SSL_ERROR_WANT_READ)
        return TLS_WANTS_READ;
    if (error == SSL_ERROR_WANT_WRITE)
        return TLS_WANTS_WRITE;
    enum tls_result result = is_end(error) ? TLS_CLOSED : TLS_FAILED;
    if (result == TLS_FAILED)
        tell_problem(session, error, system_error);
    ERR_clear_error();
    return result;
}

/* Before each call: both are looked at after it. */
static void clear_errors(void)
{
    ERR_clear_error();
    errno = 0;
}

enum tls_result tls_session_handshake(struct tls_session *session)
{
    clear_errors();
    int returned = SSL_connect(session->ssl);
    return returned == 1 ? TLS_DONE : result_of(session, returned, errno);
}

enum tls_result tls_session_read(struct tls_session *session, char *room, size_t size, size_t *done)
{
    clear_errors();
    int returned = SSL_read_ex(session->ssl, room, size, done);
    if (returned == 1)
        return TLS_DONE;
    *done = 0;
    return result_of(session, returned, errno);
}

enum tls_result tls_session_write(struct tls_session *session, const char *bytes, size_t len,
                                  size_t *done)
{
    clear_errors();
    int returned = SSL_write_ex(session->ssl, bytes, len, done);
    if (returned == 1)
        return TLS_DONE;
    *done = 0;
    return result_of(session, returned, errno);
}

bool tls_session_holds_input(const struct tls_session *session)
{
    return SSL_has_pending(session->ssl) == 1;
}

const char *tls_session_problem(const struct tls_session *session)
{
    return session->problem;
}
