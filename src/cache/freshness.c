/* SPDX-License-Identifier: BSD-2-Clause */
/* Ages against budgets. */
#include "config.h"

#include "cache/freshness.h"

const char *freshness_name(enum freshness state)
{
    static const char *const names[] = {
        [FRESHNESS_FRESH] = "fresh",
        [FRESHNESS_STALE] = "stale",
        [FRESHNESS_ON_ERROR] = "stale-if-error",
        [FRESHNESS_EXPIRED] = "expired",
    };

    return names[state];
}

static enum freshness judge_found(const struct freshness_policy *policy, int64_t age_us)
{
    if (age_us < policy->budget_us)
        return age_us < policy->refresh_after_us ? FRESHNESS_FRESH : FRESHNESS_STALE;
    /* a subtraction, for the sum of two long budgets could overflow */
    if (policy->budget_us > 0 && age_us - policy->budget_us < policy->stale_if_error_us)
        return FRESHNESS_ON_ERROR;
    return FRESHNESS_EXPIRED;
}

struct freshness_verdict freshness_judge(const struct freshness_policy *policy, int status,
                                         int64_t snapshot_us, int64_t now_us)
{
    int64_t lifetime_us = status == 404 ? policy->negative_budget_us : policy->budget_us;
    struct freshness_verdict verdict;

    verdict.age_us = now_us > snapshot_us ? now_us - snapshot_us : 0;
    verdict.ttl_us = lifetime_us - verdict.age_us;
    if (status == 404)
        verdict.state = verdict.ttl_us > 0 ? FRESHNESS_FRESH : FRESHNESS_EXPIRED;
    else
        verdict.state = judge_found(policy, verdict.age_us);
    return verdict;
}

int64_t freshness_expiry_ms(const struct freshness_policy *policy, int status, int64_t snapshot_us)
{
    if (status == 404)
        return (snapshot_us + policy->negative_budget_us) / 1000;
    return (snapshot_us + policy->budget_us + policy->stale_if_error_us) / 1000;
}
