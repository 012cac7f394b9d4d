-- Verdicts of judges and how they came out. Includes fence.lua.
--
-- KEYS 1 hash '<trace id>:<signature>' -> JSON: verdicts of the project
--      2 hash of the judge: counters yes, no, unsure, right, wrong, missed, cost_micro
--      3 set of the judges' names
--      4 goal hash of the run that writes (any key when no fence is given)
-- ARGV 1 operation, then
--   keep:  field, JSON, JSON that stands there now ('' = none), judge, answer, cost micro,
--          fence ('' = not checked), owner
--          -> {'ok' | 'other' | 'fence', what stands there now}. What is there already is 'ok'.
--   label: field, JSON with the new label, JSON that stands there now, new label, old label
--          ('' = none), fence ('' = not checked), owner
--          -> 'ok' | 'other' | 'fence'

local verdicts, judge, judges, goal = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local op, field, new, before = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local stands = redis.call('HGET', verdicts, field) or ''

if op == 'keep' then
  local name, answer, cost, fence, owner = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
  if stands == new then return {'ok', stands} end
  if fence ~= '' and not holds(goal, fence, owner, now()) then return {'fence', stands} end
  if stands ~= before then return {'other', stands} end
  redis.call('HSET', verdicts, field, new)
  redis.call('SADD', judges, name)
  redis.call('HINCRBY', judge, answer, 1)
  redis.call('HINCRBY', judge, 'cost_micro', cost)
  return {'ok', new}
end

if op == 'label' then
  if stands == new then return 'ok' end
  if ARGV[7] ~= '' and not holds(goal, ARGV[7], ARGV[8], now()) then return 'fence' end
  if stands ~= before then return 'other' end
  redis.call('HSET', verdicts, field, new)
  if ARGV[6] ~= '' then redis.call('HINCRBY', judge, ARGV[6], -1) end
  redis.call('HINCRBY', judge, ARGV[5], 1)
  return 'ok'
end

return redis.error_reply('judge.lua: unknown operation ' .. tostring(op))
