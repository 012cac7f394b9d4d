-- Requests for approval: asking, answering, using up, expiring. Needs fence.lua before it.
-- All times are the server's.
--
-- KEYS  1 hash of the goal                     2 hash digest -> approval id, of the goal
--       3 zset of open requests by expiry      4 zset of goals that asked
--       5 zset of goals to wake                6 audit stream
--       7 event stream of the goal               8 budget of the scope that a yes raises
-- ARGV  1 operation
--       2 goal id
--       3 prefix of the approvals' hashes
--       4 final states of goals, as |A|B|
--       5 seconds that things of a closed goal are kept
--       6.. by operation:
--       request  id, digest, fence or '', ttl seconds, then field, value, field, value...
--       answer   id, 'approved' or 'denied', by, why
--       consume  digest, fence or '', token of this call
--       expire   id
--       funded   id of a request for money
--       close    why
--
-- Returns {'ok', hash flat}        request: the new or standing one    answer: as it is now
--         {'ok'}                   consume: used up by this call       close, expire
--         {'no', state or ''}      consume: not approved    expire: not overdue
--                                  answer: its state does not allow it
--                                  funded: it is not open, or not about money
--         {'missing'}              no such goal, or no such request of this goal
--         {'ended', state}         the goal is final
--         {'lost'}                 the caller's lease is gone
--
-- Run twice (answer lost with the connection): request and answer find their own work done,
-- consume knows its token, the others do nothing the second time.

local goal, by_digest, open, askers, wake, audit, events, budget = unpack(KEYS)
local op, goal_id, prefix, finals, kept = unpack(ARGV, 1, 5)
local AUDIT_KEPT = 100000
local EVENTS_KEPT = 1000

local at = now()

local function tell(id, what, by, why)
  local f = redis.call('HMGET', prefix .. id, 'project', 'tool', 'digest')
  redis.call('XADD', audit, 'MAXLEN', '~', AUDIT_KEPT, '*', 'at', stamp(at), 'what', what,
    'approval', id, 'goal', goal_id, 'project', f[1] or '', 'tool', f[2] or '',
    'digest', f[3] or '', 'by', by, 'why', why)
  if redis.call('EXISTS', goal) == 1 then
    local data = cjson.encode({approval_id = id, state = what, tool = f[2] or '', by = by})
    redis.call('XADD', events, 'NOMKSTREAM', 'MAXLEN', '~', EVENTS_KEPT, '*',
      'kind', 'approval', 'at', stamp(at), 'data', data)
  end
end

local function expire(id, why)
  redis.call('HSET', prefix .. id, 'state', 'expired', 'why', why)
  redis.call('ZREM', open, id)
  redis.call('ZADD', wake, stamp(at), goal_id)
  tell(id, 'expired', '', why)
end

-- The state of a request now: what is over its time becomes expired as soon as it is looked at.
local function state_of(id)
  local f = redis.call('HMGET', prefix .. id, 'state', 'expires_at')
  if not f[1] then return nil end
  if (f[1] == 'pending' or f[1] == 'approved') and tonumber(f[2]) <= at then
    expire(id, f[1] == 'pending' and 'nobody answered in time' or 'not used in time')
    return 'expired'
  end
  return f[1]
end

local function close(why)
  local ids = redis.call('HVALS', by_digest)
  for _, id in ipairs(ids) do
    local state = state_of(id)
    if state == 'pending' or state == 'approved' then expire(id, why) end
    redis.call('EXPIRE', prefix .. id, kept)
  end
  redis.call('EXPIRE', by_digest, kept)
  redis.call('ZREM', askers, goal_id)
  redis.call('ZREM', wake, goal_id)
end

local function ended()
  local state = redis.call('HGET', goal, 'state')
  if not state then return {'missing'} end
  if string.find(finals, '|' .. state .. '|', 1, true) then
    close('the goal ended: ' .. state)
    return {'ended', state}
  end
  return nil
end

if op == 'close' then
  close(ARGV[6])
  return {'ok'}
end

if op == 'expire' then
  local id = ARGV[6]
  local state = state_of(id)
  if not state then redis.call('ZREM', open, id) end
  if state == 'expired' then return {'ok'} end
  return {'no', state or ''}
end

local over = ended()
if over then return over end

if op == 'request' then
  local id, digest, fence, ttl = unpack(ARGV, 6, 9)
  if fence ~= '' and not holds(goal, fence, '', at) then return {'lost'} end
  local old = redis.call('HGET', by_digest, digest)
  if old then
    local state = state_of(old)
    local answered = state == 'expired' and redis.call('HEXISTS', prefix .. old, 'decided_at') == 1
    -- What was used up, or granted and not used in time, may be asked for again; a no stays,
    -- and so does silence: a goal that nobody answers must not ask for ever.
    if state and state ~= 'used' and not answered then
      return {'ok', redis.call('HGETALL', prefix .. old)}
    end
    if state then redis.call('EXPIRE', prefix .. old, kept) end
  end
  local till = stamp(at + tonumber(ttl))
  redis.call('HSET', prefix .. id, 'approval_id', id, 'goal_id', goal_id, 'digest', digest,
    'state', 'pending', 'created_at', stamp(at), 'expires_at', till, unpack(ARGV, 10))
  redis.call('HSET', by_digest, digest, id)
  redis.call('ZADD', open, till, id)
  redis.call('ZADD', askers, stamp(at), goal_id)
  tell(id, 'requested', '', '')
  return {'ok', redis.call('HGETALL', prefix .. id)}
end

-- A yes to a request for money: raise that limit, where there is one, and use the yes up.
local function raise_limit(id, by)
  local f = redis.call('HMGET', prefix .. id, 'raise_micro', 'raise_window', 'raise_scope')
  local window = f[2] == '' and '' or f[2] .. '_'
  local limit = tonumber(redis.call('HGET', budget, window .. 'limit') or '')
  if limit then
    local raised = string.format('%.0f', limit + tonumber(f[1]))
    -- Shares of the old limit that were told may be reached again.
    redis.call('HSET', budget, window .. 'limit', raised, window .. 'alerted', 0)
    tell(id, 'raised', by, f[3] .. ' ' .. f[2] .. ' by ' .. f[1] .. ' to ' .. raised)
  end
  redis.call('HSET', prefix .. id, 'state', 'used', 'used_at', stamp(at))
end

if op == 'answer' then
  local id, to, by, why = unpack(ARGV, 6, 9)
  local state = state_of(id)
  if not state then return {'missing'} end
  local raises = to == 'approved' and redis.call('HEXISTS', prefix .. id, 'raise_micro') == 1
  -- A yes may be taken back until it is used; a no is final.
  if state == 'pending' or (state == 'approved' and to == 'denied') then
    redis.call('HSET', prefix .. id, 'state', to, 'decided_at', stamp(at),
      'decided_by', by, 'why', why)
    redis.call('ZREM', open, id)
    redis.call('ZADD', wake, stamp(at), goal_id)
    tell(id, to, by, why)
    if raises then raise_limit(id, by) end
  elseif state ~= to and not (raises and state == 'used') then
    return {'no', state}
  end
  return {'ok', redis.call('HGETALL', prefix .. id)}
end

-- The money is there without a yes to it: the limit was raised by hand, or its window is over.
if op == 'funded' then
  local id = ARGV[6]
  local asks = redis.call('HEXISTS', prefix .. id, 'raise_micro') == 1
  local state = state_of(id)
  if state ~= 'pending' or not asks then return {'no', state or ''} end
  redis.call('HSET', prefix .. id, 'state', 'used', 'used_at', stamp(at), 'why', 'it fits by now')
  redis.call('ZREM', open, id)
  redis.call('ZADD', wake, stamp(at), goal_id)
  tell(id, 'used', '', 'it fits by now')
  return {'ok'}
end

if op == 'consume' then
  local digest, fence, token = unpack(ARGV, 6, 8)
  if fence ~= '' and not holds(goal, fence, '', at) then return {'lost'} end
  local id = redis.call('HGET', by_digest, digest)
  local state = id and state_of(id)
  if state == 'used' and redis.call('HGET', prefix .. id, 'used_by') == token then
    return {'ok'}
  end
  if state ~= 'approved' then return {'no', state or ''} end
  redis.call('HSET', prefix .. id, 'state', 'used', 'used_at', stamp(at), 'used_by', token)
  tell(id, 'used', redis.call('HGET', prefix .. id, 'decided_by') or '', '')
  return {'ok'}
end

return redis.error_reply('ERR unknown operation ' .. op)
