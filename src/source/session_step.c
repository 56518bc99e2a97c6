/* SPDX-License-Identifier: BSD-2-Clause */
/* The table and the choices in it. */
#include "config.h"

#include "source/session_step.h"

const char *session_step_name(enum session_step step)
{
    static const char *const names[] = {
        [STEP_CONNECT] = "connect",   [STEP_PLACE] = "place",     [STEP_IDENTIFY] = "identify",
        [STEP_PIN] = "pin",           [STEP_IDLE] = "idle",       [STEP_TRY] = "try",
        [STEP_DESCRIBE] = "describe", [STEP_PREPARE] = "prepare", [STEP_EXECUTE] = "execute",
        [STEP_TIDY] = "tidy",         [STEP_CANCEL] = "cancel",   [STEP_CUT] = "cut",
        [STEP_CLOSED] = "closed",     [STEP_JUDGE] = "judge",     [STEP_REJUDGE] = "rejudge",
    };

    return names[step];
}

/* What the query needs next on a connection that is ready for it. */
static enum session_step step_of_query(const struct session_facts *facts)
{
    if (!facts->has_query)
        return STEP_IDLE;
    if (!facts->has_plan)
        return STEP_DESCRIBE;
    if (!facts->pooled && !facts->is_trial && !facts->is_prepared)
        return STEP_PREPARE;
    return STEP_EXECUTE;
}

static enum session_step step_after_done(enum session_step step, const struct session_facts *facts)
{
    switch (step) {
    case STEP_CONNECT:
        return STEP_PLACE;
    case STEP_PLACE:
        return STEP_IDENTIFY;
    case STEP_IDENTIFY:
        return STEP_JUDGE;
    case STEP_JUDGE:
        return facts->pooled ? STEP_IDLE : STEP_PIN;
    case STEP_PIN:
        return STEP_IDLE;
    case STEP_IDLE:
        return facts->has_query && facts->is_untried ? STEP_TRY : step_of_query(facts);
    case STEP_TRY:
    case STEP_DESCRIBE:
    case STEP_PREPARE:
        return step_of_query(facts);
    case STEP_EXECUTE:
    case STEP_CANCEL:
        return STEP_IDLE;
    case STEP_REJUDGE:
        return facts->unjudged;
    case STEP_TIDY:
        return facts->is_outdated ? STEP_DESCRIBE : STEP_IDLE;
    case STEP_CUT: /* there is nothing left that could do it */
    case STEP_CLOSED:
        break;
    }
    return STEP_CLOSED;
}

static enum session_step step_after_late(enum session_step step, const struct session_facts *facts)
{
    switch (step) {
    case STEP_DESCRIBE:
    case STEP_PREPARE:
    case STEP_EXECUTE:
        return STEP_CANCEL;
    case STEP_CANCEL:
        return facts->is_held ? STEP_CUT : STEP_CLOSED;
    default:
        return STEP_CLOSED;
    }
}

static bool has_query_begun(enum session_step step)
{
    return step > STEP_TRY && step < STEP_CANCEL && step != STEP_REJUDGE;
}

enum session_step session_next_step(enum session_step step, enum session_event event,
                                    const struct session_facts *facts)
{
    if (step == STEP_CLOSED || event == EVENT_LOST)
        return STEP_CLOSED;
    if (event == EVENT_LATE)
        return step_after_late(step, facts);
    if (event == EVENT_UNJUDGED)
        return step == STEP_DESCRIBE || step == STEP_EXECUTE ? STEP_REJUDGE : STEP_CLOSED;
    if ((step == STEP_DESCRIBE || step == STEP_EXECUTE || step == STEP_CANCEL) && facts->is_untidy)
        return STEP_TIDY;
    switch (event) {
    case EVENT_DONE:
        return step_after_done(step, facts);
    case EVENT_FAILED:
        return has_query_begun(step) && step != STEP_TIDY ? STEP_IDLE : STEP_CLOSED;
    case EVENT_OUTDATED:
        return has_query_begun(step) ? STEP_DESCRIBE : STEP_CLOSED;
    case EVENT_UNJUDGED:
    case EVENT_LATE:
    case EVENT_LOST:
        break;
    }
    return STEP_CLOSED;
}
