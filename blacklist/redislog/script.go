package redislog

// The scripts. Numbers are whole and at most 2^53, which the doubles of Lua hold
// exactly; behind it, in the year 2255, XADD refuses a number that it had. An
// entry with the number n is in the stream as n-0, with one field, e.

// lastFunction returns the number of the last entry that was ever in the stream,
// and zero if there is no stream.
const lastFunction = `
local function last()
	if redis.call('EXISTS', KEYS[1]) == 0 then
		return 0
	end
	local info = redis.call('XINFO', 'STREAM', KEYS[1])
	for i = 1, #info, 2 do
		if info[i] == 'last-generated-id' then
			return tonumber(string.match(info[i + 1], '^(%d+)-'))
		end
	end
end
local function told(section, name)
	return string.match(redis.call('INFO', section), name .. ':([^\r\n]*)') or ''
end
`

// appendScript records entries: ARGV has, for each entry, its bytes and when it
// expires, or nothing, after two flags: whether the server must not evict, and
// must have an append-only file. It returns the server's settings for both, and
// the last number, which is "" if the server was rejected.
const appendScript = lastFunction + `
local policy, aof = '', ''
if ARGV[1] == '1' then
	policy = told('memory', 'maxmemory_policy')
end
if ARGV[2] == '1' then
	aof = told('persistence', 'aof_enabled')
end
if ARGV[1] == '1' and policy ~= 'noeviction' or ARGV[2] == '1' and aof ~= '1' then
	return {policy, aof, ''}
end
local now = redis.call('TIME')
local number = math.max(last(), tonumber(now[1]) * 1000000 + tonumber(now[2]) - 1)
if #ARGV == 2 then
	return {policy, aof, '0'}
end
for i = 3, #ARGV, 2 do
	number = number + 1
	local n = string.format('%.0f', number)
	redis.call('XADD', KEYS[1], n .. '-0', 'e', ARGV[i])
	if ARGV[i + 1] ~= '' then
		redis.call('ZADD', KEYS[2], ARGV[i + 1], n)
	end
end
return {policy, aof, string.format('%.0f', number)}
`

// sinceScript returns the server's role and the last number, and then the number
// and the bytes of each entry behind ARGV[1], at most ARGV[2] of them. DEL deletes
// nothing: it fails where writes do, on a replica or a server without enough
// replicas for example, since there logouts of other processes are not seen.
const sinceScript = lastFunction + `
redis.call('DEL', KEYS[3])
local answer = {told('replication', 'role'), string.format('%.0f', last())}
local from = string.format('%.0f', tonumber(ARGV[1]) + 1) .. '-0'
for _, e in ipairs(redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[2])) do
	local fields = e[2]
	answer[#answer + 1] = string.match(e[1], '^(%d+)-0$') or e[1]
	answer[#answer + 1] = #fields == 2 and fields[1] == 'e' and fields[2] or ''
end
return answer
`

// deleteScript drops at most ARGV[2] entries that have expired at ARGV[1], and
// returns how many.
const deleteScript = `
local numbers = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, n in ipairs(numbers) do
	redis.call('XDEL', KEYS[1], n .. '-0')
	redis.call('ZREM', KEYS[2], n)
end
return {tostring(#numbers)}
`
