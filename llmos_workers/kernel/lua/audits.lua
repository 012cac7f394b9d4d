-- One shadow audit's verdict, counted once. Includes fence.lua.
--
-- KEYS 1 hash of counts of the project      2 hash of counts of all projects
--      3 list of the newest verdicts         4 set of audited goals (kept as long as verdicts)
--      5 goal hash of the auditing run
-- ARGV 1 fence  2 owner  3 id of the audited goal  4 agreed | unclear | disagreed
--      5 the verdict as JSON  6 how many verdicts are kept  7 seconds the set is kept
-- returns 'ok' | 'known' (counted before; nothing changed) | 'fence'
if not holds(KEYS[5], ARGV[1], ARGV[2], now()) then return 'fence' end
if redis.call('SADD', KEYS[4], ARGV[3]) == 0 then return 'known' end
redis.call('EXPIRE', KEYS[4], ARGV[7])
redis.call('HINCRBY', KEYS[1], ARGV[4], 1)
redis.call('HINCRBY', KEYS[2], ARGV[4], 1)
redis.call('LPUSH', KEYS[3], ARGV[5])
redis.call('LTRIM', KEYS[3], 0, ARGV[6] - 1)
return 'ok'
