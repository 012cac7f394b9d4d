-- Give a delivery that nobody will acknowledge back to its queue, once. Runs in the broker's
-- database; the same that kombu does when the visibility timeout is over.
--
-- KEYS  1 hash of unacknowledged deliveries   2 zset of their times   3 list of the queue
-- ARGV  1 delivery tag   2 message
--
-- Returns 1, or 0 when it is acknowledged or given back already.

if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('RPUSH', KEYS[3], ARGV[2])
return 1
