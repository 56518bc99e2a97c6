/* SPDX-License-Identifier: BSD-2-Clause */
/* Where log lines go: standard error, syslog, or a file. None of them is ever waited for: what does
   not fit into a pipe that nobody empties, or a socket that nobody reads, is dropped and
   counted. */
#ifndef LEEWAY_BASE_LOG_SINK_H
#define LEEWAY_BASE_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

enum log_sink_kind { SINK_STDERR, SINK_SYSLOG, SINK_FILE };

struct log_sink {
    enum log_sink_kind kind;
    const char *program; /* borrowed */
    char *path;          /* SINK_FILE */
    int fd;              /* -1: there is none as yet (syslog), or it could not be opened */
    bool is_own;         /* fd is to be closed */
    int end_fd;          /* of a regular file: to see how it ends, for others write to it; or -1 */
    bool is_socket;
    bool is_stream;    /* lines end by themselves, with a newline or a NUL */
    bool is_torn;      /* our last line was taken in part */
    bool adds_time;    /* whoever reads adds the time, the journal for instance */
    bool is_journal;   /* and understands priorities like "<6>" */
    int64_t looked_us; /* SINK_FILE: when it was last looked whether the file is still there */
};

/* `destination` is "stderr", "syslog" or "file:PATH". 0, or -1 and a sentence in `error`: a file
   that cannot be opened for appending. syslog may come later. */
int log_sink_open(struct log_sink *sink, const char *program, const char *destination, char *error,
                  size_t error_size) __attribute__((warn_unused_result));

/* Standard error, which cannot fail. */
void log_sink_stderr(struct log_sink *sink, const char *program);

void log_sink_close(struct log_sink *sink);

/* One line of `level`, without its newline. Whether it was taken: false, and it is lost. A file
   that was moved or removed is made anew, within a second. `now_us` is a monotonic clock's. */
bool log_sink_write(struct log_sink *sink, enum log_level level, const char *line, size_t len,
                    int64_t now_us);

#endif
