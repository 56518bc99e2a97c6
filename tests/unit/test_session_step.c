/* SPDX-License-Identifier: BSD-2-Clause */
/* The course of a session, every step with every event. */
#include "config.h"

#include "unit.h"

#include "source/session_step.h"

static const struct session_facts nothing,
    query = {.has_query = true}, planned = {.has_query = true, .has_plan = true},
    prepared = {.has_query = true, .has_plan = true, .is_prepared = true},
    trial = {.has_query = true, .has_plan = true, .is_trial = true},
    untidy = {.has_query = true, .has_plan = true, .is_untidy = true},
    outdated = {.has_query = true, .has_plan = true, .is_outdated = true},
    pooled = {.pooled = true}, pooled_query = {.pooled = true, .has_query = true},
    pooled_plan = {.pooled = true, .has_query = true, .has_plan = true},
    untried = {.has_query = true, .has_plan = true, .is_prepared = true, .is_untried = true},
    untried_idle = {.is_untried = true}, given_up_untidy = {.is_untidy = true},
    held = {.is_held = true},
    unjudged = {.has_query = true, .has_plan = true, .unjudged = STEP_EXECUTE},
    undescribed = {.pooled = true, .has_query = true, .unjudged = STEP_DESCRIBE};

static void test_steps(void **state)
{
    static const struct {
        enum session_step from;
        enum session_event event;
        const struct session_facts *facts;
        enum session_step to;
    } cases[] = {
        /* setting up, with or without a query that waits for it */
        {STEP_CONNECT, EVENT_DONE, &nothing, STEP_PLACE},
        {STEP_CONNECT, EVENT_DONE, &query, STEP_PLACE},
        {STEP_PLACE, EVENT_DONE, &query, STEP_IDENTIFY},
        {STEP_IDENTIFY, EVENT_DONE, &query, STEP_JUDGE},
        {STEP_IDENTIFY, EVENT_DONE, &nothing, STEP_JUDGE},
        {STEP_IDENTIFY, EVENT_DONE, &pooled, STEP_JUDGE},
        {STEP_JUDGE, EVENT_DONE, &query, STEP_PIN},
        {STEP_JUDGE, EVENT_DONE, &nothing, STEP_PIN},
        {STEP_JUDGE, EVENT_DONE, &pooled_query, STEP_IDLE},
        {STEP_JUDGE, EVENT_DONE, &pooled, STEP_IDLE},
        {STEP_JUDGE, EVENT_FAILED, &query, STEP_CLOSED},
        {STEP_JUDGE, EVENT_FAILED, &pooled, STEP_CLOSED},
        {STEP_JUDGE, EVENT_LATE, &query, STEP_CLOSED},
        {STEP_JUDGE, EVENT_UNJUDGED, &query, STEP_CLOSED},
        {STEP_PIN, EVENT_DONE, &query, STEP_IDLE},
        {STEP_CONNECT, EVENT_FAILED, &query, STEP_CLOSED},
        {STEP_PLACE, EVENT_FAILED, &query, STEP_CLOSED},
        {STEP_IDENTIFY, EVENT_FAILED, &pooled, STEP_CLOSED},
        {STEP_PIN, EVENT_FAILED, &nothing, STEP_CLOSED},
        {STEP_PIN, EVENT_OUTDATED, &nothing, STEP_CLOSED},
        /* a query, by what is there already */
        {STEP_IDLE, EVENT_DONE, &nothing, STEP_IDLE},
        {STEP_IDLE, EVENT_DONE, &query, STEP_DESCRIBE},
        {STEP_IDLE, EVENT_DONE, &planned, STEP_PREPARE},
        {STEP_IDLE, EVENT_DONE, &prepared, STEP_EXECUTE},
        {STEP_IDLE, EVENT_DONE, &trial, STEP_EXECUTE},
        {STEP_IDLE, EVENT_DONE, &pooled_query, STEP_DESCRIBE},
        {STEP_IDLE, EVENT_DONE, &pooled_plan, STEP_EXECUTE},
        {STEP_DESCRIBE, EVENT_DONE, &planned, STEP_PREPARE},
        {STEP_DESCRIBE, EVENT_DONE, &trial, STEP_EXECUTE},
        {STEP_DESCRIBE, EVENT_DONE, &pooled_plan, STEP_EXECUTE},
        {STEP_PREPARE, EVENT_DONE, &prepared, STEP_EXECUTE},
        {STEP_EXECUTE, EVENT_DONE, &prepared, STEP_IDLE},
        /* one that was idle is tried before */
        {STEP_IDLE, EVENT_DONE, &untried, STEP_TRY},
        {STEP_IDLE, EVENT_DONE, &untried_idle, STEP_IDLE},
        {STEP_TRY, EVENT_DONE, &untried, STEP_EXECUTE},
        {STEP_TRY, EVENT_DONE, &planned, STEP_PREPARE},
        {STEP_TRY, EVENT_FAILED, &prepared, STEP_CLOSED},
        {STEP_TRY, EVENT_OUTDATED, &prepared, STEP_CLOSED},
        {STEP_TRY, EVENT_LATE, &prepared, STEP_CLOSED},
        /* its place is other than before, and nobody has said yet whether it is right */
        {STEP_DESCRIBE, EVENT_UNJUDGED, &query, STEP_REJUDGE},
        {STEP_EXECUTE, EVENT_UNJUDGED, &prepared, STEP_REJUDGE},
        {STEP_EXECUTE, EVENT_UNJUDGED, &untidy, STEP_REJUDGE},
        {STEP_EXECUTE, EVENT_UNJUDGED, &pooled_plan, STEP_REJUDGE},
        {STEP_PREPARE, EVENT_UNJUDGED, &planned, STEP_CLOSED},
        {STEP_TIDY, EVENT_UNJUDGED, &planned, STEP_CLOSED},
        {STEP_CANCEL, EVENT_UNJUDGED, &nothing, STEP_CLOSED},
        {STEP_REJUDGE, EVENT_DONE, &unjudged, STEP_EXECUTE},
        {STEP_REJUDGE, EVENT_DONE, &undescribed, STEP_DESCRIBE},
        {STEP_REJUDGE, EVENT_FAILED, &unjudged, STEP_CLOSED},
        {STEP_REJUDGE, EVENT_OUTDATED, &unjudged, STEP_CLOSED},
        {STEP_REJUDGE, EVENT_LATE, &unjudged, STEP_CLOSED},
        {STEP_REJUDGE, EVENT_UNJUDGED, &unjudged, STEP_CLOSED},
        /* given up */
        {STEP_DESCRIBE, EVENT_LATE, &query, STEP_CANCEL},
        {STEP_PREPARE, EVENT_LATE, &planned, STEP_CANCEL},
        {STEP_EXECUTE, EVENT_LATE, &prepared, STEP_CANCEL},
        {STEP_EXECUTE, EVENT_LATE, &untidy, STEP_CANCEL},
        {STEP_EXECUTE, EVENT_LATE, &pooled_plan, STEP_CANCEL},
        {STEP_CANCEL, EVENT_DONE, &nothing, STEP_IDLE},
        {STEP_CANCEL, EVENT_DONE, &given_up_untidy, STEP_TIDY},
        {STEP_CANCEL, EVENT_FAILED, &nothing, STEP_CLOSED},
        {STEP_CANCEL, EVENT_OUTDATED, &nothing, STEP_CLOSED},
        {STEP_CANCEL, EVENT_LATE, &nothing, STEP_CLOSED},
        {STEP_CANCEL, EVENT_LATE, &held, STEP_CUT},
        {STEP_CUT, EVENT_DONE, &held, STEP_CLOSED},
        {STEP_CUT, EVENT_FAILED, &held, STEP_CLOSED},
        {STEP_CUT, EVENT_LATE, &held, STEP_CLOSED},
        {STEP_TIDY, EVENT_DONE, &nothing, STEP_IDLE},
        {STEP_TIDY, EVENT_LATE, &nothing, STEP_CLOSED},
        {STEP_CONNECT, EVENT_LATE, &query, STEP_CLOSED},
        {STEP_PLACE, EVENT_LATE, &query, STEP_CLOSED},
        {STEP_IDENTIFY, EVENT_LATE, &query, STEP_CLOSED},
        {STEP_PIN, EVENT_LATE, &nothing, STEP_CLOSED},
        /* its end in other ways */
        {STEP_DESCRIBE, EVENT_FAILED, &query, STEP_IDLE},
        {STEP_PREPARE, EVENT_FAILED, &planned, STEP_IDLE},
        {STEP_EXECUTE, EVENT_FAILED, &prepared, STEP_IDLE},
        {STEP_EXECUTE, EVENT_FAILED, &trial, STEP_IDLE},
        {STEP_EXECUTE, EVENT_OUTDATED, &prepared, STEP_DESCRIBE},
        {STEP_EXECUTE, EVENT_OUTDATED, &trial, STEP_DESCRIBE},
        {STEP_EXECUTE, EVENT_OUTDATED, &pooled_plan, STEP_DESCRIBE},
        {STEP_EXECUTE, EVENT_FAILED, &untidy, STEP_TIDY},
        {STEP_DESCRIBE, EVENT_FAILED, &untidy, STEP_TIDY},
        {STEP_EXECUTE, EVENT_OUTDATED, &untidy, STEP_TIDY},
        {STEP_TIDY, EVENT_DONE, &prepared, STEP_IDLE},
        {STEP_TIDY, EVENT_DONE, &outdated, STEP_DESCRIBE},
        {STEP_TIDY, EVENT_FAILED, &prepared, STEP_CLOSED},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum session_step to = session_next_step(cases[i].from, cases[i].event, cases[i].facts);
        check(to == cases[i].to, "case %zu: from %s to %s", i, session_step_name(cases[i].from),
              session_step_name(to));
    }
}

static void test_a_lost_connection_is_closed_and_stays_so(void **state)
{
    (void)state;
    for (int step = STEP_CONNECT; step <= STEP_CLOSED; step++)
        assert_int_equal(session_next_step((enum session_step)step, EVENT_LOST, &prepared),
                         STEP_CLOSED);
    for (int event = EVENT_DONE; event <= EVENT_LOST; event++)
        assert_int_equal(session_next_step(STEP_CLOSED, (enum session_event)event, &prepared),
                         STEP_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_a_lost_connection_is_closed_and_stays_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
