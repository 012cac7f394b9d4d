-- The record of a trace: one script for what must change together. Includes fence.lua.
--
-- KEYS 1 trace hash    content, revision, version, path, stamp, staged, and the counters
--                      usage_count, success_count, failure_streak, total_cost_micro,
--                      total_saved_micro, latency_us, last_used, evidence:<name>
--      2 set of the project's trace ids
--      3 hash signature -> trace id (wordings) of the project
--      4 index outbox stream
--      5 epoch counter of traces
--      6 goal hash of the run that writes (any key when no fence is given)
--      7 string with expiry: this outcome is counted (any key but for 'count' and 'label')
-- ARGV 1 operation, 2 project, 3 trace id, then
--   commit: expected revision ('' = there is no record), fence ('' = not checked), owner,
--           'index' or '', goal signature, n fields, n aliases, n dropped,
--           then n field/value pairs, the aliases' and the dropped wordings' signatures
--           -> 'ok' | 'conflict' | 'fence'. Writing the same staged file again is 'ok'.
--   forget: expected revision, then the signatures of its wordings
--           -> 'ok' | 'conflict'
--   count:  success (1/0), cost micro, saved micro, latency in microseconds, time, seconds to
--           remember the outcome, fence ('' = not checked), owner
--           -> 'ok' | 'counted' | 'gone' | 'fence'
--   label:  field to add one to, seconds to remember the outcome, fence ('' = not checked), owner
--           -> 'ok' | 'counted' | 'gone' | 'fence'
-- The goal's own wording takes the signature from an alias of another trace; an alias never
-- takes a signature that is in use. Counters are not touched by commit unless given as fields.

local trace, ids, wordings, outbox, epoch, goal, counted =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local op, project, id = ARGV[1], ARGV[2], ARGV[3]

local function drop_wordings(first, last)
  for n = first, last do
    if redis.call('HGET', wordings, ARGV[n]) == id then
      redis.call('HDEL', wordings, ARGV[n])
    end
  end
end

local function tell_index(what)
  redis.call('XADD', outbox, '*', 'op', what, 'project', project, 'trace_id', id)
  redis.call('INCR', epoch)
end

if op == 'commit' then
  local expected, fence, owner, index, signature = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
  local fields, aliases, dropped = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
  local first = 12
  local values = {}
  for n = first, first + 2 * fields - 1 do values[#values + 1] = ARGV[n] end
  local staged = ''
  for n = 1, #values, 2 do
    if values[n] == 'staged' then staged = values[n + 1] end
  end
  local stored = redis.call('HMGET', trace, 'revision', 'staged')
  if staged ~= '' and stored[2] == staged then return 'ok' end
  if (stored[1] or '') ~= expected then return 'conflict' end
  if fence ~= '' and not holds(goal, fence, owner, now()) then return 'fence' end
  redis.call('HSET', trace, unpack(values))
  redis.call('SADD', ids, id)
  local at = first + 2 * fields
  drop_wordings(at + aliases, at + aliases + dropped - 1)
  redis.call('HSET', wordings, signature, id)
  for n = at, at + aliases - 1 do redis.call('HSETNX', wordings, ARGV[n], id) end
  if index ~= '' then tell_index('put') end
  return 'ok'
end

if op == 'forget' then
  local stored = redis.call('HGET', trace, 'revision')
  if stored and stored ~= ARGV[4] then return 'conflict' end
  redis.call('DEL', trace)
  redis.call('SREM', ids, id)
  drop_wordings(5, #ARGV)
  tell_index('delete')
  return 'ok'
end

if op == 'count' then
  if redis.call('HEXISTS', trace, 'content') == 0 then return 'gone' end
  if ARGV[10] ~= '' and not holds(goal, ARGV[10], ARGV[11], now()) then return 'fence' end
  if not redis.call('SET', counted, '1', 'NX', 'EX', ARGV[9]) then return 'counted' end
  redis.call('HINCRBY', trace, 'usage_count', 1)
  if ARGV[4] == '1' then
    redis.call('HINCRBY', trace, 'success_count', 1)
    redis.call('HSET', trace, 'failure_streak', 0)
  else
    redis.call('HINCRBY', trace, 'failure_streak', 1)
  end
  redis.call('HINCRBY', trace, 'total_cost_micro', ARGV[5])
  redis.call('HINCRBY', trace, 'total_saved_micro', ARGV[6])
  redis.call('HINCRBY', trace, 'latency_us', ARGV[7])
  redis.call('HSET', trace, 'last_used', ARGV[8])
  return 'ok'
end

if op == 'label' then
  if ARGV[6] ~= '' and not holds(goal, ARGV[6], ARGV[7], now()) then return 'fence' end
  if redis.call('HEXISTS', trace, 'content') == 0 then return 'gone' end
  if not redis.call('SET', counted, '1', 'NX', 'EX', ARGV[5]) then return 'counted' end
  redis.call('HINCRBY', trace, ARGV[4], 1)
  return 'ok'
end

return redis.error_reply('traces.lua: unknown operation ' .. tostring(op))
