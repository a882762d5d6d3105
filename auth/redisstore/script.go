package redisstore

// Lua would format a time as 1.7e+15, so scripts write values as they receive them.
// Times are microseconds since 1970, below 2^53, which the doubles of Lua hold exactly.
//
// A session is a hash. Sorted sets with score 0 are its indexes; their entries begin
// with the time of creation:
//
//	all, subject, tenant   created (16 digits), hash of the ID (43 characters)
//	expiry                 the same, and the hashes of subject and tenant (43 each);
//	                       the score is the millisecond after the expiry
const common = `
local base = ARGV[1]

local function int(x) return string.format('%.0f', x) end

-- the millisecond in which a time in microseconds is over
local function over(micros) return int(math.floor(micros / 1000) + 1) end

-- drop removes a session from all indexes
local function drop(full)
  local entry = string.sub(full, 1, 59)
  redis.call('ZREM', base .. 'all', entry)
  redis.call('ZREM', base .. 'subject:' .. string.sub(full, 60, 102), entry)
  redis.call('ZREM', base .. 'tenant:' .. string.sub(full, 103, 145), entry)
  redis.call('ZREM', base .. 'expiry', full)
end
`

// createScript begins the session KEYS[1]. ARGV[2] is its entry in expiry,
// ARGV[3] is 1 if it has a tenant, and the values from ARGV[4] on are id,
// subject, tenant, client, created, expires, current, idle. It also removes up to 16
// expired sessions from the indexes, and ends the oldest sessions of the subject beyond
// ARGV[12]. The reply is a word, and the IDs of the sessions that it ended.
const createScript = common + `
local full, entry = ARGV[2], string.sub(ARGV[2], 1, 59)
local time = redis.call('TIME')
local now = int(time[1] * 1000 + math.floor(time[2] / 1000))
for _, old in ipairs(redis.call('ZRANGEBYSCORE', base .. 'expiry', '-inf', now, 'LIMIT', 0, 16)) do drop(old) end
if redis.call('EXISTS', KEYS[1]) == 1 then return {'exists'} end
redis.call('HSET', KEYS[1], 'full', full, 'id', ARGV[4], 'subject', ARGV[5], 'tenant', ARGV[6], 'client', ARGV[7],
  'created', ARGV[8], 'expires', ARGV[9], 'current', ARGV[10], 'previous', '', 'rotated', ARGV[8], 'idle', ARGV[11])
redis.call('ZADD', base .. 'all', 0, entry)
redis.call('ZADD', base .. 'subject:' .. string.sub(full, 60, 102), 0, entry)
if ARGV[3] == '1' then redis.call('ZADD', base .. 'tenant:' .. string.sub(full, 103, 145), 0, entry) end
redis.call('ZADD', base .. 'expiry', over(tonumber(ARGV[9])), full)
redis.call('PEXPIREAT', KEYS[1], over(math.min(tonumber(ARGV[9]), tonumber(ARGV[11]))))
local own = base .. 'subject:' .. string.sub(full, 60, 102)
local most, answer = tonumber(ARGV[12]), {'created'}
if redis.call('ZCARD', own) > most then
  local kept, micros = 1, time[1] * 1000000 + time[2]
  for _, other in ipairs(redis.call('ZREVRANGEBYLEX', own, '+', '-', 'LIMIT', 0, most + 1000)) do
    if other ~= entry then
      local key = base .. 'session:' .. string.sub(other, 17)
      local s = redis.call('HMGET', key, 'full', 'expires', 'idle', 'id')
      if not s[1] then
        redis.call('ZREM', own, other)
      elseif tonumber(s[2]) > micros and tonumber(s[3]) > micros then
        if kept < most then
          kept = kept + 1
        else
          redis.call('DEL', key)
          drop(s[1])
          answer[#answer + 1] = s[4]
        end
      end
    end
  end
end
return answer
`

// countScript counts the sessions of the sorted set KEYS[1], and takes some out that have
// expired.
const countScript = common + `
local time = redis.call('TIME')
local now = int(time[1] * 1000 + math.floor(time[2] / 1000))
for _, old in ipairs(redis.call('ZRANGEBYSCORE', base .. 'expiry', '-inf', now, 'LIMIT', 0, 1000)) do drop(old) end
return int(redis.call('ZCARD', KEYS[1]))
`

// rotateScript rotates the session KEYS[1]. ARGV goes on with old, new, now,
// the grace, and when the new token expires. The reply is the outcome, the current
// token, when it was issued, and when it expires.
const rotateScript = common + `
local s = redis.call('HMGET', KEYS[1], 'full', 'expires', 'current', 'previous', 'rotated', 'idle')
if not s[1] then return {'unknown', '', '0', '0'} end
local full, expires, current, previous, rotated, idle = s[1], s[2], s[3], s[4], s[5], s[6]
if not (tonumber(expires) and tonumber(rotated) and tonumber(idle) and current) then error('a damaged session') end
local old, new, now, grace, till = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if tonumber(idle) <= tonumber(now) or tonumber(expires) <= tonumber(now) then return {'unknown', '', '0', '0'} end
if current == old then
  if tonumber(expires) < tonumber(till) then till = expires end
  redis.call('HSET', KEYS[1], 'previous', old, 'current', new, 'rotated', now, 'idle', till)
  redis.call('PEXPIREAT', KEYS[1], over(tonumber(till)))
  return {'rotated', new, now, till}
end
if previous == old and tonumber(now) - tonumber(rotated) <= tonumber(grace) then
  return {'replayed', current, rotated, idle}
end
redis.call('DEL', KEYS[1])
drop(full)
return {'reused', '', '0', '0'}
`

// revokeScript ends sessions: KEYS[1] if ARGV[2] is "one", otherwise at most ARGV[7]
// sessions of the sorted set KEYS[1], from ARGV[6] on. They have the subject ARGV[3] and
// the tenant ARGV[4], and were created before ARGV[5], if these are not empty. The
// session ARGV[8] stays. The reply is the position to continue from, or nothing.
const revokeScript = common + `
local entries, last = {}, ''
if ARGV[2] == 'one' then
  entries[1] = ''
else
  local till = '+'
  if ARGV[5] ~= '' then till = '(' .. ARGV[5] end
  entries = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[6], till, 'LIMIT', 0, ARGV[7])
  if #entries == tonumber(ARGV[7]) then last = entries[#entries] end
end
for _, entry in ipairs(entries) do
  local key = KEYS[1]
  if entry ~= '' then key = base .. 'session:' .. string.sub(entry, 17) end
  local s = redis.call('HMGET', key, 'full', 'subject', 'tenant', 'created', 'id')
  if not s[1] then
    if entry ~= '' then redis.call('ZREM', KEYS[1], entry) end
  elseif (ARGV[3] == '' or s[2] == ARGV[3]) and (ARGV[4] == '' or s[3] == ARGV[4])
    and (ARGV[5] == '' or tonumber(s[4]) < tonumber(ARGV[5]))
    and (ARGV[8] == '' or s[5] ~= ARGV[8]) then
    redis.call('DEL', key)
    drop(s[1])
  end
end
return {'done', last}
`

// sessionsScript lists sessions of the sorted set KEYS[1], backwards from
// ARGV[2], ARGV[3] at most. The reply is the position to continue from, or nothing, and
// id, subject, tenant, client, created and expires of each session that can be
// refreshed.
const sessionsScript = common + `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local entries = redis.call('ZREVRANGEBYLEX', KEYS[1], ARGV[2], '-', 'LIMIT', 0, ARGV[3])
local answer = {''}
if #entries == tonumber(ARGV[3]) then answer[1] = entries[#entries] end
for _, entry in ipairs(entries) do
  local s = redis.call('HMGET', base .. 'session:' .. string.sub(entry, 17),
    'id', 'subject', 'tenant', 'client', 'created', 'expires', 'idle')
  if not s[1] then
    redis.call('ZREM', KEYS[1], entry)
  elseif tonumber(s[6]) > now and tonumber(s[7]) > now then
    for i = 1, 6 do answer[#answer + 1] = s[i] end
  end
end
return answer
`

// attemptScript counts an attempt on the challenge KEYS[1], of ARGV[1] at most.
// The count is kept for a minute after ARGV[2], in milliseconds, and after now, because
// clocks differ and a lost count restarts at zero.
const attemptScript = `
local s = redis.call('HMGET', KEYS[1], 'attempts', 'finished')
if s[2] or (tonumber(s[1] or '0') >= tonumber(ARGV[1])) then return 0 end
local time = redis.call('TIME')
local till = math.max(tonumber(ARGV[2]), time[1] * 1000) + 60000
redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', till))
return 1
`

// finishScript ends the challenge KEYS[1].
const finishScript = `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return redis.call('HSETNX', KEYS[1], 'finished', '1')
`
