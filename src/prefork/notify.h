/* SPDX-License-Identifier: BSD-2-Clause */
/* Tells a service manager how the service fares (sd_notify(3)'s protocol). */
#ifndef LEEWAY_PREFORK_NOTIFY_H
#define LEEWAY_PREFORK_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Sends `state`, such as "READY=1", to $NOTIFY_SOCKET; nothing where there is none. A full socket
   is waited for, two seconds at most, for a READY=1 that is lost would end the service; then the
   message is lost. */
void notify_manager(const char *state);

/* The same without waiting, for what is said again and again. false: the socket is full. */
bool notify_manager_if_room(const char *state);

/* "RELOADING=1" with the monotonic time that Type=notify-reload asks for. */
void notify_reloading(void);

/* How often the manager wants to hear "WATCHDOG=1", with room for a delay: half of $WATCHDOG_USEC.
   0: it does not want to, or not of this process ($WATCHDOG_PID). */
int64_t notify_watchdog_us(void);

#endif
