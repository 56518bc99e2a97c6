-- SPDX-License-Identifier: BSD-2-Clause
-- What wrk's done() is given, as one line of JSON for wrk.py; `counts` is a script's own.

return function(summary, latency, counts)
    local errors = summary.errors
    local points = {}
    for i = 0, 999 do
        points[#points + 1] = string.format("%d", latency:percentile(i / 10))
    end
    points[#points + 1] = string.format("%d", latency:percentile(99.99))
    points[#points + 1] = string.format("%d", latency.max)
    io.write(string.format(
        '\n{"requests": %d, "seconds": %f, "bytes": %d, "connect": %d, "read": %d, "write": %d, ' ..
        '"status": %d, "timeout": %d, "permille_us": [%s], "counts": "%s"}\n',
        summary.requests, summary.duration / 1e6, summary.bytes, errors.connect, errors.read,
        errors.write, errors.status, errors.timeout, table.concat(points, ","), counts))
end
