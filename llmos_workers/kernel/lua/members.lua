-- Shared functions: members of a plan and the goal that waits for them. Needs fence.lua before it.
--
-- The set <goal>:live holds the members that have not ended; its size is the counter that the
-- parent waits for, and a member leaves it once, however often that is said. The hash
-- <goal>:members holds all that there ever were.

local MEMBER_EVENTS_KEPT = 1000

-- Let a parent that waits for members go on; its message comes after (state first).
-- prefix: of the zsets of goals by state. Returns whether it waited.
local function members_over(parent, parent_id, prefix, at)
  if redis.call('HGET', parent, 'state') ~= 'WAITING_CHILDREN' then return false end
  redis.call('ZREM', prefix .. 'WAITING_CHILDREN', parent_id)
  redis.call('ZADD', prefix .. 'ACCEPTED', stamp(at), parent_id)
  redis.call('HSET', parent, 'state', 'ACCEPTED', 'updated_at', stamp(at))
  redis.call('XADD', parent .. ':events', 'MAXLEN', '~', MEMBER_EVENTS_KEPT, '*', 'kind', 'state',
    'at', stamp(at), 'data', '{"state": "ACCEPTED", "reason": "all members have ended"}')
  return true
end

-- A member reached a final state: the last one lets its parent go on.
-- goals: prefix of goal hashes.
local function member_ended(member, id, goals, prefix, at)
  local parent_id = redis.call('HGET', member, 'parent')
  if not parent_id then return end
  local parent = goals .. parent_id
  if redis.call('SREM', parent .. ':live', id) == 0 then return end
  if redis.call('SCARD', parent .. ':live') == 0 then
    members_over(parent, parent_id, prefix, at)
  end
end
