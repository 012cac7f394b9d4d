-- All changes of money. Needs fence.lua before it. Amounts are integer micro-dollars.
--
-- A scope (global, project, goal) is a hash: limit ('none' or absent: without), spent,
-- reserved, in_doubt, saved. In each scope, after every call:
--     spent + reserved + in_doubt <= limit
-- A reservation is a hash: state (reserved, sent, doubt, settled, released), bound, cost, fence,
-- model, purpose, mode, at, journal (yes, no, lost). It counts in all its scopes or in none.
--     reserved -> sent -> settled            the way of a model call
--     reserved -> released                   never sent: the money returns
--     sent -> doubt -> settled               no answer: charged at its bound until one is known
--
-- KEYS  1 ledger stream   2 zset of open reservations   3 reservation hash
--       4 goal hash       5 goal journal                6.. scopes: global, project, goal
-- ARGV  1 operation   2 reservation id   3 goal id   4 project   5.. by operation:
--       reserve  bound, fence or '', model, purpose, mode, limit of global ('' none) and of the
--                goal ('' none), each set only where that scope has no limit yet
--       sent     -
--       release  -
--       settle   cost, fence or '', owner, input, output, 5m write, 1h write and read tokens,
--                '1' when a journal entry follows, entry
--       doubt    -
--       reclaim  seconds after which a reservation without a fence counts as dead
--       deduct   amount, purpose, limit of global
--       saved    amount, mode
--       limit    amount or 'none'; KEYS[6] is the one scope
--
-- Returns {'ok', ...}       settle: cost, journal (yes, no, lost), '1' when it was above the bound
--                           reclaim: what became of it: released, doubt, live or done
--         {'exceeded', scope number from 1, available, limit}    nothing was changed
--         {'lost'}          the lease is gone: nothing was reserved; what was not sent, returned
--         {'state', s}      the reservation is in state s and cannot do that; '' unknown
--         {'committed', n}  the limit would be below what is spent or promised already
--
-- Each call may come twice: the second changes nothing and gets the first's answer.

local ledger, open, entry, goal, journal = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local op, id, goal_id, project = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local FIRST_SCOPE, GOAL_SCOPE = 6, 8
local DAY, HOUR = 86400, 3600

local at = now()

local function field(key, name)
  return redis.call('HGET', key, name)
end

local function number(key, name)
  return tonumber(field(key, name) or '0')
end

local function whole(n)
  return string.format('%.0f', n)
end

local function committed(scope)
  local sums = redis.call('HMGET', scope, 'spent', 'reserved', 'in_doubt')
  return tonumber(sums[1] or '0') + tonumber(sums[2] or '0') + tonumber(sums[3] or '0')
end

local function limit_of(scope)
  local limit = field(scope, 'limit')
  if not limit or limit == 'none' then return nil end
  return tonumber(limit)
end

-- A first limit that comes when more is taken already holds what is taken, and no more.
local function default_limit(scope, limit)
  if limit == '' or redis.call('HEXISTS', scope, 'limit') == 1 then return end
  redis.call('HSET', scope, 'limit', whole(math.max(tonumber(limit), committed(scope))))
end

-- The first scope that has no room for an amount, as the answer to give; nil when all have.
local function lacking(amount)
  for i = FIRST_SCOPE, #KEYS do
    local limit = limit_of(KEYS[i])
    if limit then
      local available = limit - committed(KEYS[i])
      if amount > available then
        return {'exceeded', i - FIRST_SCOPE + 1, whole(math.max(0, available)), whole(limit)}
      end
    end
  end
  return nil
end

local function add(name, amount)
  if amount == 0 then return end
  for i = FIRST_SCOPE, #KEYS do
    redis.call('HINCRBY', KEYS[i], name, whole(amount))
  end
end

-- The scope of a goal goes when its record goes; of a goal without a record after a week.
local function bound_life_of_goal_scope()
  local scope = KEYS[GOAL_SCOPE]
  if not scope then return end
  local left = redis.call('TTL', goal)
  if left == -2 then left = 7 * DAY end
  if left > 0 then redis.call('EXPIRE', scope, left) end
end

local function note(kind, micro, ...)
  redis.call('XADD', ledger, '*', 'kind', kind, 'id', id, 'goal', goal_id,
    'project', project, 'micro', micro, ...)
end

local function close(state)
  redis.call('HSET', entry, 'state', state)
  redis.call('ZREM', open, id)
  redis.call('EXPIRE', entry, DAY)
end

-- What is done at once only has to know itself again when it is sent twice.
local function remember()
  redis.call('HSET', entry, 'state', 'done')
  redis.call('EXPIRE', entry, HOUR)
end

local function give_back()
  add('reserved', -number(entry, 'bound'))
  close('released')
end

local function into_doubt()
  local bound = number(entry, 'bound')
  add('reserved', -bound)
  add('in_doubt', bound)
  redis.call('HSET', entry, 'state', 'doubt')
  local facts = redis.call('HMGET', entry, 'mode', 'model', 'purpose')
  note('doubt', '0', 'bound', whole(bound), 'mode', facts[1], 'model', facts[2],
    'purpose', facts[3])
end

if op == 'limit' then
  local scope, amount = KEYS[FIRST_SCOPE], ARGV[5]
  local taken = committed(scope)
  if amount ~= 'none' and tonumber(amount) < taken then return {'committed', whole(taken)} end
  redis.call('HSET', scope, 'limit', amount)
  return {'ok'}
end

local state = field(entry, 'state')

if op == 'reserve' then
  if state then return {'ok'} end
  local bound, fence, mode = ARGV[5], ARGV[6], ARGV[9]
  if fence ~= '' and not holds(goal, fence, '', at) then return {'lost'} end
  default_limit(KEYS[FIRST_SCOPE], ARGV[10])
  default_limit(KEYS[GOAL_SCOPE], ARGV[11])
  local refusal = lacking(tonumber(bound))
  if not refusal then
    add('reserved', tonumber(bound))
    if mode == '' then mode = field(goal, 'mode') or '' end
    redis.call('HSET', entry, 'state', 'reserved', 'bound', bound, 'fence', fence,
      'model', ARGV[7], 'purpose', ARGV[8], 'mode', mode, 'at', stamp(at))
    redis.call('ZADD', open, stamp(at), id)
  end
  bound_life_of_goal_scope()
  return refusal or {'ok'}
end

if op == 'sent' then
  if state == 'sent' then return {'ok'} end
  if state ~= 'reserved' then return {'state', state or ''} end
  local fence = field(entry, 'fence')
  if fence ~= '' and not holds(goal, fence, '', at) then
    give_back()
    return {'lost'}
  end
  redis.call('HSET', entry, 'state', 'sent')
  return {'ok'}
end

if op == 'release' then
  if state == 'released' then return {'ok'} end
  if state ~= 'reserved' then return {'state', state or ''} end
  give_back()
  return {'ok'}
end

if op == 'doubt' then
  if state == 'doubt' then return {'ok'} end
  if state ~= 'sent' then return {'state', state or ''} end
  into_doubt()
  return {'ok'}
end

if op == 'reclaim' then
  if state ~= 'reserved' and state ~= 'sent' then
    if not state then redis.call('ZREM', open, id) end
    return {'ok', 'done'}
  end
  local fence = field(entry, 'fence')
  if fence ~= '' then
    if holds(goal, fence, '', at) then return {'ok', 'live'} end
  elseif at - number(entry, 'at') < tonumber(ARGV[5]) then
    return {'ok', 'live'}
  end
  if state == 'reserved' then
    give_back()
    return {'ok', 'released'}
  end
  into_doubt()
  return {'ok', 'doubt'}
end

if op == 'settle' then
  if not state or state == 'done' then return {'state', state or ''} end
  local facts = redis.call('HMGET', entry, 'bound', 'cost', 'journal', 'mode', 'model', 'purpose')
  local bound = tonumber(facts[1])
  if state == 'settled' then
    return {'ok', facts[2], facts[3], tonumber(facts[2]) > bound and '1' or '0'}
  end
  local cost, fence, owner = ARGV[5], ARGV[6], ARGV[7]
  if state == 'doubt' then
    add('in_doubt', -bound)
  elseif state ~= 'released' then
    add('reserved', -bound)
  end
  add('spent', tonumber(cost))
  note('settle', cost, 'mode', facts[4], 'model', facts[5], 'purpose', facts[6],
    'input', ARGV[8], 'output', ARGV[9], 'write_5m', ARGV[10], 'write_1h', ARGV[11],
    'read', ARGV[12])
  local over = tonumber(cost) > bound
  if over then note('over_bound', '0', 'bound', whole(bound), 'model', facts[5]) end
  -- The tokens are used, so the money is settled whoever holds the goal; the journal is not.
  local journaled = 'no'
  if fence ~= '' then
    if not holds(goal, fence, owner, at) then
      journaled = 'lost'
    elseif ARGV[13] == '1' then
      redis.call('RPUSH', journal, ARGV[14])
      journaled = 'yes'
    end
  end
  redis.call('HSET', entry, 'cost', cost, 'journal', journaled)
  close('settled')
  bound_life_of_goal_scope()
  return {'ok', cost, journaled, over and '1' or '0'}
end

if op == 'deduct' then
  if state then return {'ok'} end
  default_limit(KEYS[FIRST_SCOPE], ARGV[7])
  local refusal = lacking(tonumber(ARGV[5]))
  if refusal then return refusal end
  add('spent', tonumber(ARGV[5]))
  note('deduct', ARGV[5], 'purpose', ARGV[6])
  remember()
  return {'ok'}
end

if op == 'saved' then
  if state then return {'ok'} end
  add('saved', tonumber(ARGV[5]))
  note('saved', '0', 'saved', ARGV[5], 'mode', ARGV[6])
  remember()
  return {'ok'}
end

return redis.error_reply('ERR unknown operation ' .. op)
