-- All writes that a worker does to a goal record. Needs fence.lua and members.lua before it.
--
-- KEYS  1 goal hash   2 event stream   3 journal list   4 budget hash of the goal's own scope
-- ARGV  1 operation
--       2 goal id
--       3 prefix of the zsets of goals by state
--       4 token of this call: the same token again is the same call sent twice
--       5 fence of the caller, '' for a caller without a lease
--       6 owner of the lease, '' when not to be compared
--       7 states from which the operation may start, as |A|B|
--       8 final states, as |A|B|
--       9.. by operation:
--       acquire  ttl seconds, mode or '', new owner, event data, highest version it can read
--       renew    ttl seconds
--       move     state, decision JSON or '', envelope JSON or '', event data
--       finish   state, outcome JSON, retention seconds, event data
--       journal  entry
--       emit     kind, event data
--       survived how often at most
--
-- Returns {'ok', ...}   acquire: fence, lease_until, then the hash flat
--                       renew: lease_until    journal: its new length    finish: outcome JSON
--         {'missing'}            no such goal
--         {'finished', state, outcome JSON or ''}
--         {'held', seconds}      another run holds the lease
--         {'lost'}               the caller's lease is gone
--         {'newer', version}     written in a form that the caller cannot read
--         {'illegal', state}     not from that state
--         {'cancel', hash flat}  asked to stop: the caller has to finish it as CANCELLED

local goal, events, journal, scope = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local op, id, prefix, token, fence, owner = unpack(ARGV, 1, 6)
local allowed, finals = ARGV[7], ARGV[8]
local EVENTS_KEPT = 1000

local facts = redis.call('HMGET', goal, 'state', 'op', 'cancel')
local state, last_token, cancel = facts[1], facts[2], facts[3] == '1'
if not state then return {'missing'} end

local at = now()

local function listed(states, one)
  return string.find(states, '|' .. one .. '|', 1, true) ~= nil
end

local function outcome()
  return redis.call('HGET', goal, 'outcome') or ''
end

local function record(kind, data)
  redis.call('XADD', events, 'MAXLEN', '~', EVENTS_KEPT, '*',
    'kind', kind, 'at', stamp(at), 'data', data)
end

local function enter(to, data)
  if to ~= state then
    redis.call('ZREM', prefix .. state, id)
    redis.call('ZADD', prefix .. to, stamp(at), id)
  end
  redis.call('HSET', goal, 'state', to, 'updated_at', stamp(at), 'op', token)
  record('state', data)
end

local function drop_lease()
  redis.call('HDEL', goal, 'lease_owner', 'lease_until')
end

local function taken()
  local lease = redis.call('HMGET', goal, 'fence', 'lease_until')
  return {'ok', lease[1], lease[2], redis.call('HGETALL', goal)}
end

-- The stream of a goal that has ended, packed: its node has room reserved for what never comes
-- (4 kB on a few hundred bytes), a copy has none. Readers see no difference. A user who may not
-- DUMP and RESTORE keeps it as it is.
local function pack()
  local copy = redis.pcall('DUMP', events)
  if type(copy) == 'string' then redis.pcall('RESTORE', events, 0, copy, 'REPLACE') end
end

-- The answer to a call that was sent twice because its first answer got lost.
if last_token == token then
  if op == 'acquire' then return taken() end
  if op == 'journal' then return {'ok', redis.call('LLEN', journal)} end
  if op == 'move' then return {'ok'} end
  if op == 'finish' then return {'ok', outcome()} end
end

if listed(finals, state) then return {'finished', state, outcome()} end

if op == 'survived' then
  if redis.call('HINCRBY', goal, 'survived', 1) <= tonumber(ARGV[9]) then
    redis.call('HINCRBY', goal, 'deliveries', -1)
  end
  return {'ok'}
end

if op == 'acquire' then
  local version = redis.call('HGET', goal, 'v') or '0'
  if tonumber(version) > tonumber(ARGV[13]) then return {'newer', version} end
  local left = lease_left(goal, at)
  if left > 0 then return {'held', stamp(left)} end
  if cancel then return {'cancel', redis.call('HGETALL', goal)} end
elseif fence ~= '' then
  if not holds(goal, fence, owner, at) then return {'lost'} end
elseif op ~= 'emit' then
  local left = lease_left(goal, at)
  if left > 0 then return {'held', stamp(left)} end
end

if not listed(allowed, state) then return {'illegal', state} end

if op == 'acquire' then
  redis.call('HINCRBY', goal, 'fence', 1)
  redis.call('HINCRBY', goal, 'deliveries', 1)
  redis.call('HDEL', goal, 'recoveries')
  redis.call('HSET', goal, 'lease_owner', ARGV[11], 'lease_until', stamp(at + tonumber(ARGV[9])))
  if ARGV[10] ~= '' then redis.call('HSET', goal, 'mode', ARGV[10]) end
  enter('RUNNING', ARGV[12])
  return taken()
end

if op == 'renew' then
  local till = stamp(at + tonumber(ARGV[9]))
  redis.call('HSET', goal, 'lease_until', till)
  return {'ok', till}
end

if op == 'move' then
  local to = ARGV[9]
  if cancel and to ~= 'RUNNING' then return {'cancel', redis.call('HGETALL', goal)} end
  if ARGV[10] ~= '' then redis.call('HSET', goal, 'decision', ARGV[10]) end
  if ARGV[11] ~= '' then redis.call('HSET', goal, 'envelope', ARGV[11]) end
  if to ~= 'RUNNING' then drop_lease() end
  enter(to, ARGV[12])
  return {'ok'}
end

if op == 'finish' then
  redis.call('HSET', goal, 'outcome', ARGV[10])
  drop_lease()
  enter(ARGV[9], ARGV[12])
  pack()
  for _, key in ipairs({goal, events, journal, scope, goal .. ':live', goal .. ':members'}) do
    redis.call('EXPIRE', key, ARGV[11])
  end
  member_ended(goal, id, string.sub(goal, 1, #goal - #id), prefix, at)
  local alias = redis.call('HGET', goal, 'idempotency')
  if alias then redis.call('EXPIRE', alias, ARGV[11]) end
  return {'ok', ARGV[10]}
end

if op == 'journal' then
  redis.call('HSET', goal, 'op', token)
  return {'ok', redis.call('RPUSH', journal, ARGV[9])}
end

if op == 'emit' then
  record(ARGV[9], ARGV[10])
  return {'ok'}
end

return redis.error_reply('ERR unknown operation ' .. op)
