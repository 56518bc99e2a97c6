/* SPDX-License-Identifier: BSD-2-Clause */
/* What may be said of an error of Postgres without saying a value that a client sent. */
#ifndef LEEWAY_SOURCE_SQLSTATE_H
#define LEEWAY_SOURCE_SQLSTATE_H

#include <stdbool.h>

/* Whether the primary message of an error that came while a query was executed, or its parameters
   were bound, may be logged: no value can be in it. `source_file` is PG_DIAG_SOURCE_FILE, where
   the server's own code raised the error: a function may raise any SQLSTATE with any text. NULL
   or "": nobody's, as an error of a pooler. Either may be NULL.

   It does not apply to an error of Parse or Describe: no value has been sent by then, and the
   message is about the configuration's own SQL. */
bool sqlstate_message_is_safe(const char *sqlstate, const char *source_file);

/* The name of the condition, as Appendix A of Postgres's manual has it ("undefined_table"), which
   helps where the message is not logged; that of its class if the state is not known, and "" if
   the class is not either. Static. */
const char *sqlstate_condition(const char *sqlstate);

#endif
