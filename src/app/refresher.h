/* SPDX-License-Identifier: BSD-2-Clause */
/* The process around the refresher's use case. */
#ifndef LEEWAY_APP_REFRESHER_H
#define LEEWAY_APP_REFRESHER_H

#include "app/application.h"
#include "prefork/supervisor.h"

/* Takes jobs until TERM or INT, or until the parent has died; finishes the job in hand. 0, or -1:
   it could not start; it has been logged. */
int refresher_run(const struct application *app, struct child_link *link);

#endif
