-- The log of a project's commits: one script for the moment from which a commit counts.
-- Includes fence.lua.
--
-- KEYS  1 state hash (seq, pending, undone:<id>)   2 records hash   3 log zset
--       4 paths hash   5 goal hash of the run that writes (any key without a fence)
--       6 hash of tainted files
-- ARGV  1 operation, 2 commit id, then
--   intend: fence ('' = not checked), owner, seq that the change started from, record JSON,
--           id of the commit it undoes or '', records kept, n paths to check, n paths to set,
--           n taints, then those paths, then field and value of each taint; all other paths that
--           it sets are tainted no longer.
--           A path to check that a later commit than the start has set is a conflict.
--   done:   nothing
--   lost:   nothing
--   trust:  pairs of a field of the tainted files and the value it has to have ('' = any)
--
-- Returns intend  {'ok', seq}         logged and pending; the same when it was already logged
--                 {'pending', id}     another commit's files have to be moved in first
--                 {'lost'}            the run may write nothing more
--                 {'cancel'}          someone asked the goal to stop
--                 {'undone'}          the commit to undo is undone
--                 {'conflict', path, seq, path, seq, ...}
--         done    {'ok'}, or {'no'} when it was not pending
--         lost    {'ok'}: its files are gone; nothing waits for them any more
--         trust   {'ok'}: they are no longer tainted, or {'no'}: it is another taint by now

local state, records, log, paths, goal = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local op, id = ARGV[1], ARGV[2]
local pending = redis.call('HGET', state, 'pending')

if op == 'done' or op == 'lost' then
  if pending ~= id then return {'no'} end
  redis.call('HDEL', state, 'pending')
  return {'ok'}
end

if op == 'trust' then
  for n = 3, #ARGV, 2 do
    if ARGV[n + 1] ~= '' and redis.call('HGET', KEYS[6], ARGV[n]) ~= ARGV[n + 1] then
      return {'no'}
    end
  end
  for n = 3, #ARGV, 2 do redis.call('HDEL', KEYS[6], ARGV[n]) end
  return {'ok'}
end

if op ~= 'intend' then
  return redis.error_reply('ERR commits.lua: unknown operation ' .. tostring(op))
end

local known = redis.call('ZSCORE', log, id)
if known then return {'ok', tonumber(known)} end

local fence, owner, start = ARGV[3], ARGV[4], tonumber(ARGV[5])
local record, undoes, kept = ARGV[6], ARGV[7], tonumber(ARGV[8])
local checks, sets, taints = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local first = 12

if fence ~= '' then
  if not holds(goal, fence, owner, now()) then return {'lost'} end
  if redis.call('HGET', goal, 'cancel') == '1' then return {'cancel'} end
end
if pending then return {'pending', pending} end
if undoes ~= '' and redis.call('HEXISTS', state, 'undone:' .. undoes) == 1 then
  return {'undone'}
end

local conflicts = {}
for n = first, first + checks - 1 do
  local seq = redis.call('HGET', paths, ARGV[n])
  if seq and tonumber(seq) > start then
    conflicts[#conflicts + 1] = ARGV[n]
    conflicts[#conflicts + 1] = seq
  end
end
if #conflicts > 0 then return {'conflict', unpack(conflicts, 1, math.min(#conflicts, 400))} end

local seq = redis.call('HINCRBY', state, 'seq', 1)
redis.call('HSET', state, 'pending', id)
redis.call('HSET', records, id, record)
redis.call('ZADD', log, seq, id)
for n = first + checks, first + checks + sets - 1 do
  redis.call('HSET', paths, ARGV[n], seq)
end
if redis.call('EXISTS', KEYS[6]) == 1 then
  for n = first + checks, first + checks + sets - 1 do
    redis.call('HDEL', KEYS[6], 'path:' .. ARGV[n])
  end
end
for n = first + checks + sets, first + checks + sets + 2 * taints - 1, 2 do
  redis.call('HSET', KEYS[6], ARGV[n], ARGV[n + 1])
end
if undoes ~= '' then redis.call('HSET', state, 'undone:' .. undoes, id) end
for _, old in ipairs(redis.call('ZRANGE', log, 0, -(kept + 1))) do
  redis.call('HDEL', records, old)
  redis.call('HDEL', state, 'undone:' .. old)
  redis.call('ZREM', log, old)
end
return {'ok', seq}
