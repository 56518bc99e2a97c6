# SPDX-License-Identifier: BSD-2-Clause
"""Entries made as copies of one that leeway has made, much faster than by asking for each."""

PIPELINE = 5000


def copies(world, key_of, count):
    """`key_of(number, key)` makes the key of a copy, 1 to `count`, out of the only entry's."""
    client = world.redis.client()
    key = world.stack.entries.only().key
    value, left_ms = client.get(key), client.pttl(key)
    pipeline = client.pipeline(transaction=False)
    for number in range(1, count + 1):
        pipeline.set(key_of(number, key), value, px=left_ms)
        if number % PIPELINE == 0:
            pipeline.execute()
    pipeline.execute()
