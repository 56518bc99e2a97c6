/* SPDX-License-Identifier: BSD-2-Clause */
/* Tells a service manager how the service fares (sd_notify(3)'s protocol). */
#ifndef LEEWAY_PREFORK_NOTIFY_H
#define LEEWAY_PREFORK_NOTIFY_H

/* Sends `state`, such as "READY=1", to $NOTIFY_SOCKET; nothing where there is none. Never
   blocks; a message that cannot be sent is lost. */
void notify_manager(const char *state);

/* "RELOADING=1" with the monotonic time that Type=notify-reload asks for. */
void notify_reloading(void);

#endif
