-- Changes of a goal's state that no run of it makes, and the one a run makes to wait.
-- Needs fence.lua before it.
--
-- KEYS  1 goal hash   2 event stream   3 delayed set   4 counters hash
-- ARGV  1 operation
--       2 goal id
--       3 prefix of the zsets of goals by state
--       4 token of this call: the same token again is the same call sent twice
--       5 data of the event it leaves (a `state` event for park and wake, else a `notice`)
--       6.. by operation:
--       reclaim  state to enter: a RUNNING goal whose lease is over
--       lost     score of its entry, grace in seconds: a goal whose message is gone; entered anew
--       park     fence, owner, state to enter, due time or '', final states as |A|B|
--       wake     waiting states as |A|B|, '1' for only when due
--
-- Returns {'ok', hash flat}    park: {'ok'}
--         {'skip'}             not so any more, nothing was done
--         {'missing'}          no such goal
--         {'finished'}         park: the goal has ended
--         {'lost'}             park: the caller's lease is gone
--         {'cancel'}           park: asked to stop, it must end instead
--         {'ready'}            park: to WAITING_CHILDREN, and all members have ended: it goes on

local goal, events, delayed, counters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local op, id, prefix, token, data = unpack(ARGV, 1, 5)
local EVENTS_KEPT = 1000
-- A message lost again and again before its goal ran is looked for after 8 graces at last.
local BACKOFF_STEPS = 3

local facts = redis.call('HMGET', goal, 'state', 'op', 'cancel', 'recoveries')
local state, last_token = facts[1], facts[2]
if not state then
  redis.call('ZREM', delayed, id)
  return {'missing'}
end

local at = now()

local function record(kind, text)
  redis.call('XADD', events, 'MAXLEN', '~', EVENTS_KEPT, '*',
    'kind', kind, 'at', stamp(at), 'data', text)
end

local function enter(to)
  redis.call('ZREM', prefix .. state, id)
  redis.call('ZADD', prefix .. to, stamp(at), id)
  redis.call('HSET', goal, 'state', to, 'updated_at', stamp(at), 'op', token)
end

local function listed(states)
  return string.find(states, '|' .. state .. '|', 1, true) ~= nil
end

local function done()
  if op == 'park' then return {'ok'} end
  return {'ok', redis.call('HGETALL', goal)}
end

if last_token == token then return done() end

if op == 'reclaim' then
  if state ~= 'RUNNING' or lease_left(goal, at) > 0 then return {'skip'} end
  redis.call('HDEL', goal, 'lease_owner', 'lease_until')
  enter(ARGV[6])
  record('notice', data)
  redis.call('HINCRBY', counters, 'recovery.died', 1)
  return done()
end

if op == 'lost' then
  if state ~= 'ACCEPTED' and state ~= 'DISPATCHED' then return {'skip'} end
  local since = tonumber(redis.call('ZSCORE', prefix .. state, id) or 0)
  if since ~= tonumber(ARGV[6]) then return {'skip'} end
  local before = math.min(tonumber(facts[4] or 0), BACKOFF_STEPS)
  if at - since < tonumber(ARGV[7]) * 2 ^ before then return {'skip'} end
  redis.call('HINCRBY', goal, 'recoveries', 1)
  enter(state)
  record('notice', data)
  redis.call('HINCRBY', counters, 'recovery.lost', 1)
  return done()
end

if op == 'park' then
  local fence, owner, to, due, finals = unpack(ARGV, 6, 10)
  if listed(finals) then return {'finished'} end
  if not holds(goal, fence, owner, at) then return {'lost'} end
  if facts[3] == '1' then return {'cancel'} end
  local waits = to == 'WAITING_CHILDREN'
  if waits and redis.call('SCARD', goal .. ':live') == 0 then return {'ready'} end
  redis.call('HDEL', goal, 'lease_owner', 'lease_until')
  -- A start that ended in order is no failed one; one that sent members off is no poison, however
  -- often it died before.
  if waits then
    redis.call('HSET', goal, 'deliveries', 0)
  else
    redis.call('HINCRBY', goal, 'deliveries', -1)
  end
  enter(to)
  record('state', data)
  if due == '' then redis.call('ZREM', delayed, id) else redis.call('ZADD', delayed, due, id) end
  return done()
end

if op == 'wake' then
  local due = redis.call('ZSCORE', delayed, id)
  if ARGV[7] == '1' and (not due or tonumber(due) > at) then return {'skip'} end
  redis.call('ZREM', delayed, id)
  if not listed(ARGV[6]) then return {'skip'} end
  enter('ACCEPTED')
  record('state', data)
  redis.call('HINCRBY', counters, 'delayed.woken', 1)
  return done()
end

return redis.error_reply('ERR unknown operation ' .. op)
