-- Changes of a project's internal state, atomic, each in turn: decay for the time that passed,
-- add the trigger's deltas as far as its source has not moved the state too much already, clamp,
-- derive the latent mode, append to the history, bump the version. Includes fence.lua.
--
-- The tables (initial values, set points, half-lives, deltas, thresholds, bounds) come as
-- arguments: sentience/valence.py has the only copy, and the same arithmetic as a pure function.
--
-- KEYS[1]  hash    the state: safety, curiosity, energy, self_confidence, latent_mode,
--                  last_trigger, last_trigger_reason, update_count, updated_at (s),
--                  homeostatic_cost; and for each source (kind of trigger) moved:<trigger>, the
--                  time and how far it has moved each field: five numbers
-- KEYS[2]  list    the history, newest first: JSON objects with the same fields
-- KEYS[3]  hash    the goal of the run that writes (any key without a fence)
--
-- ARGV[1]  length of the history
-- ARGV[2]  JSON {"recovery_energy", "recovery_safety", "cautious_safety", "creative_curiosity",
--          "creative_confidence", "contained_curiosity", "contained_confidence"}
-- ARGV[3]  how far one source may move a field, at once and again in each
-- ARGV[4]  so many seconds
-- ARGV[5]  fence of the run, '' = not checked
-- ARGV[6]  owner of its lease
-- ARGV[7..] for each trigger its name, its reason, and five numbers for each of safety,
--          curiosity, energy, self_confidence: initial, set point, half-life (s), delta, floor
--          (a negative delta does not push the value below it; -1 is the clamp)
--
-- Returns  for each trigger {safety, curiosity, energy, self_confidence, latent mode, latent
--          mode before, homeostatic cost, update count, time (s)}; numbers as text with all
--          their digits. 'fence' when the run's lease is gone: nothing moved.
--
-- Run twice (answer lost with the connection) it counts the triggers twice: the deltas are
-- small and decay, an update that is lost would be worse.

local FIELDS = { 'safety', 'curiosity', 'energy', 'self_confidence' }
local WIDTH = 22

local function digits(number)
  return string.format('%.17g', number)
end

local function latent_mode(v, t)
  if v.energy < t.recovery_energy or v.safety < t.recovery_safety then return 'recovery' end
  if v.safety < t.cautious_safety then return 'cautious' end
  if v.curiosity > t.creative_curiosity and v.self_confidence > t.creative_confidence then
    return 'auto_creative'
  end
  if v.curiosity < t.contained_curiosity or v.self_confidence < t.contained_confidence then
    return 'auto_contained'
  end
  return 'balanced'
end

local at = now()
if ARGV[5] ~= '' and not holds(KEYS[3], ARGV[5], ARGV[6], at) then return 'fence' end
local kept, thresholds = tonumber(ARGV[1]), cjson.decode(ARGV[2])
local limit, window = tonumber(ARGV[3]), tonumber(ARGV[4])

-- How far the source has moved each field lately: what is long ago no longer counts.
local function moved_by(source)
  local moved = {}
  local stored = redis.call('HGET', KEYS[1], 'moved:' .. source) or ''
  for number in string.gmatch(stored, '%S+') do moved[#moved + 1] = tonumber(number) end
  local forgotten = limit * math.max(0, at - (moved[1] or at)) / window
  for i = 1, #FIELDS do moved[i + 1] = math.max(0, (moved[i + 1] or 0) - forgotten) end
  moved[1] = at
  return moved
end

local function feel(first)
  local trigger, reason = ARGV[first], ARGV[first + 1]
  local stored = redis.call('HMGET', KEYS[1], 'updated_at', 'latent_mode', unpack(FIELDS))
  local elapsed = math.max(0, at - (tonumber(stored[1] or '') or at))
  local before = stored[2] or 'balanced'
  local moved = moved_by(trigger)

  local values, cost = {}, 0
  for i, field in ipairs(FIELDS) do
    local n = first + 2 + (i - 1) * 5
    local setpoint, half_life = tonumber(ARGV[n + 1]), tonumber(ARGV[n + 2])
    local delta, floor = tonumber(ARGV[n + 3]), tonumber(ARGV[n + 4])
    local room = math.max(0, limit - moved[i + 1])
    delta = math.min(room, math.max(-room, delta))
    moved[i + 1] = moved[i + 1] + math.abs(delta)
    local value = tonumber(stored[i + 2] or '') or tonumber(ARGV[n])
    value = setpoint + (value - setpoint) * 2 ^ (-elapsed / half_life)
    value = math.max(value + delta, math.min(value, floor))
    value = math.min(1, math.max(-1, value))
    values[field] = value
    cost = cost + (value - setpoint) * (value - setpoint)
  end

  local mode = latent_mode(values, thresholds)
  local count = redis.call('HINCRBY', KEYS[1], 'update_count', 1)
  local entry = {
    latent_mode = mode,
    last_trigger = trigger,
    last_trigger_reason = reason,
    updated_at = string.format('%.6f', at),
    homeostatic_cost = digits(cost),
  }
  for _, field in ipairs(FIELDS) do
    entry[field] = digits(values[field])
  end

  for i, number in ipairs(moved) do moved[i] = digits(number) end
  local flat = { 'moved:' .. trigger, table.concat(moved, ' ') }
  for name, value in pairs(entry) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', KEYS[1], unpack(flat))
  entry.update_count = tostring(count)
  redis.call('LPUSH', KEYS[2], cjson.encode(entry))
  return {
    entry.safety, entry.curiosity, entry.energy, entry.self_confidence,
    mode, before, entry.homeostatic_cost, entry.update_count, entry.updated_at,
  }
end

local felt = {}
for first = 7, #ARGV, WIDTH do felt[#felt + 1] = feel(first) end
redis.call('LTRIM', KEYS[2], 0, kept - 1)
return felt
