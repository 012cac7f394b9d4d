-- All money at one instant, for the audit. Reads only.
--
-- KEYS  1 ledger stream   2 zset of open reservations   3 set of known scopes but goals
-- ARGV  1 id of the last ledger line already read ('' none)   2 prefix of scope keys
--       3 prefix of reservation keys   4.. scopes of goals
-- Returns {Unix seconds, ledger lines behind that id, {{scope, fields}, ..}, {{id, fields}, ..}}
--
-- Scope and reservation keys are made here, of names that are only known here: llmos keeps its
-- state on one server.

local function fields_of(prefix, names)
  local found = {}
  for i, name in ipairs(names) do
    found[i] = {name, redis.call('HGETALL', prefix .. name)}
  end
  return found
end

local names = redis.call('SMEMBERS', KEYS[3])
for i = 4, #ARGV do names[#names + 1] = ARGV[i] end

local first = ARGV[1] == '' and '-' or '(' .. ARGV[1]
return {
  redis.call('TIME')[1],
  redis.call('XRANGE', KEYS[1], first, '+'),
  fields_of(ARGV[2], names),
  fields_of(ARGV[3], redis.call('ZRANGE', KEYS[2], 0, -1)),
}
