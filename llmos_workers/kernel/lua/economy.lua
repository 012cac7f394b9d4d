-- All changes of money. Needs fence.lua, calendar.lua and economy_scopes.lua before it. Amounts
-- are integer micro-dollars.
--
-- A scope (global, project, goal) is a hash: limit ('none' or absent: without), spent,
-- reserved, in_doubt, alerted, saved. Of the windows day and month (UTC; not for goals) it also
-- holds which one it is in (day, month) and the same fields as day_limit, month_spent and so on.
-- In each scope and each window, after every call:
--     spent + reserved + in_doubt <= limit
-- The server's clock says which window it is, and a window never comes back: a clock that is
-- set back by less than two days changes nothing until it has caught up.
--
-- A reservation is a hash: state (reserved, sent, doubt, settled, released), bound, cost, fence,
-- model, purpose, mode, at, day, journal (yes, no, lost), over, above (ids of parents). It counts in all its scopes or in
-- none; and to its end in the day and month it was made in, whenever that end comes.
--     reserved -> sent -> settled            the way of a model call
--     reserved -> released                   never sent: the money returns
--     sent -> doubt -> settled               no answer: charged at its bound until one is known
--
-- KEYS  1 ledger stream   2 zset of open reservations   3 reservation hash
--       4 goal hash       5 goal journal                6 set of known scopes but goals
--       7 event bus       8.. scopes: global, project, goal; of limit: global, the scope
--       (the scopes of the goals above a plan's member are made here, see economy_scopes.lua)
-- ARGV  1 operation   2 reservation id   3 goal id   4 project   5.. by operation:
--       reserve  bound, fence or '', model, purpose, mode, limits of global ('' none): lifetime,
--                day, month, and of the goal; each set only where that scope has no limit yet
--       sent     -
--       release  -
--       settle   cost, fence or '', owner, input, output, 5m write, 1h write and read tokens,
--                '1' when a journal entry follows, entry
--       correct  cost of a call in doubt, why
--       doubt    -
--       reclaim  seconds after which a reservation without a fence counts as dead
--       deduct   amount, purpose, limits of global as in reserve
--       saved    amount, mode, fence or '', owner
--       limit    amount or 'none', window ('', day or month), name of the scope
--
-- Returns {'ok', alerts, ...}  settle: cost, journal (yes, no, lost), '1' when above the bound
--                              correct: cost
--                              reclaim: what became of it: released, doubt, live or done
--         {'exceeded', name of the scope, available, limit, window, period}  nothing changed
--         {'lost'}          the lease is gone: nothing was reserved; what was not sent, returned
--         {'state', s}      the reservation is in state s and cannot do that; '' unknown
--         {'committed', n}  the limit would be below what is spent or promised already
-- Alerts: a list of {scope, window, period, share, charged, limit}, one for each share (80, 95)
-- of a limit that spent + in_doubt has just reached; each also goes to the bus, in the same
-- instant. A share is told once per window, and again only after the limit was raised.
--
-- Each call may come twice: the second changes nothing and gets the first's answer, without its
-- alerts.

-- Steps of a reservation ---------------------------------------------------------------------

local function note(kind, micro, ...)
  redis.call('XADD', ledger, '*', 'kind', kind, 'id', id, 'goal', goal_id,
    'project', project, 'micro', micro, 'above', table.concat(above, ' '), ...)
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
  add('reserved', -number(entry, 'bound'), field(entry, 'day') or '')
  close('released')
end

local function into_doubt()
  local bound = number(entry, 'bound')
  local facts = redis.call('HMGET', entry, 'mode', 'model', 'purpose', 'day')
  add('reserved', -bound, facts[4] or '')
  add('in_doubt', bound, facts[4] or '')
  redis.call('HSET', entry, 'state', 'doubt')
  note('doubt', '0', 'bound', whole(bound), 'mode', facts[1], 'model', facts[2],
    'purpose', facts[3], 'day', facts[4] or '')
end

-- End a reservation in any state with what it cost; whether that is more than it held.
local function charge(state, cost, kind, ...)
  local facts = redis.call('HMGET', entry, 'bound', 'mode', 'model', 'purpose', 'day')
  local held, day = tonumber(facts[1]), facts[5] or ''
  if state == 'doubt' then
    add('in_doubt', -held, day)
  elseif state == 'released' then
    held = 0
  else
    add('reserved', -held, day)
  end
  add('spent', tonumber(cost), day)
  note(kind, cost, 'mode', facts[2], 'model', facts[3], 'purpose', facts[4], 'day', day, ...)
  local over = tonumber(cost) - held
  if over > 0 then
    note('over_bound', '0', 'bound', facts[1], 'over', whole(over), 'model', facts[3], 'day', day)
  end
  redis.call('HSET', entry, 'cost', cost, 'over', over > 0 and '1' or '0')
end

-- Operations ---------------------------------------------------------------------------------

if op == 'limit' then
  local i, amount = FIRST_SCOPE + 1, ARGV[5]
  local window = ARGV[6] == '' and '' or ARGV[6] .. '_'
  local taken, alerts = committed(SCOPES[i], window), {}
  if amount ~= 'none' and tonumber(amount) < taken then return {'committed', whole(taken)} end
  redis.call('HSET', SCOPES[i], window .. 'limit', amount)
  bound_life_of_goal_scope(i)
  watch(i, window, true, alerts)
  return {'ok', alerts}
end

local state = field(entry, 'state')

if op == 'reserve' then
  if state then return {'ok', {}} end
  local bound, fence, mode = ARGV[5], ARGV[6], ARGV[9]
  if fence ~= '' and not holds(goal, fence, '', at) then return {'lost'} end
  default_limits(10)
  default_limit(SCOPES[GOAL_SCOPE], '', ARGV[13])
  local refusal = lacking(tonumber(bound))
  if not refusal then
    add('reserved', tonumber(bound), today)
    if mode == '' then mode = field(goal, 'mode') or '' end
    redis.call('HSET', entry, 'state', 'reserved', 'bound', bound, 'fence', fence,
      'model', ARGV[7], 'purpose', ARGV[8], 'mode', mode, 'at', stamp(at), 'day', today,
      'above', table.concat(above, ' '))
    redis.call('ZADD', open, stamp(at), id)
  end
  for i = GOAL_SCOPE, #SCOPES do bound_life_of_goal_scope(i) end
  return refusal or {'ok', {}}
end

if op == 'sent' then
  if state == 'sent' then return {'ok', {}} end
  if state ~= 'reserved' then return {'state', state or ''} end
  local fence = field(entry, 'fence')
  if fence ~= '' and not holds(goal, fence, '', at) then
    give_back()
    return {'lost'}
  end
  redis.call('HSET', entry, 'state', 'sent')
  return {'ok', {}}
end

if op == 'release' then
  if state == 'released' then return {'ok', {}} end
  if state ~= 'reserved' then return {'state', state or ''} end
  give_back()
  return {'ok', {}}
end

if op == 'doubt' then
  if state == 'doubt' then return {'ok', {}} end
  if state ~= 'sent' then return {'state', state or ''} end
  into_doubt()
  return {'ok', alerts_now()}
end

if op == 'reclaim' then
  if state ~= 'reserved' and state ~= 'sent' then
    if not state then redis.call('ZREM', open, id) end
    return {'ok', {}, 'done'}
  end
  local fence = field(entry, 'fence')
  if fence ~= '' then
    if holds(goal, fence, '', at) then return {'ok', {}, 'live'} end
  elseif at - number(entry, 'at') < tonumber(ARGV[5]) then
    return {'ok', {}, 'live'}
  end
  if state == 'reserved' then
    give_back()
    return {'ok', {}, 'released'}
  end
  into_doubt()
  return {'ok', alerts_now(), 'doubt'}
end

if op == 'settle' then
  if not state or state == 'done' then return {'state', state or ''} end
  if state == 'settled' then
    local first = redis.call('HMGET', entry, 'cost', 'journal', 'over')
    return {'ok', {}, first[1], first[2], first[3] or '0'}
  end
  local cost, fence, owner = ARGV[5], ARGV[6], ARGV[7]
  charge(state, cost, 'settle', 'input', ARGV[8], 'output', ARGV[9], 'write_5m', ARGV[10],
    'write_1h', ARGV[11], 'read', ARGV[12])
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
  redis.call('HSET', entry, 'journal', journaled)
  close('settled')
  return {'ok', alerts_now(), cost, journaled, field(entry, 'over')}
end

if op == 'correct' then
  if state == 'settled' and field(entry, 'corrected') == ARGV[5] then
    return {'ok', {}, ARGV[5]}
  end
  if state ~= 'doubt' then return {'state', state or ''} end
  charge(state, ARGV[5], 'correct', 'why', ARGV[6])
  redis.call('HSET', entry, 'journal', 'no', 'corrected', ARGV[5])
  close('settled')
  return {'ok', alerts_now(), ARGV[5]}
end

if op == 'deduct' then
  if state then return {'ok', {}} end
  default_limits(7)
  local refusal = lacking(tonumber(ARGV[5]))
  if refusal then return refusal end
  add('spent', tonumber(ARGV[5]), today)
  note('deduct', ARGV[5], 'purpose', ARGV[6], 'day', today)
  remember()
  return {'ok', alerts_now()}
end

if op == 'saved' then
  if state then return {'ok', {}} end
  if ARGV[7] ~= '' and not holds(goal, ARGV[7], ARGV[8], at) then return {'lost'} end
  add('saved', tonumber(ARGV[5]), '')
  note('saved', '0', 'saved', ARGV[5], 'mode', ARGV[6])
  remember()
  return {'ok', {}}
end

return redis.error_reply('ERR unknown operation ' .. op)
