-- SPDX-License-Identifier: BSD-2-Clause
-- A response from Redis, else from the origin and into Redis: see nginx-lua.conf. One string for each:
-- a line with the ETag and the coding, then the body. One value read at once costs less than the
-- fields of a hash.

local found, redis = pcall(require, "resty.redis")
if not found then
    redis = require "nginx.redis" -- where Debian puts it
end

local ADDRESS = "unix:@redis@"
local STORED_CODING = "@stored_coding@" ~= "" -- else all is stored plain
local LIFETIME_S = 3600
local TIMEOUT_MS, IDLE_MS, POOL = 1000, 60000, 64

local find, sub, match, null = string.find, string.sub, string.match, ngx.null
local _M = {}

local function connect()
    local red = redis:new()
    red:set_timeout(TIMEOUT_MS)
    local ok, err = red:connect(ADDRESS)
    if ok then
        return red
    end
    ngx.log(ngx.ERR, "Redis: ", err)
end

-- The content type is the location's.
local function send(value)
    local at = find(value, "\n", 1, true)
    local etag, coding = match(sub(value, 1, at - 1), "^(.*) (%S+)$")
    local header = ngx.header
    header["ETag"] = etag
    header["Content-Length"] = #value - at
    if STORED_CODING then
        header["Vary"] = "Accept-Encoding"
        if coding ~= "identity" then
            header["Content-Encoding"] = coding
        end
    end
    ngx.print(sub(value, at + 1))
end

local function fetch(uri)
    local origin = ngx.location.capture("/origin" .. uri)
    if origin.status == 200 and not origin.truncated then
        return origin.header["ETag"] .. " " .. (origin.header["Content-Encoding"] or "identity") ..
            "\n" .. origin.body
    end
end

function _M.answer()
    local uri = ngx.var.request_uri
    local key = STORED_CODING and ngx.var.coding .. ":" .. uri or uri
    local red = connect()
    local value = red and red:get(key)
    if not value or value == null then
        value = fetch(uri)
        if value and red then
            red:setex(key, LIFETIME_S, value)
        end
    end
    if red then
        -- before anything is sent, so that the next request finds the connection
        red:set_keepalive(IDLE_MS, POOL)
    end
    if not value then
        return ngx.exit(ngx.HTTP_BAD_GATEWAY)
    end
    send(value)
end

return _M
