/* SPDX-License-Identifier: BSD-2-Clause */
/* The client by TLS, against a server in a thread: whom it trusts, and what it says of the rest. */
#include "config.h"

#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/tls.h"
#include "redis/await.h"

enum { WAIT_MS = 20000, LARGE = 3 * 1024 * 1024, DAY_S = 24 * 3600 };

static char directory[] = "/tmp/leeway-tls-XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[8][64];
    static int next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

/* --- certificates */

struct identity {
    X509 *cert;
    EVP_PKEY *key;
};

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

/* Signed by `issuer`, or a CA that signs itself; good for a day from `from_s` on. */
static struct identity make_identity(const struct identity *issuer, const char *name,
                                     const char *alternatives, long from_s)
{
    static long serial = 1;
    struct identity made = {X509_new(), EVP_EC_gen("P-256")};
    const struct identity *by = issuer != NULL ? issuer : &made;
    X509_NAME *subject = X509_get_subject_name(made.cert);

    X509_set_version(made.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(made.cert), from_s);
    X509_gmtime_adj(X509_getm_notAfter(made.cert), from_s + DAY_S);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_pubkey(made.cert, made.key);
    X509_set_issuer_name(made.cert, X509_get_subject_name(by->cert));
    if (issuer == NULL)
        add_extension(made.cert, by->cert, NID_basic_constraints, "critical,CA:TRUE");
    if (alternatives != NULL)
        add_extension(made.cert, by->cert, NID_subject_alt_name, alternatives);
    assert_true(X509_sign(made.cert, by->key, EVP_sha256()) > 0);
    return made;
}

static void write_identity(struct identity identity, const char *name)
{
    char file[32];

    snprintf(file, sizeof file, "%s.pem", name);
    FILE *out = fopen(path_of(file), "w");
    PEM_write_X509(out, identity.cert);
    fclose(out);
    snprintf(file, sizeof file, "%s.key", name);
    out = fopen(path_of(file), "w");
    PEM_write_PrivateKey(out, identity.key, NULL, NULL, 0, NULL, NULL);
    fclose(out);
    X509_free(identity.cert);
    EVP_PKEY_free(identity.key);
}

static void write_text(const char *name, const char *text)
{
    FILE *out = fopen(path_of(name), "w");

    fputs(text, out);
    fclose(out);
}

static void make_certificates(void)
{
    struct identity ca = make_identity(NULL, "ca", NULL, -3600);
    struct identity other = make_identity(NULL, "other ca", NULL, -3600);

    write_identity(make_identity(&ca, "server", "DNS:localhost,IP:127.0.0.1", -3600), "server");
    write_identity(make_identity(&ca, "named", "DNS:localhost", -3600), "named");
    write_identity(make_identity(&ca, "old", "IP:127.0.0.1", -2 * DAY_S), "old");
    write_identity(make_identity(&ca, "young", "IP:127.0.0.1", DAY_S), "young");
    write_identity(make_identity(&ca, "client", NULL, -3600), "client");
    write_identity(make_identity(&other, "stranger", NULL, -3600), "stranger");
    write_identity(other, "other");
    write_identity(ca, "ca");
    write_text("junk.pem", "junk\n");
}

/* --- the server */

struct server {
    const char *identity; /* of its certificate; NULL: it does not speak TLS */
    bool closes;          /* instead of a handshake */
    bool is_mute;         /* likewise */
    bool wants_client;
    int max_version; /* 0: any */
    int listener;
    int port;
    atomic_bool stops;
    char name_asked[64]; /* by SNI, in the last handshake */
    pthread_t thread;
};

static SSL_CTX *server_context(const struct server *server)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    char file[32];

    snprintf(file, sizeof file, "%s.pem", server->identity);
    SSL_CTX_use_certificate_chain_file(context, path_of(file));
    snprintf(file, sizeof file, "%s.key", server->identity);
    SSL_CTX_use_PrivateKey_file(context, path_of(file), SSL_FILETYPE_PEM);
    SSL_CTX_load_verify_locations(context, path_of("ca.pem"), NULL);
    if (server->wants_client)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    if (server->max_version != 0) {
        SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(context, server->max_version);
        SSL_CTX_set_security_level(context, 0);
    }
    return context;
}

static void write_large(SSL *ssl)
{
    static char body[LARGE];
    char head[32];
    int len = snprintf(head, sizeof head, "$%d\r\n", LARGE);

    memset(body, 'x', sizeof body);
    SSL_write(ssl, head, len);
    SSL_write(ssl, body, LARGE);
    SSL_write(ssl, "\r\n", 2);
}

/* Each turn of the client's comes whole: it is small. */
static void talk(SSL *ssl)
{
    static const char hello[] = "*2\r\n$6\r\nserver\r\n$5\r\nredis\r\n";
    static const char rest[] =
        "$0\r\n\r\n*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n$10\r\nrun_id:abc\r\n";
    char room[4096];
    int got;

    while ((got = SSL_read(ssl, room, sizeof room - 1)) > 0) {
        room[got] = '\0';
        if (strstr(room, "HELLO") != NULL)
            SSL_write(ssl, hello, sizeof hello - 1);
        else if (strstr(room, "INFO") != NULL)
            SSL_write(ssl, rest, sizeof rest - 1);
        else if (strstr(room, "BIG") != NULL)
            write_large(ssl);
        else
            SSL_write(ssl, "+OK\r\n", 5);
    }
}

static void serve_one(struct server *server, int fd)
{
    SSL_CTX *context = server_context(server);
    SSL *ssl = SSL_new(context);

    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
        snprintf(server->name_asked, sizeof server->name_asked, "%s", name != NULL ? name : "");
        talk(ssl);
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    SSL_CTX_free(context);
}

static void *run_server(void *data)
{
    struct server *server = data;
    sigset_t pipe;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    for (;;) {
        char room[1024];
        int fd = accept(server->listener, NULL, NULL);
        if (fd == -1 || server->stops) {
            if (fd != -1)
                close(fd);
            return NULL;
        }
        if (server->identity != NULL && !server->closes && !server->is_mute) {
            serve_one(server, fd);
        } else if (server->identity == NULL && recv(fd, room, sizeof room, 0) > 0) {
            send(fd, "-ERR unknown command\r\n", 22, MSG_NOSIGNAL);
        }
        /* what the other side has said last must not reset the connection */
        if (!server->is_mute)
            shutdown(fd, SHUT_WR);
        while (recv(fd, room, sizeof room, 0) > 0)
            ;
        close(fd);
    }
}

static void start_server(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    getsockname(server->listener, (struct sockaddr *)&address, &len);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
}

static void stop_server(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)server->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    server->stops = true;
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    pthread_join(server->thread, NULL);
    close(fd);
    close(server->listener);
}

/* --- the client */

struct client {
    struct ev_loop *loop;
    char address[64];
    struct redis_settings settings;
    struct redis *redis;
    bool is_up;
};

static void on_change(void *data, enum redis_change change)
{
    struct client *client = data;

    client->is_up = change != REDIS_WENT_DOWN;
}

static void open_client(struct client *client, const struct server *server, const char *host,
                        const char *ca, const char *identity, const char *name)
{
    const struct redis_options options = {.settings = &client->settings,
                                          .client_name = "tester",
                                          .clock_key = "p:clock",
                                          .on_change = on_change,
                                          .data = client};
    TALLOC_CTX *ctx = talloc_new(NULL);
    const char *cert = identity != NULL ? talloc_asprintf(ctx, "%s.pem", identity) : NULL;
    const char *key = identity != NULL ? talloc_asprintf(ctx, "%s.key", identity) : NULL;

    snprintf(client->address, sizeof client->address, "tls:%s:%d", host, server->port);
    client->settings = (struct redis_settings){
        .address = client->address,
        .tls_ca = ca != NULL ? path_of(ca) : "",
        .tls_cert = cert != NULL ? path_of(cert) : "",
        .tls_key = key != NULL ? path_of(key) : "",
        .tls_name = name,
        .username = "",
        .password = "",
        .prefix = "p",
        .connect_timeout_ms = 10000,
        .command_timeout_ms = 10000,
    };
    talloc_free(ctx);
    client->is_up = false;
    client->loop = ev_loop_new(EVFLAG_AUTO);
    client->redis = redis_new(NULL, client->loop, &options);
}

static void close_client(struct client *client)
{
    talloc_free(client->redis);
    ev_loop_destroy(client->loop);
}

static bool await_up(struct client *client)
{
    loop_run_for(client->loop, WAIT_MS, &client->is_up, NULL);
    return client->is_up;
}

/* NULL: it is up. */
static const char *outcome(struct client *client)
{
    const char *problem;

    while ((problem = redis_problem(client->redis)) == NULL && !redis_is_up(client->redis))
        ev_run(client->loop, EVRUN_ONCE);
    return problem;
}

static void test_trust(void **state)
{
    static const struct {
        const char *what;
        struct server server;
        const char *host;
        const char *ca; /* NULL: the system's */
        const char *identity;
        const char *name;
        const char *asked;   /* by SNI */
        const char *problem; /* NULL: none */
    } cases[] = {
        {"an address", {.identity = "server"}, "127.0.0.1", "ca.pem", NULL, "", "", NULL},
        {"a name", {.identity = "server"}, "localhost", "ca.pem", NULL, "", "localhost", NULL},
        {"another name",
         {.identity = "named"},
         "127.0.0.1",
         "ca.pem",
         NULL,
         "localhost",
         "localhost",
         NULL},
        {"a certificate",
         {.identity = "server", .wants_client = true},
         "127.0.0.1",
         "ca.pem",
         "client",
         "",
         "",
         NULL},
        {"version 1.2",
         {.identity = "server", .max_version = TLS1_2_VERSION},
         "127.0.0.1",
         "ca.pem",
         NULL,
         "",
         "",
         NULL},
        {"another CA",
         {.identity = "server"},
         "127.0.0.1",
         "other.pem",
         NULL,
         "",
         NULL,
         "the server's certificate is of a CA that is not trusted"},
        {"the system's CAs",
         {.identity = "server"},
         "127.0.0.1",
         NULL,
         NULL,
         "",
         NULL,
         "the server's certificate is of a CA that is not trusted"},
        {"a wrong name",
         {.identity = "server"},
         "127.0.0.1",
         "ca.pem",
         NULL,
         "other.example",
         NULL,
         "the server's certificate is not for other.example"},
        {"a wrong address",
         {.identity = "named"},
         "127.0.0.1",
         "ca.pem",
         NULL,
         "",
         NULL,
         "the server's certificate is not for 127.0.0.1"},
        {"expired",
         {.identity = "old"},
         "127.0.0.1",
         "ca.pem",
         NULL,
         "",
         NULL,
         "the server's certificate has expired"},
        {"not yet valid",
         {.identity = "young"},
         "127.0.0.1",
         "ca.pem",
         NULL,
         "",
         NULL,
         "the server's certificate is not valid yet"},
        {"no certificate",
         {.identity = "server", .wants_client = true},
         "127.0.0.1",
         "ca.pem",
         NULL,
         "",
         NULL,
         "the server wants a client certificate (tls_cert)"},
        {"no certificate, 1.2",
         {.identity = "server", .wants_client = true, .max_version = TLS1_2_VERSION},
         "127.0.0.1",
         "ca.pem",
         NULL,
         "",
         NULL,
         "it may want a client certificate (tls_cert)"},
        {"a stranger's",
         {.identity = "server", .wants_client = true},
         "127.0.0.1",
         "ca.pem",
         "stranger",
         "",
         NULL,
         "the server does not trust the CA of tls_cert"},
        {"version 1.1",
         {.identity = "server", .max_version = TLS1_1_VERSION},
         "127.0.0.1",
         "ca.pem",
         NULL,
         "",
         NULL,
         "the server speaks no version of TLS from 1.2 on"},
        {"no TLS",
         {.identity = NULL},
         "127.0.0.1",
         "ca.pem",
         NULL,
         "",
         NULL,
         "the server does not speak TLS here"},
        {"closes",
         {.identity = "server", .closes = true},
         "127.0.0.1",
         "ca.pem",
         NULL,
         "",
         NULL,
         "TLS: the server closed the connection"},
        {"junk",
         {.identity = "server"},
         "127.0.0.1",
         "junk.pem",
         NULL,
         "",
         NULL,
         "it holds no certificate in PEM form"},
        {"nothing",
         {.identity = "server"},
         "127.0.0.1",
         "nowhere.pem",
         NULL,
         "",
         NULL,
         "No such file or directory"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct server server = cases[i].server;
        struct client client;
        start_server(&server);
        open_client(&client, &server, cases[i].host, cases[i].ca, cases[i].identity, cases[i].name);
        const char *problem = outcome(&client);
        if (cases[i].problem == NULL)
            check(problem == NULL, "%s: %s", cases[i].what, problem);
        else
            check(problem != NULL && strstr(problem, cases[i].problem) != NULL, "%s: %s",
                  cases[i].what, problem);
        close_client(&client);
        stop_server(&server);
        check(cases[i].asked == NULL || strcmp(server.name_asked, cases[i].asked) == 0, "%s: %s",
              cases[i].what, server.name_asked);
    }
}

/* It may hang, for it may have spoken TLS a moment ago. */
static void test_no_answer(void **state)
{
    struct server server = {.identity = "server", .is_mute = true};
    struct client client;

    (void)state;
    start_server(&server);
    open_client(&client, &server, "127.0.0.1", "ca.pem", NULL, "");
    client.settings.connect_timeout_ms = 20;
    const char *problem = outcome(&client);
    check(strstr(problem, "the server hangs, or does not speak TLS here") != NULL, "%s", problem);
    close_client(&client);
    stop_server(&server);
}

/* OpenSSL holds what the loop does not see. */
static void test_large(void **state)
{
    const struct redis_part big = redis_text("BIG");
    const struct redis_command command = {.parts = &big, .count = 1};
    struct server server = {.identity = "server"};
    struct client client;

    (void)state;
    start_server(&server);
    open_client(&client, &server, "127.0.0.1", "ca.pem", NULL, "");
    assert_true(await_up(&client));
    for (int i = 0; i < 3; i++) {
        struct redis_reply *reply;
        assert_int_equal(redis_await(NULL, client.redis, &command, &reply), REDIS_REPLIED);
        assert_int_equal(reply->len, LARGE);
        talloc_free(reply);
    }
    close_client(&client);
    stop_server(&server);
}

/* A file that is put right is noticed without a restart. */
static void test_replaced(void **state)
{
    struct server server = {.identity = "server"};
    struct client client;

    (void)state;
    start_server(&server);
    write_text("changing.pem", "junk\n");
    open_client(&client, &server, "127.0.0.1", "changing.pem", NULL, "");
    assert_non_null(outcome(&client));
    assert_int_equal(rename(path_of("changing.pem"), path_of("gone.pem")), 0);
    assert_int_equal(symlink("ca.pem", path_of("changing.pem")), 0);
    assert_true(await_up(&client));
    close_client(&client);
    stop_server(&server);
}

static void test_files(void **state)
{
    static const struct {
        const char *ca, *cert, *key;
        const char *problem; /* NULL: none */
    } cases[] = {
        {"ca.pem", NULL, NULL, NULL},
        {NULL, "client.pem", "client.key", NULL},
        {"nowhere", NULL, NULL, "nowhere\": No such file or directory"},
        {"junk.pem", NULL, NULL, "junk.pem\": it holds no certificate in PEM form"},
        {NULL, "nowhere", "client.key", "nowhere\": No such file or directory"},
        {NULL, "client.pem", "nowhere", "nowhere\": No such file or directory"},
        {NULL, "junk.pem", "client.key", "junk.pem\": it holds no certificate in PEM form"},
        {NULL, "client.pem", "junk.pem", "junk.pem\": it holds no private key in PEM form"},
        {NULL, "client.pem", "locked.key", "without a passphrase"},
        {NULL, "client.pem", "server.key", "server.key\": it is not the key of tls_cert"},
    };
    FILE *out = fopen(path_of("locked.key"), "w");
    EVP_PKEY *key = EVP_EC_gen("P-256");

    (void)state;
    PEM_write_PrivateKey(out, key, EVP_aes_128_cbc(), (const unsigned char *)"horse", 5, NULL,
                         NULL);
    fclose(out);
    EVP_PKEY_free(key);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct tls_files files = {
            cases[i].ca != NULL ? path_of(cases[i].ca) : "",
            cases[i].cert != NULL ? path_of(cases[i].cert) : "",
            cases[i].key != NULL ? path_of(cases[i].key) : "",
        };
        char problem[320] = "";
        struct tls_context *context = tls_context_new(NULL, &files, problem, sizeof problem);
        check((context != NULL) == (cases[i].problem == NULL), "case %zu: %s", i, problem);
        check(context != NULL || strstr(problem, cases[i].problem) != NULL, "case %zu: %s", i,
              problem);
        talloc_free(context);
    }
}

static bool can_be_used(const struct tls_files *files)
{
    char problem[320];
    struct tls_context *context = tls_context_new(NULL, files, problem, sizeof problem);
    bool usable = context != NULL;

    talloc_free(context);
    return usable;
}

/* What is loaded is kept until one of them is another. */
static void test_files_that_change(void **state)
{
    const struct tls_files files = {path_of("kept.pem"), "", ""}, system_s = {"", "", ""};

    (void)state;
    assert_int_equal(symlink("ca.pem", files.ca), 0);
    assert_true(can_be_used(&files));
    assert_true(can_be_used(&files));
    assert_true(can_be_used(&system_s));
    assert_int_equal(unlink(files.ca), 0);
    assert_false(can_be_used(&files));
    assert_int_equal(symlink("junk.pem", files.ca), 0);
    assert_false(can_be_used(&files));
    assert_true(can_be_used(&system_s));
    assert_int_equal(unlink(files.ca), 0);
    assert_int_equal(symlink("ca.pem", files.ca), 0);
    assert_true(can_be_used(&files));
}

/* Whoever has not asked for SIGPIPE to be ignored does not end by it. */
static void test_no_signal(void **state)
{
    const struct tls_files files = {"", "", ""};
    char problem[320];
    int ends[2];
    struct tls_context *context = tls_context_new(NULL, &files, problem, sizeof problem);

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    close(ends[1]);
    struct tls_session *session = tls_session_new(context, context, ends[0], "a");
    assert_int_equal(tls_session_handshake(session), TLS_FAILED);
    assert_string_equal(tls_session_problem(session), "TLS: Broken pipe");
    talloc_free(session);
    talloc_free(context);
    close(ends[0]);
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    make_certificates();
    return 0;
}

static int tear_down(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trust),     cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_large),     cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_files),     cmocka_unit_test(test_files_that_change),
        cmocka_unit_test(test_no_signal),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
