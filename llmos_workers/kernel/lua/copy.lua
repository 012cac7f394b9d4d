-- Keys of llmos with their values, as they are at one instant. Writes nothing.
--
-- KEYS  those to read; with none: all, found by their prefix
-- ARGV  1 pattern of the keys
--       2 name of the ledger   3 id behind which it is read
--       4 prefix of goals
--       5 number of the beginnings of names that are left out, which follow
--       .. then ids of goals whose record, events and journal are left out: they were read before
--
-- Returns {name, type, milliseconds to live or -1, value}, one for each key. Value of a string: its
-- bytes; of a list: its items; of a hash: names and values in turn; of a set: its members; of a
-- zset: members and scores in turn; of a stream: {last id, entries as XRANGE has them}.

local read = {
  string = function(key) return redis.call('GET', key) end,
  list = function(key) return redis.call('LRANGE', key, 0, -1) end,
  hash = function(key) return redis.call('HGETALL', key) end,
  set = function(key) return redis.call('SMEMBERS', key) end,
  zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
}

read.stream = function(key)
  local facts, last, from = redis.call('XINFO', 'STREAM', key), '0-0', '-'
  for i = 1, #facts, 2 do
    if facts[i] == 'last-generated-id' then last = facts[i + 1] end
  end
  if key == ARGV[2] and ARGV[3] ~= '' then from = '(' .. ARGV[3] end
  return {last, redis.call('XRANGE', key, from, '+')}
end

local found, seen = {}, {}

local function take(key)
  if seen[key] then return end
  seen[key] = true
  local kind = redis.call('TYPE', key).ok
  local life = redis.call('PTTL', key)
  if read[kind] and life ~= -2 then found[#found + 1] = {key, kind, life, read[kind](key)} end
end

if #KEYS > 0 then
  for _, key in ipairs(KEYS) do take(key) end
  return found
end

local beginnings = tonumber(ARGV[5])
for i = 6 + beginnings, #ARGV do
  local goal = ARGV[4] .. ARGV[i]
  seen[goal], seen[goal .. ':events'], seen[goal .. ':journal'] = true, true, true
end

local function left_out(key)
  for i = 6, 5 + beginnings do
    if string.sub(key, 1, #ARGV[i]) == ARGV[i] then return true end
  end
  return false
end

local cursor = '0'
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    if not left_out(key) then take(key) end
  end
until cursor == '0'
return found
