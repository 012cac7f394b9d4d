-- Token buckets and cooldown of one model, shared by all workers. Needs fence.lua before it.
--
-- KEYS  1 hash of the model, with expiry: at (Unix seconds of the last refill), requests, input,
--         output (what is left in each bucket; below 0 after a request larger than its bucket),
--         cool_until, streak (cooldowns in a row), queue_until (slots told to those who wait)
-- ARGV  1 operation
--       2 token of this call: the same token again is the same call sent twice
--       3 requests, 4 input tokens, 5 output tokens per minute; '' for no limit
--       6.. by operation:
--       acquire  input tokens, output tokens
--       settle   input tokens, output tokens to take in addition (below 0: to give back)
--       cool     seconds the endpoint asked for or '', factor of chance 0..1, first pause, longest
--       status
--
-- Returns text: acquire  {seconds to wait, 0 when taken; time}
--               settle   {time}
--               cool     {seconds left of the cooldown; time}
--               status   {requests, input, output left ('' without a limit); cooldown; streak; time}

local key = KEYS[1]
local op, token = ARGV[1], ARGV[2]
local LONGEST_QUEUE = 60     -- seconds; a slot told to somebody who never comes costs no more
local SPACING = 0.02         -- seconds between those who wait for a cooldown only
local MEMORY = 120           -- seconds for which a streak of cooldowns is remembered
local EPSILON = 1e-6

local names = {'requests', 'input', 'output'}
local limits = {tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])}

local at = now()
local kept = redis.call('HMGET', key, 'at', 'requests', 'input', 'output', 'cool_until', 'streak',
  'queue_until', 'op')
local since = math.max(0, at - tonumber(kept[1] or stamp(at)))
local cool_until, streak = tonumber(kept[5] or 0), tonumber(kept[6] or 0)
local queue_until = tonumber(kept[7] or 0)
local repeated = kept[8] == token

-- Refilled evenly, up to one minute's worth.
local level = {}
for i, most in pairs(limits) do
  local left = tonumber(kept[i + 1] or most)
  level[i] = math.min(most, left + since * most / 60)
end

local function store()
  local lasting = math.max(0, cool_until - at, queue_until - at) + MEMORY
  local fields = {'at', stamp(at), 'cool_until', stamp(cool_until), 'streak', streak,
    'queue_until', stamp(queue_until), 'op', token}
  for i, left in pairs(level) do
    fields[#fields + 1] = names[i]
    fields[#fields + 1] = stamp(left)
    lasting = math.max(lasting, (limits[i] - left) * 60 / limits[i])
  end
  redis.call('HSET', key, unpack(fields))
  redis.call('EXPIRE', key, math.ceil(lasting) + 1)
end

local function cooling()
  return math.max(0, cool_until - at)
end

if op == 'acquire' then
  local needs = {1, tonumber(ARGV[6]), tonumber(ARGV[7])}
  local wait, share = cooling(), SPACING
  for i, left in pairs(level) do
    local rate = limits[i] / 60
    -- What is larger than its bucket goes when the bucket is full, and leaves a debt.
    local asked = math.min(needs[i], limits[i])
    if left < asked - EPSILON then wait = math.max(wait, (asked - left) / rate) end
    share = math.max(share, needs[i] / rate)
  end
  if wait > 0 then
    -- Everybody who waits is told another time, or all would come back at the same.
    local slot = math.max(at + wait, queue_until)
    queue_until = math.max(queue_until, math.min(slot + share, at + wait + LONGEST_QUEUE))
    store()
    return {stamp(slot - at), stamp(at)}
  end
  for i, left in pairs(level) do level[i] = left - needs[i] end
  store()
  return {'0', stamp(at)}
end

if op == 'settle' then
  if repeated then return {stamp(at)} end
  local more = {0, tonumber(ARGV[6]), tonumber(ARGV[7])}
  for i, left in pairs(level) do level[i] = math.min(limits[i], left - more[i]) end
  if cooling() == 0 then streak = 0 end
  store()
  return {stamp(at)}
end

if op == 'cool' then
  local asked, chance = tonumber(ARGV[6]), tonumber(ARGV[7])
  local first, longest = tonumber(ARGV[8]), tonumber(ARGV[9])
  local fresh = cooling() == 0
  -- Refusals while it cools belong to the same cause.
  if fresh then streak = streak + 1 end
  if asked then
    cool_until = math.max(cool_until, at + asked)
  elseif fresh then
    local pause = math.min(longest, first * 2 ^ math.min(streak - 1, 30))
    cool_until = at + pause * (0.5 + 0.5 * chance)
  end
  store()
  return {stamp(cooling()), stamp(at)}
end

if op == 'status' then
  local told = {}
  for i = 1, 3 do told[i] = level[i] and stamp(level[i]) or '' end
  return {told[1], told[2], told[3], stamp(cooling()), tostring(streak), stamp(at)}
end

return redis.error_reply('ERR unknown operation ' .. op)
