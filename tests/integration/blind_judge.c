/* SPDX-License-Identifier: BSD-2-Clause */
/* A fault for the tests: linked into a worker in place of freshness_judge, it takes whatever is
   stored for fresh. */
#include "config.h"

#include "cache/freshness.h"

struct freshness_verdict __wrap_freshness_judge(const struct freshness_policy *policy, int status,
                                                int64_t snapshot_us, int64_t now_us);

struct freshness_verdict __wrap_freshness_judge(const struct freshness_policy *policy, int status,
                                                int64_t snapshot_us, int64_t now_us)
{
    (void)status;
    (void)snapshot_us;
    (void)now_us;
    return (struct freshness_verdict){
        .state = FRESHNESS_FRESH,
        .fresh_us = policy->refresh_after_us,
        .ttl_us = policy->budget_us,
    };
}
