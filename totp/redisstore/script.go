package redisstore

// loadScript returns the version and the record of the user with KEYS[1], and
// version 0 if there is none. Versions are compared as text, because Lua numbers
// are doubles. A version without a record, or a record without a version, is an
// error. HDEL deletes nothing: it fails where writes fail, for example on a
// replica, whose record may be out of date.
const loadScript = `
redis.call('HDEL', KEYS[1], '')
local r = redis.call('HMGET', KEYS[1], 'version', 'record')
if not r[1] and not r[2] and redis.call('EXISTS', KEYS[1]) == 0 then return {'0', ''} end
if not r[1] or not r[2] then error('a damaged record') end
return r
`

// saveScript replaces the record of version ARGV[1] by version ARGV[2] and record
// ARGV[3].
const saveScript = `
local version = redis.call('HGET', KEYS[1], 'version')
if not version then
  if redis.call('EXISTS', KEYS[1]) == 1 then error('a damaged record') end
  version = '0'
end
if version ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'record', ARGV[3])
return 1
`
