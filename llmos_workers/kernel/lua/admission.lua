-- Admission of a project's goals: so many under way at once, the others wait in order. Needs
-- fence.lua before it.
--
-- KEYS  1 zset of the project's goals under way     2 zset of those that wait
--       3 zset of projects with a backlog           4 hash of windows by project
--       5 counter: goals let in straight from their message lately
--       6 delayed set: who has a deadline is woken at it
-- ARGV  1 operation
--       2 project
--       3 window where the project has none of its own
--       4 prefix of the goals' hashes
--       5 prefix of the zsets of goals by state
--       6.. by operation:
--       admit  goal id, place in the order (lower first), envelope JSON or '', event data,
--              token of this call, deadline (Unix s) or ''
--       pump   most goals, event data, token of this call
--       leave  goal id
--
-- Returns  admit  {'go'} | {'wait', 1: there is room for a pump, else 0} | {'missing'}
--          pump   goal ids that are ACCEPTED now and need their message
--          leave  {under way, waiting, window}
--
-- Run twice (answer lost with the connection): admit and leave do nothing more. The goals that
-- a lost pump let in are ACCEPTED without a message, which the recovery clock sends again.

local inside, waiting, backlog, windows, fresh, delayed = unpack(KEYS)
local op, project, window, goals, states = unpack(ARGV, 1, 5)
local EVENTS_KEPT = 1000
local FRESH_S = 60

local at = now()
window = tonumber(redis.call('HGET', windows, project) or window)

local function enter(id, from, to, data, token)
  redis.call('ZREM', states .. from, id)
  redis.call('ZADD', states .. to, stamp(at), id)
  redis.call('HSET', goals .. id, 'state', to, 'updated_at', stamp(at), 'op', token)
  redis.call('XADD', goals .. id .. ':events', 'MAXLEN', '~', EVENTS_KEPT, '*',
    'kind', 'state', 'at', stamp(at), 'data', data)
end

-- Whoever ended or waits for something else is not under way, whether or not it said so.
local function sweep()
  for _, id in ipairs(redis.call('ZRANGE', inside, 0, -1)) do
    local state = redis.call('HGET', goals .. id, 'state')
    if state ~= 'ACCEPTED' and state ~= 'DISPATCHED' and state ~= 'RUNNING' then
      redis.call('ZREM', inside, id)
    end
  end
end

if op == 'admit' then
  local id, place, envelope, data, token, deadline = unpack(ARGV, 6, 11)
  local state = redis.call('HGET', goals .. id, 'state')
  if not state then return {'missing'} end
  -- A goal that runs, waits for something else or has ended is nothing to decide about here.
  if state ~= 'ACCEPTED' and state ~= 'DISPATCHED' and state ~= 'PARKED' then return {'go'} end
  if redis.call('ZSCORE', inside, id) then return {'go'} end
  local alone = redis.call('ZCARD', waiting) == 0
  if alone and redis.call('ZCARD', inside) >= window then sweep() end
  local space = redis.call('ZCARD', inside) < window
  -- Who comes later does not overtake those that wait. And a flood of goals that end as fast as
  -- they come never fills the window, yet keeps others waiting behind it: a window of them
  -- passes straight through, the rest goes once around through the order.
  local room = alone and space and tonumber(redis.call('GET', fresh) or 0) < window
  if room then
    redis.call('ZREM', waiting, id)
    redis.call('ZADD', inside, stamp(at), id)
    if redis.call('INCR', fresh) == 1 then redis.call('EXPIRE', fresh, FRESH_S) end
    return {'go'}
  end
  redis.call('ZADD', waiting, place, id)
  redis.call('ZADD', backlog, 'NX', stamp(at), project)
  if state ~= 'PARKED' then
    if envelope ~= '' then redis.call('HSET', goals .. id, 'envelope', envelope) end
    if deadline ~= '' then redis.call('ZADD', delayed, deadline, id) end
    enter(id, state, 'PARKED', data, token)
  end
  return {'wait', space and 1 or 0}
end

if op == 'pump' then
  local most, data, token = unpack(ARGV, 6, 8)
  sweep()
  local free = math.min(tonumber(most), window - redis.call('ZCARD', inside))
  local found = {}
  while #found < free do
    local id = redis.call('ZPOPMIN', waiting)[1]
    if not id then break end
    -- Cancelled goals and those that somebody woke by hand just leave the order.
    if redis.call('HGET', goals .. id, 'state') == 'PARKED' then
      redis.call('ZREM', delayed, id)
      enter(id, 'PARKED', 'ACCEPTED', data, token)
      redis.call('ZADD', inside, stamp(at), id)
      found[#found + 1] = id
    end
  end
  if redis.call('ZCARD', waiting) == 0 then
    redis.call('ZREM', backlog, project)
  else
    redis.call('ZADD', backlog, stamp(at), project)
  end
  return found
end

if op == 'leave' then
  redis.call('ZREM', inside, ARGV[6])
  return {redis.call('ZCARD', inside), redis.call('ZCARD', waiting), window}
end

return redis.error_reply('ERR unknown operation ' .. op)
