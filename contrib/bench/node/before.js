// SPDX-License-Identifier: BSD-2-Clause
// "Before": what is cached are the rows; each request parses, maps and serializes them again.
"use strict";

const { start, present } = require("./common.js");

start((route, redis, query) => async (request, response, next) => {
    try {
        const key = "rows:" + request.path;
        const cached = await redis.get(key);
        let rows;
        if (cached !== null) {
            rows = JSON.parse(cached);
        } else {
            rows = await query(request);
            await redis.setex(key, route.budget_s, JSON.stringify(rows));
        }
        response.set("X-Cache", cached !== null ? "hit" : "miss");
        response.json(present(route, rows));
    } catch (error) {
        next(error);
    }
});
