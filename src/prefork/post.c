/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "prefork/post.h"

struct post_step next_action(const struct post *post)
{
    if (!post->current && (!post->former || !post->other_starting))
        return (struct post_step){POST_START, post->start_at_us};
    if (post->current && post->current_ready && post->former)
        return (struct post_step){POST_DRAIN_FORMER, 0};
    return (struct post_step){POST_REST, INT64_MAX};
}
