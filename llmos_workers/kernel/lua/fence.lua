-- Shared functions: the server's time and the one test of a lease. Included before the scripts
-- that write for a run.
--
-- A goal's hash holds its lease in the fields lease_owner, lease_until (Unix seconds) and
-- fence. There is a lease exactly while the goal is RUNNING; past lease_until it counts as
-- lost, whether or not another run has taken over.

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1e6
end

local function stamp(seconds)
  return string.format('%.6f', seconds)
end

-- Seconds left of whatever lease the goal has; 0 without one.
local function lease_left(goal, at)
  local till = redis.call('HGET', goal, 'lease_until')
  if not till then return 0 end
  return math.max(0, tonumber(till) - at)
end

-- Whether the run with this fence (and owner, unless '') may still write for the goal.
local function holds(goal, fence, owner, at)
  local lease = redis.call('HMGET', goal, 'fence', 'lease_until', 'lease_owner')
  if lease[1] ~= fence or not lease[2] or tonumber(lease[2]) <= at then return false end
  return owner == '' or lease[3] == owner
end
