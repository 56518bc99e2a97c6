/* SPDX-License-Identifier: BSD-2-Clause */
/* How old a result is by now, and for whom it will do. */
#include "config.h"

#include "app/flight_answer.h"

#include "app/respond.h"
#include "base/clock.h"

enum { MAX_TOO_OLD = 2 }; /* of a visit */

/* By the local clock, which saw this query sent. */
static struct freshness_verdict judge_by_own_clock(const struct visit *visit,
                                                   const struct fill_result *result, int status)
{
    return freshness_judge(&visit->rules->policy, status, result->sent_us,
                           clock_monotonic_us() + BACKEND_WRITE_ALLOWANCE_US);
}

/* By that and the cache's, which went on should this machine have stood still, the one that says
   more. What the cache's has lost since is no matter: the other one knows. */
static struct freshness_verdict judge_result(const struct visit *visit,
                                             const struct fill_result *result, int status)
{
    const struct cache *cache = visit->backend->cache;
    struct freshness_verdict own = judge_by_own_clock(visit, result, status);
    int64_t snapshot_us = result->stored->entry.snapshot_us;

    if (snapshot_us == 0 || !cache_is_up(cache))
        return own;
    int64_t now_us =
        redis_clock_latest(cache_clock(cache), clock_monotonic_us() + BACKEND_WRITE_ALLOWANCE_US);
    if (now_us - snapshot_us <= own.age_us)
        return own;
    return freshness_judge(&visit->rules->policy, status, snapshot_us, now_us);
}

enum visit_end flight_answer(struct visit *visit, const struct fill_result *result,
                             enum answer_row row)
{
    bool has_budget = visit->rules->policy.budget_us > 0;
    struct answer answer = {
        .row = row,
        .fwd_status = result->status,
        .stored = result->storing == FILL_STORED,
        .private = !visit->rules->edge,
        .sent_us = result->sent_us,
    };

    if (visit->request->received_us > result->for_before_us)
        return VISIT_COMES_LATER;
    if (!respond_can_send(visit, result->stored)) {
        respond_failure(visit, 500, NULL, false);
        return VISIT_ANSWERED;
    }
    /* a query is ended when its budget is over, so it is this process or Redis's that stood still
     */
    if (has_budget && judge_result(visit, result, 200).ttl_us <= 0)
        return ++visit->too_old < MAX_TOO_OLD ? VISIT_COMES_LATER : VISIT_TIMED_OUT;
    answer.verdict = judge_result(visit, result, result->status);
    respond_stored(visit, result->stored, &answer);
    return VISIT_ANSWERED;
}
