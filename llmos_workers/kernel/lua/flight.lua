-- Single flight: one goal learns, its likes wait. Needs fence.lua before it.
--
-- KEYS  1 flight hash       2 zset of the goals that wait for it, in their order
--       3 zset of flights that somebody waits for, name -> since when
--       4 delayed set       5 counters hash
-- ARGV  1 operation
--       2 name of the flight
--       3 prefix of the goals' hashes
--       4 prefix of the zsets of goals by state
--       5 token of this call
--       6 final states, as |A|B|
--       7.. by operation:
--       join     goal id, digest of what makes two goals the same, place in the order, envelope
--                JSON or '' (as it is), due time or '', event data; fence and owner of the run
--                that asks, or '' and '' for a goal that does not run
--       again    goal id, event data, fence, owner
--       land     goal id of the learner, verdict (ok | failed | left), error JSON or '', most
--                failures in a row, event data of the successor
--       release  most goals, event data
--       ended    prefix of the flight hashes, most flights
--
-- Returns  join     {'go', '1': something landed here lately, so look again}
--                   {'wait', goal id of the learner}
--                   {'missing'}
--                   {'lost'}        the run that asks holds its goal no longer
--          again    {'ok'}          ACCEPTED now: it needs its message
--                   {'lost'}
--          land     {'skip'}        not its learner (any more), nothing was done
--                   {'next', id}    the successor, ACCEPTED now: it needs its message
--                   {'open'}        nobody learns: release those that wait
--          release  ids of goals that are ACCEPTED now and need their messages
--          ended    name, learner or '', of flights whose learner has ended, or that are open
--
-- A flight's fields: learner, same (the learner's digest), series (number of the series of
-- learners), failures (in a row), own (of them, of one digest), landed (time), open (to be
-- released), gave_up (series), gave_up_same, error. A goal's: flight (the one it leads),
-- flight_same, flight_series, flights (how many it waited for), flight_failed (error JSON: the
-- learners of its series failed, and they were the same as it).
--
-- A run that joins and has to wait ends in the same step, and so does one that is to be decided
-- again: its start counts for nothing.
--
-- Run twice (answer lost with the connection): join does nothing more. The goals that a lost
-- land, release or again let go are ACCEPTED without a message, which the recovery clock sends.

local flight, waiting, awaited, delayed, counters = unpack(KEYS)
local op, name, goals, states, token, finals = unpack(ARGV, 1, 6)
local EVENTS_KEPT = 1000
local KEPT_S = 3600          -- what landed or was given up is remembered for whoever decided before
local ALONE_S = 2 * 86400    -- a learner nobody waits for leaves no trace of itself for longer

local at = now()

local function enter(id, from, to, data)
  redis.call('ZREM', states .. from, id)
  redis.call('ZADD', states .. to, stamp(at), id)
  redis.call('HSET', goals .. id, 'state', to, 'updated_at', stamp(at), 'op', token)
  redis.call('XADD', goals .. id .. ':events', 'MAXLEN', '~', EVENTS_KEPT, '*',
    'kind', 'state', 'at', stamp(at), 'data', data)
end

local function ended(id)
  local state = redis.call('HGET', goals .. id, 'state')
  return not state or string.find(finals, '|' .. state .. '|', 1, true) ~= nil
end

local function go_on(id, data)
  redis.call('ZREM', waiting, id)
  redis.call('ZREM', delayed, id)
  enter(id, 'WAITING_FLIGHT', 'ACCEPTED', data)
end

-- The run that holds the goal ends here.
local function end_run(id)
  redis.call('HDEL', goals .. id, 'lease_owner', 'lease_until')
  redis.call('HINCRBY', goals .. id, 'deliveries', -1)
end

-- Nobody learns any more; those that wait are released from now on.
local function open()
  redis.call('HDEL', flight, 'learner', 'same', 'failures', 'own')
  redis.call('HSET', flight, 'landed', stamp(at))
  redis.call('EXPIRE', flight, KEPT_S)
  if redis.call('ZCARD', waiting) > 0 then
    redis.call('HSET', flight, 'open', '1')
    redis.call('PERSIST', flight)
  end
  return {'open'}
end

-- The next learner: the first that is the same as the one before, else the first of all.
local function successor(same)
  local first
  for _, id in ipairs(redis.call('ZRANGE', waiting, 0, -1)) do
    local facts = redis.call('HMGET', goals .. id, 'state', 'flight_same')
    if facts[1] ~= 'WAITING_FLIGHT' then
      redis.call('ZREM', waiting, id)
    elseif facts[2] == same then
      return id
    else
      first = first or id
    end
  end
  return first
end

if op == 'join' then
  local id, same, place, envelope, due, data, fence, owner = unpack(ARGV, 7, 14)
  local goal = goals .. id
  local facts = redis.call('HMGET', goal, 'state', 'op', 'cancel')
  local state = facts[1]
  if not state then return {'missing'} end
  local held = redis.call('HMGET', flight, 'learner', 'landed')
  local learner = held[1]
  local lately = held[2] and '1' or ''
  if fence ~= '' then
    if facts[2] == token then return {'wait', learner or ''} end
    if not holds(goal, fence, owner, at) then return {'lost'} end
    if facts[3] == '1' then return {'go', ''} end
  elseif state ~= 'ACCEPTED' and state ~= 'DISPATCHED' and state ~= 'WAITING_FLIGHT' then
    -- A goal that runs, waits for something else or has ended is nothing to decide about here.
    return {'go', learner == id and lately or ''}
  end
  if learner == id then return {'go', lately} end
  if learner and not ended(learner) then
    if fence ~= '' then end_run(id) end
    redis.call('HSET', goal, 'flight_same', same,
      'flight_series', redis.call('HGET', flight, 'series'))
    if envelope ~= '' then redis.call('HSET', goal, 'envelope', envelope) end
    redis.call('ZADD', waiting, place, id)
    redis.call('ZADD', awaited, 'NX', stamp(at), name)
    redis.call('PERSIST', flight)
    if due ~= '' then redis.call('ZADD', delayed, due, id) end
    if state ~= 'WAITING_FLIGHT' then enter(id, state, 'WAITING_FLIGHT', data) end
    return {'wait', learner}
  end
  redis.call('ZREM', waiting, id)
  if not learner then redis.call('HINCRBY', flight, 'series', 1) end
  redis.call('HSET', flight, 'learner', id, 'same', same)
  redis.call('HSET', goal, 'flight', name)
  if redis.call('ZCARD', waiting) == 0 then
    redis.call('EXPIRE', flight, ALONE_S)
  else
    redis.call('PERSIST', flight)
  end
  -- A learner that ended without landing may have landed what is looked for.
  return {'go', learner and '1' or lately}
end

if op == 'again' then
  local id, data, fence, owner = unpack(ARGV, 7, 10)
  local facts = redis.call('HMGET', goals .. id, 'state', 'op')
  if facts[2] == token then return {'ok'} end
  if not holds(goals .. id, fence, owner, at) then return {'lost'} end
  end_run(id)
  redis.call('HINCRBY', goals .. id, 'flights', 1)
  enter(id, facts[1], 'ACCEPTED', data)
  return {'ok'}
end

if op == 'land' then
  local id, verdict, problem, most, data = unpack(ARGV, 7, 11)
  if redis.call('HGET', flight, 'learner') ~= id then return {'skip'} end
  if redis.call('EXISTS', goals .. id) == 1 then redis.call('HDEL', goals .. id, 'flight') end
  if verdict == 'ok' then return open() end
  local same = redis.call('HGET', flight, 'same')
  if verdict == 'failed' then
    local failures = redis.call('HINCRBY', flight, 'failures', 1)
    local own = redis.call('HINCRBY', flight, 'own', 1)
    if failures >= tonumber(most) then
      local series = redis.call('HGET', flight, 'series')
      redis.call('HSET', flight, 'gave_up', series, 'error', problem,
        'gave_up_same', own >= tonumber(most) and same or '')
      redis.call('HINCRBY', counters, 'flight.gave_up', 1)
      return open()
    end
  end
  local following = successor(same)
  if not following then return open() end
  local its = redis.call('HGET', goals .. following, 'flight_same')
  if its ~= same then redis.call('HDEL', flight, 'own') end
  redis.call('HSET', flight, 'learner', following, 'same', its)
  redis.call('HSET', goals .. following, 'flight', name)
  go_on(following, data)
  redis.call('HINCRBY', counters, 'flight.successors', 1)
  return {'next', following}
end

if op == 'release' then
  local most, data = tonumber(ARGV[7]), ARGV[8]
  local vain = redis.call('HMGET', flight, 'gave_up', 'gave_up_same', 'error')
  local found = {}
  while #found < most do
    local id = redis.call('ZPOPMIN', waiting)[1]
    if not id then break end
    local facts = redis.call('HMGET', goals .. id, 'state', 'flight_series', 'flight_same')
    if facts[1] == 'WAITING_FLIGHT' then
      redis.call('HINCRBY', goals .. id, 'flights', 1)
      if vain[1] and facts[2] == vain[1] and facts[3] == vain[2] then
        redis.call('HSET', goals .. id, 'flight_failed', vain[3])
      end
      go_on(id, data)
      found[#found + 1] = id
    end
  end
  if redis.call('ZCARD', waiting) == 0 then
    redis.call('ZREM', awaited, name)
    redis.call('HDEL', flight, 'open')
    if redis.call('HEXISTS', flight, 'learner') == 0 then
      redis.call('EXPIRE', flight, KEPT_S)
    end
  end
  return found
end

if op == 'ended' then
  local prefix, most = ARGV[7], tonumber(ARGV[8])
  local found = {}
  for _, each in ipairs(redis.call('ZRANGE', awaited, 0, most - 1)) do
    local facts = redis.call('HMGET', prefix .. each, 'learner', 'open')
    local learner = facts[1]
    if facts[2] or not learner or ended(learner) then
      found[#found + 1] = each
      found[#found + 1] = (learner and ended(learner)) and learner or ''
    end
  end
  return found
end

return redis.error_reply('ERR unknown operation ' .. op)
