/* SPDX-License-Identifier: BSD-2-Clause */
/* Fresh, stale, servable on error, expired: four intervals of one age. */
#include "config.h"

#include "cache/freshness.h"

const char *freshness_name(enum freshness state)
{
    static const char *const names[] = {
        [FRESHNESS_FRESH] = "fresh",
        [FRESHNESS_STALE] = "stale",
        [FRESHNESS_ON_ERROR] = "on-error",
        [FRESHNESS_EXPIRED] = "expired",
    };

    return names[state];
}

bool freshness_is_negative(int status)
{
    return status == 404 || status == 410;
}

static enum freshness state_of(const struct freshness_policy *policy, int status,
                               const struct freshness_verdict *verdict)
{
    if (verdict->ttl_us > 0)
        return verdict->fresh_us > 0 ? FRESHNESS_FRESH : FRESHNESS_STALE;
    if (freshness_is_negative(status) || policy->budget_us == 0)
        return FRESHNESS_EXPIRED;
    return -verdict->ttl_us < policy->stale_if_error_us ? FRESHNESS_ON_ERROR : FRESHNESS_EXPIRED;
}

struct freshness_verdict freshness_judge(const struct freshness_policy *policy, int status,
                                         int64_t snapshot_us, int64_t now_us)
{
    int64_t age_us = now_us > snapshot_us ? now_us - snapshot_us : 0;
    struct freshness_verdict verdict = {.age_us = age_us};

    if (freshness_is_negative(status)) {
        verdict.ttl_us = policy->negative_budget_us - age_us;
        verdict.fresh_us = verdict.ttl_us;
    } else {
        verdict.ttl_us = policy->budget_us - age_us;
        verdict.fresh_us = policy->refresh_after_us - age_us;
    }
    /* a snapshot in the future: the clock was set back, and how old it is cannot be known */
    verdict.state = now_us < snapshot_us ? FRESHNESS_EXPIRED : state_of(policy, status, &verdict);
    return verdict;
}

int64_t freshness_expiry_ms(const struct freshness_policy *policy, int status, int64_t snapshot_us)
{
    int64_t kept_us = freshness_is_negative(status) ? policy->negative_budget_us
                                                    : policy->budget_us + policy->stale_if_error_us;

    return (snapshot_us + kept_us - 1) / 1000;
}
