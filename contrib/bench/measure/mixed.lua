-- SPDX-License-Identifier: BSD-2-Clause
-- The load of mixed.py. Arguments: the mean pause of a connection in ms, the exponent of Zipf's
-- law, then for each context: path prefix, share of the requests, number of keys.

local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanos; } leeway_time;
int clock_gettime(int clock, leeway_time *now);
]]

local threads = {}
local contexts, pause_ms = {}, 0

function setup(thread)
    thread:set("seed", #threads + 1)
    table.insert(threads, thread)
end

-- Cumulated shares: the first whose sum is over a random number is drawn.
local function zipf(exponent, count)
    local sums, sum = {}, 0
    for i = 1, count do
        sum = sum + 1 / i ^ exponent
        sums[i] = sum
    end
    return sums
end

local function draw(sums)
    local wanted = math.random() * sums[#sums]
    local low, high = 1, #sums
    while low < high do
        local middle = math.floor((low + high) / 2)
        if sums[middle] < wanted then low = middle + 1 else high = middle end
    end
    return low
end

function init(arguments)
    math.randomseed(seed)
    pause_ms = tonumber(arguments[1])
    local share = 0
    for i = 3, #arguments, 3 do
        share = share + tonumber(arguments[i + 1])
        contexts[#contexts + 1] = {prefix = arguments[i], until_share = share,
                                   sums = zipf(tonumber(arguments[2]), tonumber(arguments[i + 2]))}
    end
    counts = "0 0 0 0 0"
    hit, stale, miss, late, oldest = 0, 0, 0, 0, 0
end

function delay()
    return math.floor(pause_ms * (0.5 + math.random()))
end

function request()
    local number = math.random() * contexts[#contexts].until_share
    for _, context in ipairs(contexts) do
        if number <= context.until_share then
            return wrk.format(nil, context.prefix .. draw(context.sums))
        end
    end
end

local now = ffi.new("leeway_time[1]")

-- Of X-Cache. nginx says STALE to whoever sets off the refresh and UPDATING to the others.
local kinds = {hit = "hit", stale = "stale", miss = "miss", HIT = "hit", STALE = "stale",
               UPDATING = "stale", MISS = "miss", EXPIRED = "miss", BYPASS = "miss"}

-- What the body says of when its query began and of its budget, in seconds.
function response(status, headers, body)
    if status ~= 200 then
        return
    end
    ffi.C.clock_gettime(0, now)
    local age = tonumber(now[0].seconds) + tonumber(now[0].nanos) / 1e9 -
        tonumber(body:match('"asked":"?([%d.]+)'))
    local share = age / tonumber(body:match('"budget":"?([%d.]+)'))
    if share > oldest then oldest = share end
    if share > 1 then late = late + 1 end
    local how = headers["Cache-Status"] or headers["X-Cache"] or ""
    local kind = kinds[how] or how:match("^leeway; (%a+)")
    if kind == "stale" or (kind == "hit" and how:find("detail=stale", 1, true)) then
        stale = stale + 1
    elseif kind == "hit" then
        hit = hit + 1
    elseif kind == "miss" or kind == "fwd" then
        miss = miss + 1
    else
        error("what is " .. how .. "?")
    end
    counts = string.format("%d %d %d %d %f", hit, stale, miss, late, oldest)
end

function done(summary, latency)
    dofile(os.getenv("LEEWAY_BENCH_REPORT"))(summary, latency, threads[1]:get("counts"))
end
