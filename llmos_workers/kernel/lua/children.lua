-- A goal and the members of its plan. Needs fence.lua and members.lua before it.
--
-- KEYS  1 goal hash of the parent   2 set of live members   3 hash of all members
-- ARGV  1 operation   2 id of the parent   3 prefix of the zsets of goals by state
--       4 prefix of goal hashes   5 final states as |A|B|   6.. by operation:
--       adopt   fence, owner, then member id, step:attempt, ...: they are about to be stored
--       settle  -: drop those that have ended or are gone; the parent goes on after the last
--
-- Returns {'ok', live}     adopt    how many are live now
--         {'live', n}      settle   it still waits for n, or does not wait
--         {'woken', hash}  settle   it goes on; the caller sends its message
--         {'ready', hash}  settle   it was let go on before, and nobody has taken it up yet
--         {'missing'}  {'finished'}  {'lost'}  {'cancel'}
--
-- Run twice, each finds its own work done: a member once adopted is not made live again.

local parent, live, members = KEYS[1], KEYS[2], KEYS[3]
local op, id, prefix, goals, finals = unpack(ARGV, 1, 5)

local facts = redis.call('HMGET', parent, 'state', 'cancel')
local state = facts[1]
if not state then return {'missing'} end

local at = now()

local function final(one)
  return string.find(finals, '|' .. one .. '|', 1, true) ~= nil
end

if op == 'adopt' then
  if final(state) then return {'finished'} end
  if not holds(parent, ARGV[6], ARGV[7], at) then return {'lost'} end
  if facts[2] == '1' then return {'cancel'} end
  for n = 8, #ARGV, 2 do
    if redis.call('HSETNX', members, ARGV[n], ARGV[n + 1]) == 1 then
      redis.call('SADD', live, ARGV[n])
    end
  end
  return {'ok', redis.call('SCARD', live)}
end

if op == 'settle' then
  if final(state) then return {'finished'} end
  -- A parent that runs may be about to store those that it has adopted.
  if state == 'RUNNING' then return {'live', redis.call('SCARD', live)} end
  for _, each in ipairs(redis.call('SMEMBERS', live)) do
    local its = redis.call('HGET', goals .. each, 'state')
    if not its or final(its) then redis.call('SREM', live, each) end
  end
  local left = redis.call('SCARD', live)
  if left > 0 then return {'live', left} end
  if members_over(parent, id, prefix, at) then return {'woken', redis.call('HGETALL', parent)} end
  if state == 'ACCEPTED' then return {'ready', redis.call('HGETALL', parent)} end
  return {'live', 0}
end

return redis.error_reply('ERR unknown operation ' .. op)
