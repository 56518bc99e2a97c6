// SPDX-License-Identifier: BSD-2-Clause
// "After": what is cached is the response; in the last tenth of its time it is still served, and
// the process that has seen it computes it anew, whoever else does the same.
"use strict";

const { start, present } = require("./common.js");

const STALE_SHARE = 0.1;

start((route, redis, query) => {
    const compute = async (key, request) => {
        const body = JSON.stringify(present(route, await query(request)));
        await redis.setex(key, route.budget_s, body);
        return body;
    };
    const send = (response, body, how) => {
        response.set("X-Cache", how);
        response.type("application/json").send(body);
    };
    return async (request, response, next) => {
        try {
            const key = "response:" + request.path;
            const [[, body], [, left_ms]] = await redis.pipeline().get(key).pttl(key).exec();
            if (body === null) {
                send(response, await compute(key, request), "miss");
                return;
            }
            if (left_ms > 1000 * route.budget_s * STALE_SHARE) {
                send(response, body, "hit");
                return;
            }
            send(response, body, "stale");
            compute(key, request).catch((error) => console.error(error.message));
        } catch (error) {
            next(error);
        }
    };
});
