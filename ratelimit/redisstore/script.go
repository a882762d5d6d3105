package redisstore

// common is how both scripts read and write. Numbers are formatted by int: Lua
// would write a time as 1.7e+15.
const common = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local floor, ceil, min, max = math.floor, math.ceil, math.min, math.max

local function int(x) return string.format('%.0f', x) end

-- strict and concurrent: "when it is free again:how many", ascending
local function parse(value)
  local list, last = {}, 0
  if not value then return list end
  local rest = string.gsub(value, '(%d+):(%d+) ', function(free, units)
    free, units = tonumber(free), tonumber(units)
    if free < last or units < 1 then error('a damaged value') end
    last = free
    list[#list + 1] = {free, units}
    return ''
  end)
  if rest ~= '' or #list == 0 then error('a damaged value') end
  return list
end

local function save(key, list)
  local parts = {}
  for i, e in ipairs(list) do parts[i] = int(e[1]) .. ':' .. int(e[2]) .. ' ' end
  if #list == 0 then
    redis.call('DEL', key)
  else
    redis.call('SET', key, table.concat(parts), 'PX', int(max(1, ceil((list[#list][1] - now) / 1000) + 1)))
  end
end

-- smooth: "microseconds:nanoseconds" of the theoretical arrival time
local function arrival(key)
  local value = redis.call('GET', key)
  if not value then return nil end
  local us, ns = string.match(value, '^(%d+):(%d+)$')
  if not us then error('a damaged value') end
  return tonumber(us), tonumber(ns)
end

local function saveArrival(key, us, ns)
  redis.call('SET', key, int(us) .. ':' .. int(ns), 'PX', int(max(1, ceil((us - now) / 1000) + 1)))
end
`

// takeScript decides about all charges, and then makes all or none. ARGV has, for
// each key, argsPerCharge: the kind, cost, quota and window, and
//
//	strict, concurrent  a tenth of the window, 1 if the times are kept exactly
//	smooth              what it costs and what may be owed, each in
//	                    microseconds and nanoseconds
//
// The answer is the moment of the charges, 1 if they were made, and for each
// key, intsPerState: whether it is refused, and
//
//	strict, concurrent  what remains, RetryAfter, Reset
//	smooth              the debt in microseconds and nanoseconds, RetryAfter
//
// What is in flight is counted as what was spent is, but given back.
const takeScript = common + `
local plans, fits = {}, true
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 8
  local p = {kind = ARGV[at + 1], cost = tonumber(ARGV[at + 2]), quota = tonumber(ARGV[at + 3]),
    window = tonumber(ARGV[at + 4]), a = tonumber(ARGV[at + 5]), b = tonumber(ARGV[at + 6]),
    c = tonumber(ARGV[at + 7]), d = tonumber(ARGV[at + 8])}
  plans[i] = p
  if p.kind == 'strict' or p.kind == 'concurrent' then
    p.list, p.used = {}, 0
    local longest = now + 11 * p.a
    for _, e in ipairs(parse(redis.call('GET', key))) do
      if e[1] > now then
        if e[1] > longest then e[1], p.moved = longest, true end -- the clock was set back
        p.list[#p.list + 1] = e
        p.used = p.used + e[2]
      end
    end
    p.refused = p.used + p.cost > p.quota
  elseif p.kind == 'smooth' then
    p.us, p.ns = arrival(key)
    if not p.us or p.us < now then p.us, p.ns = now, 0 end
    local longest = now + p.window + ceil(p.window / 1000) + 1
    if p.us > longest then p.us, p.ns, p.moved = longest, 0, true end -- the clock was set back
    p.nextUs, p.nextNs = p.us + p.a, p.ns + p.b
    if p.nextNs >= 1000 then p.nextUs, p.nextNs = p.nextUs + 1, p.nextNs - 1000 end
    p.over = p.nextUs - now - p.c
    if p.nextNs > p.d then p.over = p.over + 1 end
    p.refused = p.over > 0
  else
    error('an unknown kind')
  end
  if p.refused then fits = false end
end

local answer = {now, fits and 1 or 0}
for i, key in ipairs(KEYS) do
  local p, x, y, z = plans[i], 0, 0, 0
  if p.kind ~= 'smooth' then
    if fits then
      local free = now + p.window
      if p.b == 0 then free = (floor(now / p.a) + 11) * p.a end
      local place = #p.list
      while place > 0 and p.list[place][1] > free do place = place - 1 end
      if place > 0 and p.list[place][1] == free then
        p.list[place][2] = p.list[place][2] + p.cost
      else
        table.insert(p.list, place + 1, {free, p.cost})
      end
      p.used = p.used + p.cost
    end
    if fits or p.moved then save(key, p.list) end
    x = max(0, p.quota - p.used)
    local fit, more = p.used + p.cost - p.quota, max(1, p.used - p.quota + 1)
    for _, e in ipairs(p.list) do
      if fit > 0 then y = e[1] - now end
      if more > 0 then z = e[1] - now end
      fit, more = fit - e[2], more - e[2]
    end
    if not p.refused then y = 0 end
  else
    if fits then p.us, p.ns = p.nextUs, p.nextNs end
    if fits or p.moved then saveArrival(key, p.us, p.ns) end
    x, y = p.us - now, p.ns
    if p.refused then z = p.over end
  end
  answer[#answer + 1] = p.refused and 1 or 0
  answer[#answer + 1] = x
  answer[#answer + 1] = y
  answer[#answer + 1] = z
end
return answer
`

// refundScript gives charges back that were made at the moment ARGV[1]: the
// same units, or ones that are free no later. ARGV goes on with the first
// arguments of takeScript for each key. What has come back by itself is not
// given back once more.
const refundScript = common + `
local moment = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local at = 1 + (i - 1) * 8
  local kind, cost, window = ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 4])
  local a, b = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  if kind ~= 'smooth' then
    if moment + window > now then
      local exact, counted = moment + window, (floor(moment / a) + 11) * a
      local list, left = {}, cost
      for _, e in ipairs(parse(redis.call('GET', key))) do
        if e[1] == exact or e[1] == counted then
          local gone = min(left, e[2])
          e[2], left = e[2] - gone, left - gone
        end
        if e[2] > 0 and e[1] > now then list[#list + 1] = e end
      end
      if left < cost then save(key, list) end
    end
  else
    local us, ns = arrival(key)
    local backUs, backNs = moment + a - now, b
    if us and backUs >= 0 then
      us, ns = us - backUs, ns - backNs
      if ns < 0 then us, ns = us - 1, ns + 1000 end
      if us < now then
        redis.call('DEL', key)
      else
        saveArrival(key, us, ns)
      end
    end
  end
end
return 1
`

// policyScript tells how the server makes room when its memory is full.
const policyScript = `
return string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:([%w-]+)') or ''
`
