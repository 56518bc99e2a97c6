// SPDX-License-Identifier: BSD-2-Clause
// What both patterns share: processes, connections, routes. Called with a JSON file of
// {port, processes, redis, postgres: {host, user, database}, routes: [{path, sql, params, shape,
// budget_s}]}.
"use strict";

const cluster = require("node:cluster");
const fs = require("node:fs");
const express = require("express");
const Redis = require("ioredis");
const { Pool } = require("pg");

const settings = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));

// serve(route, redis, query) makes an Express handler; query(request) gives rows.
function start(serve) {
    if (cluster.isPrimary) {
        for (let i = 0; i < settings.processes; i++) {
            cluster.fork();
        }
        process.on("SIGTERM", () => {
            Object.values(cluster.workers).forEach((worker) => worker.kill("SIGKILL"));
            process.exit(0);
        });
        return;
    }
    const redis = new Redis(settings.redis);
    const pool = new Pool({ ...settings.postgres, max: 10 });
    const app = express();
    app.disable("x-powered-by");
    for (const route of settings.routes) {
        const query = async (request) => {
            const values = route.params.map((name) => request.params[name]);
            return (await pool.query(route.sql, values)).rows;
        };
        app.get(route.path, serve(route, redis, query));
    }
    app.use((error, request, response, next) => {
        response.status(503).json({ title: error.message });
        next();
    });
    app.listen(settings.port, "127.0.0.1", 1024);
}

// The work of an endpoint that was not thought through: each row is mapped to what is sent.
function present(route, rows) {
    const mapped = rows.map((row) => Object.fromEntries(
        Object.entries(row).map(([name, value]) => [name, value])));
    return route.shape === "array" ? mapped : mapped[0];
}

module.exports = { start, present };
