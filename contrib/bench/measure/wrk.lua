-- SPDX-License-Identifier: BSD-2-Clause
-- What wrk asks for and how it reports: see wrk.py.
--   same PATH          one URL
--   keys PREFIX COUNT  PREFIX1 to PREFIXCOUNT, each as likely as any other

local paths

function init(arguments)
    if arguments[1] == "keys" then
        math.randomseed(os.time() + tonumber(tostring(wrk.thread):match("%x+$") or "0", 16) % 65536)
        local prefix, count = arguments[2], tonumber(arguments[3])
        request = function()
            return wrk.format(nil, prefix .. math.random(count))
        end
    else
        paths = wrk.format(nil, arguments[2])
        request = function()
            return paths
        end
    end
end

function done(summary, latency)
    local errors = summary.errors
    local points = {}
    for i = 0, 999 do
        points[#points + 1] = string.format("%d", latency:percentile(i / 10))
    end
    points[#points + 1] = string.format("%d", latency:percentile(99.99))
    points[#points + 1] = string.format("%d", latency.max)
    io.write(string.format(
        '\n{"requests": %d, "seconds": %f, "bytes": %d, "connect": %d, "read": %d, "write": %d, ' ..
        '"status": %d, "timeout": %d, "permille_us": [%s]}\n',
        summary.requests, summary.duration / 1e6, summary.bytes, errors.connect, errors.read,
        errors.write, errors.status, errors.timeout, table.concat(points, ",")))
end
