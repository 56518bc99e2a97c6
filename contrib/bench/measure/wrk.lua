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
    dofile(os.getenv("LEEWAY_BENCH_REPORT"))(summary, latency, "")
end
