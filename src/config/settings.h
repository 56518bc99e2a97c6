/* SPDX-License-Identifier: BSD-2-Clause */
/* The scalar settings, typed. Their names, defaults, ranges and prose are one
   row each in settings.def, which drives the parser, the sample file's check
   and the manual page's. */
#ifndef LEEWAY_CONFIG_SETTINGS_H
#define LEEWAY_CONFIG_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/network.h"
#include "config/rate.h"

struct redis_settings {
    const char *address;  /* "unix:PATH", "tcp:HOST:PORT" or "tls:HOST:PORT" */
    const char *tls_ca;   /* with tls:, as are the others; "": what the system trusts */
    const char *tls_cert; /* "": none */
    const char *tls_key;  /* "": none */
    const char *tls_name; /* "": the address's host */
    int64_t database;
    const char *username;      /* "": none */
    const char *password;      /* "": none; that of password_file if there is one */
    const char *password_file; /* as written; "": none */
    const char *prefix;
    const char *namespace; /* "": the database's hosts and ports are */
    int64_t connect_timeout_ms;
    int64_t command_timeout_ms;
    int64_t queue_limit; /* jobs */
};

/* Whether transactions of one connection may come to different servers. */
enum pooler {
    POOLER_AUTO, /* found out when a session connects */
    POOLER_SESSION,
    POOLER_TRANSACTION,
};

struct postgres_settings {
    const char *conninfo;
    const char *password_file; /* as written; "": none */
    const char *password;      /* of password_file; NULL: none but what conninfo leads to */
    int64_t connect_timeout_ms;
    int64_t statement_timeout_ms;
    int64_t session_lifetime_ms; /* 0: none */
    bool prepared;
    enum pooler pooler;
    int64_t slots;
    int64_t slot_timeout_ms;
};

struct settings {
    int64_t workers;    /* never 0: the default is filled in */
    int64_t refreshers; /* at least 1 */
    const char *mount;  /* begins with '/', no trailing '/'; "" for the root */
    const char *runtime_dir;
    int64_t max_object_bytes;
    int64_t max_response_bytes;
    int64_t max_waiting;
    struct rate client_misses;
    const char *client_misses_by; /* a FastCGI variable */
    int64_t max_unsent_bytes;
    int64_t client_timeout_ms;
    int64_t drain_timeout_ms;
    int64_t socket_mode;      /* permission bits */
    int64_t socket_group;     /* a gid; -1: unchanged */
    const char *log;          /* "stderr", "syslog" or "file:PATH", an absolute one */
    int64_t slow_query_ms;    /* 0: never logged */
    const char *metrics_path; /* "": off */
    const char *health_path;  /* "": off */
    const char *ready_path;   /* "": off */
    const struct networks *metrics_allow;
    struct redis_settings redis;
    struct postgres_settings postgres;
};

#endif
