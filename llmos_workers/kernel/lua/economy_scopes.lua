-- Scopes, their windows, limits and alerts: the sums behind economy.lua, whose head documents
-- keys, arguments and what a scope is. Needs fence.lua and calendar.lua before it. Begins the
-- windows that hold now in all scopes of the call.

local ledger, open, entry, goal, journal = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local scopes, bus = KEYS[6], KEYS[7]
local op, id, goal_id, project = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local FIRST_SCOPE, GOAL_SCOPE = 8, 10
local DAY, HOUR = 86400, 3600
local SHARES = {80, 95}
local BUS_LENGTH = 10000
local NAMES = {'global', 'project:' .. project, 'goal:' .. goal_id}
if op == 'limit' then NAMES[2] = ARGV[7] end

local at = now()

local function field(key, name)
  return redis.call('HGET', key, name)
end

-- A member of a plan spends its parents' money, too: their scopes join those of the call. A
-- reservation notes them, so that its end finds those of its beginning.
local MOST_ABOVE = 16
local above = {}

local function find_above()
  local noted = field(entry, 'above')
  if op ~= 'reserve' then
    for each in string.gmatch(noted or '', '%S+') do above[#above + 1] = each end
    return
  end
  local goals = string.sub(goal, 1, #goal - #goal_id)
  local parent = field(goal, 'parent')
  while parent and #above < MOST_ABOVE do
    above[#above + 1] = parent
    parent = field(goals .. parent, 'parent')
  end
end

local SCOPES = {}
for i = 1, #KEYS do SCOPES[i] = KEYS[i] end
if #KEYS == GOAL_SCOPE and op ~= 'limit' then
  find_above()
  local first = string.sub(KEYS[GOAL_SCOPE], 1, #KEYS[GOAL_SCOPE] - #goal_id)
  for _, parent in ipairs(above) do
    SCOPES[#SCOPES + 1] = first .. parent
    NAMES[#NAMES + 1] = 'goal:' .. parent
  end
end

local function number(key, name)
  return tonumber(field(key, name) or '0')
end

local function whole(n)
  return string.format('%.0f', n)
end

-- Windows ------------------------------------------------------------------------------------

local today = day_of(at)
local latest = field(SCOPES[FIRST_SCOPE], 'day')
if latest and latest > today and latest <= day_of(at + 2 * DAY) then today = latest end
local month = string.sub(today, 1, 7)
local PERIODS = {[''] = '', day_ = today, month_ = month}

local function is_goal(i)
  return string.sub(NAMES[i - FIRST_SCOPE + 1], 1, 5) == 'goal:'
end

local function windows(i)
  return is_goal(i) and {''} or {'', 'day_', 'month_'}
end

-- Begin the windows that hold now; those before are over and only the ledger knows them.
local function turn(scope, name)
  local stored = redis.call('HMGET', scope, 'day', 'month')
  if stored[1] == today then return end
  redis.call('HSET', scope, 'day', today, 'day_spent', 0, 'day_reserved', 0, 'day_in_doubt', 0,
    'day_alerted', 0)
  if stored[2] ~= month then
    redis.call('HSET', scope, 'month', month, 'month_spent', 0, 'month_reserved', 0,
      'month_in_doubt', 0, 'month_alerted', 0)
  end
  redis.call('SADD', scopes, name)
end

for i = FIRST_SCOPE, #SCOPES do
  if not is_goal(i) then turn(SCOPES[i], NAMES[i - FIRST_SCOPE + 1]) end
end

-- Sums and limits ----------------------------------------------------------------------------

local function committed(scope, window)
  local sums = redis.call('HMGET', scope, window .. 'spent', window .. 'reserved',
    window .. 'in_doubt')
  return tonumber(sums[1] or '0') + tonumber(sums[2] or '0') + tonumber(sums[3] or '0')
end

local function limit_of(scope, window)
  local limit = field(scope, window .. 'limit')
  if not limit or limit == 'none' then return nil end
  return tonumber(limit)
end

-- A first limit that comes when more is taken already holds what is taken, and no more.
local function default_limit(scope, window, limit)
  if limit == '' or redis.call('HEXISTS', scope, window .. 'limit') == 1 then return end
  local first = math.max(tonumber(limit), committed(scope, window))
  redis.call('HSET', scope, window .. 'limit', whole(first))
end

local function default_limits(first)
  default_limit(SCOPES[FIRST_SCOPE], '', ARGV[first])
  default_limit(SCOPES[FIRST_SCOPE], 'day_', ARGV[first + 1])
  default_limit(SCOPES[FIRST_SCOPE], 'month_', ARGV[first + 2])
end

-- The first scope and window without room for an amount, as the answer to give; nil: none.
local function lacking(amount)
  for i = FIRST_SCOPE, #SCOPES do
    for _, window in ipairs(windows(i)) do
      local limit = limit_of(SCOPES[i], window)
      local available = limit and limit - committed(SCOPES[i], window)
      if limit and amount > available then
        return {'exceeded', NAMES[i - FIRST_SCOPE + 1], whole(math.max(0, available)), whole(limit),
          string.sub(window, 1, -2), PERIODS[window]}
      end
    end
  end
  return nil
end

-- The scope of a goal whose record is gone stays gone, whatever still becomes of its calls.
local function counts(i)
  return not is_goal(i) or op == 'reserve' or redis.call('EXISTS', SCOPES[i]) == 1
end

-- Add to a sum of all scopes, and of the windows that `day` lies in.
local function add(name, amount, day)
  -- A reservation of nothing still begins the scope of its goal.
  if amount == 0 and op ~= 'reserve' then return end
  for i = FIRST_SCOPE, #SCOPES do
    if counts(i) then redis.call('HINCRBY', SCOPES[i], name, whole(amount)) end
    if not is_goal(i) and day == today then
      redis.call('HINCRBY', SCOPES[i], 'day_' .. name, whole(amount))
    end
    if not is_goal(i) and string.sub(day, 1, 7) == month then
      redis.call('HINCRBY', SCOPES[i], 'month_' .. name, whole(amount))
    end
  end
end

-- The scope of a goal goes when its record goes; of a goal without a record after a week.
local function bound_life_of_goal_scope(i)
  if not SCOPES[i] or not is_goal(i) then return end
  local name = string.sub(NAMES[i - FIRST_SCOPE + 1], 6)
  local left = redis.call('TTL', string.sub(goal, 1, #goal - #goal_id) .. name)
  if left == -2 then left = 7 * DAY end
  if left > 0 then
    redis.call('EXPIRE', SCOPES[i], left)
  else
    redis.call('PERSIST', SCOPES[i])
  end
end

-- Alerts -------------------------------------------------------------------------------------

local function tell(alert)
  local data = string.format(
    '{"scope": %s, "window": "%s", "period": "%s", "share": %s, "charged_micro": %s, '
      .. '"limit_micro": %s, "goal_id": %s}',
    cjson.encode(alert[1]), alert[2], alert[3], alert[4], alert[5], alert[6],
    cjson.encode(goal_id))
  redis.call('XADD', bus, 'MAXLEN', '~', BUS_LENGTH, '*', 'topic', 'BUDGET_LOW', 'data', data)
end

-- Tell the shares of a limit that are reached and were not told; `again` forgets what a new
-- limit made untrue.
local function watch(i, window, again, alerts)
  local limit = limit_of(SCOPES[i], window)
  local sums = redis.call('HMGET', SCOPES[i], window .. 'spent', window .. 'in_doubt',
    window .. 'alerted')
  local charged, told = tonumber(sums[1] or '0') + tonumber(sums[2] or '0'), tonumber(sums[3] or '0')
  local reached = 0
  for _, share in ipairs(SHARES) do
    if limit and limit > 0 and charged * 100 >= share * limit then
      reached = share
      if share > told then
        local alert = {NAMES[i - FIRST_SCOPE + 1], string.sub(window, 1, -2), PERIODS[window],
          whole(share), whole(charged), whole(limit)}
        alerts[#alerts + 1] = alert
        tell(alert)
      end
    end
  end
  if reached > told or (again and reached < told) then
    redis.call('HSET', SCOPES[i], window .. 'alerted', reached)
  end
end

local function alerts_now()
  local alerts = {}
  for i = FIRST_SCOPE, #SCOPES do
    if counts(i) then
      for _, window in ipairs(windows(i)) do watch(i, window, false, alerts) end
    end
  end
  return alerts
end
