/* SPDX-License-Identifier: BSD-2-Clause */
/* What operators have disabled, as commands see it that only look. */
#ifndef LEEWAY_CTL_DISABLED_H
#define LEEWAY_CTL_DISABLED_H

#include "cache/switch.h"
#include "ctl/ctl.h"

struct ctl_disabled {
    struct switch_list host, fleet;
    bool host_known;      /* the file in runtime_dir can be read, or there is none */
    bool fleet_known;     /* Redis has said what is disabled for the fleet */
    bool fleet_is_broken; /* it has something else in its place */
};

/* What is in force now. A list that is not known is empty; that the host's cannot be read has been
   said on standard error. */
void ctl_disabled_read(struct ctl *ctl, struct ctl_disabled *disabled);

/* Whether the route's cache is, on this host or for the fleet. */
bool ctl_disabled_has_route(const struct ctl_disabled *disabled, const char *route);

#endif
