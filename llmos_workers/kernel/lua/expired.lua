-- RUNNING goals whose lease is over, looked for in windows that go round. Needs fence.lua.
--
-- KEYS  1 zset of RUNNING goals   2 hash of the recovery clock
-- ARGV  1 prefix of goal hashes   2 size of the window   3 most ids to return
--
-- Returns the ids.

local running, progress = KEYS[1], KEYS[2]
local prefix, window, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local at = now()
local start = tonumber(redis.call('HGET', progress, 'running') or 0)
local ids = redis.call('ZRANGE', running, start, start + window - 1)
local found, looked = {}, 0
for _, id in ipairs(ids) do
  if #found == most then break end
  looked = looked + 1
  if lease_left(prefix .. id, at) == 0 then found[#found + 1] = id end
end
-- Reclaimed ones leave the set: the next window begins where those that stay end.
local onward = start + looked - #found
if looked == #ids and #ids < window then onward = 0 end
redis.call('HSET', progress, 'running', onward)
return found
