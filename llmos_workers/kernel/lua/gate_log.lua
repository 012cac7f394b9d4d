-- Appends one decision of the gate to the audit log and moves the head of its hash chain.
--
-- KEYS 1 stream: the log   2 hash: the head (chain, n, hash, ms)
--      3 string with expiry: mark of this record, so that a repeated command appends nothing
-- ARGV 1 the record as text   2 its sha256 (64 hex digits)
--      3 name for a new chain   4 sha256 of that name (64 hex digits)
-- returns the number of the record in its chain, from 1
--
-- hash of a record = sha256(hash before .. sha256 of the record .. its stream id), digests as 32
-- bytes; before the first record stands sha256 of the chain's name. The id is
-- <server's milliseconds>-<number>, so that time and number are in the hash. The two digests fill
-- one block of SHA-256 and the id a part of the second: 0.13 ms in the server. Its own sha1hex
-- would be faster, and is no evidence any more.

local band, bor, bxor = bit.band, bit.bor, bit.bxor
local ror, shr, tobit = bit.ror, bit.rshift, bit.tobit

local K = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

local function word(text, at)
  local a, b, c, d = string.byte(text, at, at + 3)
  return a * 0x1000000 + b * 0x10000 + c * 0x100 + d
end

local function sha256(text)
  local bits = #text * 8
  text = text .. '\128' .. string.rep('\0', (55 - #text) % 64)
    .. struct.pack('>I4I4', 0, bits)
  local s1, s2, s3, s4 = 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a
  local s5, s6, s7, s8 = 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
  local w = {}
  for block = 1, #text, 64 do
    for i = 1, 16 do w[i] = word(text, block + 4 * (i - 1)) end
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      w[i] = tobit(w[i - 16] + bxor(ror(x, 7), ror(x, 18), shr(x, 3))
        + w[i - 7] + bxor(ror(y, 17), ror(y, 19), shr(y, 10)))
    end
    local a, b, c, d, e, f, g, h = s1, s2, s3, s4, s5, s6, s7, s8
    for i = 1, 64 do
      local t = h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(g, band(e, bxor(f, g)))
        + K[i] + w[i]
      local u = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bor(band(a, b), band(c, bor(a, b)))
      h, g, f, e, d, c, b, a = g, f, e, tobit(d + t), c, b, a, tobit(t + u)
    end
    s1, s2, s3, s4 = tobit(s1 + a), tobit(s2 + b), tobit(s3 + c), tobit(s4 + d)
    s5, s6, s7, s8 = tobit(s5 + e), tobit(s6 + f), tobit(s7 + g), tobit(s8 + h)
  end
  local hex = bit.tohex
  return hex(s1) .. hex(s2) .. hex(s3) .. hex(s4) .. hex(s5) .. hex(s6) .. hex(s7) .. hex(s8)
end

local function bytes(digest)
  return (string.gsub(digest, '%x%x', function(pair) return string.char(tonumber(pair, 16)) end))
end

local known = redis.call('GET', KEYS[3])
if known then return tonumber(known) end

local head = redis.call('HMGET', KEYS[2], 'chain', 'n', 'hash', 'ms')
local chain, n, hash = head[1], tonumber(head[2] or 0) + 1, head[3]
if not (chain and hash) then chain, n, hash = ARGV[3], 1, ARGV[4] end
local t = redis.call('TIME')
-- A clock that was set back does not turn the order of the ids.
local ms = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
ms = math.max(ms, tonumber(head[4] or 0))
local id = string.format('%.0f-%.0f', ms, n)
hash = sha256(bytes(hash) .. bytes(ARGV[2]) .. id)
redis.call('XADD', KEYS[1], id, 'chain', chain, 'record', ARGV[1], 'hash', hash)
redis.call('HSET', KEYS[2], 'chain', chain, 'n', string.format('%.0f', n), 'hash', hash,
  'ms', string.format('%.0f', ms))
redis.call('SET', KEYS[3], string.format('%.0f', n), 'EX', 60)
return n
