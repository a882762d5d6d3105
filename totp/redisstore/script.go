package redisstore

// loadScript returns the version and the record of the user whose key is
// KEYS[1], version 0 if there is none. Versions are compared as text: no number
// of Lua is made of one. One without the other is a damaged record. HDEL deletes
// nothing: it fails where writes do, on a replica for example, whose record may be
// out of date.
const loadScript = `
redis.call('HDEL', KEYS[1], '')
local r = redis.call('HMGET', KEYS[1], 'version', 'record')
if not r[1] and not r[2] and redis.call('EXISTS', KEYS[1]) == 0 then return {'0', ''} end
if not r[1] or not r[2] then error('a damaged record') end
return r
`

// saveScript replaces the record if the version is ARGV[1], by version ARGV[2]
// and record ARGV[3].
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
